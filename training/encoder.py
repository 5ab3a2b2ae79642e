"""Train, judge and export the embedded encoder: `python -m training.encoder`.

    python -m training.encoder --photos photos.tar --paintings paintings.tar --teachers DIR -o lite.ckpt --minutes 90
    python -m training.encoder evaluate lite.ckpt --photos photos.tar --paintings paintings.tar --teachers DIR
    python -m training.encoder export lite.ckpt -o lite.safetensors

The first command again goes on from lite.ckpt, after a kill at any moment, to the same result.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import cyclopts
import torch
from cyclopts import App, Group, Parameter
from torch import Tensor

from impasto import files
from impasto.cli import usage_message
from impasto.cli.console import INTERRUPTED, seconds
from impasto.devices import choose
from impasto.errors import DivergenceError, ImpastoError, OptionError, OutputError, RunError, SaveError
from impasto.files import printable
from impasto.weights.networks import LITE_NAME
from training import checkpoint as checkpoints
from training import evaluation
from training import probe as probes
from training.config import Config
from training.data import Compressed, Decoded, Picture, Pictures, Source, gather, plan
from training.loop import Machine, Step, Trainer
from training.plot import svg
from training.student import Shape, Student, rounded, vgg19_cost
from training.teachers import Teacher, normalised, read_pair, read_vgg19

USAGE = 2
SAID_EVERY = 10.0  # seconds
SMOOTH = 0.98  # of the losses shown, from step to step
MEASURED_ON = 64  # pictures that activations are measured on, to see whether weights are normalised
MEASURED_SIDE = 224  # pixels

INPUT, OUTPUT = Group("What to learn from", sort_key=0), Group("Output and machine", sort_key=9)
Device = Literal["auto", "cpu", "cuda"]
Many = Annotated[tuple[Path, ...], Parameter(group=INPUT, consume_multiple=True, negative=())]
Folder = Annotated[Path | None, Parameter(group=INPUT)]

app = App(
    name="python -m training.encoder",
    help=str(__doc__),
    help_format="plaintext",
    version_flags=(),
    suppress_keyboard_interrupt=False,
)


def say(text: str) -> None:
    """A word on the way."""
    sys.stderr.write(f"training: {text}\n")
    sys.stderr.flush()


@app.default
def train(
    *,
    photos: Many,
    paintings: Many,
    teachers: Folder = None,
    vgg19: Folder = None,
    output: Annotated[Path, Parameter(name=["--output", "-o"], group=OUTPUT)],
    start: Annotated[Path | None, Parameter(group=INPUT)] = None,
    shallow: Annotated[Path | None, Parameter(group=INPUT)] = None,
    save_every: Annotated[float, Parameter(group=OUTPUT)] = 120.0,
    device: Annotated[Device, Parameter(group=OUTPUT)] = "auto",
    workers: Annotated[int | None, Parameter(group=OUTPUT)] = None,
    compile: Annotated[bool, Parameter(group=OUTPUT)] = True,  # noqa: A002 (it is the flag's name)
    config: Annotated[Config | None, Parameter(name="*")] = None,
) -> int:
    """Distil the encoder from VGG-19 into a checkpoint; the same command goes on from it.

    Parameters
    ----------
    photos: tuple[Path, ...]
        Folders or tar files of photographs.
    paintings: tuple[Path, ...]
        Folders or tar files of paintings.
    teachers: Path
        Folder with the exact first blocks and the distilled deep blocks of the normalised VGG-19.
    vgg19: Path
        The whole VGG-19 instead, in any format impasto reads; then every tap learned is exact.
    output: Path
        The checkpoint. Losses go beside it, as JSON lines and as a plot.
    start: Path
        A checkpoint or lite.safetensors to begin with; layers that it has not begin as the teacher's own where they can, and without it
        all do.
    shallow: Path
        A checkpoint of the same network whose layers up to the first tap that is learned (--learned) are taken, and kept; those behind
        begin anew on what they see there. To go on learning the deep taps of one network, give it as --start alone.
    save_every: float
        Seconds between checkpoints.
    workers: int
        Threads that decode pictures. [default: 1; on a GPU as many as there are cores]
    compile: bool
        Use torch.compile, on a GPU only.
    """
    config = config or Config.create()
    machine = _machine(device, workers, compiled=compile)
    kept = _resumable(output, config)
    pictures = _gather(photos, paintings, config.held_out)
    source = _source(pictures, machine)
    teacher = _teacher(teachers, vgg19, pictures)
    if kept and (why := kept.difference(config, pictures.digest, teacher.digest)):
        raise OutputError(f"{printable(output)} is a checkpoint of another run: {why}; name another -o, or ask for the same")
    if shallow and not start:
        raise OptionError("--shallow needs a --start for the other layers")
    others = [checkpoints.read_student(file) if file and not kept else None for file in (start, shallow)]
    trainer = Trainer(config, teacher, source, pictures.digest, machine, kept, *others)
    _introduce(trainer, pictures, resumed=bool(kept), start=start)
    return _follow(trainer, output, save_every)


def _machine(device: str, workers: int | None, *, compiled: bool) -> Machine:
    chosen = _device(device)
    if chosen.type != "cuda":
        return Machine(chosen, 1 if workers is None else max(0, workers))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    return Machine(chosen, (os.cpu_count() or 1) if workers is None else max(1, workers), compiled)


def _device(name: str) -> torch.device:
    """The device to compute on; "auto" is CUDA or else the CPU, because Apple's has no float64. Raises OptionError."""
    return choose("cpu" if name == "auto" and not torch.cuda.is_available() else "cuda" if name == "auto" else name)


def _resumable(output: Path, config: Config) -> checkpoints.Checkpoint | None:
    """The checkpoint to go on from, None if there is no file. Raises OutputError if the file is something else or cannot be one."""
    if not output.exists():
        files.check(output, (output.suffix.lower(),))
        return None
    kept = checkpoints.load(output)
    if why := config.difference(kept.config):
        raise OutputError(f"{printable(output)} is a checkpoint of another run: {why}; name another -o, or ask for the same")
    return kept


def _gather(photos: Sequence[Path], paintings: Sequence[Path], held_out: int, *, train: bool = True) -> Pictures:
    pictures = gather(photos, paintings, held_out, train=train)
    bad = pictures.unreadable
    if bad:
        shown = ", ".join(printable(name) for name in bad[:5]) + (", ..." if len(bad) > 5 else "")
        say(f"{len(bad)} file{'s' if len(bad) > 1 else ''} could not be read as pictures and {_are(bad)} left out: {shown}")
    return pictures


def _are(names: Sequence[str]) -> str:
    return "are" if len(names) > 1 else "is"


def _source(pictures: Pictures, machine: Machine) -> Source:
    if machine.device.type == "cuda":
        return Decoded(pictures, machine.device, machine.workers)
    return Compressed(pictures)


def _teacher(folder: Path | None, vgg19: Path | None, pictures: Pictures) -> Teacher:
    if (folder is None) == (vgg19 is None):
        raise OptionError("say what to learn from: either --teachers or --vgg19")
    if folder is not None:
        return read_pair(folder)
    return _whole_vgg19(Path(str(vgg19)), _samples(Compressed(pictures)))


def _whole_vgg19(file: Path, samples: Iterator[Tensor]) -> Teacher:
    teacher, rescaled = normalised(read_vgg19(file), samples)
    if rescaled:
        say("these weights are not normalised: filters were rescaled to a mean activation of 1 on pictures trained on")
    return teacher


def _samples(source: Source) -> Iterator[Tensor]:
    """Crops as they are, to measure activations on: the same whatever is trained, so that `evaluate` has the same teacher."""
    plain = Config.create(noise_rate=0, mix_rate=0, blank_rate=0)
    for step in range(MEASURED_ON // plain.batch):
        yield source.cut(plan(plain, source.counts, step), MEASURED_SIDE)[0].float() / 255


def _introduce(trainer: Trainer, pictures: Pictures, *, resumed: bool, start: Path | None) -> None:
    photos, paintings = map(len, pictures.train)
    say(f"{photos} photographs and {paintings} paintings; {_costs(trainer.student.shape)}")
    if resumed:
        say(f"going on after step {trainer.step}")
        return
    say(f"starting from {printable(start)}" if start else "starting as the teacher's own filters, as many as there is room for")
    if trainer.unfit:
        say(f"these layers are not in it and begin anew: {', '.join(trainer.unfit)}")
    if trainer.revived:
        count, layers = sum(trainer.revived.values()), ", ".join(f"{n} of {name}" for name, n in trainer.revived.items())
        say(f"{count} channels counted for next to nothing, or were not there, and start anew: {layers}")


def _costs(shape: Shape) -> str:
    trunk, heads = shape.cost()
    parameters = sum(torch.Size(size).numel() for size in shape.tensors().values())
    return (
        f"{parameters / 1e6:.2f} M parameters, {(trunk + heads) / 1e3:.1f} thousand multiply-adds per pixel "
        f"(trunk {trunk / 1e3:.1f}, heads {heads / 1e3:.1f}; VGG-19 to conv5_1: {vgg19_cost() / 1e3:.0f})"
    )


def _follow(trainer: Trainer, output: Path, save_every: float) -> int:
    """Train to the end, saving and logging on the way. Returns the exit code; raises RunError when the end was not reached."""
    log = checkpoints.Log(output.with_suffix(".jsonl"), trainer.step)
    with _interrupts() as interrupted:
        try:
            _keep_going(trainer, output, log, save_every, interrupted)
        finally:
            log.close()
    if not trainer.finished:
        say(f"interrupted after step {trainer.step}, which is in {printable(output)}; the same command goes on from there")
        return INTERRUPTED
    _plot(output)
    sys.stdout.write(f"wrote {printable(output)} after {trainer.step} steps; next: evaluate, export\n")
    return 0


def _keep_going(
    trainer: Trainer, output: Path, log: checkpoints.Log, save_every: float, interrupted: Callable[[], bool]
) -> None:
    began = time.monotonic()
    keeper, speaker = _Keeper(trainer, output, log), _Speaker()
    try:
        for step in trainer.run():
            now = time.monotonic()
            keeper.note(step, now - began)
            speaker.hear(step, trainer.config.batch)
            if now - keeper.saved >= save_every or keeper.total != step.total:  # the pace has just been measured: keep it
                keeper.save()
            if interrupted():
                break
    except DivergenceError as error:
        raise DivergenceError(f"{error}; {keeper.kept()}") from error
    keeper.save_at_last()


class _Keeper:
    """Puts a run on disk. A disk that is full now may not be so later: until the end nothing is given up for it."""

    def __init__(self, trainer: Trainer, output: Path, log: checkpoints.Log) -> None:
        self.trainer, self.output, self.log = trainer, output, log
        self.step, self.total = trainer.step, trainer.total  # on disk
        self.saved = time.monotonic()
        self.complained = False

    def note(self, step: Step, span: float) -> None:
        """Write a line of the log, or say once that it cannot be written."""
        try:
            self.log.add(step.entry(span))
        except SaveError as error:
            if not self.complained:
                say(f"{error}; going on without")
            self.complained = True

    def save(self) -> None:
        """Write a checkpoint, or say that it could not be written."""
        self.saved = time.monotonic()
        try:
            checkpoints.save(self.trainer.checkpoint(), self.output)
            self.step, self.total = self.trainer.step, self.trainer.total
        except SaveError as error:
            say(f"{error}; going on, {self.kept()}")

    def save_at_last(self) -> None:
        """Write the last checkpoint. Raises RunError."""
        try:
            checkpoints.save(self.trainer.checkpoint(), self.output)
        except RunError as error:
            raise type(error)(f"{error}; {self.kept()}") from error

    def kept(self) -> str:
        """What is on disk, in words."""
        return f"{printable(self.output)} holds step {self.step}" if self.step else "nothing was saved yet"


def _plot(output: Path) -> None:
    entries = checkpoints.read_log(output.with_suffix(".jsonl"))
    if entries:
        files.write(output.with_suffix(".svg"), svg(entries).encode(), (".svg",), overwrite=True)


class _Speaker:
    """Says now and then how far the run is."""

    def __init__(self) -> None:
        self.first: tuple[float, int] | None = None
        self.said = time.monotonic()
        self.errors: dict[str, tuple[float, ...]] = {}

    def hear(self, step: Step, batch: int) -> None:
        """Take note of a step; a line every ten seconds."""
        now = time.monotonic()
        self.first = self.first or (now, step.step)
        for tap, new in step.taps.items():
            old = self.errors.get(tap, new)
            self.errors[tap] = tuple(SMOOTH * a + (1 - SMOOTH) * b for a, b in zip(old, new, strict=True))
        if now - self.said >= SAID_EVERY or step.step == step.total:
            self.said = now
            say(self._line(step, now, batch))

    def _line(self, step: Step, now: float, batch: int) -> str:
        began, first = self.first or (now, step.step)
        pace = (now - began) / max(1, step.step - first)
        left = f"{seconds(pace * (step.total - step.step))} left" if step.total else "measuring the pace"
        errors = " ".join(f"{tap.removeprefix('relu')} {_shown(*parts)}" for tap, parts in self.errors.items())
        speed = f"{batch / pace:.1f} crops/s" if pace else ""
        return f"step {step.step}/{step.total or '?'}, {left}, {speed}; R2/Gram/drift {errors}"


def _shown(features: float, gram: float, drift: float) -> str:
    return f"{1 - features:.3f}/{gram**0.5:.3f}" + (f"/{drift**0.5:.3f}" if drift else "")


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C, or a polite kill, end the run after the step under way, not inside it; the second Ctrl-C ends it at once."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@app.command(help_epilogue="")
def evaluate(
    *networks: Path,
    photos: Many,
    paintings: Many,
    teachers: Folder = None,
    vgg19: Folder = None,
    held_out: Annotated[int, Parameter(group=INPUT)] = 300,
    limit: Annotated[int | None, Parameter(group=INPUT)] = None,
    bits: Annotated[int | None, Parameter(group=INPUT)] = None,
    device: Annotated[Device, Parameter(group=OUTPUT)] = "auto",
    json_file: Annotated[Path | None, Parameter(name="--json", group=OUTPUT)] = None,
) -> int:
    """Print R2 to the teacher and relative Gram error of every tap, on pictures kept out of training, clean and with noise.

    Parameters
    ----------
    networks: Path
        Checkpoints or weights files such as lite.safetensors.
    held_out: int
        The last so many pictures of each kind, by name.
    limit: int
        Only so many of them of each kind, evenly spread, for a quick look.
    bits: int
        Every network also with its filters rounded to integers of so many bits, 2 to 16, and a scale for every output channel.
    json_file: Path
        Also write the figures here, as JSON.
    """
    if bits is not None and not 2 <= bits <= 16:
        raise OptionError(f"bits must be 2 to 16, not {bits}")
    where = _device(device)
    students = _students(networks, where, "evaluate")
    if bits:
        students |= {f"{name}, {bits} bits": rounded(student, bits) for name, student in students.items()}
    rows, teacher = _held_out(photos, paintings, teachers, vgg19, held_out, limit, where)
    scores = evaluation.evaluate(students, teacher, rows, where, _progress(2 * sum(map(len, rows))))
    sys.stdout.write(evaluation.table(scores) + "\n")
    if json_file:
        text = json.dumps(evaluation.figures(scores), indent=1) + "\n"
        files.write(json_file, text.encode(), (json_file.suffix.lower(),), overwrite=True)
    return 0


@app.command(help_epilogue="")
def probe(
    *networks: Path,
    photos: Many,
    paintings: Many,
    teachers: Folder = None,
    vgg19: Folder = None,
    held_out: Annotated[int, Parameter(group=INPUT)] = 300,
    limit: Annotated[int, Parameter(group=INPUT)] = 40,
    device: Annotated[Device, Parameter(group=OUTPUT)] = "auto",
) -> int:
    """Print how much of the teacher's taps (R2) a linear look at each convolution tells, to see where a network loses what it needs.

    Parameters
    ----------
    networks: Path
        Checkpoints or weights files such as lite.safetensors.
    held_out: int
        The last so many pictures of each kind, by name.
    limit: int
        So many of them of each kind, evenly spread, clean and with noise; half are learned from, half measured on.
    """
    if (fewest := min(limit, held_out)) < 2:
        raise OptionError(f"limit and held_out must be at least 2, one to learn from and one to measure on, not {fewest}")
    where = _device(device)
    students = _students(networks, where, "probe")
    rows, teacher = _held_out(photos, paintings, teachers, vgg19, held_out, limit, where)
    count = 2 * sum(map(len, rows))
    scores = {
        name: probes.probe(student, partial(teacher, rectified=False), rows, where, _progress(count))
        for name, student in students.items()
    }
    sys.stdout.write(probes.table(scores) + "\n")
    return 0


def _students(networks: Sequence[Path], where: torch.device, verb: str) -> dict[str, Student]:
    """The networks by what to call them, on the device."""
    if not networks:
        raise OptionError(f"name at least one checkpoint or weights file to {verb}")
    return {_label(file, networks): checkpoints.read_student(file).to(where) for file in networks}


def _held_out(
    photos: Sequence[Path],
    paintings: Sequence[Path],
    teachers: Path | None,
    vgg19: Path | None,
    held_out: int,
    limit: int | None,
    where: torch.device,
) -> tuple[list[Sequence[Picture]], Teacher]:
    """The photographs and the paintings to measure on, and what to measure against."""
    pictures = _gather(photos, paintings, held_out, train=vgg19 is not None)
    teacher = _teacher(teachers, vgg19, pictures).to(where)
    return [_spread(row, limit) for row in pictures.held_out], teacher


def _progress(count: int) -> Callable[[int], None]:
    """Says, now and then, how many of so many pictures are done and what time is left."""
    began = said = time.monotonic()

    def progress(done: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= SAID_EVERY:
            said = now
            say(f"{done} of {count} pictures, {seconds((now - began) * (count - done) / done)} left")

    return progress


def _label(file: Path, among: Sequence[Path]) -> str:
    return file.name if sum(other.name == file.name for other in among) == 1 else printable(file)


def _spread(row: Sequence[Picture], limit: int | None) -> Sequence[Picture]:
    return row if limit is None or limit >= len(row) else [row[i * len(row) // limit] for i in range(limit)]


@app.command(help_epilogue="")
def export(
    checkpoint: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    name: str = LITE_NAME,
    overwrite: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Write a checkpoint's moving average as fp16 safetensors, the same bytes every time.

    Parameters
    ----------
    checkpoint: Path
        What training wrote.
    output: Path
        FILE.safetensors.
    name: str
        What the file says it is; impasto reads files as lite's whose name begins with "impasto lite".
    overwrite: bool
        Replace the output if it exists.
    """
    files.check(output, (".safetensors",), overwrite=overwrite)
    exported = checkpoints.export(checkpoints.load(checkpoint), name)
    files.write(output, exported.data, (".safetensors",), overwrite=overwrite)
    sys.stdout.write(
        f"wrote {printable(output)}: {len(exported.data)} bytes, sha256 {exported.sha256}\n{_costs(exported.shape)}\n"
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0, 1 (failure), 2 (usage) or 130 (interrupted); a bug keeps its traceback."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = app(words or ["--help"], exit_on_error=False, print_error=False, result_action="return_value")
    except cyclopts.CycloptsError as error:
        return _fail(usage_message(error), USAGE)
    except ImpastoError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int) -> int:
    say(" ".join(message.split()))
    return code


if __name__ == "__main__":
    sys.exit(main())
