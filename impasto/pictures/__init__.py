"""Image files, bytes, PIL images, arrays and tensors to and from sRGB in [0, 1].

`load`, `resize` and `to_image` work on 1x3xHxW float32 tensors. `load_still` and `image_of` do the same with HxWx3 float32 arrays, and
need no torch, and so do all functions for files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from impasto import lazy

if TYPE_CHECKING:
    from impasto.ladder import fit
    from impasto.pictures.metadata import Kept
    from impasto.pictures.read import DEFAULT_MAX_PIXELS, Source, Still, load_still, read_settings
    from impasto.pictures.resample import enlarge, resize
    from impasto.pictures.tensors import Picture, load, to_image, to_words
    from impasto.pictures.write import SUFFIXES, Words, check_output, encode, flatten, image_of, save, words_of

__getattr__, __dir__ = lazy.exports(
    __name__,
    {
        "impasto.pictures.metadata": ("Kept",),
        "impasto.pictures.read": ("DEFAULT_MAX_PIXELS", "Source", "Still", "load_still", "read_settings"),
        "impasto.pictures.resample": ("enlarge", "resize"),
        "impasto.ladder": ("fit",),
        "impasto.pictures.tensors": ("Picture", "load", "to_image", "to_words"),
        "impasto.pictures.write": ("SUFFIXES", "Words", "check_output", "encode", "flatten", "image_of", "save", "words_of"),
    },
)

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "SUFFIXES",
    "Kept",
    "Picture",
    "Source",
    "Still",
    "Words",
    "check_output",
    "encode",
    "enlarge",
    "fit",
    "flatten",
    "image_of",
    "load",
    "load_still",
    "read_settings",
    "resize",
    "save",
    "to_image",
    "to_words",
    "words_of",
]
