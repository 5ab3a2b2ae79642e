"""The first look: what quality "instant" makes of a job is its first preview, and changes nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command_line import after_step, names, pixels_of
from jobs.small import OUT, begin, finish, interrupt, job, same
from PIL import Image

from impasto import fast, jobs
from impasto.compute import device as devices
from impasto.errors import MemoryLimitError, OutputError
from impasto.inputs import Inputs, Layer
from impasto.jobs import Failed, Preview, Progress, look
from impasto.stylizer import Stylizer

FIRST = Path("out-step00000.png")
PREVIEW = {"preview": 50}

pytestmark = pytest.mark.usefixtures("here")


def test_it_is_what_instant_paints_and_comes_before_the_first_step(here: Path) -> None:
    inputs = Inputs("photo.png", ("style.png", "udnie"), (Layer("mask.png", "another.png"),))
    look: dict[str, Any] = {"size": 40, "device": "cpu", "strength": 0.7, "blend": (1, 2)}
    events = list(jobs.run(job(inputs=inputs, output=PREVIEW, **look)))
    kinds = [type(event) for event in events if not isinstance(event, jobs.Note)]
    assert kinds[:2] == [Preview, Progress]
    assert Preview(FIRST, 0) in events
    assert kinds.count(Preview) == 1
    given = [(layer.mask, layer.style) for layer in inputs.layers]
    image = Stylizer(quality="instant", **look).run("photo.png", inputs.styles, masks=given).finish()
    with Image.open(FIRST) as first:
        assert first.tobytes() == image.tobytes()
    assert (pixels_of(FIRST) != pixels_of(OUT)).any()
    assert names(here) == {OUT.name, FIRST.name}


@pytest.mark.parametrize("options", [{}, {"keep_colors": "luma", "style_scale": 0.5}, {"size": 150, "max_memory": "600MB"}])
def test_it_does_not_change_the_result(here: Path, options: dict[str, Any]) -> None:
    """Styles remember the targets that the network asks for, and the optimizer may ask for the same ones."""
    some = {"iterations": 4, **options}
    finish(job("whole.png", **some))
    finish(job(output=PREVIEW, **some))
    assert same(OUT, "whole.png")
    assert names(here) == {OUT.name, "whole.png", FIRST.name}


def test_a_job_without_previews_has_none(here: Path) -> None:
    assert not [event for event in jobs.run(job(output={"frames": Path("film.gif")})) if isinstance(event, Preview)]
    assert names(here) == {OUT.name, "film.gif"}


@pytest.mark.parametrize(
    "options",
    [
        {"method": "gatys", "encoder": "lite"},
        {"style_taps": "relu1_1,relu2_1"},
        {"content_taps": "relu4_1"},
        {"pooling": "average"},
        {"palette_weight": 0.0},
        {"init": "noise"},
        {"quality": "instant", "iterations": 1},
        {"strength": 0.0},
    ],
    ids=str,
)
def test_there_is_none_where_the_network_would_show_something_else(here: Path, options: dict[str, Any]) -> None:
    finish(job(output=PREVIEW, **options))
    assert names(here) == {OUT.name}


def test_there_is_none_with_a_start_image_or_other_weights(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(job(inputs=Inputs("photo.png", ("style.png",), start="another.png"), output=PREVIEW))
    assert names(here) == {OUT.name}
    stylizer = Stylizer(size=40, device="cpu")
    stylizer.encoder.digest = "another"
    finish(job("other.png", output=PREVIEW), stylizer=stylizer)
    assert names(here) == {OUT.name, "other.png"}


@pytest.mark.parametrize("options", [{"iterations": 3}, {"init_size": 32}, {"quality": "draft", "seed": 7}], ids=str)
def test_how_long_the_optimizer_works_makes_no_difference(options: dict[str, Any]) -> None:
    first = next(event for event in jobs.run(job(output=PREVIEW, **options)) if not isinstance(event, jobs.Note))
    assert first == Preview(FIRST, 0)


def test_a_resumed_run_does_not_paint_it_again(here: Path) -> None:
    finish(job("whole.png", output=PREVIEW))
    interrupt(job(output=PREVIEW), 4)
    FIRST.write_bytes(b"mine")
    events = list(jobs.run(job(output=PREVIEW)))
    assert not [event for event in events if isinstance(event, Preview)]
    assert FIRST.read_bytes() == b"mine"
    assert same(OUT, "whole.png")


def test_a_file_of_its_name_is_replaced_only_with_overwrite(here: Path) -> None:
    FIRST.write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"^out-step00000.png exists; use overwrite to replace it$"):
        finish(job(output=PREVIEW))
    assert FIRST.read_bytes() == b"mine"
    assert names(here) == {FIRST.name}
    finish(job(output={"overwrite": True, **PREVIEW}))
    assert pixels_of(FIRST).shape == (33, 40, 3)
    Image.fromarray(pixels_of("photo.png")).save(FIRST)
    with pytest.raises(OutputError, match=r"would replace the input out-step00000\.png"):
        finish(job(inputs=Inputs(FIRST, ("style.png",)), output={"overwrite": True, **PREVIEW}))


def test_stopped_after_it_a_run_says_what_there_is(here: Path) -> None:
    with after_step(0):
        events = list(jobs.run(job(output=PREVIEW)))
    assert events == [Preview(FIRST, 0), Failed("interrupted; only a preview was written", 130)]
    assert names(here) == {FIRST.name}
    begin(job("closed.png", output=PREVIEW), 1).close()
    assert names(here) >= {"closed-step00000.png", "closed.png.unfinished"}


def test_a_large_image_has_a_small_one_enlarged(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it takes does not grow with the image: a run in blocks has little memory."""
    monkeypatch.setattr(look, "LONGEST", 160)
    painted: list[tuple[int, ...]] = []
    paint = fast.Instant.__iter__

    def seen(session: fast.Instant) -> Any:
        for step in paint(session):
            painted.append(tuple(step.image.shape[-2:]))
            yield step

    monkeypatch.setattr(fast.Instant, "__iter__", seen)
    finish(job(size=320, iterations=2, output=PREVIEW))
    assert painted == [(134, 160)]
    assert pixels_of(FIRST).shape == (267, 320, 3)


def test_a_network_that_fails_is_no_reason_to_end_the_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(session: fast.Instant) -> Any:
        raise MemoryLimitError("too little memory")
        yield

    monkeypatch.setattr(fast.Instant, "__iter__", full)
    finish(job(output=PREVIEW))
    assert names(here) == {OUT.name}


def test_the_network_sees_the_settings_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that targets it leaves behind are those that the run would have computed, also on a GPU."""
    entered: list[bool] = []
    settings, paint = devices.settings, fast.Instant.finish

    class Settings:
        inside = False

        def __init__(self, *words: Any) -> None:
            self.own = settings(*words)

        def __enter__(self) -> None:
            self.own.__enter__()
            Settings.inside = True

        def __exit__(self, *words: Any) -> None:
            Settings.inside = False
            self.own.__exit__(*words)

    def finish_inside(session: fast.Instant) -> Any:
        entered.append(Settings.inside)
        return paint(session)

    monkeypatch.setattr(devices, "settings", Settings)
    monkeypatch.setattr(fast.Instant, "finish", finish_inside)
    finish(job(output=PREVIEW))
    assert entered == [True]
