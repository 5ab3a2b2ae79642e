"""Rows of `scripts/inputs.py` that must be refused: one row for each kind of fault.

Messages may be reworded. The expressions here match only a file's name, a value, a flag or a bare word of the field.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from inputs_cases import FAILED, Row
from inputs_cases.files import NO_PERMISSIONS, NO_PIPES

GOOD, TWO = "photo.png painting.png", "photo.png painting.png checkers.png"
LONG, NULL = "n" * 300, shlex.quote(os.devnull)
NO_CUDA_NEEDED = "needs a machine without a GPU" if Path("/dev/nvidia0").exists() else ""

# (name, words, expression for the error, needed files that the words do not name)
IMAGES = (
    ("photo: missing", "nowhere/photo.png painting.png", r"nowhere/photo\.png"),
    ("photo: a folder", "a-folder painting.png", "a-folder.*directory"),
    ("photo: an empty name", "'' painting.png", "directory|file|name"),
    ("photo: a name too long", f"{LONG}.png painting.png", "nnn.*too long"),
    ("photo: a device", f"{NULL} painting.png", "regular|empty"),
    ("photo: a text", "text.jpg painting.png", r"text\.jpg"),
    ("photo: an empty file", "empty.png painting.png", r"empty\.png"),
    ("photo: a PNG cut short", "cut.png painting.png", r"cut\.png"),
    ("photo: a JPEG cut short", "cut.jpg painting.png", r"cut\.jpg"),
    ("photo: no width and height", "0x0.png painting.png", r"0x0\.png"),
    ("photo: a decompression bomb", "bomb.png painting.png", "3,600,000,000.*--max-pixels"),
    ("photo: more than --max-pixels", f"{GOOD} --max-pixels 10", "24,576.*10.*--max-pixels"),
    ("photo: transparent everywhere", "transparent.png painting.png", "transparent"),
    ("photo: a sample that is NaN", "nan.tif painting.png", "(?i)nan"),
    ("photo: a negative sample", "negative.tif painting.png", "-1"),
    ("photo: an address", "http://127.0.0.1/photo.png painting.png", "http|address"),
    ("photo: a RAW photograph", "raw.dng painting.png", "RAW"),
    ("photo: a compression that cannot be decoded", "webp.tif painting.png", "WEBP"),
    ("photo: a drawing", "drawing.svg painting.png", "SVG"),
    ("photo: a video", "film.mov painting.png", "video"),
    ("photo: a document", "page.pdf painting.png", "PDF"),
    ("photo: of high dynamic range", "light.exr painting.png", "OpenEXR"),
    ("photo: 16 bits as JPEG", f"{GOOD} --depth 16 -o out.jpg", "16 bits.*png.*--depth"),
    ("photo: too small", "1x1.png painting.png", "1x1"),
    ("photo: a panorama too low at this size", "wide.png painting.png --size 64", r"64x3.*16.*--size 320"),
    ("photo: too small for a deep tap", f"{GOOD} --size 20 --taps relu5_1", "20x13.*16"),
    (
        "photo: too wide for WebP",
        "16400x17.png painting.png --size original --iterations 300 -o wide.webp",
        "(?i)webp.*16,?383",
    ),
    ("style: missing", "photo.png missing.png", r"missing\.png"),
    ("style: a text", "photo.png text.jpg", r"text\.jpg"),
    ("style: too small", "photo.png 1x1.png", "1x1"),
    ("style: too small at --style-scale", "photo.png wide-painting.png --style-scale 0.25 --method gatys", ("lite", "16")),
    ("style: a misspelt name", "photo.png sarry-night", "sarry-night.*starry-night"),
    ("start: a text", f"{GOOD} --init text.jpg", r"start.*text\.jpg"),
    ("mask: missing", f"{GOOD} --mask missing.png=keep", r"missing\.png"),
    ("mask: another shape", f"{GOOD} --mask mask-square.png=keep", "128x128.*192x128"),
    ("mask: black everywhere", f"{GOOD} --mask mask-none.png=keep", "black"),
    ("mask: nearly black everywhere", f"{GOOD} --mask mask-faint.png=keep", "nearly black.* 1 of 255"),
    ("mask: a label map of three values", f"{GOOD} --mask mask-labels.png=keep", "2 of 255.*label map"),
    ("mask: white everywhere, keep", f"{GOOD} --mask mask-all.png=keep", "mask"),
    (
        "colors: a number without a partner",
        f"{GOOD} --content-mask mask-labels.png --style-mask there-labels.png",
        "1000.*1001|1001.*1000",
    ),
    ("colors: a mask of another shape", f"{GOOD} --content-mask here.png --style-mask there-square.png", "style.*90x90"),
    ("colors: one without a partner", f"{GOOD} --content-mask here-green.png --style-mask there.png", "#00ff00"),
    ("colors: a photograph as mask", f"{GOOD} --content-mask photo.png --style-mask there.png", "content.*colou?rs"),
    ("colors: a blend", f"{TWO} --content-mask here.png --style-mask there.png", "style.mask"),
    ("colors: a named style", "photo.png udnie --content-mask here.png --style-mask there.png", "style.mask"),
    ("colors: with --mask", f"{GOOD} --content-mask here.png --style-mask there.png --mask mask-left.png=keep", "mask"),
)
OUTPUTS = (
    ("output: a misspelt suffix", f"{GOOD} -o result.pgn", r"result\.pgn.*\.png"),
    ("output: no suffix", f"{GOOD} -o result", "result.*suffix"),
    ("output: a file as folder", f"{GOOD} -o photo.png/result.png", r"photo\.png"),
    ("output: a folder", f"{GOOD} -o folder.png --overwrite", r"folder\.png.*directory"),
    ("output: exists", f"{GOOD} -o taken.png", r"taken\.png.*--overwrite"),
    ("output: the default name exists", GOOD, r"photo-painting\.png.*--overwrite", "photo-painting.png"),
    ("output: the photo itself", f"{GOOD} -o photo.png --overwrite", r"photo\.png"),
    ("output: the default name is too long", f"photo.png {'s' * 250}.png", "photo-sss.*too long"),
    ("preview: exists", f"{GOOD} --frames making --preview 2 -o new.png", r"new-step00002\.png", "new-step00002.png"),
    ("frames: in a missing folder", f"{GOOD} --frames nowhere/making", "nowhere"),
    ("frames: a mask", f"{GOOD} --mask mask.gif=keep --frames mask.gif --overwrite", r"mask\.gif"),
    ("frames: not kept for a refused run", f"{GOOD} --frames making --mask mask-none.png=keep", "black"),
)
OPTIONS = (
    ("option: a size too small", f"{GOOD} --size 15", "--size.*16.*15"),
    ("option: a size too large", f"{GOOD} --size 65536", "--size.*65535.*65536"),
    ("option: a size that is no number", f"{GOOD} --size abc", "--size.*abc"),
    ("option: given twice", f"{GOOD} --size 32 --size 48", "--size"),
    ("option: a weight that is NaN", f"{GOOD} --style-weight nan", "--style-weight.*nan"),
    ("option: a negative weight", f"{GOOD} --tv-weight -0.1", "--tv-weight.*-0.1"),
    ("option: a weight too large", f"{GOOD} --style-weight 1e13", "--style-weight.*1e13"),
    ("option: every weight is 0", f"{GOOD} --content-weight 0 --style-weight 0 --palette-weight 0", "0.*--content-weight"),
    ("option: a count with a fraction", f"{GOOD} --iterations 1.5", "--iterations.*1.5"),
    ("option: a seed of more than 63 bits", f"{GOOD} --seed 9223372036854775808", "--seed.*9223372036854775808"),
    ("option: a misspelt method", f"{GOOD} --method gattys", "--method.*gatys"),
    ("option: a misspelt tap", f"{GOOD} --taps rleu4_1", "rleu4_1.*relu4_1"),
    ("option: a tap twice", f"{GOOD} --taps relu1_1,relu1_1", "taps"),
    ("option: no taps", f"{GOOD} --taps ''", "taps"),
    ("option: a misspelt flag", f"{GOOD} --stlye-weight=3", "--stlye-weight.*--style-weight"),
    ("option: a switch with a strange value", f"{GOOD} --overwrite=perhaps", "--overwrite.*perhaps"),
    ("option: without its value", f"{GOOD} --size 32 --iterations 2 --device cpu --style-weight", "--style-weight"),
    ("option: two that exclude each other", f"{GOOD} --no-metadata --keep-exif", "--no-metadata|--keep-exif"),
    ("option: a fault with --json", f"{GOOD} --json --style-weight nan", "--style-weight.*nan"),
    ("blend: too few numbers", f"{TWO} --blend 0.5", "blend.*2.*1"),
    ("blend: too many numbers", f"{GOOD} --blend 0.5 0.5", "blend.*1.*2"),
    ("blend: no styles", "photo.png --mask mask-left.png=painting.png --blend 0.5 0.5", "blend"),
    ("blend: only zeros", f"{TWO} --blend 0 -0", "--blend.*0"),
    ("blend: a number that is NaN", f"{TWO} --blend nan 1", "--blend.*nan"),
    ("words: no style", "photo.png", "(?i)style|painting"),
    ("words: only options", "--size 32", "(?i)photo"),
    ("words: no file", "again", "FILE"),
    ("words: one too many", "demo photo.png", r"photo\.png"),
    ("words: no photo of a sheet", "sheet", "(?i)photo"),
    ("sheet: a misspelt style", "sheet photo.png udnie starry-nihgt", "starry-night"),
    ("sheet: no image", "sheet photo.png udnie text.jpg", r"text\.jpg"),
    ("sheet: no columns", "sheet photo.png --columns 0", "--columns.*1.*0"),
    ("sheet: of no size", "sheet photo.png --size 15", "--size.*16.*15"),
    ("sheet: the photo itself", "sheet photo.png -o photo.png --overwrite", r"photo\.png.*itself"),
    ("words: a misspelt command", "weights fecth vgg19", "fecth"),
)
WEIGHTS = (
    ("weights: a misspelt name", "weights path vgg91", "vgg91.*vgg19"),
    ("weights: imported as lite", "weights import text.h5 --name lite", "lite"),
    ("weights: Keras, cut short", "weights import cut.h5", r"cut\.h5"),
    ("weights: a pickle that runs code", "weights import evil.pth", r"evil\.pth"),
    ("weights: a zipped pickle that runs code", "weights import evil-zip.pth", r"evil-zip\.pth"),
    ("weights: PyTorch, cut short", "weights import cut.pth", r"cut\.pth"),
    ("weights: safetensors of another network", "weights import other.safetensors", r"other\.safetensors"),
    ("weights: safetensors, cut short", "weights import cut.safetensors", r"cut\.safetensors"),
    ("weights: a header too long", "weights import huge-header.safetensors", r"huge-header\.safetensors"),
    ("weights: a MATLAB file", "weights import matlab.mat", r"matlab\.mat"),
    ("weights: --weights runs code", f"{GOOD} --encoder vgg16 --weights evil-zip.pth", r"evil-zip\.pth"),
    ("weights: --weights of another network", f"{GOOD} --encoder vgg16 --weights lite.safetensors", "(?i)lite.*vgg-?16"),
)
RESULT = "compare photo.png painting.png"
COMPARE = (
    ("compare: an empty name", f"{RESULT} =taken.png", "(?i)name"),
    ("compare: no results", RESULT, "(?i)result"),
    ("compare: a missing result", f"{RESULT} other=missing.png", r"missing\.png"),
    ("compare: a result too small", f"{RESULT} 1x1.png", "1x1"),
    ("compare: a name twice", f"{RESULT} a=taken.png a=copy.png", "'a'"),
    ("compare: the page exists", f"{RESULT} taken.png -o taken.html", r"taken\.html.*--overwrite"),
    ("compare: a fault with --json", f"{RESULT} taken.png --json -o report.pdf", r"\.pdf"),
)
RECORDS = (
    ("again: another program's comment", "again foreign.png --json", r"foreign\.png"),
    ("again: an input that is gone", "again gone.png", r"gone\.jpg", "photo.png"),
    ("again: an output that is an input", "again gone.png photo.png painting.png -o photo.png --overwrite", r"photo\.png"),
    ("again: a record without inputs", "again no-inputs.png", r"no-inputs\.png"),
    ("again: an input that is a pipe", "again pipe-input.png", r"fifo\.png", "fifo.png painting.png"),
    ("again: an input's name too long", "again long-input.png", "nnn"),
    ("again: an input with a path", "again path-input.png", "passwd"),
    ("again: a value of the wrong type", "again wrong-type.png", "inputs"),
    ("again: NaN in the record", "again json-nan.png", r"json-nan\.png"),
    ("again: a list as record", "again json-list.png", r"json-list\.png"),
    ("again: a huge number", "again huge-number.png", "size"),
    ("again: more digits than Python reads", "again endless-number.png", r"endless-number\.png"),
    ("again: JSON nested too deep", "again deep-json.png", r"deep-json\.png"),
    ("again: an unknown method", "again unknown-method.png", "magic"),
    ("again: an option that is null", "again null-option.png", "iterations"),
    ("info: missing", "info missing.png", r"missing\.png"),
    ("info: an input with a path", "info path-input.png", "inputs"),
    ("resume: nothing to resume", "resume photo.png", r"photo\.png"),
)
STYLES = (
    ("style file: cut short", "photo.png cut.style", r"cut\.style"),
    ("style file: empty", "photo.png empty.style", r"empty\.style"),
    ("style file: other safetensors", "photo.png other.style", r"other\.style"),
    ("style file: a card that is not JSON", "photo.png bad-card.style", r"bad-card\.style"),
    ("style file: a card with the wrong type", "photo.png wrong-type.style", r"wrong-type\.style"),
    ("style file: another format", "photo.png other-format.style", r"other-format\.style.*99"),
    ("style file: scales that are not there", "photo.png more-scales.style", r"more-scales\.style"),
    ("style file: another encoder", "photo.png other-encoder.style", "vgg19"),
    ("style file: other weights", "photo.png other-weights.style", r"other-weights\.style.*lite"),
    ("style file: other pooling", "photo.png good.style --pooling average", r"good\.style.*average"),
    ("style file: a tap it does not have", "photo.png good.style --taps trunk3_1", r"good\.style.*trunk3_1"),
    ("style file: colors kept", "photo.png good.style --keep-colors luma", "keep.colors"),
    ("style show: an image", "style show photo.png", r"photo\.png"),
    ("style make: a misspelt suffix", "style make painting.png -o new.stile --json", r"\.stile.*\.style"),
    ("style make: a title too long", f"style make painting.png --title {'t' * 301}", "--title.*300"),
)


def _special() -> Iterator[Row]:
    """Rows that need more than words: permissions, pipes, another exit code, the environment, a process of their own."""
    yield Row("photo: not readable", "unreadable.png painting.png", r"unreadable\.png.*permission", skip=NO_PERMISSIONS)
    yield Row("photo: a pipe", "fifo.png painting.png", r"fifo\.png.*regular", skip=NO_PIPES)
    yield Row("photo: a broken link", "broken-link.png painting.png", r"broken-link\.png", skip=NO_PIPES)
    yield Row("photo: a name of two lines", "'two\nlines.jpg' painting.png -o new.png", r"two.*lines\.jpg", skip=NO_PIPES)
    yield Row("output: a folder that is not writable", f"{GOOD} -o closed/result.png", "closed", skip=NO_PERMISSIONS)
    yield Row("output: write-protected", f"{GOOD} -o locked.png --overwrite", r"locked\.png", skip=NO_PERMISSIONS)
    yield Row("output: a broken link", f"{GOOD} -o broken-link.png", r"broken-link\.png.*link", skip=NO_PIPES)
    yield Row("output: a pipe", f"{GOOD} -o fifo.png --overwrite", r"fifo\.png.*regular", skip=NO_PIPES)
    yield Row("weights: a pipe", "weights import fifo.png", r"fifo\.png", skip=NO_PIPES)
    yield Row("style file: a pipe", "photo.png fifo.style", r"fifo\.style", skip=NO_PIPES)
    yield Row("option: CUDA without a GPU", f"{GOOD} --device cuda", "(?i)cuda", skip=NO_CUDA_NEEDED)
    absent, fetch = "(?i)vgg-?19.*weights fetch", "weights fetch vgg19"
    yield Row("weights: absent", f"{GOOD} --encoder vgg19", absent, FAILED)
    yield Row("weights: absent, for the judge", f"{RESULT} taken.png --judge vgg19", absent, FAILED)
    yield Row("weights: offline", fetch, "IMPASTO_OFFLINE", FAILED, environment={"IMPASTO_OFFLINE": "1"})
    home, nobody = {"IMPASTO_HOME": "photo.png"}, {"IMPASTO_HOME": "~nobody-of-that-name/impasto"}
    yield Row("weights: home is a file", fetch, r"photo\.png", FAILED, files="photo.png", environment=home)
    yield Row("weights: home of nobody", "weights path vgg19", "nobody-of-that-name", environment=nobody)
    for words in ("info .", "info /", "resume .", "compare . taken.png copy.png"):
        yield Row(f"folder: {words}", words, "directory|folder|not a file")
    for words in ("info ''", "again .", "sheet . udnie", "style make /", "weights import .", f"{GOOD} -o .", f"{GOOD} -o ''"):
        yield Row(f"folder: {words}", words, "directory|folder|not a file")
    for words in ("info loop.png", "loop.png painting.png", f"{GOOD} -o loop.png --overwrite", f"{GOOD} --frames loop.gif"):
        yield Row(f"link to itself: {words}", words, r"loop\.(png|gif).*links", skip=NO_PIPES)
    for words in (f"photo.png {name}" for name in ("-dash.png", "-o -dash.png")):
        yield Row(f"name with a dash: {words}", words, r"\./-dash\.png")
    for address in ("HTTPS://a.b/c.png", "ftp://a.b/c.png", "s3://a/c.png", "data:image/png,AA", "file:///a/c%20d.png"):
        hint = "name the file itself: /a/c d.png" if address.startswith("file") else "address.*(download|save) the image"
        for words in (f"{address} painting.png", f"{GOOD} --mask {address}=keep", f"weights import {address}"):
            yield Row(f"address: {words}", words, hint)
    for styles in ("udnie,starry-night", "painting.png,udnie", "'udnie, great-wave'"):
        yield Row(f"styles with commas: {styles}", f"photo.png {styles}", r"one by one: [\w.]+ [\w-]+$", files="painting.png")
    taken = f"{GOOD} -o taken.png"  # torch.py: Python finds it before the real torch
    found = r"taken\.png.*--overwrite"
    yield Row("output: exists, before torch loads", taken, found, files="torch.py", own_process=True)
    for words in ("--mask my-mask-for-size.png", "--mask my-mask-for-size.png=keep"):
        yield Row(f"user's words: {words}", f"{GOOD} {words}", r"my-mask-for-size\.png")
    yield Row("stdin: empty", "- painting.png -o out.png", "(?i)standard input|stdin|empty")
    yield Row("stdin: a text", "- painting.png -o out.png", "photograph", stdin="text.jpg")


def _row(name: str, words: str, says: str | tuple[str, ...], files: str = "") -> Row:
    return Row(name, words, says, files=files)


_TABLES = (IMAGES, OUTPUTS, OPTIONS, WEIGHTS, COMPARE, RECORDS, STYLES)
ROWS = (*(_row(*columns) for table in _TABLES for columns in table), *_special())
