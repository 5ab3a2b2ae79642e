"""A job as a value: JSON and back, the rules of its output, and that it needs no torch."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import start
from PIL import Image

from impasto.errors import OptionError, PictureError
from impasto.inputs import Inputs, Layer, built_in
from impasto.jobs import Job, Output
from impasto.jobs.job import replaces
from impasto.options import Options

EVERYTHING = Job(
    Inputs(
        Path("photo.png"),
        ("style.png", "starry-night"),
        (Layer("mask.png", "udnie"), Layer(Path("sub/mask.png"), None)),
        start="start.png",
        weights="w.safetensors",
    ),
    Options(method="gatys", blend=(1, 2), style_taps="relu1_1,relu2_1", size="original"),
    Output(path="out.webp", overwrite=True, keep_exif=True, preview=3, frames=Path("film.gif")),
)
DEEP = Job(Inputs("photo.png", ("style.png",)), Options(), Output(path="out.tif", depth=16))
PAIRED = Job(Inputs("photo.png", ("style.png",), pair=("here.png", "there.png")), Options(seed=3), Output())


def test_json_and_back(here: Path) -> None:
    for job in (EVERYTHING, PAIRED, DEEP):
        stored = job.to_json()
        again = Job.from_json(json.loads(json.dumps(stored)))
        assert again.to_json() == stored
        assert again.options == job.options
        assert again.options.model_fields_set == job.options.model_fields_set
        places = {name: here / place for name in ("path", "frames") if (place := getattr(job.output, name))}
        assert again.output == job.output.model_copy(update=places | {"overwrite": False})  # asked of one run, not of the next
        assert [(layer.style is None) for layer in again.inputs.layers] == [(one.style is None) for one in job.inputs.layers]
        assert again.inputs.files() == {
            role: file if file == built_in_file(job, role) else here / file for role, file in job.inputs.files().items()
        }
        assert pickle.loads(pickle.dumps(job)) == job
    assert EVERYTHING.to_json()["inputs"]["style 2"] == "starry-night"
    assert EVERYTHING.to_json()["inputs"]["style of mask"] == "udnie"


def built_in_file(job: Job, role: str) -> Path | None:
    source = job.inputs.sources()[role]
    return built_in(source) if source in ("starry-night", "udnie") else None


@pytest.mark.parametrize(
    "source", [b"bytes", io.BytesIO(b"x"), np.zeros((9, 9, 3), np.uint8), Image.new("RGB", (9, 9))], ids=type
)
def test_inputs_in_memory_cannot_be_stored(source: Any) -> None:
    for inputs, role in ((Inputs(source, ("a",)), "photo"), (Inputs("a", ("b", source)), "style 2")):
        with pytest.raises(PictureError, match=f"^{role}: a job with inputs in memory cannot be stored; save them to files"):
            Job(inputs, Options(), Output()).to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": {}},
        {"inputs": {"style": "a.png"}},
        {"inputs": []},
        {"inputs": {"photo": "a.png"}},
        {"options": None},
        {"options": {"size": 3}},
        {"options": {"brush": 3}},
        {"output": {"path": 3}},
        {"output": {"canvas": 3}},
    ],
    ids=str,
)
def test_what_is_no_job_is_an_option_error_of_one_line(here: Path, change: dict[str, Any]) -> None:
    with pytest.raises(OptionError) as caught:
        Job.from_json(PAIRED.to_json() | change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"path": "a.png", "keep_exif": True, "metadata": False}, "EXIF cannot be kept without metadata; drop keep_exif"),
        ({"path": "a.jpg", "depth": 16}, r"16 bits per channel need a \.png or a \.tif; drop depth"),
        ({"path": "a.png", "depth": 12}, "depth must be 8 or 16, not 12"),
        ({"preview": 3}, "previews and frames need an output file"),
        ({"frames": Path("film.gif")}, "previews and frames need an output file"),
        ({"path": "a.png", "preview": 0}, "preview must be at least 1, not 0"),
        ({"canvas": 3}, "unknown option 'canvas'"),
    ],
)
def test_rules_of_the_output(given: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=f"^{says}$"):
        Output(**given)


def test_frames_and_previews_would_replace_only_their_own_names(here: Path) -> None:
    output = Output(path="out.png", preview=2, frames=Path("film.gif"))
    mine = ("out-step00002.png", "out-step123456.png", "film.gif", "film.gif.unfinished/0001.png")
    others = ("out.png", "out-step2.png", "out-step00002.jpg", "sub/out-step00002.png", "film.gif.unfinished/x.png", "0001.png")
    assert [replaces(output, Path("out.png"), Path(name)) for name in (*mine, *others)] == [True] * 4 + [False] * 6
    assert replaces(Output(path="out.png", frames=Path("film")), Path("out.png"), here / "film" / "0001.png")
    assert not replaces(Output(path="out.png"), Path("out.png"), here / "out-step00002.png")


def test_an_output_that_exists_is_refused_before_torch_is_imported(here: Path) -> None:
    script = """
import sys
from impasto.inputs import Inputs
from impasto.jobs import Job, Output, run
from impasto.errors import OutputError
from impasto.options import Options
for path in ("photo.png", "no/out.png", "out.gif", "."):
    job = Job.from_json(Job(Inputs("photo.png", ("style.png",)), Options(), Output(path=path)).to_json())
    try:
        next(run(job))
    except OutputError as error:
        print(error)
print([name for name in ("torch", "numpy", "PIL") if name in sys.modules])
"""
    with start("-c", script, stderr=subprocess.STDOUT) as process:
        lines = process.communicate()[0].splitlines()
    assert "photo.png exists; use overwrite to replace it" in lines[0]
    assert "there is no directory" in lines[1]
    assert "unknown suffix '.gif'" in lines[2]
    assert "is a directory" in lines[3]
    assert lines[4:] == ["[]"]
