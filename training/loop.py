"""The training loop: an iterator of steps. It can be left after any of them, and gone on with from a checkpoint to the same result."""

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
from training.data import Plan, Source, augment, cuts, plan
from training.distillation import TapLoss, gradient_error, tap_loss, total
from training.pool import Pool
from training.start import balance, begin, rank, revive
from training.student import Shape, Student, thinned
from training.teachers import Teacher

UNTIMED = 5  # steps at the start that tell nothing about the pace: memory is found, kernels are chosen
FIRST = 128  # crops that the first weights are found from: they have more positions than a convolution has inputs
NO_STEP = 2**40  # a step that no run comes to


@dataclass(frozen=True)
class Machine:
    """Where to compute and how; nothing here decides what comes out, but for the last bits."""

    device: torch.device
    workers: int = 1
    compiled: bool = False


@dataclass(frozen=True)
class Step:
    """What is known after a step. step: how many are done. total: of how many, None while the pace is measured.

    taps: (feature error, Gram error, drift) of the batch by tap. gradient: 1 - cosine where gradients were compared.
    """

    step: int
    total: int | None
    rate: float
    loss: float
    taps: dict[str, tuple[float, float, float]]
    gradient: float | None

    def entry(self, seconds: float) -> dict[str, object]:
        """A line of the log. seconds: since the run, or its resumption, began."""
        taps = {
            tap: {name: round(error, 5) for name, error in zip(("features", "gram", "drift"), errors, strict=True)}
            for tap, errors in self.taps.items()
        }
        entry: dict[str, object] = {"step": self.step, "loss": round(self.loss, 5), "rate": self.rate, **taps}
        return (
            entry
            | ({"gradient": round(self.gradient, 5)} if self.gradient is not None else {})
            | {"seconds": round(seconds, 2)}
        )


def learning_rate(config: Config, step: int, steps: int | None) -> float:
    """The rate of a step, from 0: a linear rise times a cosine to zero.

    steps: in all; None while --minutes is being measured, and then the cosine begins behind the measured steps.
    """
    rise = min(1.0, (step + 1) / max(config.warmup, 1))
    if steps is None:
        return config.rate * rise
    first = min(MEASURED, steps - 1) if config.minutes else 0
    progress = max(0, step - first) / (steps - first)
    return config.rate * rise * 0.5 * (1 + math.cos(math.pi * progress))


def share_of_rate(parameter: Tensor, fan_in: int) -> float:
    """How much of the rate a layer's parameter gets: for Adam 1 / fan-in (Yang et al. 2021, "Tensor Programs V"), at most 1.

    Features are never negative, so a step that moves every weight of a filter by as much, as Adam's do, moves the response by the
    sum of all it reads; and one that was moved below 0 everywhere gets no gradient ever again.
    """
    return min(1.0, fan_in / parameter[0].numel())


class Trainer:
    """A student, its teacher, its optimiser and where in the run they are.

    checkpoint: to go on from; start: a network to begin with instead of chance, as far as it fits; shallow: one whose layers up to
    the first tap that is learned are taken in place of those. Raises OptionError where they do not fit.
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
        self.unfit, self.revived = list[str](), dict[str, int]()
        if checkpoint:
            self.student.load_state_dict(dict(checkpoint.groups["student"]))
        self.student.to(device=machine.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.teacher = teacher.to(machine.device)
        if not checkpoint:
            self._settle(start, shallow)
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
        # heads are not compiled: the offsets they read at change with every step, and each would be compiled anew
        self.fast_trunk: Any = torch.compile(self.student.trunk) if machine.compiled else self.student.trunk
        self.fast_teacher: Any = torch.compile(self.teacher) if machine.compiled else self.teacher

    def _settle(self, start: Student | None, shallow: Student | None) -> None:
        """First weights, from the first crops: the teacher's own, as far as there is room, where there is nothing to start from."""
        many = self._first_crops(FIRST)
        self.student.adopt(*self.teacher.first())
        new = self._taken(start, shallow, many) if start else {*self.student.learned()}
        taps = self.teacher(many)
        begin(self.student, start, many, taps, self.teacher.responses(many), new)
        self.revived = revive(self.student, many, taps, self.config.seed, self.student.learned(*self.config.learned))
        balance(self.student, many)

    def _taken(self, start: Student, shallow: Student | None, image: Tensor) -> set[str]:
        """Take what fits from other networks. Returns the layers that are still to begin."""
        rank(start.to(self.machine.device), image)
        self.unfit, moved = self.student.take(start)
        new = {*self.unfit, *moved}
        if shallow is None:
            return new
        fixed = self.student.shape.needed(self.config.learned[0] - 1)
        self.student.adopt_layers(shallow.to(self.machine.device), fixed)
        return (new | {reader for name in fixed for reader in self.student.shape.followers(name)}) - {*fixed}

    def _first_crops(self, count: int) -> Tensor:
        """Crops such as every step's, noise among them, but of no step's plan. Returns Bx3xSxS on the device."""
        first = plan(self.config.model_copy(update={"batch": count}), self.source.counts, NO_STEP)
        crops, others = self.source.cut(first, self.config.crop)
        return augment(first, crops.to(self.machine.device), others.to(self.machine.device))

    def _groups(self) -> list[dict[str, Any]]:
        """The parameters by their share of the rate."""
        shares = {name: share_of_rate(parameter, self.config.fan_in) for name, parameter in self.parameters.items()}
        return [
            {"share": share, "params": [self.parameters[name] for name, mine in shares.items() if mine == share]}
            for share in sorted(set(shares.values()))
        ]

    def _restore(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Fill the moving average and the optimiser's state, in the layout of each parameter."""
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
        """Whether no step is left."""
        return self.total is not None and self.step >= self.total

    def run(self) -> Iterator[Step]:
        """Train to the end, step by step. Raises DivergenceError, with the weights as they were before the step that diverged."""
        clock = _Clock(self.config.minutes)
        for plan_, image in cuts(self.source, self._plans(), self.config.crop, self.machine.device, self.machine.workers):
            if self.finished:
                return
            if self.config.pool:
                self._join(image)
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

    def _join(self, image: Tensor) -> None:
        """Put pictures of the pool, and their paintings if these are wanted, in the place of the first crops of a batch."""
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
        """Every tap's errors, at some positions of each map only: with that, heads and losses cost little."""
        with self._autocast():
            first, last = self.config.learned
            with torch.no_grad():
                where = list(zip(self.config.strides, plan_.offsets, strict=True))[first - 1 : last]
                seen = [thinned(T, *at) for T, at in zip(self.fast_teacher(image, self.config.taps), where, strict=True)]
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
        """[loss, norm, three per tap, gradient if there is one], fetched at once. Raises DivergenceError."""
        parts = [loss, norm, *(part for tap in taps for part in (tap.features, tap.gram, tap.drift))]
        parts += [] if gradient is None else [gradient]
        numbers: list[float] = torch.stack([part.detach().float() for part in parts]).tolist()
        if not all(map(math.isfinite, numbers)):
            which = "loss" if not math.isfinite(numbers[0]) else "gradient"
            raise DivergenceError(f"the {which} turned NaN or infinite at step {self.step + 1}; try a lower --rate")
        return numbers

    @torch.no_grad()
    def _apply(self, rate: float) -> None:
        """One step of AdamW, and of the moving average, which trusts the weights more while it is young."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        self.optimizer.step()
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.ema.values()), list(self.parameters.values()), 1 - decay)
        self.step += 1

    def checkpoint(self) -> Checkpoint:
        """The run as it is now; its tensors are this trainer's own, so write them before the next step. Raises DivergenceError."""
        if not all(bool(parameter.isfinite().all()) for parameter in self.parameters.values()):
            raise DivergenceError(f"a weight turned NaN or infinite at step {self.step}; try a lower --rate")
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
    """Turns --minutes into a number of steps, once MEASURED steps are done."""

    def __init__(self, minutes: float | None) -> None:
        self.budget = 60 * (minutes or 0.0)
        self.began = time.monotonic()
        self.paced: tuple[float, int] | None = None
        self.taken = 0

    def total(self, step: int) -> int | None:
        """Steps in all, or None while there is too little to go by. step: how many are done."""
        self.taken += 1
        now = time.monotonic()
        if self.taken == UNTIMED:
            self.paced = now, step
        if step < MEASURED or self.paced is None or step == self.paced[1]:
            return None
        pace = (now - self.paced[0]) / (step - self.paced[1])
        return step + max(1, int((self.budget - (now - self.began)) / pace))
