"""What an encoder takes in memory and time, stage by stage: the memory model of `compute.memory` for it."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from impasto.compute.device import stands_in
from impasto.compute.memory import RESTING, MemoryModel, StageCost
from impasto.encoders import Encoder, cost_of, density
from impasto.objective.blocks import Stage, stages


def memory_model(
    encoder: Encoder,
    content_taps: Iterable[str],
    dtype: torch.dtype,
    device: torch.device,
    regions: int,
    factors: Iterable[int],
) -> MemoryModel:
    """What an encoder with values of `dtype` takes.

    content_taps: where the photograph is kept; regions: the number of masked ones; factors: of the levels.
    """
    return MemoryModel(
        tuple(_cost(stage, encoder) for stage in stages(encoder)),
        widest=cost_of(encoder).widest,
        content=density(encoder, content_taps),
        itemsize=dtype.itemsize,
        stood_in=stands_in(dtype, device),
        regions=regions,
        pixels_encoded=sum(1 / factor**2 for factor in factors),
        resting=RESTING if device.type == "cpu" else 0,
    )


def _cost(stage: Stage, whole: Encoder) -> StageCost:
    """What a stage of an encoder takes."""
    encoder, cost, total = stage.encoder, cost_of(stage.encoder), cost_of(whole)
    return StageCost(
        trunk=cost.trunk,
        heads=cost.heads,
        margin=max(map(encoder.reach, encoder.taps)),
        scale=stage.scale,
        # layers of many values and few filters take as long for their memory as others for their products
        share=(cost.arithmetic / total.arithmetic + cost.values / total.values) / 2,
        output=density(whole, [stage.output_tap]) if stage.output_tap else 0.0,
    )
