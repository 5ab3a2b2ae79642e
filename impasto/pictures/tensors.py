"""Images as tensors of 1x3xHxW: the only module of this package, with `resample`, that needs torch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from impasto.errors import PictureError
from impasto.ladder import Size
from impasto.pictures.metadata import Kept
from impasto.pictures.read import DEFAULT_MAX_PIXELS, Source, load_still
from impasto.pictures.spaces import Floats
from impasto.pictures.write import Words, image_of, words_of


@dataclass(frozen=True)
class Picture:
    """A decoded image as tensors.

    pixels: 1x3xHxW float32, sRGB in [0, 1], upright, with all the bits of the source. Where alpha is 0, the color is the mean of the
        visible colors.
    alpha: 1x1xHxW float32 in [0, 1], or None when the image is opaque everywhere.
    notes: one sentence for the user about each property of the source that was changed or ignored.
    name: the file's name without folders; "" for a source that is not a path.
    digest: SHA-256 of the file or of the bytes, as hexadecimal; "" for a PIL image, an array or a tensor.
    exif: the part of a photograph's EXIF that `save` can keep: camera, exposure, date, place, owner. Empty where there is none.
    labels: HxW int32, upright: the numbers that a source with a single channel stores (grays of any depth, palette indices, bits); None
        for other sources.
    lossless: whether the pixels are exactly those that were saved.
    """

    pixels: Tensor
    alpha: Tensor | None
    notes: tuple[str, ...] = ()
    name: str = ""
    digest: str = ""
    exif: Kept = field(default_factory=dict)
    labels: npt.NDArray[np.int32] | None = None
    lossless: bool = True

    @property
    def size(self) -> Size:
        """(height, width) in pixels."""
        height, width = self.pixels.shape[-2:]
        return int(height), int(width)

    def over(self, background: float) -> Tensor:
        """The pixels over a gray background, 0 black to 1 white, 1x3xHxW."""
        return self.pixels if self.alpha is None else self.pixels * self.alpha + background * (1 - self.alpha)


def load(source: Source, *, max_pixels: int = DEFAULT_MAX_PIXELS, role: str = "image") -> Picture:
    """Read an image. The source is opened once and never changed.

    source: a path; the bytes of an image file; a binary file object, read from its position to its end and not closed; a PIL image
        (its current frame; EXIF orientation and profile are honored); an array HxW, HxWx1, HxWx3 or HxWx4 of uint8, uint16, bool
        or float in [0, 1]; a float tensor 3xHxW or 1x3xHxW in [0, 1]. Integers of more than 8 bits of which none exceeds 255 are taken
        as 8 bits, and floats may lie outside [0, 1] by rounding.
    max_pixels: the largest height times width allowed, checked before pixels are decoded.
    role: what the image is for; error messages begin with it.

    Colors become sRGB by what the file says about them, in the order of browsers (`profile`); otherwise they are taken as sRGB.
    Pillow keeps its size limit in a global, and Python its warning filters. Both are changed while a file is decoded and restored
    afterwards, under a lock. Images are therefore decoded one at a time, and a thread that uses Pillow directly at that moment sees
    the changed values.

    Raises PictureError (the source is not a usable image) and MemoryLimitError.
    """
    still = load_still(source, max_pixels=max_pixels, role=role)
    return Picture(
        pixels=torch.from_numpy(np.ascontiguousarray(still.color.transpose(2, 0, 1)))[None],
        alpha=None if still.alpha is None else torch.from_numpy(np.ascontiguousarray(still.alpha))[None, None],
        notes=still.notes,
        name=still.name,
        digest=still.digest,
        exif=still.exif,
        labels=still.labels,
        lossless=still.lossless,
    )


def to_image(pixels: Tensor, alpha: Tensor | None = None) -> Image.Image:
    """Round to 8 bits, RGB or with alpha RGBA; values outside [0, 1] are clipped.

    pixels: 1x3xHxW float, sRGB in [0, 1]; alpha: 1x1xHxW float in [0, 1]. Each value ends at most half a step of 1/255 away.
    Raises PictureError for other shapes and for NaN or infinite values.
    """
    return image_of(*_arrays(pixels, alpha))


def to_words(pixels: Tensor, alpha: Tensor | None = None) -> Words:
    """Round to 16 bits, HxWx3 or with alpha HxWx4; everything else as in `to_image`."""
    return words_of(*_arrays(pixels, alpha))


def _arrays(pixels: Tensor, alpha: Tensor | None) -> tuple[Floats, Floats | None]:
    """Views: HxWx3 and HxW."""
    height, width = pixels.shape[-2:]
    if pixels.shape != (1, 3, height, width):
        raise PictureError(f"pixels must be 1x3xHxW, not {'x'.join(map(str, pixels.shape))}")
    if alpha is not None and alpha.shape != (1, 1, height, width):
        raise PictureError(f"alpha must be 1x1x{height}x{width} like the pixels, not {'x'.join(map(str, alpha.shape))}")
    return _array(pixels).transpose(1, 2, 0), None if alpha is None else _array(alpha)[0]


def _array(tensor: Tensor) -> Floats:
    found: Floats = tensor[0].detach().to("cpu", torch.float32).numpy()
    return found
