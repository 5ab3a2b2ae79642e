"""What every painter looks like from outside: a session that is iterated over for its steps, and gives its best image at any time."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image
from torch import Tensor

from impasto.compute import memory, settings
from impasto.ladder import Scale
from impasto.optimize import State, Step
from impasto.pictures import Words, to_image, to_words
from impasto.problem import Problem


class Session:
    """One image being painted. `Run` optimizes it, `fast.Instant` paints it with a network.

    limit: bytes of memory it is planned for. scales: those it goes through. last: the last Step. state: what a later session resumes
    from, after that step; None for a painter that has no need of it. network: SHA-256 of the network that paints, or that the optimizer
    starts from; "" if there is none.
    """

    problem: Problem
    limit: int
    scales: list[Scale]
    last: Step | None = None
    state: State | None = None
    network: str = ""

    def __len__(self) -> int:
        """The number of steps."""
        return sum(scale.steps for scale in self.scales)

    def __iter__(self) -> Iterator[Step]:
        """Paint, yielding every step."""
        raise NotImplementedError

    def finish(self) -> Image.Image:
        """Paint to the end and return the image."""
        for _ in self:
            pass
        return self.image()

    @settings.default_settings()
    def image(self) -> Image.Image:
        """The best image so far at its final size, with the photograph's transparency. Before the first step: the start."""
        with memory.clear_errors(self.problem.name):
            return to_image(*self._finished())

    def words(self) -> Words:
        """The same with 16 bits per channel: HxWx3, or HxWx4 with transparency."""
        with memory.clear_errors(self.problem.name):
            return to_words(*self._finished())

    def _finished(self) -> tuple[Tensor, Tensor | None]:
        best = self.last.image if self.last else self._start()
        return self.problem.finished(best), self.problem.alpha()

    def _start(self) -> Tensor:
        """What is painted on, 1x3xHxW."""
        return self.problem.start(self.scales[0].size if self.scales else self.problem.size)
