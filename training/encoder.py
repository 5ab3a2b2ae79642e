"""Train, evaluate and export the embedded encoder.

Train: python -m training.encoder --photos photos.tar --paintings paintings.tar --teachers DIR -o lite.ckpt --minutes 90

Run the same command again to resume from lite.ckpt, even after the process was killed. The result is the same.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import cyclopts
import torch
from cyclopts import App, Group, Parameter
from pydantic import ValidationError
from torch import Tensor

from impasto import files
from impasto.compute.device import choose
from impasto.errors import DivergenceError, ImpastoError, OptionError, OutputError, RunError, SaveError
from impasto.files import printable
from impasto.options import invalid
from impasto.weights.networks import LITE_NAME
from training import checkpoint as checkpoints
from training import evaluation
from training import probe as probes
from training.config import Config
from training.data import Compressed, Decoded, HeldOut, Picture, Pictures, Source, gather, plan
from training.loop import Machine, Step, Trainer
from training.plot import svg
from training.student import Shape, Student, quantized, vgg19_cost
from training.teachers import Teacher, normalized, read_pair, read_vgg19

USAGE, INTERRUPTED = 2, 130  # exit codes
PRINT_EVERY = 10.0  # seconds
SMOOTH = 0.98  # decay of the moving average of printed losses
SAMPLES, SAMPLE_SIDE = 64, 224  # images and pixels used to check whether weights are normalized

INPUT, OUTPUT = Group("Input", sort_key=0), Group("Output and machine", sort_key=9)
Many = Annotated[tuple[Path, ...], Parameter(group=INPUT, consume_multiple=True, negative=())]
Folder = Annotated[Path | None, Parameter(group=INPUT)]
HeldOutCount = Annotated[int, Parameter(group=INPUT)]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What to train on or measure with.

    Parameters
    ----------
    photos: tuple[Path, ...]
        Folders or tar files of photographs.
    paintings: tuple[Path, ...]
        Folders or tar files of paintings.
    teachers: Path
        Folder with the exact first blocks and the distilled deep blocks of the normalized VGG-19.
    vgg19: Path
        The complete VGG-19 in any format that impasto reads, instead of --teachers. Every tap is then exact.
    device: Literal["auto", "cpu", "cuda"]
        Where to compute. "auto" uses CUDA if available.
    """

    photos: Many
    paintings: Many
    teachers: Folder = None
    vgg19: Folder = None
    device: Annotated[Literal["auto", "cpu", "cuda"], Parameter(group=OUTPUT)] = "auto"

    def chosen_device(self) -> torch.device:
        """The device; "auto" never chooses Apple's, which lacks float64. Raises OptionError."""
        return choose(("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device)

    def pictures(self, held_out: int, *, train: bool) -> Pictures:
        """Read the images and report unreadable files. Raises PictureError."""
        pictures = gather(self.photos, self.paintings, held_out, train=train)
        if bad := pictures.unreadable:
            names = ", ".join(map(printable, bad[:5])) + (", ..." if len(bad) > 5 else "")
            say(f"skipped {len(bad)} unreadable file{'s' if len(bad) > 1 else ''}: {names}")
        return pictures

    def teacher(self, pictures: Pictures) -> Teacher:
        """Read the teacher. Raises OptionError and WeightsFileError."""
        if self.teachers and not self.vgg19:
            return read_pair(self.teachers)
        if self.teachers or not self.vgg19:
            raise OptionError("exactly one teacher is needed", remedy="use either {teachers} or {vgg19}")
        teacher, rescaled = normalized(read_vgg19(self.vgg19), _samples(Compressed(pictures)))
        if rescaled:
            say("these weights are not normalized; filters were rescaled to a mean activation of 1 on the training images")
        return teacher

    def held_out(self, count: int, limit: int | None, device: torch.device) -> tuple[HeldOut, Teacher]:
        """Held-out images, at most `limit` of each kind, and the teacher on the device."""
        pictures = self.pictures(count, train=self.vgg19 is not None)
        return [_spread(row, limit) for row in pictures.held_out], self.teacher(pictures).to(device)


app = App(
    name="python -m training.encoder",
    help=str(__doc__),
    help_format="plaintext",
    version_flags=(),
    suppress_keyboard_interrupt=False,
)


def say(text: str) -> None:
    """Print a message to standard error."""
    sys.stderr.write(f"training: {text}\n")
    sys.stderr.flush()


def seconds(span: float) -> str:
    """A duration such as "9 s", "2 min 05 s" or "1 h 20 min"."""
    minutes, rest = divmod(round(span), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


# ---------------------------------------------------------------------------------------------------------------- training


@app.default
def train(
    *,
    inputs: Inputs,
    output: Annotated[Path, Parameter(name=["--output", "-o"], group=OUTPUT)],
    start: Annotated[Path | None, Parameter(group=INPUT)] = None,
    shallow: Annotated[Path | None, Parameter(group=INPUT)] = None,
    save_every: Annotated[float, Parameter(group=OUTPUT)] = 120.0,
    workers: Annotated[int | None, Parameter(group=OUTPUT)] = None,
    compile: Annotated[bool, Parameter(group=OUTPUT)] = True,  # noqa: A002 (the flag's name)
    config: Annotated[Config | None, Parameter(name="*")] = None,
) -> int:
    """Distill the encoder from VGG-19 into a checkpoint, or resume from it.

    Parameters
    ----------
    output: Path
        The checkpoint. The losses are written next to it as JSON lines and as a plot.
    start: Path
        Initialize from this network. Layers that it lacks, or all layers without --start, are initialized from the teacher.
    shallow: Path
        Copy the layers of the taps before --learned from this checkpoint and freeze them. Deeper layers are initialized again.
    save_every: float
        Seconds between checkpoints.
    workers: int
        Threads that decode images. [default: 1; on a GPU, the number of cores]
    compile: bool
        Use torch.compile on a GPU.
    """
    config = config or Config.create()
    machine = _machine(inputs.chosen_device(), workers, compiled=compile)
    saved = _resumable(output, config)
    pictures = inputs.pictures(config.held_out, train=True)
    on_gpu = machine.device.type == "cuda"
    source: Source = Decoded(pictures, machine.device, machine.workers) if on_gpu else Compressed(pictures)
    teacher = inputs.teacher(pictures)
    if saved:
        _check_same(output, saved.difference(config, pictures.digest, teacher.digest))
    if shallow and not start:
        raise OptionError("is missing", option="start", remedy="{shallow} needs it for the other layers")
    others = [checkpoints.read_student(file) if file and not saved else None for file in (start, shallow)]
    trainer = Trainer(config, teacher, source, pictures.digest, machine, saved, *others)
    _introduce(trainer, pictures, resumed=bool(saved), start=start)
    return _follow(trainer, output, save_every)


def _machine(device: torch.device, workers: int | None, *, compiled: bool) -> Machine:
    if device.type != "cuda":
        return Machine(device, 1 if workers is None else max(0, workers))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    return Machine(device, (os.cpu_count() or 1) if workers is None else max(1, workers), compiled)


def _resumable(output: Path, config: Config) -> checkpoints.Checkpoint | None:
    """The checkpoint to resume from, None if there is no file. Raises OutputError if the file is anything else."""
    if not output.exists():
        files.check(output, (output.suffix.lower(),))
        return None
    saved = checkpoints.load(output)
    _check_same(output, config.difference(saved.config))
    return saved


def _check_same(output: Path, difference: str) -> None:
    if difference:
        text = f"{printable(output)} is a checkpoint of a different run: {difference}"
        raise OutputError(text, remedy="use another {output} or the same settings")


def _samples(source: Source) -> Iterator[Tensor]:
    """Unaugmented crops. They do not depend on the run's settings, so that `evaluate` has the same teacher."""
    plain = Config.create(noise_rate=0, mix_rate=0, blank_rate=0)
    for step in range(SAMPLES // plain.batch):
        yield source.cut(plan(plain, source.counts, step), SAMPLE_SIDE)[0].float() / 255


def _introduce(trainer: Trainer, pictures: Pictures, *, resumed: bool, start: Path | None) -> None:
    say(f"{pictures.counts[0]} photographs, {pictures.counts[1]} paintings; {_costs(trainer.student.shape)}")
    if resumed:
        say(f"resuming after step {trainer.step}")
        return
    say(f"initializing from {printable(start)}" if start else "initializing from the teacher's filters")
    if trainer.missing:
        say(f"layers not in that network: {', '.join(trainer.missing)}")
    if trainer.reset:
        layers = ", ".join(f"{n} of {name}" for name, n in trainer.reset.items())
        say(f"initialized {sum(trainer.reset.values())} new or idle channels: {layers}")


def _costs(shape: Shape) -> str:
    trunk, heads = shape.cost()
    parameters = sum(torch.Size(size).numel() for size in shape.tensors().values())
    return (
        f"{parameters / 1e6:.2f} M parameters, {(trunk + heads) / 1e3:.1f} thousand multiply-adds per pixel "
        f"(trunk {trunk / 1e3:.1f}, heads {heads / 1e3:.1f}; VGG-19 to conv5_1: {vgg19_cost() / 1e3:.0f})"
    )


def _follow(trainer: Trainer, output: Path, save_every: float) -> int:
    """Train, save and log until finished or interrupted. Returns the exit code. Raises RunError."""
    began = time.monotonic()
    with closing(checkpoints.Log(output.with_suffix(".jsonl"), trainer.step)) as log, _interrupts() as interrupted:
        saver, printer = _Saver(trainer, output, log), _Printer(trainer.config.batch)
        try:
            for step in trainer.run():
                now = time.monotonic()
                saver.log_step(step, now - began)
                printer.update(step)
                if now - saver.saved >= save_every or saver.total != step.total:  # --minutes has just become a number of steps
                    saver.save()
                if interrupted():
                    break
        except DivergenceError as error:
            raise saver.explained(error) from error
        saver.save(final=True)
    if not trainer.finished:
        say(f"interrupted after step {trainer.step}; run the same command again to resume from {printable(output)}")
        return INTERRUPTED
    if entries := checkpoints.read_log(output.with_suffix(".jsonl")):
        files.write(output.with_suffix(".svg"), svg(entries).encode(), (".svg",), overwrite=True)
    sys.stdout.write(f"wrote {printable(output)} after {trainer.step} steps; next: evaluate, export\n")
    return 0


class _Saver:
    """Writes log entries and checkpoints. If the disk is full, training continues: it may have space again later."""

    def __init__(self, trainer: Trainer, output: Path, log: checkpoints.Log) -> None:
        self.trainer, self.output, self.log = trainer, output, log
        self.step, self.total = trainer.step, trainer.total  # as saved
        self.saved = time.monotonic()
        self.warned = False

    def log_step(self, step: Step, span: float) -> None:
        """Write a log entry. Warns once if that fails."""
        try:
            self.log.add(step.entry(span))
        except SaveError as error:
            if not self.warned:
                say(f"{error}; continuing without a log")
            self.warned = True

    def save(self, *, final: bool = False) -> None:
        """Write a checkpoint. Only the final one raises RunError; earlier failures to write are warnings."""
        self.saved = time.monotonic()
        try:
            checkpoints.save(self.trainer.checkpoint(), self.output)
            self.step, self.total = self.trainer.step, self.trainer.total
        except RunError as error:
            if final:
                raise self.explained(error) from error
            if not isinstance(error, SaveError):
                raise
            say(str(self.explained(error)))

    def explained(self, error: RunError) -> RunError:
        """The error with the last saved step added."""
        kept = f"{printable(self.output)} contains step {self.step}" if self.step else "nothing was saved yet"
        return type(error)(f"{error.problem}; {kept}", option=error.option, remedy=error.remedy)


class _Printer:
    """Prints progress every few seconds."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.first: tuple[float, int] | None = None
        self.printed = time.monotonic()
        self.errors: dict[str, tuple[float, ...]] = {}

    def update(self, step: Step) -> None:
        """Record a step and print a line if it is time."""
        now = time.monotonic()
        began, first = self.first = self.first or (now, step.step)
        for tap, new in step.taps.items():
            old = self.errors.get(tap, new)
            self.errors[tap] = tuple(SMOOTH * a + (1 - SMOOTH) * b for a, b in zip(old, new, strict=True))
        if now - self.printed < PRINT_EVERY and step.step != step.total:
            return
        self.printed = now
        pace = (now - began) / max(1, step.step - first)
        left = f"{seconds(pace * (step.total - step.step))} left" if step.total else "estimating"
        speed = f"{self.batch / pace:.1f} crops/s" if pace else ""
        errors = " ".join(f"{tap.removeprefix('relu')} {_shown(*parts)}" for tap, parts in self.errors.items())
        say(f"step {step.step}/{step.total or '?'}, {left}, {speed}; R2/Gram/drift {errors}")


def _shown(features: float, gram: float, drift: float) -> str:
    return f"{1 - features:.3f}/{gram**0.5:.3f}" + (f"/{drift**0.5:.3f}" if drift else "")


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Make SIGINT and SIGTERM stop the run after the current step; a second signal stops it at once."""
    received = False

    def receive(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received = True
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --------------------------------------------------------------------------------------------------------------- measuring


@app.command(help_epilogue="")
def evaluate(
    *networks: Path,
    inputs: Inputs,
    held_out: HeldOutCount = 300,
    limit: Annotated[int | None, Parameter(group=INPUT)] = None,
    bits: Annotated[int | None, Parameter(group=INPUT)] = None,
    json_file: Annotated[Path | None, Parameter(name="--json", group=OUTPUT)] = None,
) -> int:
    """Print R2 to the teacher and relative Gram error of every tap on held-out images, clean and with noise.

    Parameters
    ----------
    networks: Path
        Checkpoints or weights files such as lite.safetensors.
    held_out: int
        Number of held-out images of each kind, the last by name.
    limit: int
        Use only this many of them, evenly spaced.
    bits: int
        Also evaluate every network with weights rounded to this many bits, 2 to 16, with a scale per output channel.
    json_file: Path
        Also write the results here as JSON.
    """
    if bits is not None and not 2 <= bits <= 16:
        raise OptionError(f"must be 2 to 16, not {bits}", option="bits")
    device = inputs.chosen_device()
    students = _students(networks, device)
    if bits:
        students |= {f"{name}, {bits} bits": quantized(student, bits) for name, student in students.items()}
    rows, teacher = inputs.held_out(held_out, limit, device)
    scores = evaluation.evaluate(students, teacher, rows, device, _progress(2 * sum(map(len, rows))))
    sys.stdout.write(f"{evaluation.table(scores)}\n")
    if json_file:
        text = json.dumps(evaluation.figures(scores), indent=1) + "\n"
        files.write(json_file, text.encode(), (json_file.suffix.lower(),), overwrite=True)
    return 0


@app.command(help_epilogue="")
def probe(
    *networks: Path,
    inputs: Inputs,
    held_out: HeldOutCount = 300,
    limit: Annotated[int, Parameter(group=INPUT)] = 40,
) -> int:
    """Print how well a linear regression on each convolution predicts the teacher's taps (R2), to show where information is lost.

    Parameters
    ----------
    networks: Path
        Checkpoints or weights files such as lite.safetensors.
    held_out: int
        Number of held-out images of each kind, the last by name.
    limit: int
        Use only this many of them, evenly spaced, clean and with noise. Half fit the regressions; half are scored.
    """
    for option, value in (("limit", limit), ("held_out", held_out)):
        if value < 2:
            raise OptionError(f"must be at least 2, one image to fit and one to score, not {value}", option=option)
    device = inputs.chosen_device()
    students = _students(networks, device)
    rows, teacher = inputs.held_out(held_out, limit, device)
    count = 2 * sum(map(len, rows))
    scores = {
        name: probes.probe(student, partial(teacher, rectified=False), rows, device, _progress(count))
        for name, student in students.items()
    }
    sys.stdout.write(f"{probes.table(scores)}\n")
    return 0


def _students(networks: Sequence[Path], device: torch.device) -> dict[str, Student]:
    """The networks on the device, by the shortest unambiguous name."""
    if not networks:
        raise OptionError("no network given; name at least one checkpoint or weights file")
    names = [file.name for file in networks]
    return {
        file.name if names.count(file.name) == 1 else printable(file): checkpoints.read_student(file).to(device)
        for file in networks
    }


def _progress(count: int) -> Callable[[int], None]:
    """A callback that prints the number of images done and the time left."""
    began = printed = time.monotonic()

    def progress(done: int) -> None:
        nonlocal printed
        now = time.monotonic()
        if now - printed >= PRINT_EVERY:
            printed = now
            say(f"{done} of {count} images, {seconds((now - began) * (count - done) / done)} left")

    return progress


def _spread(row: Sequence[Picture], limit: int | None) -> Sequence[Picture]:
    return row if limit is None or limit >= len(row) else [row[i * len(row) // limit] for i in range(limit)]


# --------------------------------------------------------------------------------------------------------------- exporting


@app.command(help_epilogue="")
def export(
    checkpoint: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    name: str = LITE_NAME,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Write a checkpoint's moving average as fp16 safetensors. The bytes are reproducible.

    Parameters
    ----------
    checkpoint: Path
        A checkpoint written by training.
    output: Path
        FILE.safetensors.
    name: str
        The network's name, stored in the file. impasto accepts names that begin with "impasto lite".
    overwrite: bool
        Replace an existing output.
    """
    files.check(output, (".safetensors",), overwrite=overwrite)
    saved = checkpoints.load(checkpoint)
    data = checkpoints.export(saved, name)
    files.write(output, data, (".safetensors",), overwrite=overwrite)
    digest, costs = sha256(data).hexdigest(), _costs(Shape.of(saved.config))
    sys.stdout.write(f"wrote {printable(output)}: {len(data)} bytes, sha256 {digest}\n{costs}\n")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit code: 0, 1 (failure), 2 (usage) or 130 (interrupted). Bugs keep their traceback."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = app(words or ["--help"], exit_on_error=False, print_error=False, result_action="return_value")
    except cyclopts.CycloptsError as error:
        cause = error.__cause__
        problem = invalid(cause, Config) if isinstance(cause, ValidationError) else cause
        return _fail(_worded(problem) if isinstance(problem, ImpastoError) else str(error), USAGE)
    except ImpastoError as error:
        return _fail(_worded(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _worded(error: ImpastoError) -> str:
    return error.worded(lambda name: f"--{name.replace('_', '-')}")


def _fail(message: str, code: int) -> int:
    say(" ".join(message.split()))
    return code


if __name__ == "__main__":
    sys.exit(main())
