"""Painting single frames: with the network, or with the optimizer from a start and with further terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from impasto import colors, fast
from impasto.inputs import Inputs, Layer
from impasto.ladder import Size
from impasto.pictures import Picture, resize
from impasto.problem import Problem
from impasto.run import MoreTerms, Run, no_more_terms
from impasto.session import Session
from impasto.stylizer import Stylizer
from impasto.video.moments import Moment, in_levels

Blend = Callable[[float], tuple[float, ...]]  # share of the clip -> weight of each style


class Stills:
    """What the frames of a clip are painted with.

    stylizer: with the options, whose size is "original", since frames come at the result's size. styles, layers: what they are painted
    in, analyzed once: Styles, and for each mask a Style or None. blend: the weights of the styles over time; None for the options'.
    """

    def __init__(
        self, stylizer: Stylizer, styles: Sequence[Any], layers: Sequence[Any] = (), blend: Blend | None = None
    ) -> None:
        self.stylizer, self.styles, self.layers, self.blend = stylizer, tuple(styles), tuple(layers), blend
        self.limit: int | None = None  # of memory: the same for all frames, so that they are computed alike

    @property
    def device(self) -> torch.device:
        """Where the optimizer computes."""
        return next(self.stylizer.encoder.parameters()).device

    def problem(self, moment: Moment, **changes: Any) -> Problem:
        """A frame to be painted. changes: of the options."""
        if self.blend is not None:
            changes |= {"blend": self.blend(moment.share)}
        photo = Picture(moment.pixels, None)
        layers = tuple(Layer(Picture(mask, None), style) for mask, style in zip(moment.masks, self.layers, strict=True))
        stylizer = self.stylizer.changed(**changes) if changes else self.stylizer
        return stylizer.problem(Inputs(photo, self.styles, layers))

    def network(self, moment: Moment) -> Tensor:
        """The frame as the network paints it, 1x3xHxW, finished."""
        return _finished(fast.Instant(self.problem(moment), self.limit))

    def finished(self, moment: Moment, image: Tensor) -> Tensor:
        """A result with the frame itself where it is kept, and with its colors if they are. image: 1x3xHxW, 0..1."""
        return self.problem(moment).finished(image)

    def optimized(
        self,
        moment: Moment,
        start: Tensor | None = None,
        more_terms: MoreTerms = no_more_terms,
        **changes: Any,
    ) -> Tensor:
        """The frame as the optimizer paints it, finished, in whole levels. start: a finished result to start from, 1x3xHxW."""
        problem = self.problem(moment, **changes)

        def start_at(problem: Problem, size: Size) -> Tensor:
            if start is None:
                return fast.start_at(problem, size)
            gray = problem.options.keep_colors == "luma"  # it is painted in gray
            return resize(colors.gray(start) if gray else start, size).to(problem.device)

        return in_levels(_finished(Run(problem, self.limit, more_terms, start_at)))


@torch.no_grad()
def _done(session: Session) -> Tensor:
    best = session.last.image if session.last else session._start()
    return session.problem.finished(best)


def _finished(session: Session) -> Tensor:
    for _ in session:
        pass
    return _done(session)
