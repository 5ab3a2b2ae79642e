"""`impasto video`, and what `info`, `resume` and `again` do with clips."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command_line import Cli

pytest.importorskip("cv2")
pytest.importorskip("av")

from small_clips import film, pictures

from impasto.clips import open_clip
from impasto.jobs.lock import state_of

QUICK = ("--quality", "instant", "--size", "64", "--device", "cpu")
OUT = Path("out.mp4")


@pytest.fixture(autouse=True)
def _clip(here: Path) -> None:
    film(here / "clip.mp4", pictures("pan", 5))


def test_a_clip_is_painted_and_tells_how(cli: Cli) -> None:
    said = cli("video", "clip.mp4", "udnie", "style.png", "--blend", "1..0", "--end", "0:00.15", *QUICK, "--json")
    file = Path("clip-udnie-style.mp4")
    assert said.code == 0
    assert said.stdout.splitlines()[0].startswith(f"wrote {file} (4 frames of 64x48) in ")
    assert (said.json["output"], said.json["width"], said.json["exit_code"]) == (str(file), 64, 0)
    assert open_clip(file).count == 4
    assert re.fullmatch(r"impasto: about 4 frames of 64x48 in about \d+ s, with about \d+ MB of memory", said.lines[0])
    told = cli("info", file).stdout
    assert "clip-udnie-style.mp4: 64x48, made by impasto" in told
    assert "  photo    clip.mp4" in told
    assert "  frames    4" in told
    assert "not known to this version" not in told
    assert json.loads(cli("info", file, "--json").stdout) == said.json["settings"]
    assert cli("again", file).line == f"{file} is a clip; paint it again with `impasto video`"
    assert "has no settings" in cli("info", "clip.mp4").line


def test_nothing_is_painted_in_a_dry_run(cli: Cli) -> None:
    said = cli("video", "clip.mp4", "udnie", *QUICK, "--dry-run", "--json")
    assert said.code == 0
    assert said.stdout.startswith("clip-udnie.mp4 would have about 5 frames of 64x48, 0.23 s, painted by quality 'instant'\n")
    assert said.json["bytes"] > 0
    assert said.json["seconds"] >= 0
    assert not Path("clip-udnie.mp4").exists()


def test_a_run_that_was_killed_is_resumed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from impasto.video.workspace import Workspace

    store = Workspace.store

    def killed(self: Workspace, number: int, image: object) -> Path:
        if number == 3:
            raise SystemExit(9)
        return store(self, number, image)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Workspace, "store", killed)
        with pytest.raises(SystemExit):
            cli("video", "clip.mp4", "udnie", "-o", OUT, *QUICK)
    assert cli("info", OUT).stdout.startswith("out.mp4: unfinished, 3 of 5 frames painted in ")
    assert json.loads(cli("info", OUT, "--json").stdout)["painted"] == 3
    said = cli("resume", OUT)
    assert said.code == 0
    assert said.lines[0] == "impasto: resuming after 3 of 5 frames"
    assert cli("video", "clip.mp4", "udnie", "-o", "whole.mp4", *QUICK, "--no-metadata").code == 0
    assert [frame.pixels.tolist() for frame in open_clip(OUT).frames()] == [
        frame.pixels.tolist() for frame in open_clip("whole.mp4").frames()
    ]
    assert not state_of(OUT).exists()


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("video",), 2, "a clip and a painting are needed: impasto video CLIP STYLE; see `impasto video --help`"),
        (("video", "clip.mp4"), 2, "a clip and a painting are needed: impasto video CLIP STYLE; see `impasto video --help`"),
        (
            ("video", "clip.mp4", "udnie", "--quality", "draft"),
            2,
            "--quality must be instant, normal, best for a video, not 'draft'",
        ),
        (
            ("video", "clip.mp4", "udnie", "--start", "soon"),
            2,
            "--start must be a time such as 2.5, 1:30 or 1:02:03, not 'soon'",
        ),
        (("video", "clip.mp4", "udnie", "--start", "2", "--end", "1"), 2, "--end must be after the start of 2 s, not 1"),
        (("video", "clip.mp4", "udnie", "--start", "9"), 2, "--start is after the end: clip.mp4 is 0.23 s long"),
        (("video", "clip.mp4", "udnie", "--fps", "fast"), 2, "--fps must be a number such as 24 or 30000/1001, not 'fast'"),
        (("video", "clip.mp4", "udnie", "--every", "0"), 2, "--every must be at least 1, not '0'"),
        (("video", "clip.mp4", "udnie", "--blend", "1..0"), 2, "--blend needs several styles"),
        (
            ("video", "clip.mp4", "udnie", "-o", "clip.mp4", "--overwrite"),
            2,
            "output clip.mp4 is an input itself; choose another name",
        ),
        (
            ("video", "clip.mp4", "udnie", "-o", "-"),
            2,
            "a clip is read from a file and written to one; standard input and output",
        ),
        (("video", "photo.png", "udnie"), 2, "clip photo.png: is a still image, not a clip"),
        (("video", "text.mp4", "udnie"), 2, "clip text.mp4"),
        (("video", "none.mp4", "udnie"), 2, "photograph none.mp4: no such file or directory"),
        (("resume", "none.mp4"), 2, "none.mp4 has no unfinished run"),
    ],
)
def test_mistakes_are_one_line(cli: Cli, words: tuple[str, ...], code: int, line: str) -> None:
    Path("text.mp4").write_text("not a film\n" * 30)
    said = cli(
        *words,
        *(QUICK[2:] if "--quality" in words or words[0] == "resume" else QUICK)
        if words[0] == "video" and len(words) > 2
        else (),
    )
    assert said.code == code
    assert said.line.startswith(line)
