"""For every test: the network is off but for this machine itself, and the user's own cache is out of reach."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# before numpy and torch load, and also for the programs that tests start: pictures this small gain nothing from a second thread, and
# tests run on every core
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the command line does

import numpy as np
import pytest
from command_line import Cli, Said, noise
from PIL import Image

_connect = socket.socket.connect


def _only_here(self: socket.socket, address: Any) -> None:
    if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"tests must not use the network, but one asked for {address[0]}")
    _connect(self, address)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(socket.socket, "connect", _only_here)
    monkeypatch.setenv("IMPASTO_HOME", str(tmp_path_factory.getbasetemp() / "home"))
    monkeypatch.delenv("IMPASTO_OFFLINE", raising=False)


@pytest.fixture(scope="session", autouse=True)
def _signals_heard() -> Iterator[None]:
    """Where nohup, or a shell's &, has pytest ignore signals, have them heard: what tests start, and Ctrl-C in them, would be deaf too.

    Nothing of pytest's own ends by a closed terminal even so, while programs that it starts have the system's own handlers.
    """
    heard = {"SIGINT": signal.default_int_handler, "SIGHUP": lambda number, frame: None}
    numbers = {getattr(signal, name): handler for name, handler in heard.items() if hasattr(signal, name)}
    ignored = [number for number in numbers if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, numbers[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def assets() -> Path:
    import impasto

    return Path(impasto.__file__).parent / "assets"


@pytest.fixture
def photo(assets: Path) -> Path:
    return assets / "chelsea.jpg"


@pytest.fixture
def painting(assets: Path) -> Path:
    return assets / "strokes.jpg"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder a test runs in: photo.png, 48x40, style.png, 40x48, and another.png, 44x44, of noise; mask.png, right part white."""
    noise(tmp_path / "photo.png", 40, 48, seed=1)
    noise(tmp_path / "style.png", 48, 40, seed=2)
    noise(tmp_path / "another.png", 44, 44, seed=3)
    Image.fromarray(np.repeat([[0, 255]], 40, axis=0).repeat(24, axis=1).astype(np.uint8)).save(tmp_path / "mask.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have runs save their state after every step."""
    monkeypatch.setenv("IMPASTO_SAVE_EVERY", "0")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line in this process: words, or paths, to what they ended with and said."""
    from impasto.cli import main

    def run(*words: object) -> Said:
        code = main([str(word) for word in words])
        return Said(code, *capsys.readouterr())

    return run
