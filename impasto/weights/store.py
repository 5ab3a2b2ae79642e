"""The weights on this machine: find, fetch, import and load them."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from impasto import files
from impasto.errors import DownloadError, ImpastoError, MissingWeightsError, OptionError, SaveError, WeightsFileError
from impasto.weights.download import TIMEOUT, Progress, download
from impasto.weights.networks import Weights
from impasto.weights.table import TABLE, Entry, lookup


@dataclass(frozen=True)
class Imported:
    """The result of `import_file`: the file it wrote, the network in it, and the input convention of the file it read."""

    path: Path
    network: str
    convention: str


def home() -> Path:
    """Return impasto's directory: $IMPASTO_HOME, else the user's cache directory. Raises OptionError for ~nobody."""
    if not (chosen := os.environ.get("IMPASTO_HOME")):
        return platformdirs.user_cache_path("impasto", appauthor=False)
    try:
        return Path(chosen).expanduser()
    except RuntimeError as error:
        raise OptionError(f"IMPASTO_HOME={chosen}: there is no such user") from error


def path(name: str | Entry) -> Path:
    """Return where weights are or would be: in `home()`, or in the package. Raises UnknownNameError."""
    entry = name if isinstance(name, Entry) else lookup(name)
    if entry.url is None:
        return Path(__file__).parent.parent / "assets" / entry.file
    return home() / "weights" / f"{entry.name}.safetensors"


def find(name: str | Entry) -> Path | None:
    """Return the file of the weights if it is on this machine. Raises UnknownNameError, or SaveError if that cannot be known."""
    file = path(name)
    try:
        return file if file.is_file() else None
    except OSError as error:  # a name too long, a directory that cannot be searched
        raise SaveError(f"cannot look for weights at {files.printable(file)}: {files.reason(error)}") from error


def load(source: str | os.PathLike[str], *, network: str | None = None, convention: str | None = None) -> Weights:
    """Read weights: a name from the table, or a file in any of the formats `impasto.weights.formats` lists.

    network: "vgg16" or "vgg19"; needed only for a file that ends in block 3 or earlier, where both have the same shapes.
    convention: "caffe" or "torchvision", for a file that does not state the input it expects, such as most .pth files. By default
    Oxford's own weights are recognized and all others count as torchvision's. `Weights.convention` is the one used.
    Raises MissingWeightsError, WeightsFileError, UnknownNameError or OptionError.
    """
    from impasto.weights.formats import read_file

    if source in TABLE:
        entry = TABLE[str(source)]
        file = find(entry)
        if file is None:
            raise _missing(entry, f"run `impasto weights fetch {entry.name}`")
        return read_file(file, network=network or entry.network, convention=convention)
    file = Path(source)
    if isinstance(source, str) and not file.suffix and file.name == source and not file.exists():
        lookup(source)  # raises UnknownNameError
    return read_file(file, network=network, convention=convention)


def fetch(name: str | Entry, *, progress: Progress | None = None, url: str | None = None, timeout: float = TIMEOUT) -> Path:
    """Download weights unless they are on this machine, and return their converted file.

    name: a name from the table, or an Entry of your own. progress: called with the bytes received so far and in all. url: another
    address of the same file. timeout: seconds without a byte. An interrupted download is resumed. Processes that fetch the same weights
    at once do not disturb each other. The file gets its name only once it is verified, converted and complete.
    Raises DownloadError (no connection, or other bytes than the table states), MissingWeightsError if $IMPASTO_OFFLINE is set to
    anything but 0, SaveError, OutputError or UnknownNameError.
    """
    from impasto.weights.formats import read_file

    entry = name if isinstance(name, Entry) else lookup(name)
    found = find(entry)
    if found or entry.url is None:
        return found or path(entry)
    if os.environ.get("IMPASTO_OFFLINE", "0") not in ("", "0"):
        raise _missing(entry, "IMPASTO_OFFLINE forbids downloads: unset it")
    part = _place(entry).with_name(f"{entry.file}.part")
    try:
        download(url or entry.url, part, size=entry.bytes, digest=entry.digest, progress=progress, timeout=timeout)
        _keep(read_file(part, network=entry.network), entry, part)
    except ImpastoError as error:
        if done := find(entry):  # another process has finished the same download and removed the partial file
            return done
        if isinstance(error, DownloadError):
            error.remedy = _alternative(entry, "try again, which resumes the download")
        raise
    with contextlib.suppress(OSError):
        part.unlink(missing_ok=True)
    return path(entry)


def import_file(file: str | os.PathLike[str], *, name: str | None = None, convention: str | None = None) -> Imported:
    """Read a complete VGG from a file of any format and keep it in `home()`, replacing the one that was there.

    name: "vgg16" or "vgg19", to refuse the other. convention: see `load`. Raises WeightsFileError (also for a network that ends
    early), OptionError, UnknownNameError, SaveError or OutputError.
    """
    from impasto.weights.formats import read_file

    if name is not None and lookup(name).url is None:
        raise OptionError(f"{name} comes with impasto and cannot be imported")
    weights = read_file(Path(file), network=name, convention=convention)
    entry = TABLE[weights.network]
    if entry.url is None:
        raise WeightsFileError(f"{files.printable(file)}: holds {entry.name}, which comes with impasto; expected a VGG")
    return Imported(_keep(weights, entry, file), weights.network, weights.convention)


def _missing(entry: Entry, action: str) -> MissingWeightsError:
    advice = f"{action} to download {entry.bytes / 1e6:.0f} MB from {entry.url}"
    return MissingWeightsError(f"{entry.title}'s weights are not on this machine", remedy=_alternative(entry, advice))


def _alternative(entry: Entry, advice: str) -> str:
    return f"{advice}, or download that file by other means and run `impasto weights import {entry.file}`"


def _place(entry: Entry) -> Path:
    """Return `path(entry)` and make sure that its directory exists. Raises SaveError."""
    target = path(entry)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(f"cannot write in {files.printable(target.parent)}: {files.reason(error)}") from error
    return target


def _keep(weights: Weights, entry: Entry, source: files.PathLike) -> Path:
    """Write weights that were read from `source` to their place in `home()`. Raises WeightsFileError if the network ends early."""
    from safetensors.torch import save as serialize

    from impasto.weights.formats import OURS

    if not weights.complete:
        last = weights.convolutions[-1]
        raise WeightsFileError(f"{files.printable(source)}: ends at {last}; expected the whole of {entry.title}")
    metadata = {"input": OURS, "layout": "(out, in, height, width)", "network": entry.network, "convention": weights.convention}
    if weights.convention != "torchvision":  # torchvision trained its own weights, under its own license
        metadata |= {"origin": entry.origin, "licence": entry.license}
    target = _place(entry)
    files.write(target, serialize(weights.tensors, metadata), overwrite=True)
    return target
