"""Ctrl-C, other signals, closed terminals and readers that have gone: what is saved, what is said, and exit codes."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import LIMIT, QUICK, Cli, after_step, names, pixels_of, press_control_c, start, wait_until
from jobs.small import record

from impasto.cli import console, main
from impasto.jobs import states, unfinished
from impasto.jobs.clock import Clock

OUT, STATE = Path("out.png"), Path("out.png.unfinished")
WORDS = ("photo.png", "style.png", "--size", "40", "--iterations", "9", "--device", "cpu", "-o", str(OUT))
ENDLESS = ("photo.png", "style.png", "--size", "64", "--iterations", "100000", "--device", "cpu", "-o", str(OUT))
RESUMES = "the best image so far is in out.png; `impasto resume out.png` resumes it"

pytestmark = [pytest.mark.usefixtures("here"), pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and pipes")]


@pytest.mark.parametrize(
    ("number", "code", "reason"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "ended by a signal"),
        (signal.SIGHUP, 129, "interrupted when the terminal was closed"),
    ],
)
def test_signals_leave_an_image_and_a_state(cli: Cli, here: Path, number: signal.Signals, code: int, reason: str) -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with after_step(3, lambda: os.kill(os.getpid(), number)):
        said = cli(*WORDS, "--json")
    assert (said.code, said.json["exit_code"]) == (code, code)
    assert said.line == f"{reason} at 33%; {RESUMES}"
    assert said.json["error"] == f"{reason} at 33%"
    assert names(here) == {OUT.name, STATE.name}
    assert record(OUT)["done"] == pytest.approx(unfinished.read(STATE).done, abs=1e-4)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert cli("resume", OUT).code == 0


def test_several_signals_of_a_moment_are_one_and_those_while_saving_are_ignored(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("impasto.jobs.signals.MOMENT", 1e6)  # however long a busy machine takes

    def twice() -> None:
        try:
            press_control_c()
        finally:
            press_control_c()

    with after_step(3, twice):
        assert cli(*WORDS).line == f"interrupted at 33%; {RESUMES}"
    save = states.write

    def pressed(*words: object) -> int:
        press_control_c()
        return save(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(states, "write", pressed)
    with after_step(3):
        assert cli("resume", OUT).line == f"interrupted at 67%; {RESUMES}"


def test_control_c_while_an_event_is_shown(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the terminal is slow, much of the time goes there."""
    real, counts = console.describe, iter(range(100))

    def describe(event: object) -> str:
        if next(counts) == 2:
            press_control_c()
        return real(event)  # type: ignore[arg-type]

    monkeypatch.setattr(console, "PLAIN_EVERY", 0.0)
    monkeypatch.setattr(console, "describe", describe)
    assert cli(*WORDS).line == f"interrupted at 33%; {RESUMES}"
    assert names(here) == {OUT.name, STATE.name}


def test_control_c_before_the_first_step_writes_nothing(cli: Cli, here: Path) -> None:
    with after_step(0):
        said = cli(*WORDS, "--json")
    assert (said.code, said.line) == (130, "interrupted; nothing was written")
    assert said.json == {"error": said.line, "exit_code": 130}
    script = f"""
import os, signal, sys
from impasto.cli import main
class Press:
    def find_spec(self, name, path=None, target=None):
        if name == "torch.nn":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Press())
print("code", main({ENDLESS!r}))
"""
    with start("-c", script) as process:
        stdout, stderr = process.communicate()
    assert (stdout, stderr) == ("code 130\n", "impasto: interrupted; nothing was written\n")
    assert names(here) == set()


def test_the_best_image_so_far_goes_to_standard_output(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = io.BytesIO()
    with after_step(3), contextlib.redirect_stdout(io.TextIOWrapper(raw)):
        assert main([*WORDS[:-1], "-"]) == 130
        assert pixels_of(io.BytesIO(raw.getvalue())).shape == (33, 40, 3)
    assert capsys.readouterr().err == "impasto: interrupted at 33%; the best image so far is in standard output\n"
    assert names(here) == set()


def test_nohup_is_respected(cli: Cli) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with after_step(3, lambda: os.kill(os.getpid(), signal.SIGHUP)):
            assert cli(*WORDS).code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


# -------------------------------------------------------------------------------------------------------------- terminals


def read_until(terminal: int, pattern: str) -> str:
    """What is drawn on a pseudo-terminal until it matches, or until the other side goes away."""
    screen, until = "", time.monotonic() + LIMIT
    while not re.search(pattern, screen):
        assert time.monotonic() < until, f"{LIMIT} s were not enough for {pattern}: {screen[-500:]}"
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                screen += os.read(terminal, 65536).decode(errors="replace")
            except OSError:  # Linux says so when nobody holds the other side any more
                break
    return screen


def test_control_c_in_a_terminal(here: Path) -> None:
    """The bar is drawn while it paints; what stays on the screen says what became of the image."""
    import pty

    ours, theirs = pty.openpty()
    with start("-m", "impasto", *ENDLESS, stderr=theirs) as process:
        os.close(theirs)
        screen = read_until(ours, r"step \d+/100000")
        process.send_signal(signal.SIGINT)
        screen += read_until(ours, r"in out\.png")
        stdout, _ = process.communicate()
    os.close(ours)
    assert (process.returncode, stdout) == (130, "")
    assert "scale 1/1 64x53" in screen
    assert re.search(r"interrupted at \d+%; the best image so far is in out\.png", screen)
    assert "Traceback" not in screen
    assert pixels_of(OUT).shape == (53, 64, 3)
    assert names(here) == {OUT.name, STATE.name}


def test_the_terminal_is_closed(here: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    with (
        Path("said").open("w") as said,
        start("-m", "impasto", *ENDLESS, stdin=theirs, stdout=said, stderr=theirs, start_new_session=True) as process,
    ):
        os.close(theirs)
        wait_until(STATE.exists, process, "the first state")
        os.close(ours)
        process.send_signal(signal.SIGHUP)  # as the system does where it is the session's own terminal
        process.wait()
    assert process.returncode == 129
    assert Path("said").read_text() == ""
    assert names(here) == {OUT.name, STATE.name, "said"}


class Gone(io.StringIO):
    """Standard error whose reader has gone."""

    error = errno.EPIPE

    def write(self, text: str) -> int:
        raise OSError(self.error, "gone")  # a BrokenPipeError, by its number

    def flush(self) -> None:
        raise OSError(self.error, "gone")


class GoneTerminal(Gone):
    error = errno.EIO

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Gone, GoneTerminal])
def test_a_reader_that_goes_does_not_end_the_run(
    here: Path, monkeypatch: pytest.MonkeyPatch, stream: Callable[[], io.StringIO]
) -> None:
    monkeypatch.setattr(console, "PLAIN_EVERY", 0.0)
    monkeypatch.setattr(sys, "stderr", stream())
    assert main([*WORDS]) == 0
    assert names(here) == {OUT.name}


def test_a_full_pipe_does_not_hold_up_the_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "PLAIN_EVERY", 0.0)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(reading, "rb"), open(writing, "w", encoding="utf-8") as pipe:  # noqa: PTH123
        try:
            while os.write(writing, b"x" * 4096):
                pass
        except BlockingIOError:
            os.set_blocking(writing, True)
        monkeypatch.setattr(sys, "stderr", pipe)
        assert main([*WORDS]) == 0
    assert names(here) == {OUT.name}


# --------------------------------------------------------------------------------------------------------------- progress


def test_progress_without_a_terminal_is_a_line_now_and_then(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def monotonic() -> float:
        now[0] += 1
        return now[0]

    monkeypatch.setattr("time.monotonic", monotonic)
    monkeypatch.setattr(console, "PLAIN_EVERY", 0.0)
    said = cli("photo.png", "style.png", "--size", 182, "--iterations", 6)
    losses = r"content \S+  style \S+  palette \S+"
    pattern = rf"impasto: (\d+)%, (?:estimating|\d+ s left)  scale (\d)/2 (\d+x\d+)  step (\d)/(\d)  {losses}"
    found = [match.groups() for line in said.stderr.splitlines() if (match := re.fullmatch(pattern, line))]
    assert (len(found), said.code) == (6, 0)
    assert [(scale, size) for _, scale, size, *_ in found] == [("1", "128x107")] * 4 + [("2", "182x152")] * 2
    shares = [int(share) for share, *_ in found]
    assert shares == sorted(shares)
    assert shares[-1] == 100
    assert cli("photo.png", "style.png", *QUICK, "-q", "-o", "x.png").stderr == ""


def test_the_time_left_is_estimated_from_the_pace_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 101.0, 110.0, 190.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    clock = Clock()
    assert [console.left(clock, done) for done in (0.1, 0.12, 0.2, 1.0)] == [
        "estimating",
        "estimating",
        "1 min 20 s left",
        "0 s left",
    ]
    spans = {0: "0 s", 59.4: "59 s", 59.6: "1 min 00 s", 125: "2 min 05 s", 3599.7: "1 h 00 min", 4800: "1 h 20 min"}
    assert {span: console.seconds(span) for span in spans} == spans
