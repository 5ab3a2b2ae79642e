"""Complete runs: they learn, they resume, and their errors are one line."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_world import HEADS, TINY, World, jpeg, write_tar

from training import checkpoint as checkpoints
from training import encoder, teachers
from training.config import TAPS
from training.data import Picture
from training.distillation import feature_error
from training.encoder import main
from training.evaluation import prepared
from training.initialize import reset_idle
from training.loop import MEASURED, UNTIMED, Trainer, _Clock
from training.student import Shape, Student

FIRST = 32
ROOT = Path(__file__).parent.parent.parent


def words(world: World, output: Path, *more: str) -> list[str]:
    pairs = zip(TINY[::2], TINY[1::2], strict=True)
    tiny = [word for pair in pairs if pair[0] not in more for word in pair]
    device = [] if "--device" in more else ["--device", "cpu"]
    heads = [] if "--heads-at" in more else HEADS
    return [*world.sources, *tiny, *heads, *device, "-o", str(output), *more]


def trained(world: World, output: Path, *more: str) -> dict[str, torch.Tensor]:
    """Run training and return all tensors of its checkpoint."""
    assert main(words(world, output, *more)) == 0
    return load_file(output)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def refused(capfd: pytest.CaptureFixture[str], argv: list[str], code: int) -> str:
    """Run a command that must fail with this exit code, and return its one-line message."""
    capfd.readouterr()
    assert main(argv) == code
    said = capfd.readouterr().err.strip().splitlines()
    assert said[-1].startswith("training: ")
    assert not any("Traceback" in line for line in said)
    return said[-1].removeprefix("training: ")


@pytest.fixture(scope="module", autouse=True)
def few_crops() -> Iterator[None]:
    """Fit initial weights on fewer crops: enough for networks this small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.loop.FIRST", FIRST)
        yield


@pytest.fixture(scope="module")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of 16 steps."""
    output = tmp_path_factory.mktemp("whole") / "run.ckpt"
    trained(world, output, "--steps", "16")
    return output


@pytest.fixture
def untaught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start from random weights where the teacher's filters do not matter: fitting them takes as long as 20 steps."""
    monkeypatch.setattr(Trainer, "_initialize", lambda *_: None)


def test_a_run_lowers_the_loss_and_logs_every_step(whole: Path) -> None:
    log = checkpoints.read_log(whole.with_suffix(".jsonl"))
    assert [entry["step"] for entry in log] == list(range(1, 17))
    assert sum(entry["loss"] for entry in log[-5:]) < 0.95 * sum(entry["loss"] for entry in log[:5])
    assert log[0].keys() >= {"rate", "seconds", "relu1_1", "relu5_1"}
    plot = whole.with_suffix(".svg").read_text()
    assert plot.startswith("<svg")
    assert plot.count("<polyline") == 10


def test_relu1_1_stays_the_teachers_own(world: World, whole: Path) -> None:
    assert checkpoints.load(whole).config.heads_at[0] == 0
    image = prepared(Picture("x", jpeg(0, (32, 32))))
    seen, mine = teachers.read_pair(world.teachers)(image)[0], checkpoints.read_student(whole)(image)[0]
    torch.testing.assert_close(mine, seen, rtol=1e-4, atol=1e-4)


KILLED = f"""
import os, signal, sys
from training import checkpoint, encoder, loop
loop.FIRST = {FIRST}
add = checkpoint.Log.add
def kill(log, entry):
    add(log, entry)
    if entry["step"] == 5:
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.Log.add = kill
loop.Trainer._initialize = lambda *_: None
encoder.main(sys.argv[1:])
"""


@pytest.mark.usefixtures("untaught")
def test_a_killed_run_resumes_to_the_same_bits(world: World, tmp_path: Path) -> None:
    output, expected = tmp_path / "run.ckpt", trained(world, tmp_path / "whole.ckpt", "--steps", "8")
    argv = [sys.executable, "-c", KILLED, *words(world, output, "--steps", "8", "--save-every", "0")]
    assert subprocess.run(argv, cwd=ROOT, capture_output=True, check=False).returncode == -signal.SIGKILL
    assert checkpoints.load(output).step == 4
    assert same(trained(world, output, "--steps", "8"), expected)
    log = checkpoints.read_log(output.with_suffix(".jsonl"))
    assert [entry["step"] for entry in log] == list(range(1, 9))


def test_ctrl_c_saves_and_explains_how_to_resume(
    world: World, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    output, add = tmp_path / "run.ckpt", checkpoints.Log.add

    def interrupting(self: checkpoints.Log, entry: dict[str, Any]) -> None:
        add(self, entry)
        if entry["step"] == 7:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(checkpoints.Log, "add", interrupting)
    assert refused(capfd, words(world, output, "--steps", "16"), 130) == (
        f"interrupted after step 7; run the same command again to resume from {output}"
    )
    monkeypatch.undo()
    with output.with_suffix(".jsonl").open("ab") as log:
        log.write(b'{"step": 8, "lo')  # an incomplete line, as after a kill
    assert same(trained(world, output, "--steps", "16"), load_file(whole))
    assert len(checkpoints.read_log(output.with_suffix(".jsonl"))) == 16


@pytest.mark.usefixtures("untaught")
def test_minutes_become_a_fixed_number_of_steps(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.loop.MEASURED", 8)
    output = tmp_path / "run.ckpt"
    trained(world, output, "--minutes", "0.02")
    total = checkpoints.load(output).total
    assert total is not None
    assert total > 8
    trained(world, output, "--minutes", "0.02")  # already finished
    assert checkpoints.load(output).total == total
    assert [entry["step"] for entry in checkpoints.read_log(output.with_suffix(".jsonl"))] == list(range(1, total + 1))


def test_minutes_are_converted_at_the_measured_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    clock = _Clock(minutes=1)
    for step in range(1, MEASURED + 1):
        now += 2 if step <= UNTIMED else 0.25
        total = clock.total(step)
        assert (total is None) == (step < MEASURED)
    left = 60 - 2 * UNTIMED - 0.25 * (MEASURED - UNTIMED)
    assert total == MEASURED + int(left / 0.25)


def test_every_option_of_the_architecture_and_the_loss_trains(world: World, tmp_path: Path) -> None:
    more = ["--residual", "--dense-heads", "--heads-at", "2", "1", "2", "2", "2", "--per-channel", "--precision", "fp32"]
    rates = ["--gradient-matching", "--gradient-rate", "1", "--mix-rate", "0.4", "--noise-rate", "0.3", "--blank-rate", "0.3"]
    tensors = trained(world, output := tmp_path / "run.ckpt", "--steps", "3", "--workers", "0", *more, *rates)
    assert tensors["student/head3_1.weight"].shape == (256, 16, 1, 1)
    assert all("gradient" in entry for entry in checkpoints.read_log(output.with_suffix(".jsonl")))
    assert main(["export", str(output), "-o", str(tmp_path / "net.safetensors")]) == 0
    read = checkpoints.read_student(tmp_path / "net.safetensors")
    assert read.shape.dense_heads
    assert read.shape.heads_at == (2, 1, 2, 2, 2)


def test_start_copies_matching_layers(
    world: World, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    output, fitted_on = tmp_path / "run.ckpt", list[torch.Tensor]()

    def watched(student: Student, image: torch.Tensor, *rest: Any) -> dict[str, int]:
        fitted_on.append(image)
        return reset_idle(student, image, *rest)

    monkeypatch.setattr("training.loop.reset_idle", watched)
    assert main([*words(world, output, "--steps", "1", "--rate", "1e-9"), "--start", str(whole)]) == 0
    before = checkpoints.read_student(whole)
    after = Student(before.shape)
    tensors = load_file(output)
    after.load_state_dict({name: tensors[f"student/{name}"] for name in after.state_dict()})
    # after resetting idle channels and equalizing scales, it is at least as close to the teacher on the crops used for fitting
    images = fitted_on[0]
    seen = teachers.read_pair(world.teachers)(images)
    with torch.no_grad():
        errors = [
            [float(feature_error(F, T)) for F, T in zip(network(images), seen, strict=True)] for network in (after, before)
        ]
    assert sum(errors[0]) < 1.001 * sum(errors[1]), errors
    wider = ["--widths", "4,4/6,6/8,8,8/8,8/8,8,8", "--heads-at", "1", "2", "3", "2", "3", "--steps", "1"]
    assert main([*words(world, tmp_path / "wider.ckpt", *wider), "--start", str(whole)]) == 0
    assert "layers not in that network: conv5_3, head1_1\n" in capfd.readouterr().err


def test_a_network_is_trained_in_parts(world: World, whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The first part leaves deeper layers unchanged, the second leaves shallower layers unchanged, and each learns."""
    shape = ["--widths", "4,4/6,6,7/8,8/8,8/8,8", "--heads-at", "0", "2", "1", "2", "2", "--drift-weight", "1"]
    near, far, all_of_it = tmp_path / "near.ckpt", tmp_path / "far.ckpt", tmp_path / "all.ckpt"
    trained(world, near, *shape, "--steps", "3", "--learned", "1", "3", "--start", str(whole))
    log = checkpoints.read_log(near.with_suffix(".jsonl"))
    assert [*log[0]][3:-1] == ["relu1_1", "relu2_1", "relu3_1"]
    deep = ["--learned", "4", "5", "--start", str(whole), "--shallow", str(near)]
    trained(world, all_of_it, *shape, "--steps", "3", *deep)
    trained(world, far, *shape, "--steps", "1", "--rate", "1e-30", *deep)
    first, begun, second = (checkpoints.read_student(file) for file in (near, far, all_of_it))
    image = prepared(Picture("x", jpeg(5)))
    with torch.no_grad():
        taps = [network(image) for network in (first, begun, second)]
    for at in range(3):
        torch.testing.assert_close(taps[0][at], taps[2][at], rtol=1e-4, atol=1e-5)
    assert feature_error(taps[1][3], taps[2][3]) > 0
    assert feature_error(taps[1][4], taps[2][4]) > 0
    capfd.readouterr()
    narrower = ["--widths", "4,4/6,6/8,8/8,8/8,8", "--heads-at", "0", "2", "1", "2", "2", "--steps", "1", "--learned", "4", "5"]
    argv = [*words(world, tmp_path / "no.ckpt", *narrower), "--start", str(whole), "--shallow", str(near)]
    assert refused(capfd, argv, 2) == "--shallow must be a network with the same conv3_1"


@torch.no_grad()
def test_layers_and_taps_by_part(world: World) -> None:
    shape = Shape(((3, 4), (5, 5, 6), (6, 6), (7, 7), (8, 8)), (0, 2, 1, 2, 2))
    student, teacher, image = Student(shape, seed=1), teachers.read_pair(world.teachers), prepared(Picture("x", jpeg(5)))
    assert shape.needed(0) == []
    assert shape.needed(1) == ["head1_1"]
    assert shape.needed(2) == ["conv1_1", "conv1_2", "conv2_1", "conv2_2", "head1_1", "head2_1"]
    assert [*student.learned(3, 3)] == ["conv2_3", "conv3_1", "head3_1"]
    assert {*student.learned(1, 3)} | {*student.learned(4, 5)} == {*student.learned()} == {*shape.layers()} - {"head1_1"}
    for first, last in ((1, 1), (1, 3), (2, 4), (4, 5), (5, 5)):
        for network, parts in (
            (student, student(image, first=first, last=last)),
            (teacher, teacher(image, TAPS[first - 1 : last])),
        ):
            for part, whole in zip(parts, network(image)[first - 1 : last], strict=True):
                assert torch.equal(part, whole)


# ------------------------------------------------------------------------------------------------------------- bad input


def test_no_pictures(world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    argv = words(world, tmp_path / "run.ckpt")
    argv[argv.index("--photos") + 1] = str(tmp_path / "empty")
    assert refused(capfd, argv, 2) == f"no photographs found in {tmp_path / 'empty'}"
    (tmp_path / "no.tar").write_text("no tar")
    argv[argv.index("--photos") + 1] = str(tmp_path / "no.tar")
    assert refused(capfd, argv, 2).startswith(f"{tmp_path / 'no.tar'} is neither a folder nor a complete tar file")
    argv[argv.index("--photos") + 1] = str(tmp_path / "gone.tar")
    assert refused(capfd, argv, 2) == f"{tmp_path / 'gone.tar'} cannot be read: no such file or directory"


def test_too_few_pictures(world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said = refused(capfd, words(world, tmp_path / "run.ckpt", "--held-out", "8"), 2)
    assert said == (
        "none of the 8 photographs is left for training: 8 are held out, 0 are unreadable; lower --held-out or add images"
    )


@pytest.mark.usefixtures("untaught")
def test_unreadable_images_are_named_and_skipped(world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    members = {f"x/{i}.jpg": jpeg(i) for i in range(5)} | {
        "x/0cut.jpg": jpeg(9)[:900],
        "x/0text.jpg": b"text",
        "x/note.txt": b"",
    }
    write_tar(tmp_path / "x.tar", members)
    argv = words(world, tmp_path / "run.ckpt", "--steps", "2")
    argv[argv.index("--photos") + 1] = str(tmp_path / "x.tar")
    assert main(argv) == 0
    said = capfd.readouterr().err
    assert "skipped 2 unreadable files: x/0cut.jpg, x/0text.jpg" in said
    assert "3 photographs, 5 paintings" in said


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        ("gone", "cannot be read: no such file"),
        ("text", "cannot be read: not a complete safetensors file"),
        ("missing", "conv2_2.weight has shape nothing, expected (128, 128, 3, 3)"),
        ("shape", "conv1_1.bias has shape (3,), expected (64,)"),
        ("nan", "contains NaN or infinite values in conv1_2.bias"),
    ],
)
def test_wrong_teacher(world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str], harm: str, expected: str) -> None:
    (tmp_path / teachers.DISTILLED).write_bytes((world.teachers / teachers.DISTILLED).read_bytes())
    file, tensors = tmp_path / teachers.EXACT, load_file(world.teachers / teachers.EXACT)
    if harm == "missing":
        del tensors["conv2_2.weight"]
    if harm == "shape":
        tensors["conv1_1.bias"] = torch.zeros(3)
    if harm == "nan":
        tensors["conv1_2.bias"][5] = float("nan")
    if harm == "text":
        file.write_text("not safetensors")
    elif harm != "gone":
        save_file(tensors, file)
    argv = words(world, tmp_path / "run.ckpt")
    argv[argv.index("--teachers") + 1] = str(tmp_path)
    said = refused(capfd, argv, 2)
    assert str(file) in said
    assert expected in said


def test_teachers_or_vgg19(world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    argv = words(world, tmp_path / "run.ckpt", "--vgg19", "x.pth")
    assert refused(capfd, argv, 2) == "exactly one teacher is needed; use either --teachers or --vgg19"


def test_checkpoint_of_another_run(world: World, whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = whole.read_bytes()
    said = refused(capfd, words(world, whole, "--steps", "16", "--clip", "3"), 2)
    assert said.startswith(f"{whole} is a checkpoint of a different run: --clip is 5.0 there and 3.0 here")
    assert "--steps is 16 there and 17 here" in refused(capfd, words(world, whole, "--steps", "17"), 2)
    assert "--widths is 4,4/6,6/8,8,8/8,8/8,8 there" in refused(capfd, [*world.sources, "-o", str(whole)], 2)
    (tmp_path / "photos").mkdir()
    for i in range(5):
        (tmp_path / "photos" / f"{i}.jpg").write_bytes(jpeg(i))
    argv = words(world, whole, "--steps", "16")
    argv[argv.index("--photos") + 1] = str(tmp_path / "photos")
    assert "the images differ" in refused(capfd, argv, 2)
    assert whole.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"a text", "teacher", "cut"])
def test_output_that_is_no_checkpoint(
    world: World, whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes | str
) -> None:
    known = {"teacher": (world.teachers / teachers.EXACT).read_bytes(), "cut": whole.read_bytes()[:-100]}
    data = known[content] if isinstance(content, str) else content
    (file := tmp_path / "x.ckpt").write_bytes(data)
    assert refused(capfd, words(world, file), 2).startswith(f"{file} ")
    assert file.read_bytes() == data


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--heads-at", "1", "2", "3", "2", "1"], "heads_at 1 leaves convolutions of the last block unused"),
        (["--widths", "4,4"], "widths must be five blocks such as .*, not '4,4'"),
        (["--heads-at", "0", "0", "1", "1", "1"], "heads_at 0 is not one of the 2 convolutions of block 2"),
        (["--heads-at", "1", "1", "9", "1", "1"], "heads_at 9 is not one of the 3 convolutions of block 3"),
        (["--steps", "3", "--minutes", "1"], "use only one of them"),
        (["--pool-batch", "4"], "pool_batch must be at most 3 with this pool and batch, not 4"),
        (
            ["--pool-batch", "3", "--drift-weight", "1"],
            "at most 2 with this pool and batch, because drift_weight adds .*, not 3",
        ),
        (["--crop", "20"], "crop must be a multiple of 16, not 20"),
        (["--noise-rate", "0.9", "--mix-rate", "0.9"], "the sum of noise_rate, mix_rate and blank_rate must be at most 1"),
        (["--nonsense", "1"], "--nonsense"),
        (["--device", "tpu"], "Invalid value .*tpu"),
        (["--learned", "4", "2"], "learned must be two taps from 1 to 5 in ascending order, not 4 2"),
        (["--shallow", "near.ckpt"], "--start is missing; --shallow needs it for the other layers"),
        (["--start", "gone.safetensors"], "gone.safetensors cannot be read: no such file"),
    ],
)
def test_wrong_words(world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str], more: list[str], expected: str) -> None:
    assert re.search(expected, refused(capfd, words(world, tmp_path / "run.ckpt", *more), 2))
    assert not list(tmp_path.iterdir())


def test_output_in_no_directory(world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "there is no directory" in refused(capfd, words(world, tmp_path / "gone" / "run.ckpt"), 2)


@pytest.mark.usefixtures("untaught")
def test_loss_that_becomes_nan(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output, apply = tmp_path / "run.ckpt", Trainer._apply

    def poisoned(self: Trainer, rate: float) -> None:
        apply(self, rate)
        if self.step == 6:
            self.parameters["conv1_1.weight"].data[0, 0, 0, 0] = float("nan")

    monkeypatch.setattr(Trainer, "_apply", poisoned)
    monkeypatch.setattr("training.loop.MEASURED", 5)  # --minutes writes a checkpoint here
    monkeypatch.setattr("training.loop.UNTIMED", 2)
    said = refused(capfd, words(world, output, "--minutes", "1"), 1)
    assert said == f"the loss became NaN or infinite at step 7; {output} contains step 5; lower --rate"
    assert checkpoints.load(output).step == 5
    said = refused(capfd, words(world, tmp_path / "other.ckpt", "--steps", "9", "--save-every", "0"), 1)
    assert said == f"a weight became NaN or infinite at step 6; {tmp_path / 'other.ckpt'} contains step 5; lower --rate"
    for file in tmp_path.glob("*.ckpt"):
        assert all(tensor.isfinite().all() for tensor in load_file(file).values())


@pytest.mark.usefixtures("untaught")
def test_disk_that_fills_up(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output, save, saves = tmp_path / "run.ckpt", checkpoints.save, list[int]()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def filling(checkpoint: checkpoints.Checkpoint, target: Path) -> None:
        saves.append(checkpoint.step)
        if len(saves) == 2:
            monkeypatch.setattr(os, "fsync", full)
        save(checkpoint, target)

    monkeypatch.setattr(encoder.checkpoints, "save", filling)
    said = refused(capfd, words(world, output, "--steps", "5", "--save-every", "0"), 1)
    assert said == f"{output} could not be written: no space left on device; {output} contains step 1"
    assert checkpoints.load(output).step == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["run.ckpt", "run.jsonl"]


# ------------------------------------------------------------------------------------------------- evaluating, exporting


def test_export_is_deterministic(whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        assert main(["export", str(whole), "-o", str(tmp_path / f"{name}.safetensors")]) == 0
    said = capfd.readouterr().out
    data = (tmp_path / "a.safetensors").read_bytes()
    assert data == (tmp_path / "b.safetensors").read_bytes()
    assert re.search(rf"{len(data)} bytes, sha256 [0-9a-f]{{64}}\n.*multiply-adds per pixel", said)
    exported, ema = load_file(tmp_path / "a.safetensors"), load_file(whole)
    assert all(torch.equal(tensor, ema[f"ema/{name}"].half()) for name, tensor in exported.items())
    assert "exists" in refused(capfd, ["export", str(whole), "-o", str(tmp_path / "a.safetensors")], 2)
    assert "no such file" in refused(capfd, ["export", str(tmp_path / "x"), "-o", str(tmp_path / "c.safetensors")], 2)


def test_probe_prints_a_table(world: World, whole: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert main(["probe", str(whole), *world.sources, "--held-out", "2", "--device", "cpu"]) == 0
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in capfd.readouterr().out.splitlines()]
    assert table[0] == ["network", "3x3 patches of", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
    assert [row[1] for row in table[2:]] == [
        name for name in checkpoints.read_student(whole).shape.convolutions() if name != "conv1_1"
    ]
    assert all(float(cell) <= 1 for row in table[2:] for cell in row[2:] if cell)
    assert refused(capfd, ["probe", *world.sources], 2) == "no network given; name at least one checkpoint or weights file"
    said = refused(capfd, ["probe", str(whole), *world.sources, "--limit", "1"], 2)
    assert said == "--limit must be at least 2, one image to fit and one to score, not 1"


def test_evaluate_prints_a_table(world: World, whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(whole), "-o", str(tmp_path / "net.safetensors")]) == 0
    capfd.readouterr()
    more = ["--held-out", "2", "--device", "cpu", "--json", str(tmp_path / "table.json")]
    assert main(["evaluate", str(whole), str(tmp_path / "net.safetensors"), *world.sources, *more]) == 0
    table = capfd.readouterr().out
    assert table.startswith("| network | pictures | measure | relu1_1 | relu2_1 | relu3_1 | relu4_1 | relu5_1 |\n")
    assert table.count("\n") == 2 + 2 * 2 * 6
    found = json.loads((tmp_path / "table.json").read_text())
    one, other = (found[name]["all, clean"]["relu3_1"]["r2"] for name in ("run.ckpt", "net.safetensors"))
    assert one == pytest.approx(other, abs=0.01)  # fp16
    assert main(["evaluate", str(whole), *world.sources, *more[:4], "--bits", "8"]) == 0
    assert capfd.readouterr().out.count("| run.ckpt, 8 bits |") == 2 * 6
    assert refused(capfd, ["evaluate", str(whole), *world.sources, "--bits", "1"], 2) == "--bits must be 2 to 16, not 1"
    assert refused(capfd, ["evaluate", *world.sources], 2) == "no network given; name at least one checkpoint or weights file"
    argv = ["evaluate", str(world.teachers / teachers.EXACT), *world.sources, "--held-out", "2"]
    assert refused(capfd, argv, 2).endswith("is neither a checkpoint nor weights of lite")
