"""Formats by their first bytes: to name those that cannot be read, and what to do about them."""

from __future__ import annotations

import re

from impasto.pictures.faults import RefusedError

_CONVERT = "convert it to PNG or JPEG"
_EXPORT = "export it as PNG"
_DEVELOP = "develop it and save it as TIFF or JPEG"
_EXTRA = "install impasto[formats], or convert it to PNG or JPEG"

# (expression for the first bytes, what it is, what to do)
_KNOWN: tuple[tuple[bytes, str, str], ...] = (
    (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", "is a JPEG XL image", _EXTRA),
    (rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1|mif2|MiHE)", "is a HEIC image", _EXTRA),
    (rb"....ftypavi[fs]", "is an AVIF image that is truncated or damaged", ""),
    (rb"....ftypcrx ", "is a RAW photograph (CR3)", _DEVELOP),
    (rb"....ftyp", "is a video", "save one of its frames as an image"),
    (rb"....(moov|mdat|wide|free|skip)", "is a video", "save one of its frames as an image"),
    (rb"\x1aE\xdf\xa3|RIFF....AVI |FLV\x01|\0\0\x01[\xb3\xba]|OggS", "is a video", "save one of its frames as an image"),
    (rb"%PDF-", "is a PDF document", _EXPORT),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "is a PostScript document", _EXPORT),
    (rb"v/1\x01", "is an OpenEXR image", "map it to the range of a screen and save it as PNG"),
    (rb"#\?(RADIANCE|RGBE)", "is a Radiance HDR image", "map it to the range of a screen and save it as PNG"),
    (rb"8BPB", "is a large Photoshop document (PSB)", _EXPORT),
    (rb"8BPS", "is a Photoshop document with more than 8 bits per channel or with unusual channels", _EXPORT),
    (rb"gimp xcf", "is a GIMP image (XCF)", _EXPORT),
    (rb"FUJIFILMCCD-RAW|IIRO|IIRS|MMOR|IIU\0|FOVb|\0MRM|II\x1a\0\0\0HEAPCCDR", "is a RAW photograph", _DEVELOP),
    (rb"II\xbc", "is a JPEG XR image", _CONVERT),
    (rb"AT&TFORM", "is a DjVu document", _EXPORT),
    (rb"BPG\xfb", "is a BPG image", _CONVERT),
    (rb"FLIF", "is a FLIF image", _CONVERT),
    (rb"SIMPLE  =", "is a FITS image", _CONVERT),
    (rb".{128}DICM", "is a DICOM image", _CONVERT),
    (rb"\xabKTX", "is a KTX texture", _CONVERT),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\t\0\0\x03|\x01\0\0\0.{36} EMF", "is a Windows metafile", _EXPORT),
    (rb"PK\x03\x04.{26}mimetypeimage/openraster", "is an OpenRaster image", _EXPORT),
    (rb"PK\x03\x04.{26}mimetypeapplication/x-krita", "is a Krita document", _EXPORT),
    (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!|BZh|\xfd7zXZ", "is an archive", "unpack it and name an image"),
    (rb"SQLite format 3|CSFCHUNK", "is a document of a painting program", _EXPORT),
    (rb"P7\n|P[fF]\n", "is a PAM or PFM image", _CONVERT),
    (rb"/\* XPM \*/|#define \w+_width|\x59\xa6\x6a\x95", "is an X11 or Sun image", _CONVERT),
    (
        rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>\[]*(\[.*?\])?\s*>\s*)?<svg",
        "is an SVG drawing",
        _EXPORT,
    ),
    (rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body)", "is a web page", "save the image itself"),
    (rb"version https://git-lfs", "is a Git LFS pointer", "fetch the file itself with git lfs pull"),
)


_WITHOUT_MORE = (
    "is a video",
    "is an archive",
    "is a web page",
    "is a Git LFS pointer",
    "is an AVIF",
)  # nobody would expect support


def refusal(data: bytes) -> RefusedError:
    """Why a file is refused that nothing here can read."""
    head = data[:2000]
    for expression, what, remedy in _KNOWN:
        if re.match(expression, head, re.DOTALL):
            return RefusedError(what if what.startswith(_WITHOUT_MORE) else f"{what}, which is not supported", remedy)
    return RefusedError("not an image, or its format is not supported")


def needs_plugin(data: bytes) -> bool:
    """Whether a file is of a format that a package of impasto[formats] reads."""
    return refusal(data).remedy == _EXTRA
