"""`impasto weights`: list, fetch, import and locate weights.

Each command imports `impasto.weights` itself, so that help does not wait for urllib.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from impasto.cli.console import bar, fail, report, tell
from impasto.files import printable
from impasto.jobs.signals import INTERRUPTED

weights_app = App(name="weights", help="List, fetch, locate or import the encoders' weights.", help_epilogue="")

Convention = Literal["caffe", "torchvision"]


@weights_app.command(name="list")
def list_() -> None:
    """Show every encoder's weights with their size, license and location."""
    from rich.console import Console
    from rich.table import Table

    from impasto import weights

    table = Table("name", "download", "license", "location", box=None)
    for entry in weights.TABLE.values():
        size = "comes with impasto" if entry.url is None else f"{entry.bytes / 1e6:.0f} MB"
        here = str(weights.find(entry.name) or "") or f"not here; impasto weights fetch {entry.name}"
        table.add_row(entry.name, size, entry.license, "in the package" if entry.url is None else here)
    Console(soft_wrap=True).print(table)


@weights_app.command
def fetch(name: str, /) -> int:
    """Download weights, verify them and keep them. An interrupted download is resumed.

    Parameters
    ----------
    name: str
        vgg16 or vgg19. IMPASTO_HOME sets the directory to keep them in. IMPASTO_OFFLINE=1 forbids downloads.
    """
    from impasto import weights

    weights.path(name)  # an unknown name fails before a bar is drawn
    with bar(name) as update:
        try:
            file = weights.fetch(name, progress=lambda done, total: update(done, total=total))
        except KeyboardInterrupt:
            return fail("interrupted; run the command again to resume the download", INTERRUPTED)
    tell(printable(file))
    return 0


@weights_app.command
def path(name: str, /) -> None:
    """Print the path of weights, whether or not they are there.

    Parameters
    ----------
    name: str
        lite, vgg16 or vgg19.
    """
    from impasto import weights

    tell(printable(weights.path(name)))


@weights_app.command(name="import")
def import_(
    file: Path,
    /,
    *,
    name: Annotated[str | None, Parameter(show_default=False)] = None,
    convention: Annotated[Convention | None, Parameter(show_default=False)] = None,
) -> None:
    """Import VGG weights from a local file: Keras .h5, torchvision or Caffe-converted .pth, MatConvNet .mat, safetensors.

    Parameters
    ----------
    file: Path
        The weights file. Its content determines its format.
    name: str
        The network to accept, vgg16 or vgg19. [default: both]
    convention: str
        The input a .pth file expects: caffe (BGR, 0..255) or torchvision (RGB, normalized). [default: caffe for Oxford's own weights,
        else torchvision]
    """
    from impasto import weights

    done = weights.import_file(file, name=name, convention=convention)
    report(f"{done.network} imported ({done.convention} input convention) to {printable(done.path)}")
