"""Rows of `scripts/inputs.py` that must be refused: one row for each kind of fault.

Messages may be reworded: the expressions here match only the file's name, the value, the option's flag or a bare word of the field.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
from collections.abc import Iterator

from inputs_cases import FAILED, Row
from inputs_cases.files import NO_PERMISSIONS, NO_PIPES

GOOD = "photo.png painting.png"
LONG, NULL = "n" * 300, shlex.quote(os.devnull)
NEW = "issue 24"

# (name, words, expression for the error)
PHOTOS = (
    ("photo: missing", "missing.png painting.png", r"missing\.png"),
    ("photo: in a missing folder", "nowhere/photo.png painting.png", r"nowhere/photo\.png"),
    ("photo: a folder", "a-folder painting.png", "a-folder.*directory"),
    ("photo: this folder", ". painting.png", "directory"),
    ("photo: the root folder", "/ painting.png", "directory"),
    ("photo: an empty name", "'' painting.png", "directory|file|name"),
    ("photo: a name too long", f"{LONG}.png painting.png", "nnn.*too long"),
    ("photo: an empty device", f"{NULL} painting.png", "regular|empty"),
    ("photo: a text", "text.jpg painting.png", r"text\.jpg"),
    ("photo: an empty file", "empty.png painting.png", r"empty\.png"),
    ("photo: a PNG cut short", "cut.png painting.png", r"cut\.png"),
    ("photo: a JPEG cut short", "cut.jpg painting.png", r"cut\.jpg"),
    ("photo: a WebP cut short", "cut.webp painting.png", r"cut\.webp"),
    ("photo: a TIFF cut short", "cut.tif painting.png", r"cut\.tif"),
    ("photo: a header without pixels", "0x0.png painting.png", r"0x0\.png"),
    ("photo: a decompression bomb", "bomb.png painting.png", "3,600,000,000.*--max-pixels"),
    ("photo: more than --max-pixels", f"{GOOD} --max-pixels 10", "24,576.*10.*--max-pixels"),
    ("photo: transparent everywhere", "transparent.png painting.png", "transparent"),
    ("photo: a sample that is NaN", "nan.tif painting.png", "(?i)nan"),
    ("photo: a negative sample", "negative.tif painting.png", "-1"),
    ("photo: an address", "http://127.0.0.1/photo.png painting.png", "127.0.0.1"),
    ("photo: too small", "1x1.png painting.png", "1x1"),
    ("photo: too small, --size original", "1x1.png painting.png --size original", "1x1"),
    ("photo: too small once resized", "2000x2.png painting.png --size 512", "512x1.*16"),
    ("photo: a panorama too low at this size", "wide.png painting.png --size 64", "64x3.*16"),
    ("photo: too small for a deep tap", f"{GOOD} --size 20 --taps relu5_1", "20x13.*16"),
    ("photo: too wide for WebP", "16400x17.png painting.png --size original -o wide.webp", "(?i)webp.*16,?383"),
    ("style: missing", "photo.png missing.png", r"missing\.png"),
    ("style: a folder", "photo.png a-folder", "a-folder"),
    ("style: a text", "photo.png text.jpg", r"text\.jpg"),
    ("style: cut short", "photo.png cut.png", r"cut\.png"),
    ("style: transparent everywhere", "photo.png transparent.png", "transparent"),
    ("style: an address", "photo.png http://127.0.0.1/photo.png", "127.0.0.1"),
    ("style: too small", "photo.png 1x1.png", "1x1"),
    ("style: too small at --style-scale", "photo.png wide-painting.png --style-scale 0.25 --method gatys", ("lite", "16")),
    ("style: a name misspelt", "photo.png sarry-night", "sarry-night.*starry-night"),
)
OUTPUTS = (
    ("output: an unknown suffix", f"{GOOD} -o result.gif", r"result\.gif"),
    ("output: a misspelt suffix", f"{GOOD} -o result.pgn", r"result\.pgn.*\.png"),
    ("output: no suffix", f"{GOOD} -o result", "result.*suffix"),
    ("output: an empty name", f"{GOOD} -o ''", "directory|suffix|name"),
    ("output: a missing folder", f"{GOOD} -o nowhere/result.png", "nowhere"),
    ("output: a file as folder", f"{GOOD} -o photo.png/result.png", r"photo\.png"),
    ("output: a folder", f"{GOOD} -o folder.png --overwrite", r"folder\.png.*directory"),
    ("output: a device", f"{GOOD} -o {NULL}", "suffix|regular"),
    ("output: exists", f"{GOOD} -o taken.png", r"taken\.png.*--overwrite"),
    ("output: the default name exists", f"{GOOD}", r"photo-painting\.png.*--overwrite"),
    ("output: the photo itself", f"{GOOD} -o photo.png --overwrite", r"photo\.png"),
    ("output: a name too long", f"{GOOD} -o {LONG}.png", "nnn.*too long"),
    ("output: the default name is too long", f"photo.png {'s' * 250}.png", "photo-sss.*too long"),
    ("preview: exists", f"{GOOD} --frames making --preview 2 -o taken.png --overwrite", r"taken-step00002\.png"),
    ("frames: a name too long", f"{GOOD} --frames {LONG}", "nnn.*too long"),
    ("frames: in a missing folder", f"{GOOD} --frames nowhere/making", "nowhere"),
    ("frames: the photo itself", "photo.gif painting.png --frames photo.gif --overwrite", r"photo\.gif"),
    ("frames: a mask", f"{GOOD} --mask mask.gif=keep --frames mask.gif --overwrite", r"mask\.gif"),
    ("frames: not kept for a refused run", f"{GOOD} --frames making --mask mask-none.png=keep", "black"),
)
OPTIONS = (
    ("option: a size too small", f"{GOOD} --size 15", "--size.*16.*15"),
    ("option: a size too large", f"{GOOD} --size 65536", "--size.*65535.*65536"),
    ("option: a size that is no number", f"{GOOD} --size abc", "--size.*abc"),
    ("option: a size with a fraction", f"{GOOD} --size 32.5", "--size.*32.5"),
    ("option: given twice", f"{GOOD} --size 32 --size 48", "--size"),
    ("option: a weight that is NaN", f"{GOOD} --style-weight nan", "--style-weight.*nan"),
    ("option: an infinite weight", f"{GOOD} --style-weight inf", "--style-weight.*inf"),
    ("option: a negative weight", f"{GOOD} --tv-weight -0.1", "--tv-weight.*-0.1"),
    ("option: a weight that is no number", f"{GOOD} --style-weight abc", "--style-weight.*abc"),
    ("option: a weight too large", f"{GOOD} --style-weight 1e13", "--style-weight.*1e13"),
    ("option: every weight is 0", f"{GOOD} --content-weight 0 --style-weight 0 --palette-weight 0", "--content-weight.*--style-weight"),
    ("option: a count of 0", f"{GOOD} --iterations 0", "--iterations.*0"),
    ("option: a count with a fraction", f"{GOOD} --iterations 1.5", "--iterations.*1.5"),
    ("option: a count too large", f"{GOOD} --iterations 1000000", "--iterations.*100,?000.*1000000"),
    ("option: a negative seed", f"{GOOD} --seed -1", "--seed.*-1"),
    ("option: a seed of more than 63 bits", f"{GOOD} --seed 9223372036854775808", "--seed.*9223372036854775808"),
    ("option: a scale too small", f"{GOOD} --style-scale 0.2", "--style-scale.*0.25"),
    ("option: a scale too large", f"{GOOD} --style-scale 5", "--style-scale.*4"),
    ("option: an unknown encoder", f"{GOOD} --encoder vgg20", "--encoder.*vgg20"),
    ("option: an unknown device", f"{GOOD} --device tpu", "--device.*tpu"),
    ("option: an unknown precision", f"{GOOD} --precision fp8", "--precision.*fp8"),
    ("option: a method misspelt", f"{GOOD} --method gattys", "--method.*gatys"),
    ("option: an unknown tap", f"{GOOD} --taps rleu4_1", "rleu4_1.*relu4_1"),
    ("option: a tap of another encoder", f"{GOOD} --content-taps relu4_2 --encoder lite", "relu4_2.*relu4_1"),
    ("option: no taps", f"{GOOD} --taps ''", "taps"),
    ("option: an empty tap in a list", f"{GOOD} --taps relu1_1,,relu2_1", "taps"),
    ("option: a tap twice", f"{GOOD} --taps relu1_1,relu1_1", "taps"),
    ("option: a flag misspelt", f"{GOOD} --stile-weight 3", "--stile-weight.*--style-weight"),
    ("option: a flag misspelt, with =", f"{GOOD} --stlye-weight=3", "--stlye-weight.*--style-weight"),
    ("option: a letter that is no flag", f"{GOOD} -z", "-z"),
    ("option: a switch with a strange value", f"{GOOD} --overwrite=perhaps", "--overwrite.*perhaps"),
    ("option: without its value", f"{GOOD} --size 32 --iterations 2 --device cpu --style-weight", "--style-weight"),
    ("option: two that exclude each other", f"{GOOD} --no-metadata --keep-exif", "--no-metadata|--keep-exif"),
    ("option: a fault with --json", f"{GOOD} --json --style-weight nan", "--style-weight.*nan"),
    ("option: a fault with --quiet", f"{GOOD} --quiet --style-weight nan", "--style-weight.*nan"),
    ("start: missing", f"{GOOD} --init missing.png", r"--init.*missing\.png"),
    ("start: a text", f"{GOOD} --init text.jpg", r"--init.*text\.jpg"),
    ("start: an empty name", f"{GOOD} --init ''", "--init"),
    ("words: no style", "photo.png", "(?i)style|painting"),
    ("words: only options", "--size 32", "(?i)photo"),
    ("words: a word too many", "demo photo.png", r"photo\.png"),
    ("words: a fault in the demo", "demo --size 15", "--size.*15"),
)
REGIONS = (
    ("mask: missing", f"{GOOD} --mask missing.png=keep", r"missing\.png"),
    ("mask: a text", f"{GOOD} --mask text.jpg=keep", r"text\.jpg"),
    ("mask: a missing style", f"{GOOD} --mask mask-left.png=missing.png", r"missing\.png"),
    ("mask: a misspelt style", f"{GOOD} --mask mask-left.png=sarry-night", "sarry-night.*starry-night"),
    ("mask: another shape", f"{GOOD} --mask mask-square.png=keep", "128x128.*192x128"),
    ("mask: black everywhere", f"{GOOD} --mask mask-none.png=keep", "black"),
    ("mask: white everywhere, keep", f"{GOOD} --mask mask-all.png=keep", "mask"),
    ("colors: a content mask of another shape", f"{GOOD} --content-mask mask-square.png --style-mask there.png", "content.*128x128"),
    ("colors: a style mask of another shape", f"{GOOD} --content-mask here.png --style-mask there-square.png", "style.*90x90"),
    ("colors: one without a partner", f"{GOOD} --content-mask here-green.png --style-mask there.png", "#00ff00"),
    ("colors: a photograph as mask", f"{GOOD} --content-mask photo.png --style-mask there.png", "content.*colors|colours"),
    ("colors: a blend", "photo.png painting.png checkers.png --content-mask here.png --style-mask there.png", "style.mask"),
    ("colors: a named style", "photo.png udnie --content-mask here.png --style-mask there.png", "style.mask"),
    ("colors: with --mask", f"{GOOD} --content-mask here.png --style-mask there.png --mask mask-left.png=keep", "mask"),
    ("blend: too few numbers", "photo.png painting.png checkers.png --blend 0.5", "blend.*2.*1"),
    ("blend: too many numbers", f"{GOOD} --blend 0.5 0.5", "blend.*1.*2"),
    ("blend: no styles", "photo.png --mask mask-left.png=painting.png --blend 0.5 0.5", "blend"),
    ("blend: only zeros", "photo.png painting.png checkers.png --blend 0 -0", "--blend.*0"),
    ("blend: a negative number", "photo.png painting.png checkers.png --blend 2 -1", "--blend.*-1"),
    ("blend: a number that is NaN", "photo.png painting.png checkers.png --blend nan 1", "--blend.*nan"),
)
WEIGHTS = (
    ("weights: an unknown name", "weights fetch nosuch", "nosuch"),
    ("weights: a misspelt name", "weights path vgg91", "vgg91.*vgg19"),
    ("weights: no name", "weights fetch", "NAME"),
    ("weights: a misspelt command", "weights fecth vgg19", "fecth"),
    ("weights: imported as lite", "weights import text.h5 --name lite", "lite"),
    ("weights: an unknown convention", "weights import text.h5 --convention caffee", "caffee"),
    ("weights: missing", "weights import missing.h5", r"missing\.h5"),
    ("weights: a folder", "weights import a-folder", "a-folder"),
    ("weights: a device", f"weights import {NULL}", "empty|regular"),
    ("weights: a text", "weights import text.h5", r"text\.h5"),
    ("weights: Keras, cut short", "weights import cut.h5", r"cut\.h5"),
    ("weights: a pickle that runs code", "weights import evil.pth", r"evil\.pth"),
    ("weights: a zipped pickle that runs code", "weights import evil-zip.pth", r"evil-zip\.pth"),
    ("weights: PyTorch, cut short", "weights import cut.pth", r"cut\.pth"),
    ("weights: of another network", "weights import other.safetensors", r"other\.safetensors"),
    ("weights: safetensors, cut short", "weights import cut.safetensors", r"cut\.safetensors"),
    ("weights: a header too long", "weights import huge-header.safetensors", r"huge-header\.safetensors"),
    ("weights: a MATLAB file", "weights import matlab.mat", r"matlab\.mat"),
    ("weights: an image", "weights import photo.png", r"photo\.png"),
    ("weights: --weights missing", f"{GOOD} --encoder vgg16 --weights missing.h5", r"missing\.h5"),
    ("weights: --weights runs code", f"{GOOD} --encoder vgg16 --weights evil-zip.pth", r"evil-zip\.pth"),
    ("weights: --weights of another network", f"{GOOD} --encoder vgg16 --weights lite.safetensors", "(?i)lite.*vgg-?16"),
)
RESULT = "compare photo.png painting.png"
COMPARE = (
    ("compare: no results", RESULT, "(?i)result"),
    ("compare: no painting", "compare photo.png", "(?i)style"),
    ("compare: a missing photo", "compare missing.png painting.png taken.png", r"missing\.png"),
    ("compare: a painting that is a text", "compare photo.png text.jpg taken.png", r"text\.jpg"),
    ("compare: an empty result", f"{RESULT} ''", "(?i)result"),
    ("compare: an empty name", f"{RESULT} =taken.png", "(?i)name"),
    ("compare: a missing result", f"{RESULT} other=missing.png", r"missing\.png"),
    ("compare: a result that is a text", f"{RESULT} text.jpg", r"text\.jpg"),
    ("compare: a result too small", f"{RESULT} 1x1.png", "1x1"),
    ("compare: an address", f"{RESULT} http://127.0.0.1/a.png", "127.0.0.1"),
    ("compare: a name twice", f"{RESULT} a=taken.png a=copy.png", "'a'"),
    ("compare: the page in a missing folder", f"{RESULT} taken.png -o nowhere/report.html", "nowhere"),
    ("compare: a misspelt suffix", f"{RESULT} taken.png -o report.hmtl", r"\.hmtl.*\.html"),
    ("compare: the page exists", f"{RESULT} taken.png -o taken.html", r"taken\.html.*--overwrite"),
    ("compare: a misspelt judge", f"{RESULT} taken.png --judge vgg91", "--judge.*vgg19"),
    ("compare: a fault with --json", f"{RESULT} taken.png --json -o report.pdf", r"\.pdf"),
    ("compare: a misspelt flag", f"{RESULT} taken.png --jduge lite", "--jduge.*--judge"),
)
RECORDS = (
    ("again: no image", "again", "FILE"),
    ("again: missing", "again missing.png", r"missing\.png"),
    ("again: a text", "again text.jpg", r"text\.jpg"),
    ("again: a folder", "again a-folder", "a-folder"),
    ("again: no record", "again photo.png", r"photo\.png"),
    ("again: another program's comment", "again foreign.png --json", r"foreign\.png"),
    ("again: an input that is gone", "again gone.png", r"gone\.jpg"),
    ("again: another style, missing", "again gone.png photo.png missing.jpg", r"missing\.jpg"),
    ("again: an option out of range", "again gone.png --size 7", "--size.*16"),
    ("again: an output that exists", "again gone.png photo.png painting.png -o taken.png --size 32", r"taken\.png.*--overwrite"),
    ("again: an output that is an input", "again gone.png photo.png painting.png -o photo.png --overwrite", r"photo\.png"),
    ("again: a record without inputs", "again no-inputs.png", r"no-inputs\.png"),
    ("again: a start that is not recorded", "again no-init.png", "no-init.*--init"),
    ("again: an input that is a pipe", "again pipe-input.png", r"fifo\.png"),
    ("again: an input's name too long", "again long-input.png", "nnn"),
    ("again: an input with a path", "again path-input.png", "passwd"),
    ("again: a value of the wrong type", "again wrong-type.png", "inputs"),
    ("again: NaN in the record", "again json-nan.png", r"json-nan\.png"),
    ("again: infinity in the record", "again json-infinite.png", r"json-infinite\.png"),
    ("again: a huge number", "again huge-number.png", "size"),
    ("again: more digits than Python reads", "again endless-number.png", r"endless-number\.png"),
    ("again: a huge text", "again huge-text.png", "seconds"),
    ("again: JSON nested too deep", "again deep-json.png", r"deep-json\.png"),
    ("again: an unknown method", "again unknown-method.png", "magic"),
    ("again: a list", "again json-list.png", r"json-list\.png"),
    ("again: an option that is null", "again null-option.png", "iterations"),
    ("info: no image", "info", "FILE"),
    ("info: missing", "info missing.png", r"missing\.png"),
    ("info: no record", "info photo.png", r"photo\.png"),
    ("info: an input with a path", "info path-input.png", "inputs"),
    ("info: JSON nested too deep", "info deep-json.png --json", r"deep-json\.png"),
    ("info: an address", "info http://127.0.0.1/a.png", "127.0.0.1"),
    ("info: a word too many", "info photo.png painting.png", r"painting\.png"),
    ("resume: no image", "resume", "FILE"),
    ("resume: nothing to resume", "resume photo.png", r"photo\.png"),
    ("resume: missing", "resume missing.png", r"missing\.png"),
)
STYLES = (
    ("style file: missing", "photo.png missing.style", r"missing\.style"),
    ("style file: cut short", "photo.png cut.style", r"cut\.style"),
    ("style file: empty", "photo.png empty.style", r"empty\.style"),
    ("style file: a text", "photo.png text.style", r"text\.style"),
    ("style file: a folder", "photo.png folder.style", r"folder\.style"),
    ("style file: a name too long", f"photo.png {LONG}.style", "nnn.*too long"),
    ("style file: other safetensors", "photo.png other.style", r"other\.style"),
    ("style file: a card that is not JSON", "photo.png bad-card.style", r"bad-card\.style"),
    ("style file: a card with the wrong type", "photo.png wrong-type.style", r"wrong-type\.style"),
    ("style file: a card without taps", "photo.png no-taps.style", r"no-taps\.style.*taps"),
    ("style file: another format", "photo.png other-format.style", r"other-format\.style.*99"),
    ("style file: scales that are not there", "photo.png more-scales.style", r"more-scales\.style"),
    ("style file: another encoder", "photo.png other-encoder.style", "vgg19"),
    ("style file: other weights", "photo.png other-weights.style", r"other-weights\.style.*lite"),
    ("style file: other pooling", "photo.png good.style --pooling average", r"good\.style.*average"),
    ("style file: other padding", "photo.png good.style --padding zero", r"good\.style.*zero"),
    ("style file: another method's encoder", "photo.png good.style --method gatys --encoder lite", r"good\.style"),
    ("style file: a tap it does not have", "photo.png good.style --taps trunk3_1", r"good\.style.*trunk3_1"),
    ("style file: colors kept", "photo.png good.style --keep-colors luma", "keep.colors"),
    ("style file: in a mask, cut short", f"{GOOD} --mask mask-left.png=cut.style", r"cut\.style"),
    ("style show: cut short", "style show cut.style", r"cut\.style"),
    ("style show: an image", "style show photo.png", r"photo\.png"),
    ("style show: nothing", "style show", "STYLE"),
    ("style make: a misspelt suffix", "style make painting.png -o new.stile --json", r"\.stile.*\.style"),
    ("style make: the file exists", "style make painting.png -o good.style", r"good\.style.*--overwrite"),
    ("style make: missing", "style make missing.png", r"missing\.png"),
    ("style make: a style file", "style make good.style", r"good\.style"),
    ("style make: too small", "style make 1x1.png", "1x1"),
    ("style make: a title too long", f"style make painting.png --title {'t' * 301}", "--title.*300"),
    ("style make: an unknown pooling", "style make painting.png --pooling median", "--pooling.*median"),
    ("style make: nothing", "style make", "PAINTING"),
    ("styles: a word too many", "styles photo.png", r"photo\.png"),
)
NO_CUDA = "needs a machine without CUDA"


def _special() -> Iterator[Row]:
    """Rows that need more than words: another exit code, the environment, permissions, pipes or a process of their own."""
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
    yield Row("compare: a folder that is not writable", f"{RESULT} taken.png -o closed/report.html", "closed", skip=NO_PERMISSIONS)
    yield Row("option: CUDA without a GPU", f"{GOOD} --device cuda", "(?i)cuda", skip=_no_torch_without_cuda())
    absent = "(?i)vgg-?19.*weights fetch"
    yield Row("weights: absent", f"{GOOD} --encoder vgg19", absent, FAILED, own_process=True)
    yield Row("weights: absent, for the judge", f"{RESULT} taken.png --judge vgg19", absent, FAILED)
    yield Row("weights: absent, for a style file", "style make painting.png --encoder vgg19", absent, FAILED)
    fetch = "weights fetch vgg19"
    yield Row("weights: offline", fetch, "IMPASTO_OFFLINE", FAILED, environment={"IMPASTO_OFFLINE": "1"})
    home = {"IMPASTO_HOME": "photo.png"}
    yield Row("weights: home is a file", fetch, r"photo\.png", FAILED, files="photo.png", environment=home)
    nobody = {"IMPASTO_HOME": "~nobody-of-that-name/impasto"}
    yield Row("weights: home of nobody", "weights path vgg19", "nobody-of-that-name", environment=nobody)
    yield Row("process: a text as photo", "text.jpg painting.png", r"text\.jpg", own_process=True)
    yield Row("folder: info .", "info .", r"\.", expected_by=NEW)
    yield Row("folder: info /", "info /", "/", expected_by=NEW)
    yield Row("folder: resume .", "resume .", r"\.", expected_by=NEW)
    yield Row("folder: compare .", "compare . taken.png copy.png", "directory|folder", expected_by=NEW)
    yield Row(
        "output: exists, found before torch loads",
        f"{GOOD} -o taken.png",
        r"taken\.png.*--overwrite",
        files="torch.py",  # Python finds it first
        own_process=True,
        expected_by=NEW,
    )
    words = r"my-mask-for-size\.png"
    yield Row("mask: the user's words, without a style", f"{GOOD} --mask my-mask-for-size.png", words, expected_by=NEW)
    yield Row("mask: the user's words, a missing file", f"{GOOD} --mask my-mask-for-size.png=keep", words, expected_by=NEW)
    yield Row("stdin: empty", "- painting.png -o out.png", "(?i)standard input|empty", expected_by=NEW)
    yield Row("stdin: a text", "- painting.png -o out.png", "(?i)standard input|image", stdin="text.jpg", expected_by=NEW)


def _no_torch_without_cuda() -> str:
    return NO_CUDA if os.path.exists("/dev/nvidia0") or importlib.util.find_spec("torch") is None else ""


_TABLES = (PHOTOS, OUTPUTS, OPTIONS, REGIONS, WEIGHTS, COMPARE, RECORDS, STYLES)
_FILES = {
    "output: the default name exists": "photo-painting.png",
    "frames: the photo itself": "",
    "preview: exists": "taken-step00002.png",
    "option: a fault in the demo": "",
}
_RECORDED = "photo.png fifo.png"  # what records name: `again` looks for them
ROWS = (
    *(
        Row(name, words, says, files=_FILES.get(name, _RECORDED if words.startswith("again ") else ""))
        for table in _TABLES
        for name, words, says in table
    ),
    *_special(),
)
