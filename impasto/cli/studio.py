"""`impasto studio`: the web page and the HTTP API."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

from impasto.cli.console import note, tell
from impasto.cli.forms import whole_number
from impasto.errors import OptionError

if TYPE_CHECKING:
    from impasto.studio.server import Settings

EXTRA = ("fastapi", "uvicorn", "python_multipart")


def studio(
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, cyclopts.Parameter(converter=whole_number("port", least=0, most=65_535))] = 8765,
    data: Path | None = None,
    device: Annotated[tuple[str, ...], cyclopts.Parameter(consume_multiple=True)] = ("auto",),
    workers: Annotated[int, cyclopts.Parameter(converter=whole_number("workers", least=1, most=64))] = 1,
    name: Annotated[tuple[str, ...], cyclopts.Parameter(consume_multiple=True)] = (),
    max_upload: Annotated[int, cyclopts.Parameter(converter=whole_number("max_upload", least=1, most=100_000))] = 200,
    max_pixels: Annotated[int, cyclopts.Parameter(converter=whole_number("max_pixels", least=1))] = 200_000_000,
    keep_days: Annotated[int | None, cyclopts.Parameter(converter=whole_number("keep_days", least=1))] = None,
    no_browser: bool = False,
) -> int:
    """Open impasto in the browser: a page, an HTTP API, and a queue. Needs the extra studio. Ends with Ctrl-C.

    Pictures stay on this machine. Nothing is fetched from the network.

    Parameters
    ----------
    host: str
        Address to listen at. With 0.0.0.0 others reach it too, by the printed address with its token.
    port: int
        Port to listen at; 0 takes a free one.
    data: Path
        Directory for uploads, results and the queue. [default: the user's data directory]
    device: str
        Devices to paint on: auto, cpu, cuda, mps.
    workers: int
        Worker processes for each device.
    name: str
        Host names that reach the server besides its address.
    max_upload: int
        Largest upload in megabytes.
    max_pixels: int
        Refuse images of more pixels than this.
    keep_days: int
        Delete results that are older than so many days. [default: never]
    no_browser: bool
        Do not open the page in the browser.
    """
    settings = _settings(host, port, data, device * workers, name, max_upload, max_pixels, keep_days)
    if not settings.is_local:
        note("others on the network can reach this server: share the address only with people who may use it")
    from impasto.studio.server import serve

    def started(address: str) -> None:
        tell(f"the studio is at {address}")
        if not no_browser and settings.is_local:
            webbrowser.open(address)

    with contextlib.suppress(KeyboardInterrupt):
        serve(settings, started)
    return 0


def _settings(
    host: str,
    port: int,
    data: Path | None,
    devices: tuple[str, ...],
    names: tuple[str, ...],
    max_upload: int,
    max_pixels: int,
    keep_days: int | None,
) -> Settings:
    """Raises OptionError, also where the extra is missing."""
    missing = [package for package in EXTRA if importlib.util.find_spec(package) is None]
    if missing:
        raise OptionError(f"the studio needs {', '.join(missing)}: pip install 'impasto[studio]'")
    import platformdirs

    from impasto.studio.api import Limits
    from impasto.studio.server import Settings

    for one in devices:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", one):
            raise OptionError(f"must be auto, cpu, cuda or mps, or cuda:1 for the second GPU, not {one!r}", option="device")
    place = data or Path(platformdirs.user_data_dir("impasto", appauthor=False)) / "studio"
    limits = Limits(max_upload=max_upload * 1_000_000, max_pixels=max_pixels, keep_days=keep_days)
    return Settings(place, host, port, names, devices, limits)
