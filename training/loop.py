"""The training loop, an iterator of steps. It can stop after any step and resume from a checkpoint with the same result."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from impasto.errors import DivergenceError
from training.checkpoint import POOL, Checkpoint
from training.config import MEASURED, Config
from training.data import Plan, Source, augment, batches, plan
from training.distillation import TapLoss, gradient_error, tap_loss, total
from training.initialize import equalize, initialize, reset_idle, sort_channels
from training.pool import Pool
from training.student import Shape, Student, subsampled
from training.teachers import Teacher

UNTIMED = 5  # first steps, which are slower: memory is allocated and kernels are selected
FIRST = 128  # crops for the initial weights; their positions outnumber any convolution's inputs
NO_STEP = 2**40  # no run gets this far


@dataclass(frozen=True)
class Machine:
    """Where and how to compute. Affects the result only by rounding."""

    device: torch.device
    workers: int = 1
    compiled: bool = False


@dataclass(frozen=True)
class Step:
    """The result of a step. step: number of steps done. total: number of steps, None while --minutes is being measured.

    taps: (feature error, Gram error, drift) of the batch by tap. gradient: 1 - cosine similarity on steps that compare gradients.
    """

    step: int
    total: int | None
    rate: float
    loss: float
    taps: dict[str, tuple[float, float, float]]
    gradient: float | None

    def entry(self, seconds: float) -> dict[str, object]:
        """A log entry. seconds: since the run started or resumed."""
        entry: dict[str, object] = {"step": self.step, "loss": round(self.loss, 5), "rate": self.rate}
        for tap, errors in self.taps.items():
            entry[tap] = {name: round(error, 5) for name, error in zip(("features", "gram", "drift"), errors, strict=True)}
        if self.gradient is not None:
            entry["gradient"] = round(self.gradient, 5)
        return entry | {"seconds": round(seconds, 2)}


def learning_rate(config: Config, step: int, steps: int | None) -> float:
    """The learning rate of a step, counted from 0: linear warm-up, then a cosine to 0.

    steps: total; None while --minutes is being measured. The cosine then starts after the measured steps.
    """
    rise = min(1.0, (step + 1) / max(config.warmup, 1))
    if steps is None:
        return config.rate * rise
    first = min(MEASURED, steps - 1) if config.minutes else 0
    progress = max(0, step - first) / (steps - first)
    return config.rate * rise * 0.5 * (1 + math.cos(math.pi * progress))


def rate_scale(parameter: Tensor, fan_in: int) -> float:
    """The learning-rate factor of a parameter, at most 1: 1 / fan-in for Adam (Yang et al. 2021, "Tensor Programs V").

    Adam moves all weights of a filter by about the same amount, and features are never negative, so a response moves by the sum of
    its inputs. A channel that falls below 0 everywhere gets no gradient and stays inactive.
    """
    return min(1.0, fan_in / parameter[0].numel())


class Trainer:
    """A student, its teacher, its optimizer and the current step.

    checkpoint: resume from it. start: initialize from this network where the layers match. shallow: copy the layers of the taps
    before the first trained one from this network. Raises OptionError if they do not fit.
    """

    def __init__(
        self,
        config: Config,
        teacher: Teacher,
        source: Source,
        pictures: str,
        machine: Machine,
        checkpoint: Checkpoint | None = None,
        start: Student | None = None,
        shallow: Student | None = None,
    ) -> None:
        self.config, self.source, self.pictures, self.machine = config, source, pictures, machine
        self.student = Student(Shape.of(config), config.seed)
        self.missing, self.reset = list[str](), dict[str, int]()  # layers not in `start`; channels initialized again by layer
        if checkpoint:
            self.student.load_state_dict(dict(checkpoint.groups["student"]))
        self.student.to(device=machine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.teacher = teacher.to(machine.device)
        if not checkpoint:
            self._initialize(start, shallow)
        trained = self.student.learned(*config.learned)
        for name, layer in self.student.named_children():
            layer.requires_grad_(name in trained)
        self.step = checkpoint.step if checkpoint else 0
        self.total = checkpoint.total if checkpoint else config.steps
        self.parameters = dict(self.student.named_parameters())
        self.optimizer = torch.optim.AdamW(self._groups(), lr=config.rate, weight_decay=config.weight_decay, fused=True)
        self.ema = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        self._restore(checkpoint.groups if checkpoint else {})
        self.pool = Pool(config, source, machine.device, checkpoint.groups[POOL] if checkpoint else None)
        # heads are not compiled: their offsets change at every step and would trigger recompilation
        self.fast_trunk: Any = torch.compile(self.student.trunk) if machine.compiled else self.student.trunk
        self.fast_teacher: Any = torch.compile(self.teacher) if machine.compiled else self.teacher

    def _initialize(self, start: Student | None, shallow: Student | None) -> None:
        """Initialize the student from `start` and from the teacher's filters, using crops like those of a step."""
        first = plan(self.config.model_copy(update={"batch": FIRST}), self.source.counts, NO_STEP)
        crops = augment(first, *(row.to(self.machine.device) for row in self.source.cut(first, self.config.crop)))
        self.student.set_first_filters(*self.teacher.first())
        new = self._copy(start, shallow, crops) if start else {*self.student.learned()}
        taps = self.teacher(crops)
        initialize(self.student, start, crops, taps, self.teacher.responses(crops), new)
        self.reset = reset_idle(self.student, crops, taps, self.config.seed, self.student.learned(*self.config.learned))
        equalize(self.student, crops)

    def _copy(self, start: Student, shallow: Student | None, image: Tensor) -> set[str]:
        """Copy matching layers from other networks. Returns the layers that still need initial weights."""
        sort_channels(start.to(self.machine.device), image)
        self.missing, moved = self.student.copy_from(start)
        new = {*self.missing, *moved}
        if shallow is None:
            return new
        fixed = self.student.shape.needed(self.config.learned[0] - 1)
        self.student.copy_layers(shallow.to(self.machine.device), fixed)
        return (new | {reader for name in fixed for reader in self.student.shape.followers(name)}) - {*fixed}

    def _groups(self) -> list[dict[str, Any]]:
        """Parameter groups by learning-rate factor."""
        scales = {name: rate_scale(parameter, self.config.fan_in) for name, parameter in self.parameters.items()}
        return [
            {"scale": scale, "params": [self.parameters[name] for name, own in scales.items() if own == scale]}
            for scale in sorted(set(scales.values()))
        ]

    def _restore(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Restore the moving average and the optimizer state in each parameter's memory layout."""
        for name, parameter in self.parameters.items():
            mean, square = (torch.zeros_like(parameter) for _ in range(2))
            if groups:
                self.ema[name].copy_(groups["ema"][name])
                mean.copy_(groups["adam_mean"][name])
                square.copy_(groups["adam_square"][name])
            count = torch.tensor(float(self.step), device=parameter.device)
            self.optimizer.state[parameter] = {"step": count, "exp_avg": mean, "exp_avg_sq": square}

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.total is not None and self.step >= self.total

    def run(self) -> Iterator[Step]:
        """Train until finished. Raises DivergenceError before the diverging step changes any weight."""
        clock = _Clock(self.config.minutes)
        for plan_, image in batches(self.source, self._plans(), self.config.crop, self.machine.device, self.machine.workers):
            if self.finished:
                return
            if self.config.pool:
                self._add_pool_images(image)
            rate = learning_rate(self.config, self.step, self.total)
            taps, gradient = self._losses(image, plan_)
            loss = total(taps, self.config)
            loss = loss if gradient is None else loss + self.config.gradient_weight * gradient
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip)
            numbers = self._numbers(loss, norm, taps, gradient)
            self._apply(rate)
            if self.total is None:
                self.total = clock.total(self.step)
            shown = 2 + 3 * len(taps)
            errors = dict(zip(self.config.taps, _threes(numbers[2:shown]), strict=True))
            yield Step(self.step, self.total, rate, numbers[0], errors, next(iter(numbers[shown:]), None))

    def _add_pool_images(self, image: Tensor) -> None:
        """Replace the first crops of a batch by pool images, followed by their paintings if `paired`."""
        with self._autocast():
            pictures, paintings = self.pool.visit(self.step, self.student)
        count = self.config.pool_batch
        image[:count] = pictures
        if self.config.paired:
            image[count : 2 * count] = paintings

    def _plans(self) -> Iterator[Plan]:
        step = self.step
        while self.total is None or step < self.total:
            yield plan(self.config, self.source.counts, step)
            step += 1

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.machine.device.type, torch.bfloat16, enabled=self.config.precision == "bf16")

    def _losses(self, image: Tensor, plan_: Plan) -> tuple[list[TapLoss], Tensor | None]:
        """The errors of every tap on a sub-grid of positions, and the gradient error if the plan asks for it."""
        with self._autocast():
            first, last = self.config.learned
            with torch.no_grad():
                where = list(zip(self.config.strides, plan_.offsets, strict=True))[first - 1 : last]
                seen = [subsampled(T, *at) for T, at in zip(self.fast_teacher(image, self.config.taps), where, strict=True)]
            mine = self.student.heads(self.fast_trunk(image, last), self.config.strides, plan_.offsets, first)
            pairs, per_channel = self.config.pool_batch if self.config.paired else 0, self.config.per_channel
            taps = [tap_loss(F, T, pairs, per_channel=per_channel) for F, T in zip(mine, seen, strict=True)]
            gradient = self._gradient_error(image) if plan_.match_gradients else None
        return taps, gradient

    def _gradient_error(self, image: Tensor) -> Tensor:
        first, last = self.config.learned
        return gradient_error(
            image, lambda x: self.student(x, first=first, last=last), lambda x: self.teacher(x, self.config.taps)
        )

    def _numbers(self, loss: Tensor, norm: Tensor, taps: list[TapLoss], gradient: Tensor | None) -> list[float]:
        """[loss, norm, three per tap, gradient if compared] in a single transfer. Raises DivergenceError."""
        parts = [loss, norm, *(part for tap in taps for part in (tap.features, tap.gram, tap.drift))]
        parts += [] if gradient is None else [gradient]
        numbers: list[float] = torch.stack([part.detach().float() for part in parts]).tolist()
        if not all(map(math.isfinite, numbers)):
            which = "loss" if not math.isfinite(numbers[0]) else "gradient"
            raise DivergenceError(f"the {which} became NaN or infinite at step {self.step + 1}", remedy="lower {rate}")
        return numbers

    @torch.no_grad()
    def _apply(self, rate: float) -> None:
        """One step of AdamW and of the moving average, whose decay is lower in the first steps."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.step()
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.ema.values()), list(self.parameters.values()), 1 - decay)
        self.step += 1

    def checkpoint(self) -> Checkpoint:
        """The current state. It shares this trainer's tensors: write it before the next step. Raises DivergenceError."""
        if not all(bool(parameter.isfinite().all()) for parameter in self.parameters.values()):
            raise DivergenceError(f"a weight became NaN or infinite at step {self.step}", remedy="lower {rate}")
        state = {name: self.optimizer.state[parameter] for name, parameter in self.parameters.items()}
        groups = {
            "student": {name: parameter.detach() for name, parameter in self.parameters.items()},
            "ema": self.ema,
            "adam_mean": {name: entry["exp_avg"] for name, entry in state.items()},
            "adam_square": {name: entry["exp_avg_sq"] for name, entry in state.items()},
            POOL: self.pool.state() if self.config.pool else {},
        }
        return Checkpoint(self.config, self.step, self.total, self.pictures, self.teacher.digest, groups)


def _threes(numbers: list[float]) -> list[tuple[float, float, float]]:
    return list(zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True))


class _Clock:
    """Converts --minutes to a number of steps after MEASURED steps."""

    def __init__(self, minutes: float | None) -> None:
        self.budget = 60 * (minutes or 0.0)
        self.began = time.monotonic()
        self.paced: tuple[float, int] | None = None
        self.taken = 0

    def total(self, step: int) -> int | None:
        """The total number of steps, or None while it is being measured. step: number of steps done."""
        self.taken += 1
        now = time.monotonic()
        if self.taken == UNTIMED:
            self.paced = now, step
        if step < MEASURED or self.paced is None or step == self.paced[1]:
            return None
        pace = (now - self.paced[0]) / (step - self.paced[1])
        return step + max(1, int((self.budget - (now - self.began)) / pace))
