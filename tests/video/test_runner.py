"""Painting clips from Python: events, every quality, resuming, scenes, masks, blends, and what can go wrong."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import noise
from PIL import Image
from small_clips import SIZE, TIMES, film, folder, pictures

from impasto import files
from impasto.clips import Window, open_clip, settings_of
from impasto.errors import ImpastoError, OptionError, OutputError, PictureError, StateFileError
from impasto.inputs import Layer
from impasto.jobs import Failed, Note, Preview, Saved
from impasto.jobs.events import Frame
from impasto.jobs.lock import alone, state_of
from impasto.options import Options
from impasto.stylizer import Stylizer
from impasto.video.blending import Blending
from impasto.video.job import Output, Video
from impasto.video.runner import finish_early, run
from impasto.video.workspace import Workspace

QUALITIES = ("instant", "normal", "best")
OPTIONS: dict[str, Any] = {"size": 64, "device": "cpu", "precision": "fp32"}


@pytest.fixture(autouse=True)
def _fewer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The painters as they are, with fewer steps of the optimizer."""
    for name, steps in {"FIRST_STEPS": 6, "STEPS": 5, "KEY_STEPS": 5, "BETWEEN_STEPS": 2}.items():
        monkeypatch.setattr(f"impasto.video.painters.{name}", steps)
    monkeypatch.setattr("impasto.video.runner.PART", 4)


def video(clip: Path, *styles: Any, to: str = "out.mp4", quality: str = "instant", **more: Any) -> Video:
    options = Options(**OPTIONS | {"quality": quality} | more.pop("options", {}))
    output = Output(Path(to), **{name: more.pop(name) for name in ("overwrite", "metadata", "preview") if name in more})
    return Video(clip, styles or ("udnie",), options, output, **more)


def paint(job: Video, **more: Any) -> Saved:
    *_, saved = run(job, **more)
    assert isinstance(saved, Saved), saved
    return saved


def frames_of(path: str | Path) -> list[Any]:
    return [frame.pixels[0].permute(1, 2, 0).numpy() for frame in open_clip(path).frames()]


def digest_without_seconds(path: str) -> str:
    """Of a folder's frames, or of the decoded frames and times of a film."""
    clip = open_clip(path)
    found = hashlib.sha256(repr(clip.times()).encode())
    for frame in clip.frames():
        found.update(frame.pixels.numpy().tobytes())
    return found.hexdigest()


def test_events_and_the_result(pan: Path) -> None:
    events = list(run(video(pan, "style.png", "udnie")))
    assert pickle.loads(pickle.dumps(events)) == events
    saved = events[-1]
    assert isinstance(saved, Saved)
    frames = [event for event in events if isinstance(event, Frame)]
    assert [(frame.number, frame.of) for frame in frames] == [(number, 15) for number in range(1, 16)]
    assert (saved.path, saved.width, saved.height, saved.problem) == (Path("out.mp4"), 64, 48, "")
    clip = open_clip("out.mp4")
    assert (clip.size, clip.count, clip.times()) == (SIZE, 15, TIMES[:15])
    assert not state_of(Path("out.mp4")).exists()
    stored = settings_of("out.mp4")
    assert stored == json.loads(json.dumps(saved.settings))
    assert stored["inputs"]["photo"] == {"name": "clip.mp4", "sha256": files.digest(pan)}
    assert (stored["clip"]["frames"], stored["size"], stored["quality"]) == (15, 64, "instant")


def test_instant_is_the_network_where_there_is_nothing_before(pan: Path) -> None:
    paint(video(pan, to="out"))
    first = next(open_clip(pan).frames())
    alone = Stylizer(quality="instant", **OPTIONS).run(first.pixels[0], "udnie").finish()
    assert np.abs(np.asarray(Image.open("out/000001.png"), int) - np.asarray(alone, int)).max() <= 1


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_run_that_was_stopped_again_and_again_ends_with_the_same_result(pan: Path, quality: str) -> None:
    paint(video(pan, to="whole.mp4", quality=quality))
    stops, rounds = itertools.cycle((1, 2, 3)), 0
    while not Path("out.mp4").exists():
        events, painted, most = run(video(pan, quality=quality)), 0, next(stops)
        for event in events:
            painted += isinstance(event, Frame)
            if painted == most:
                break
        events.close()
        rounds += 1
        assert rounds < 30
    assert rounds > 4
    assert digest_without_seconds("out.mp4") == digest_without_seconds("whole.mp4")
    assert not state_of(Path("out.mp4")).exists()


def test_ctrl_c_keeps_every_painted_frame_and_says_how_to_resume(pan: Path) -> None:
    events = run(video(pan))
    painted = 0
    for event in events:
        painted += isinstance(event, Frame)
        if painted == 6:
            break
    failed = events.throw(KeyboardInterrupt())  # as `cli.paint.follow` does
    assert isinstance(failed, Failed)
    assert failed.exit_code == 130
    events.close()
    assert failed.problem == "interrupted; 6 of 15 frames are painted; `impasto resume out.mp4` resumes it"
    assert Workspace.read(Path("out.mp4")).painted == 6
    again = [event for event in run(video(pan)) if isinstance(event, Frame)]
    assert [event.number for event in again] == list(range(7, 16))


@pytest.mark.parametrize("to", ["out.mp4", "out.gif"])
def test_a_run_that_is_ended_early_gives_the_frames_so_far(pan: Path, to: str) -> None:
    job = video(pan, to=to)
    assert finish_early(job) is None
    events = run(job)
    for event in events:
        if isinstance(event, Frame) and event.number == 6:
            events.close()
            break
    saved = finish_early(job)
    assert saved is not None
    assert (saved.path, saved.exit_code, saved.problem) == (Path(to), 130, "ended early, with 6 of 15 frames")
    assert (settings_of(to) or {})["clip"]["frames"] == 6
    assert (settings_of(to) or {})["done"] == 0.4
    assert not state_of(Path(to)).exists()
    part = open_clip(to)
    assert part.count == 6
    if to == "out.mp4":
        assert part.times() == open_clip(pan).times()[:6]
    paint(video(pan, to=f"whole-{to}"))
    for early, late in zip(frames_of(to), frames_of(f"whole-{to}"), strict=False):
        assert abs(early - late).mean() < 0.02
    run(video(pan, to="none.mp4")).close()
    assert finish_early(video(pan, to="none.mp4")) is None


def test_the_folder_of_an_unfinished_video_stays_small(pan: Path) -> None:
    most = 0
    for event in run(video(pan)):
        if isinstance(event, Frame):
            most = max(most, len(list(state_of(Path("out.mp4")).glob("frame-*.png"))))
    assert most <= 6  # a part has 4 here


@pytest.mark.parametrize("quality", QUALITIES)
def test_nothing_is_remembered_across_a_cut(here: Path, quality: str) -> None:
    one, other = pictures("pan", 5), [255 - frame[:, ::-1] for frame in pictures("zoom", 3)]
    folder(here / "both", one + other)
    folder(here / "second", other)
    paint(video(here / "both", to="both-out", quality=quality))
    paint(video(here / "second", to="second-out", quality=quality))
    together, apart = frames_of("both-out"), frames_of("second-out")
    for number in range(3):
        assert np.array_equal(together[5 + number], apart[number])


def test_frames_are_calmer_than_when_painted_one_by_one(here: Path) -> None:
    folder(here / "still", [np.clip(pictures("still", 1)[0] + grain, 0, 255).astype(np.uint8) for grain in grains(8)])
    paint(video(here / "still", to="out"))
    stylizer = Stylizer(quality="instant", **OPTIONS)
    style = stylizer.style("udnie")
    alone = [
        np.asarray(stylizer.run(frame.pixels[0], style).finish(), float) / 255 for frame in open_clip(here / "still").frames()
    ]

    def restless(frames: list[Any]) -> float:
        return float(np.mean([np.square(later - earlier).mean() for earlier, later in itertools.pairwise(frames)]))

    assert restless(frames_of("out")) < 0.5 * restless(alone)


def grains(count: int) -> list[Any]:
    generator = np.random.default_rng(0)
    return [generator.normal(0, 6, (*SIZE, 3)) for _ in range(count)]


# ----------------------------------------------------------------------------------------------------------- looks


def test_a_mask_keeps_a_part_and_a_mask_clip_moves(here: Path) -> None:
    clip = folder(here / "clip", pictures("pan", 4))
    masks = np.zeros((4, *SIZE), np.uint8)
    for number in range(4):
        masks[number, :, 16 * number : 16 * number + 16] = 255
    moving = folder(here / "mask", list(masks))
    Image.fromarray(masks[0]).save(here / "still.png")
    paint(video(clip, to="moved", layers=(Layer(moving, None),)))
    paint(video(clip, to="kept", layers=(Layer(here / "still.png", None),)))
    source = frames_of(clip)
    for place, columns in (("moved", range(4)), ("kept", [0] * 4)):
        for number, (frame, column) in enumerate(zip(frames_of(place), columns, strict=True)):
            kept = np.s_[:, 16 * column + 4 : 16 * column + 12]  # away from the border of the mask, which is soft
            assert np.abs(frame[kept] - source[number][kept]).max() < 1.5 / 255
            other = np.s_[:, (16 * column + 24) % 64 : (16 * column + 24) % 64 + 16]
            assert np.abs(frame[other] - source[number][other]).mean() > 8 / 255


def test_a_mask_clip_of_another_shape_is_refused(here: Path) -> None:
    clip = folder(here / "clip", pictures("pan", 2))
    mask = folder(here / "mask", [np.zeros((48, 48), np.uint8)] * 2)
    with pytest.raises(PictureError, match="mask mask has another aspect than the clip"):
        list(run(video(clip, to="out", layers=(Layer(mask, None),))))


def test_styles_change_over_a_clip(here: Path) -> None:
    clip = folder(here / "clip", pictures("still", 1) * 5)
    for name, styles, blending in (
        ("changing", ("udnie", "the-scream"), Blending.parse(["1..0"])),
        ("first", ("udnie",), None),
        ("last", ("the-scream",), None),
    ):
        paint(video(clip, *styles, to=name, blending=blending, quality="normal"))
    changing, first, last = map(frames_of, ("changing", "first", "last"))
    assert np.array_equal(changing[0], first[0])
    ways = [
        float(np.abs(frame - first[0]).mean() - np.abs(frame - last[0]).mean())
        for frame in (changing[0], changing[2], changing[4])
    ]
    assert ways[0] < ways[1] < ways[2]


def test_blends() -> None:
    blending = Blending.parse(["1..0", ".25"])
    assert blending.at(0.5, 2) == (0.5, 0.25)
    assert blending.at(0.5, 3) == (0.5, 0.25, 0.25)
    for words, count, problem in (
        (["1..0"], 1, "needs several styles"),
        (["1..0"], 3, "must have a weight for each of the 3 styles, or for all but the last"),
        (["0..1", "0..1"], 2, "must have a number above 0 at any time"),
        (["2..0"], 2, "leaves nothing for the last style"),
        (["1..x"], 2, "must be numbers such as 0.7, or ranges such as 1..0, not '1..x'"),
        (["1e400"], 2, "must be numbers"),
    ):
        with pytest.raises(OptionError, match=problem.replace(".", r"\.")):
            Blending.parse(words).check(count)


def test_a_window_of_a_clip(pan: Path) -> None:
    window = Window(start=Fraction(1, 10), end=Fraction(1, 2), every=2)
    saved = paint(video(pan, window=window))
    times = [time for time in TIMES[:15] if Fraction(1, 10) <= time < Fraction(1, 2)][::2]
    found = open_clip("out.mp4")
    assert found.times() == [time - times[0] for time in times]
    assert saved.settings["clip"]["frames"] == len(times)


@pytest.mark.parametrize("to", ["out.webm", "out.gif", "out"])
def test_other_targets(pan: Path, to: str) -> None:
    paint(video(pan, to=to))
    clip = open_clip(to)
    assert (clip.size, clip.count) == (SIZE, 15)
    if to == "out":
        assert sorted(file.name for file in Path("out").iterdir()) == [f"{number:06}.png" for number in range(1, 16)]
    assert not state_of(Path(to)).exists()


def test_a_preview_comes_first(here: Path) -> None:
    clip = film(here / "long.mp4", pictures("pan", 56))
    events = list(run(video(clip, to="out.mp4", preview=True)))
    previews = [(place, event) for place, event in enumerate(events) if isinstance(event, Preview)]
    (first, still), (second, start) = previews
    assert isinstance(events[first - 1], Frame)
    assert (still.path, start.path) == (Path("out-preview.png"), Path("out-preview.mp4"))
    assert sum(isinstance(event, Frame) for event in events[second:]) > 2  # there is more to come
    assert Fraction(2) <= open_clip("out-preview.mp4").seconds < Fraction(9, 4)
    with Image.open("out-preview.png") as image:
        assert image.size == (64, 48)


# ----------------------------------------------------------------------------------------------------------- what goes wrong


def test_a_full_disk_keeps_the_state(pan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, count = files.write, itertools.count()

    def full(path: Any, *words: Any, **more: Any) -> None:
        if "frame-" in str(path) and next(count) == 3:
            raise files.SaveError(f"{path} could not be written: {errno.errorcode[errno.ENOSPC]}")
        write(path, *words, **more)

    with monkeypatch.context() as patched:
        patched.setattr(files, "write", full)
        *_, failed = run(video(pan))
    assert isinstance(failed, Failed)
    assert "could not be written: ENOSPC; 3 of 15 frames are painted; `impasto resume out.mp4` resumes it" in failed.problem
    assert failed.exit_code == 1
    paint(video(pan))
    assert open_clip("out.mp4").count == 15


def test_two_runs_and_runs_of_other_jobs_are_refused(pan: Path) -> None:
    with alone(Path("out.mp4")), pytest.raises(OutputError, match="another run is writing"):
        list(run(video(pan)))
    events = run(video(pan))
    next(event for event in events if isinstance(event, Frame))
    events.close()
    with pytest.raises(OutputError, match=r"belongs to an unfinished run of another job: `impasto resume out\.mp4` resumes it"):
        list(run(video(pan, "the-scream")))
    with pytest.raises(OutputError, match="belongs to an unfinished run: "):
        list(run(video(pan), resume=False))
    paint(video(pan, "the-scream", overwrite=True))


def test_a_run_whose_clip_has_changed_is_not_resumed(pan: Path) -> None:
    events = run(video(pan))
    next(event for event in events if isinstance(event, Frame))
    events.close()
    film(pan, pictures("zoom", 15))
    with pytest.raises(StateFileError, match="the clip has changed"):
        list(run(video(pan)))
    state = state_of(Path("out.mp4")) / "card.json"
    state.write_text("{}")
    with pytest.raises(StateFileError, match="is damaged, or from another version of impasto"):
        list(run(video(pan)))


@pytest.mark.parametrize(
    ("change", "error", "problem"),
    [
        ({"to": "out.avi"}, OutputError, "unknown suffix '.avi'"),
        ({"to": "clip.mp4", "overwrite": True}, OutputError, "output clip.mp4 is an input itself"),
        ({"to": "nowhere/out.mp4"}, OutputError, "there is no directory nowhere"),
        ({"to": "nowhere/out"}, OutputError, "there is no directory nowhere"),
        ({"to": "full"}, OutputError, "full exists and is not an empty folder"),
        ({"quality": "draft"}, OptionError, "must be instant, normal, best for a video, not 'draft'"),
        ({"options": {"iterations": 5}, "quality": "normal"}, OptionError, "is chosen by the quality of a video"),
        ({"options": {"strength": 0.0}}, OptionError, "must be above 0 for a video"),
        ({"options": {"method": "gatys"}, "quality": "normal"}, OptionError, "method must be the default for a video"),
        ({"window": Window(start=Fraction(9))}, OptionError, "is after the end"),
        ({"layers": (Layer("none.png", None),)}, PictureError, "no such file"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    pan: Path, change: dict[str, Any], error: type[ImpastoError], problem: str
) -> None:
    Path("full").mkdir()
    Path("full/file").touch()
    before = sorted(Path().iterdir())
    with pytest.raises(error, match=problem.replace(".", r"\.")):
        list(run(video(pan, **change)))
    assert sorted(Path().iterdir()) == before


def test_clips_of_one_frame_and_of_tiny_frames(here: Path) -> None:
    paint(video(folder(here / "one", pictures("still", 1)), to="one.mp4", quality="normal"))
    assert open_clip("one.mp4").count == 1
    tiny = folder(here / "tiny", pictures("pan", 3, (16, 16)))
    for quality in QUALITIES:
        paint(video(tiny, to=f"{quality}.mp4", quality=quality, options={"size": "original"}))
        assert open_clip(f"{quality}.mp4").size == (16, 16)


def test_jobs_as_json(pan: Path, here: Path) -> None:
    noise(here / "m.png", 48, 64, seed=4)
    job = video(
        pan,
        "style.png",
        "udnie",
        layers=(Layer("m.png", "the-scream"), Layer("m.png", None)),
        window=Window(Fraction(1, 3), None, Fraction(30000, 1001), 2),
        blending=Blending.parse(["1..0"]),
        quality="best",
    )
    again = Video.from_json(json.loads(json.dumps(job.to_json())))
    assert again.to_json() == job.to_json()
    assert again.same_as(job.to_json())
    assert again.window == job.window
    assert again.blending == job.blending
    with pytest.raises(OptionError, match="not a video job"):
        Video.from_json({"inputs": {}})


def test_late_notes_are_said_once(here: Path) -> None:
    frames = pictures("pan", 3)
    place = folder(here / "odd", frames)
    Image.fromarray(pictures("pan", 1, (24, 32))[0]).save(place / "004.png")
    events = list(run(video(place, to="out.mp4")))
    notes = [event.text for event in events if isinstance(event, Note)]
    assert len(notes) == len(set(notes))
    assert any("004.png" in note or "size" in note for note in notes), notes


def test_the_terms_of_time_are_exact_in_blocks(here: Path) -> None:
    from impasto.compute.memory import Plan
    from impasto.pictures import load
    from impasto.video.temporal import Earlier, temporal_terms

    stylizer = Stylizer(**OPTIONS | {"size": 192}, quality="normal")
    run_ = stylizer.run("photo.png", "style.png")
    problem = run_.problem  # type: ignore[attr-defined]
    image = torch.rand(1, 3, *problem.size, generator=torch.Generator().manual_seed(0))
    target = torch.rand(1, 3, *problem.size, generator=torch.Generator().manual_seed(1))
    W = torch.rand(1, 1, *problem.size, generator=torch.Generator().manual_seed(2))
    terms = temporal_terms([Earlier(target, W, W)], 30.0, torch.device("cpu"))(problem.size)
    found = [problem.objective(problem.size, Plan(side), terms)(image.clone()) for side in (None, 96)]
    wanted = 30.0 * float((W.double() * (image.double() - target.double()) ** 2).sum() / image.numel())
    plain = problem.objective(problem.size, Plan(None))(image.clone())
    for losses, gradient in found:
        assert losses["temporal"] == pytest.approx(wanted, rel=1e-5)
        difference = gradient - plain[1]
        assert torch.allclose(difference, 60.0 * W * (image - target) / image.numel(), atol=2e-6)
    assert load("photo.png").size == (40, 48)


@pytest.mark.parametrize("to", ["out.mp4", "out.gif", "out"])
def test_a_run_that_is_killed_at_the_very_end_is_known_to_be_finished(
    pan: Path, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    def killed(self: Workspace) -> None:
        if self.card.whole:
            raise KilledError
        remove(self)

    remove = Workspace.remove
    with monkeypatch.context() as patched:
        patched.setattr(Workspace, "remove", killed)
        with pytest.raises(KilledError):
            list(run(video(pan, to=to)))
    assert Path(to).exists()
    (saved,) = run(video(pan, to=to))
    assert isinstance(saved, Saved)
    assert (saved.path, saved.width, saved.height) == (Path(to), 64, 48)
    assert not state_of(Path(to)).exists()


@pytest.mark.parametrize("to", ["out.mp4", "out"])
def test_a_name_that_is_taken_meanwhile_is_not_replaced(pan: Path, to: str) -> None:
    events = run(video(pan, to=to))
    next(event for event in events if isinstance(event, Frame))
    if to == "out":
        Path(to).mkdir()
        Path("out/mine").touch()
    else:
        Path(to).write_bytes(b"mine")
    *_, saved = events
    assert isinstance(saved, Saved)
    assert saved.path == Path(to).with_stem("out-2")
    assert open_clip(saved.path).count == 15
    assert (Path("out/mine") if to == "out" else Path(to)).exists()


def test_what_is_replaced_is_replaced_after_resuming_too(pan: Path) -> None:
    Path("out.mp4").write_bytes(b"old")
    events = run(video(pan, overwrite=True))
    next(event for event in events if isinstance(event, Frame))
    events.close()
    assert Path("out.mp4").read_bytes() == b"old"
    paint(video(pan))
    assert open_clip("out.mp4").count == 15
