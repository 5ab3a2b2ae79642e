"""A worker's part: one item at a time, with what is kept between items, on files and on addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pytest
from batches.folders import item, same_image, tree
from command_line import Cli, noise

from impasto import pictures
from impasto.batches import Settings
from impasto.batches.painter import Painter, StoppedError
from impasto.errors import SaveError
from impasto.inputs import built_in
from impasto.styles import Painted

pytestmark = pytest.mark.usefixtures("here")

OUT = Path("out")


def painter(**settings: Any) -> Painter:
    return Painter(Settings("out", **settings))


def state(one: Painter, what: Any) -> str:
    return one.paint(0, what).state


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (("--quality", "instant"), {}),
        (("--iterations", "3"), {"quality": "normal", "iterations": 3}),
        (("--quality", "instant", "--keep-colors", "luma"), {"keep_colors": "luma"}),
    ],
)
def test_an_item_is_the_image_that_the_command_paints(cli: Cli, words: tuple[str, ...], options: dict[str, Any]) -> None:
    assert painter().paint(7, item("photo.png", "style.png", **options)).good
    assert cli("photo.png", "style.png", "--size", 48, "--device", "cpu", "-o", "alone.png", *words).code == 0
    assert same_image(OUT / "one.png", Path("alone.png"))


def test_an_image_does_not_depend_on_what_was_painted_before() -> None:
    many, items = (
        painter(),
        [
            item(photo, style, output=f"{photo[0]}-{style}.png", strength=strength)
            for photo, style, strength in (
                ("photo.png", "style.png", 0.5),
                ("another.png", "udnie", 0.5),
                ("photo.png", "another.png", 0.9),
                ("another.png", "style.png", 0.5),
            )
        ],
    )
    for one in items:
        assert many.paint(0, one).good
    found = tree(OUT)
    for one in items:
        (OUT / one.output).unlink()
        assert painter().paint(0, one).good
    assert tree(OUT) == found


def test_the_bytes_do_not_tell_how_long_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one.png", "two.png"):
        assert painter().paint(0, item("photo.png", output=name, quality="normal", iterations=2)).good
        monkeypatch.setattr("impasto.compute.memory.limit_of", lambda device: 10**10)
        monkeypatch.setattr("impasto.jobs.runner.time.monotonic", iter(range(0, 10**9, 1000)).__next__)
    assert (OUT / "one.png").read_bytes() == (OUT / "two.png").read_bytes()


def test_a_result_is_kept_until_something_changes() -> None:
    one, what = painter(), item("photo.png", "style.png")
    assert [state(one, what) for _ in range(2)] == ["painted", "kept"]
    assert state(painter(), what) == "kept"
    assert state(one, item("photo.png", "style.png", strength=0.9)) == "painted"
    noise(Path("style.png"), 48, 40, seed=9)
    assert [state(one, item("photo.png", "style.png", strength=0.9)) for _ in range(2)] == ["painted", "kept"]
    (OUT / "one.png").write_bytes((OUT / "one.png").read_bytes()[:-20])
    assert [state(one, item("photo.png", "style.png", strength=0.9)) for _ in range(2)] == ["painted", "kept"]


def test_a_panorama_that_gets_a_larger_size_is_kept_too() -> None:
    noise(Path("wide.png"), 20, 1200, seed=1)
    what = item("wide.png")
    what = type(what)(what.photo, what.styles, type(what.options)(quality="instant", device="cpu"), "one.png")
    one = painter()
    assert [state(one, what) for _ in range(2)] == ["painted", "kept"]
    assert pictures.read_settings(OUT / "one.png").get("size") != what.options.size  # type: ignore[union-attr]


def test_files_of_others_are_not_replaced_unless_asked() -> None:
    OUT.mkdir()
    (OUT / "one.png").write_bytes(Path("another.png").read_bytes())
    result = painter().paint(0, item("photo.png"))
    assert (result.state, result.problem) == (
        "failed",
        f"{OUT / 'one.png'} exists, and is no result of impasto; use overwrite to replace it",
    )
    assert (OUT / "one.png").read_bytes() == Path("another.png").read_bytes()
    assert painter(overwrite=True).paint(0, item("photo.png")).state == "painted"


def test_each_file_is_read_once_and_a_style_is_analyzed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read, analyzed, load, statistics = list[str](), list[Any](), pictures.load, Painted._statistics

    def loading(source: Any, **more: Any) -> Any:
        read.append(str(source))
        return load(source, **more)

    def analyzing(style: Painted, *words: Any) -> Any:
        analyzed.extend([] if (words[0], id(style)) in analyzed else [(words[0], id(style))])
        return statistics(style, *words)

    monkeypatch.setattr(pictures, "load", loading)
    monkeypatch.setattr(Painted, "_statistics", analyzing)
    one = painter()
    for name in ("photo.png", "another.png", "photo.png"):
        assert one.paint(0, item(name, "style.png", output=f"{len(read)}.png")).good
    assert read == ["photo.png", "style.png", "another.png", "photo.png"]
    assert len({style for _, style in analyzed}) == 1


@pytest.mark.parametrize(
    ("photo", "style", "problem", "again"),
    [
        ("text.jpg", "udnie", "photograph text.jpg: not an image, or its format is not supported", False),
        ("photo.png", "text.jpg", "style image text.jpg: not an image, or its format is not supported", False),
        ("photo.png", "text.style", "text.style is not a style file", False),
        ("gone.png", "udnie", "photograph gone.png: no such file or directory", False),
    ],
)
def test_an_item_that_fails_says_why_and_ends_nothing(photo: str, style: str, problem: str, again: bool) -> None:
    for name in ("text.jpg", "text.style", "gone.png"):
        Path(name).write_bytes(b"This is no image.")
    what, one = item(photo, style), painter()
    Path("gone.png").unlink()
    result = one.paint(3, what)
    assert (result.number, result.state, result.again, result.place) == (3, "failed", again, str(OUT / "one.png"))
    assert problem in result.problem
    assert tree(OUT) == {}
    assert one.paint(4, item("photo.png")).good


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (SaveError("the disk is full"), "the disk is full"),
        (MemoryError(), "not enough memory"),
        (ZeroDivisionError("a bug"), "impasto failed (ZeroDivisionError: a bug)"),
    ],
)
def test_errors_that_are_not_the_files_fault_may_be_tried_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception, problem: str
) -> None:
    def fail(*words: Any, **more: Any) -> None:
        raise error

    monkeypatch.setattr(pictures, "save", fail)
    result = painter().paint(0, item("photo.png"))
    assert (result.state, result.problem, result.again) == ("failed", problem, True)


def test_stopping_leaves_a_state_that_the_same_item_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    what, steps = item("photo.png", "style.png", quality="normal", iterations=9), list[float]()
    assert painter().paint(0, what).good
    whole = tree(OUT)
    (OUT / "one.png").unlink()

    def tell(done: float) -> None:
        steps.append(done)
        if len(steps) == 4:
            raise StoppedError

    with pytest.raises(StoppedError):
        painter().paint(0, what, tell)
    assert set(tree(OUT)) == {"one.png.unfinished"}
    steps.clear()
    steps += [0.0] * 9
    assert painter().paint(0, what, tell).state == "painted"
    assert len(steps) == 9 + 5
    assert tree(OUT) == whole


def test_items_on_addresses_have_the_bytes_of_files(here: Path) -> None:
    memory = fsspec.filesystem("memory")
    for name in ("photo.png", "style.png"):
        memory.pipe(f"/in/{name}", Path(name).read_bytes())
    Path("the.style").write_bytes(built_in("udnie").read_bytes())
    memory.pipe("/in/the.style", Path("the.style").read_bytes())
    there = Painter(Settings("memory://results/deep"))
    for style in ("style.png", "the.style"):
        for optimizer in ({}, {"quality": "normal", "iterations": 2}):
            what = item("memory://in/photo.png", f"memory://in/{style}", output="sub/one.png", **optimizer)
            assert [there.paint(0, what).state for _ in range(2)] == ["painted", "kept"]
            assert painter().paint(0, item("photo.png", style, output="sub/one.png", **optimizer)).good
            assert memory.cat_file("/results/deep/sub/one.png") == (OUT / "sub" / "one.png").read_bytes()
    memory.pipe("/in/photo.png", b"no image")
    result = there.paint(0, what)
    assert result.problem == "photograph memory:///in/photo.png: not an image, or its format is not supported"
    memory.rm("/in/photo.png")
    assert there.paint(0, what).problem == "photograph memory:///in/photo.png: no such file"
