"""The weights on this machine: where they lie, finding them, reading them, taking them in from a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from impasto.errors import MissingWeightsError, OptionError, SaveError, UnknownNameError, WeightsFileError
from impasto.weights.networks import VGGWeights, convolution_shapes
from impasto.weights.table import TABLE, Entry, lookup


@dataclass(frozen=True)
class Imported:
    """What `import_file` did: where the converted weights are, which network they are, and which input convention was read."""

    path: Path
    network: str
    convention: str


def home() -> Path:
    """Return impasto's directory: $IMPASTO_HOME, else the user's cache directory. Raises OptionError for ~nobody."""
    chosen = os.environ.get("IMPASTO_HOME")
    if chosen:
        try:
            return Path(chosen).expanduser()
        except RuntimeError as error:
            raise OptionError(f"IMPASTO_HOME={chosen}: there is no such user") from error
    import platformdirs

    return platformdirs.user_cache_path("impasto", appauthor=False)


def path(name: str) -> Path:
    """Return where the weights called `name` are, or would be: in `home()`, or inside the package for what is embedded.

    Raises UnknownNameError.
    """
    return entry_path(lookup(name))


def entry_path(entry: Entry) -> Path:
    """Return where `entry`'s converted weights are, or would be."""
    if entry.url is None:
        return Path(__file__).parent.parent / "assets" / entry.file
    return home() / "weights" / f"{entry.name}.safetensors"


def find(name: str) -> Path | None:
    """Return the file of the weights called `name` if it is on this machine. Raises UnknownNameError."""
    file = path(name)
    try:
        return file if file.is_file() else None
    except OSError as error:  # a name too long, a folder that may not be searched
        raise SaveError(f"cannot look for weights at {file}: {error.strerror or error}") from error


def load(source: str | os.PathLike[str], *, network: str | None = None, convention: str | None = None) -> VGGWeights:
    """Read weights: a name from the table, or a file in any of the formats `impasto.weights.formats` lists.

    network: "vgg16" or "vgg19"; needed only for a file that ends in block 3, where both look alike. convention: "caffe" or
    "torchvision"; for a file that does not say what input it expects (a .pth, mostly). By default Oxford's own weights are
    recognised, anything else is taken for torchvision's; `VGGWeights.convention` says which it was. A file may end after any
    convolution.
    Raises MissingWeightsError, WeightsFileError, UnknownNameError or OptionError.
    """
    from impasto.weights.formats import read_file

    if source in TABLE:
        entry = TABLE[str(source)]
        file = find(entry.name)
        if file is None:
            raise MissingWeightsError(missing(entry))
        return read_file(file, network=network or entry.network, convention=convention)
    file = Path(source)
    if isinstance(source, str) and not file.suffix and file.name == source and not file.exists():
        raise UnknownNameError("weights", source, TABLE)
    return read_file(file, network=network, convention=convention)


def missing(entry: Entry) -> str:
    """Return the sentence for weights that are not on this machine, with the two ways to get them."""
    return (
        f"{entry.title}'s weights are not on this machine; `impasto weights fetch {entry.name}` downloads "
        f"{entry.bytes / 1e6:.0f} MB from {entry.url}, or fetch that file by other means and `impasto weights import {entry.file}`"
    )


def import_file(file: str | os.PathLike[str], *, name: str | None = None, convention: str | None = None) -> Imported:
    """Read a whole VGG from `file`, of any format, and keep it in `home()` under its name, replacing what was there.

    name: "vgg16" or "vgg19", if it must be that one; convention: see `load`. Raises WeightsFileError (also for a network that
    ends early), OptionError, UnknownNameError or SaveError.
    """
    from impasto.weights.formats import read_file

    if name is not None and lookup(name).url is None:
        raise OptionError(f"{name} comes with impasto and cannot be imported")
    weights = read_file(Path(file), network=name, convention=convention)
    entry = TABLE[weights.network]
    if entry.url is None:
        raise WeightsFileError(f"{file} holds {entry.name}, which comes with impasto; expected VGG-16 or VGG-19")
    require_complete(weights, file)
    target = entry_path(entry)
    with locked(entry):
        save(weights, target, entry)
    return Imported(target, weights.network, weights.convention)


def require_complete(weights: VGGWeights, file: str | os.PathLike[str]) -> None:
    """Raise WeightsFileError if the network ends early."""
    if not weights.complete:
        last = list(convolution_shapes(weights.network))[-1]
        found = weights.convolutions[-1]
        raise WeightsFileError(f"{file} ends at {found}; the whole of {TABLE[weights.network].title}, to {last}, is expected")


@contextlib.contextmanager
def locked(entry: Entry) -> Iterator[None]:
    """Hold the only right to write `entry`'s files; a second process waits here. Raises SaveError."""
    from filelock import FileLock

    folder = entry_path(entry).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{entry.name}.lock")
        lock.acquire()
    except OSError as error:
        raise SaveError(f"cannot write in {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def save(weights: VGGWeights, target: Path, entry: Entry) -> None:
    """Write `weights` as safetensors to `target`, complete or not at all. The caller holds the lock. Raises SaveError."""
    from safetensors.torch import save as serialize

    from impasto.weights.formats import OURS

    metadata = {
        "input": OURS,
        "layout": "(out, in, height, width)",
        "network": weights.network,
        "convention": weights.convention,
    }
    if weights.convention != "torchvision":
        # torchvision trained its own weights, under its own licence: Oxford's name does not go on them
        metadata |= {"origin": entry.origin, "licence": entry.licence}
    # always the same name: what a killed process leaves is overwritten by the next
    temporary = target.with_name(target.name + ".tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(serialize(weights.tensors, metadata))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)  # noqa: PTH105 (says what it is for)
    except OSError as error:
        raise SaveError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
