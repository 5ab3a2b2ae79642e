"""`impasto weights`: what is on this machine, and how to get the rest.

`impasto.weights` is imported by the commands that use it: help need not wait for urllib.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from impasto.cli.console import INTERRUPTED, fail

weights_app = App(name="weights", help="List, fetch, locate or import the encoders' weights.", help_epilogue="")

Convention = Literal["caffe", "torchvision"]


@weights_app.command(name="list")
def list_() -> None:
    """Show every encoder's weights: size, licence, and where they are."""
    from impasto import weights

    table = Table("name", "download", "licence", "where", box=None)
    for entry in weights.TABLE.values():
        size = "comes with impasto" if entry.url is None else f"{entry.bytes / 1e6:.0f} MB"
        here = str(weights.find(entry.name) or "") or f"not here; impasto weights fetch {entry.name}"
        table.add_row(entry.name, size, entry.licence, "in the package" if entry.url is None else here)
    Console(soft_wrap=True).print(table)


@weights_app.command
def fetch(name: str, /) -> int:
    """Download weights, check them and keep them for later; an interrupted download goes on where it stopped.

    Parameters
    ----------
    name: str
        vgg16 or vgg19. IMPASTO_HOME says where to keep them, IMPASTO_OFFLINE=1 forbids downloads.
    """
    from impasto import weights

    weights.path(name)  # an unknown name is said before a bar is drawn
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=None)
        try:
            file = weights.fetch(name, progress=lambda done, total: progress.update(task, completed=done, total=total))
        except KeyboardInterrupt:
            return fail("interrupted; what came is kept, and fetching again goes on from there", INTERRUPTED)
    print(file)
    return 0


@weights_app.command
def path(name: str, /) -> None:
    """Print where weights are, or would be.

    Parameters
    ----------
    name: str
        lite, vgg16 or vgg19.
    """
    from impasto import weights

    print(weights.path(name))


@weights_app.command(name="import")
def import_(
    file: Path,
    /,
    *,
    name: Annotated[str | None, Parameter(show_default=False)] = None,
    convention: Annotated[Convention | None, Parameter(show_default=False)] = None,
) -> None:
    """Take in a VGG you have: Keras .h5, torchvision or Caffe-converted .pth, MatConvNet .mat, safetensors.

    Parameters
    ----------
    file: Path
        The weights file; its format is told from its content.
    name: str
        vgg16 or vgg19, if it must be that one.
    convention: str
        What input a .pth expects: caffe (BGR, 0..255) or torchvision (RGB, normalised). [default: Oxford's weights are recognised,
        all others taken for torchvision's]
    """
    from impasto import weights

    done = weights.import_file(file, name=name, convention=convention)
    print(f"{done.network} imported ({done.convention} input convention) to {done.path}")
