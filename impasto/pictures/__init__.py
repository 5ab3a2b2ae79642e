"""Image files, bytes, PIL images, arrays and tensors to and from 1x3xHxW float32 sRGB tensors in [0, 1]."""

from impasto.ladder import fit
from impasto.pictures.metadata import Kept
from impasto.pictures.read import DEFAULT_MAX_PIXELS, Picture, Source, load, read_settings
from impasto.pictures.resample import enlarge, resize
from impasto.pictures.write import SUFFIXES, Words, check_output, encode, flatten, save, to_image, to_words

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "SUFFIXES",
    "Kept",
    "Picture",
    "Source",
    "Words",
    "check_output",
    "encode",
    "enlarge",
    "fit",
    "flatten",
    "load",
    "read_settings",
    "resize",
    "save",
    "to_image",
    "to_words",
]
