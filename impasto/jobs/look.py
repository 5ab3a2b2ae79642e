"""The first look at a job: what quality "instant" makes of it, before the optimizer's first step."""

from __future__ import annotations

from PIL import Image

from impasto.compute import device as devices
from impasto.errors import MemoryLimitError, UsageError
from impasto.fast import Instant
from impasto.options import Options
from impasto.run import Run
from impasto.session import Session

LONGEST = 1024  # pixels: longer side of the last level that is painted; its memory and time do not depend on the image's size
LENGTHS = {"iterations", "init_size"}  # options of the optimizer that say how long it works, not what it aims at


class FirstLook:
    """The network's painting of a run's problem. Nothing of the run is changed."""

    def __init__(self, session: Instant) -> None:
        session.scales = [scale for scale in session.scales if max(scale.size) <= LONGEST]
        self.session = session

    def image(self) -> Image.Image | None:
        """Paint. Returns the image at its final size, enlarged if that is more than LONGEST pixels; None if painting fails."""
        problem = self.session.problem
        try:
            # with the run's own settings, since styles remember the targets that are computed here
            with devices.settings(problem.device, problem.encoder.dtype):
                return self.session.finish()
        except (UsageError, MemoryLimitError):  # no reason to end the run
            return None


def first_look(run: Session) -> FirstLook | None:
    """The first look at a run, or None where there is none.

    It needs a run of the optimizer that starts now (one that resumes has had its look), method impasto, lite with the weights that
    come with impasto, no start image, a strength above 0, and the defaults of the options in `catalog.OF_THE_OPTIMIZER`, except for
    those that only set how long the optimizer works.
    """
    problem = run.problem
    if not isinstance(run, Run) or run.state is not None or not run.scales:
        return None
    given = {name: getattr(problem.options, name) for name in problem.options.model_fields_set - LENGTHS}
    try:
        Options(**given | {"quality": "instant"})
        return FirstLook(Instant(problem, run.limit))
    except UsageError:
        return None
