"""One engine session: iterate over a Run for its steps, stop whenever you like, resume from its state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from impasto import pictures
from impasto.compute import allocator, mapped, memory, settings
from impasto.compute import device as devices
from impasto.compute.memory import Plan
from impasto.errors import MemoryLimitError
from impasto.ladder import Size
from impasto.lbfgs import HalfPairs, Pairs
from impasto.losses import Term
from impasto.objective.evaluate import Evaluate, Evaluated, RetrySmaller
from impasto.optimize import State, Step, coarse_to_fine
from impasto.problem import Problem
from impasto.session import Session

MoreTerms = Callable[[Size], Sequence[Term]]  # further terms of the objective at a size
StartAt = Callable[[Problem, Size], torch.Tensor]  # an image to start from at a size, 1x3xHxW


def no_more_terms(size: Size) -> Sequence[Term]:
    """None at any size. A function with a name, so that a Run can be pickled."""
    return ()


class Run(Session):
    """One run of the engine on a problem.

    limit: bytes of memory to plan for; None for the option max_memory, or what is free. more_terms: makes further terms of the
    objective. start_at: makes the image to start from; None for the problem's own. last: the last Step; state: the engine's, after it.
    Raises MemoryLimitError if even the smallest blocks exceed max_memory.
    """

    def __init__(
        self,
        problem: Problem,
        limit: int | None = None,
        more_terms: MoreTerms = no_more_terms,
        start_at: StartAt | None = None,
    ) -> None:
        self.problem, self.start_at = problem, start_at
        self.limit = limit or problem.options.memory_limit or memory.limit_of(problem.device)
        self.more_terms = more_terms
        self.memory = problem.memory()
        self._check_memory()
        # a step's work as it is computed here, which progress is measured by
        self.scales = [replace(scale, work=self.plan(scale.size).work) for scale in problem.scales]
        self._largest = allocator.ANY

    def _check_memory(self) -> None:
        problem, asked = self.problem, self.problem.options.memory_limit
        if not (asked and problem.scales):
            return
        needed, halved = (model.plan(problem.size, asked).peak for model in (self.memory, problem.memory(torch.bfloat16)))
        if needed > asked:
            less = f"; {{precision}} bf16 needs {halved / 1e9:.2f} GB" if halved <= asked else ""
            raise MemoryLimitError(
                f"{problem.name} need {needed / 1e9:.2f} GB in blocks, more than the limit of {problem.options.max_memory}",
                remedy=f"raise {{max_memory}}{less}",
            )

    def plan(self, size: Size) -> Plan:
        """How an image of (height, width) is computed here: at once or in blocks, and where L-BFGS keeps its pairs."""
        return self.memory.plan(size, self.limit)

    def __iter__(self) -> Iterator[Step]:
        """Paint, yielding every step; a second iteration resumes where the first was left.

        After DivergenceError or MemoryLimitError `image()` still gives the last good image. torch's global settings are changed
        only while a step runs. Memory that steps free is kept for the next ones until the iteration ends.
        """
        steps = self._steps()
        try:
            while True:
                with self._settings():
                    step = next(steps, None)
                if step is None:
                    return
                self.last = step
                del step  # of a large image every copy counts
                yield self.last
        finally:
            allocator.release()

    def _steps(self) -> Iterator[Step]:
        yield from coarse_to_fine(
            self._start(),
            self.scales,
            self._objective,
            pictures.enlarge,
            metric_at=self.problem.metric,
            pairs_at=lambda size: self.pairs(self.plan(size)),
            state=self.state,
            keep=self._keep,
        )

    @contextmanager
    def _settings(self) -> Iterator[None]:
        problem = self.problem
        with (
            memory.clear_errors(problem.name),
            settings.default_settings(),
            devices.settings(problem.device, problem.encoder.dtype),
            allocator.kept(self._largest),
        ):
            yield

    def _start(self) -> torch.Tensor:
        size = self.scales[0].size if self.scales else self.problem.size
        if self.start_at is None or not self.scales or self.state is not None:
            return self.problem.start(size)
        return self.start_at(self.problem, size)

    def _keep(self, state: State) -> None:
        self.state = state

    def _objective(self, size: Size) -> Evaluate:
        plan, extra = self.plan(size), self.more_terms(size)

        def make(side: int | None) -> Evaluate:
            self._largest = allocator.ANY if side is None else self.memory.block_tensor(size, side)
            allocator.keep_up_to(self._largest)
            allocator.trim()
            evaluate = self.problem.objective(size, replace(plan, side=side), extra, self.folder(plan))
            return evaluate if side is None else _trimming(evaluate)

        return RetrySmaller(make, max(size), plan.side)

    def pairs(self, plan: Plan) -> Pairs:
        """Where L-BFGS keeps its pairs."""
        return Pairs() if plan.pairs == "memory" else HalfPairs(self.folder(plan))

    @staticmethod
    def folder(plan: Plan) -> Path | None:
        """The folder of files for what memory cannot hold; None if it holds everything. Raises SaveError."""
        return mapped.scratch_folder() if plan.pairs == "disk" else None

    @settings.default_settings()
    def resume(self, state: State) -> None:
        """Start from the state of an earlier run of the same problem and limit, and end as that one would have.

        On the same machine with as many threads this holds to the last bit, unless the state is without L-BFGS's memory.
        """
        if state.best.is_inference():  # such tensors cannot be optimized; copies can
            state = copy.deepcopy(state)
        self.state, self.last = state, state.at(self.scales)


def _trimming(evaluate: Evaluate) -> Evaluate:
    """Give back the memory of blocks after an evaluation: L-BFGS's step needs the room for whole images."""

    def trimming(image: torch.Tensor) -> Evaluated:
        found = evaluate(image)
        allocator.trim()
        return found

    return trimming
