"""The record of an image while it is painted: what is known before, and what is known at the end."""

from __future__ import annotations

from typing import Any, Literal

import torch
from PIL import Image

from impasto import __version__
from impasto.inputs import Inputs
from impasto.jobs.records import Input, Record, digest_of_pixels
from impasto.run import Run
from impasto.session import Session


def begin(run: Session, loaded: Inputs, *, keep_exif: bool = False, depth: Literal[8, 16] = 8) -> Record:
    """What is known before an image is painted. loaded: the inputs of the run."""
    problem = run.problem
    height, width = problem.size
    return Record(
        impasto=__version__,
        torch=str(torch.__version__),
        encoder_digest=problem.encoder.digest,
        network=run.network,
        ran_on=f"{problem.device.type} {'bf16' if problem.encoder.dtype == torch.bfloat16 else 'fp32'}",
        threads=torch.get_num_threads(),
        memory=run.limit,
        inputs={role: Input(name=name, sha256=digest) for role, (name, digest) in loaded.hashes().items()},
        width=width,
        height=height,
        keep_exif=keep_exif,
        depth=depth,
    )


def finish(record: Record, run: Session, image: Image.Image, seconds: float, *, whole: bool) -> Record:
    """The record of a painted image. whole: whether the run came to its end."""
    news: dict[str, Any] = {"seconds": round(seconds, 1), "picture": digest_of_pixels(image)}
    if run.last is not None:
        news |= {"losses": {name: float(loss) for name, loss in run.last.losses.items()}}
        news |= {} if whole else {"done": round(run.last.done, 4)}
    return record.model_copy(update=news)


def repeatable(record: Record, run: Session) -> Record:
    """The record without what differs from run to run: the seconds, and the memory unless the image was computed in blocks."""
    plans = [run.plan(scale.size) for scale in run.scales] if isinstance(run, Run) else []
    at_once = all((plan.side, plan.pairs) == (None, "memory") for plan in plans)
    return record.model_copy(update={"seconds": 0.0, "memory": 0 if at_once else record.memory})
