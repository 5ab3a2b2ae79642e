"""Formats by their first bytes: to name those that cannot be read, and what to do about them."""

from __future__ import annotations

import re
from typing import NamedTuple

from impasto.pictures.faults import RefusedError

_CONVERT = "convert it to PNG or JPEG"
_EXPORT = "export it as PNG"
_FRAME = "save one of its frames as an image"
_MAP = "map it to the range of a screen and save it as PNG"
_DEVELOP = "develop it and save it as TIFF or JPEG"
_EXTRA = "install impasto[formats], or convert it to PNG or JPEG"
_RAW = "is a RAW photograph"


class _Kind(NamedTuple):
    """A format that Pillow does not read.

    expression: for the first bytes of a file.
    words: what such a file is.
    remedy: what to do about it; "" for nothing.
    unsupported: whether "which is not supported" is added; not for files that nobody would expect to be supported.
    plugin: whether a package of impasto[formats] reads it.
    """

    expression: bytes
    words: str
    remedy: str
    unsupported: bool = True
    plugin: bool = False

    def refusal(self) -> RefusedError:
        return RefusedError(f"{self.words}, which is not supported" if self.unsupported else self.words, self.remedy)


_KNOWN = (
    _Kind(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", "is a JPEG XL image", _EXTRA, plugin=True),
    _Kind(rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1|mif2|MiHE)", "is a HEIC image", _EXTRA, plugin=True),
    _Kind(rb"....ftypavi[fs]", "is an AVIF image that is truncated or damaged", "", unsupported=False),
    _Kind(rb"....ftypcrx ", f"{_RAW} (CR3)", _DEVELOP),
    _Kind(rb"....ftyp", "is a video", _FRAME, unsupported=False),
    _Kind(rb"....(moov|mdat|wide|free|skip)", "is a video", _FRAME, unsupported=False),
    _Kind(rb"\x1aE\xdf\xa3|RIFF....AVI |FLV\x01|\0\0\x01[\xb3\xba]|OggS", "is a video", _FRAME, unsupported=False),
    _Kind(rb"%PDF-", "is a PDF document", _EXPORT),
    _Kind(rb"%!PS|\xc5\xd0\xd3\xc6", "is a PostScript document", _EXPORT),
    _Kind(rb"v/1\x01", "is an OpenEXR image", _MAP),
    _Kind(rb"#\?(RADIANCE|RGBE)", "is a Radiance HDR image", _MAP),
    _Kind(rb"8BPB", "is a large Photoshop document (PSB)", _EXPORT),
    _Kind(rb"8BPS", "is a Photoshop document with more than 8 bits per channel or with unusual channels", _EXPORT),
    _Kind(rb"gimp xcf", "is a GIMP image (XCF)", _EXPORT),
    _Kind(rb"FUJIFILMCCD-RAW|IIRO|IIRS|MMOR|IIU\0|FOVb|\0MRM|II\x1a\0\0\0HEAPCCDR", _RAW, _DEVELOP),
    _Kind(rb"II\xbc", "is a JPEG XR image", _CONVERT),
    _Kind(rb"AT&TFORM", "is a DjVu document", _EXPORT),
    _Kind(rb"BPG\xfb", "is a BPG image", _CONVERT),
    _Kind(rb"FLIF", "is a FLIF image", _CONVERT),
    _Kind(rb"SIMPLE  =", "is a FITS image", _CONVERT),
    _Kind(rb".{128}DICM", "is a DICOM image", _CONVERT),
    _Kind(rb"\xabKTX", "is a KTX texture", _CONVERT),
    _Kind(rb"\xd7\xcd\xc6\x9a|\x01\0\t\0\0\x03|\x01\0\0\0.{36} EMF", "is a Windows metafile", _EXPORT),
    _Kind(rb"PK\x03\x04.{26}mimetypeimage/openraster", "is an OpenRaster image", _EXPORT),
    _Kind(rb"PK\x03\x04.{26}mimetypeapplication/x-krita", "is a Krita document", _EXPORT),
    _Kind(
        rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!|BZh|\xfd7zXZ", "is an archive", "unpack it and name an image", unsupported=False
    ),
    _Kind(rb"SQLite format 3|CSFCHUNK", "is a document of a painting program", _EXPORT),
    _Kind(rb"P7\n|P[fF]\n", "is a PAM or PFM image", _CONVERT),
    _Kind(rb"/\* XPM \*/|#define \w+_width|\x59\xa6\x6a\x95", "is an X11 or Sun image", _CONVERT),
    _Kind(
        rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>\[]*(\[.*?\])?\s*>\s*)?<svg",
        "is an SVG drawing",
        _EXPORT,
    ),
    _Kind(
        rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body)", "is a web page", "save the image itself", unsupported=False
    ),
    _Kind(rb"version https://git-lfs", "is a Git LFS pointer", "fetch the file itself with git lfs pull", unsupported=False),
)


def refusal(data: bytes) -> RefusedError:
    """Why a file is refused that nothing here can read."""
    kind = _kind(data)
    return kind.refusal() if kind else RefusedError("not an image, or its format is not supported")


def raw_photograph(camera: str = "") -> RefusedError:
    """The refusal of what a camera's sensor saw. camera: the name of the format, for formats of one maker."""
    words = f"{_RAW} ({camera})" if camera else _RAW
    return RefusedError(f"{words}, which is not supported", _DEVELOP)


def needs_plugin(data: bytes) -> bool:
    """Whether a file is of a format that a package of impasto[formats] reads, and Pillow does not."""
    kind = _kind(data)
    return kind is not None and kind.plugin and not _is_avif(data)


def _kind(data: bytes) -> _Kind | None:
    head = data[:2000]
    return next((kind for kind in _KNOWN if re.match(kind.expression, head, re.DOTALL)), None)


def _is_avif(data: bytes) -> bool:
    """Whether the ftyp box of a file lists AVIF: as its brand, or as one that it is compatible with."""
    length = int.from_bytes(data[:4], "big")
    return b"avif" in data[8 : min(length, 200)] or b"avis" in data[8 : min(length, 200)]
