"""A pool of images that are being optimized through the student, from noise and from photographs.

Style transfer finds patterns that the student takes for a painting and the teacher does not. So training keeps a few images, optimizes
them through the student a little at every visit, as `impasto` would, and adds them to the batch: the student learns the teacher's
features of them. The pool follows Mordvintsev et al. 2020, "Growing Neural Cellular Automata".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from training.config import TAPS, Config
from training.data import Source, plan
from training.distillation import grams, relative
from training.student import Student

NEW_PLANS = 2**41  # plans from here on cut new pool images; no training step gets this far
CONTENT = 2  # content tap: relu3_1
CONTENT_WEIGHT = 0.05  # relative to the sum of the five style distances; about impasto's default balance
NOISE_DEVIATION = 0.25

Tensors = dict[str, Tensor]


class Pool:
    """`config.pool` images on the device, each with its photograph and its painting.

    source: the crops they come from. state: as returned by `state`, to resume.
    """

    def __init__(self, config: Config, source: Source, device: torch.device, state: Mapping[str, Tensor] | None = None) -> None:
        self.config, self.source, self.device = config, source, device
        shape = (config.pool, 3, config.crop, config.crop)
        self.pictures = torch.zeros(shape, device=device)
        self.photos, self.paintings = (torch.zeros(shape, device=device) for _ in range(2))
        self.visits = torch.full((config.pool,), float(config.pool_visits))  # all are due for replacement
        self.born = torch.zeros(1)
        for name, tensor in (state or {}).items():
            getattr(self, name).copy_(tensor)

    def state(self) -> Tensors:
        """Everything needed to resume."""
        return {name: getattr(self, name) for name in ("pictures", "photos", "paintings", "visits", "born")}

    def visit(self, step: int, student: Student) -> tuple[Tensor, Tensor]:
        """Advance or replace the next `config.pool_batch` images. Returns them and their paintings, both Kx3xSxS, 0..1."""
        count = self.config.pool_batch
        slots = [(step * count + i) % self.config.pool for i in range(count)]
        # also those replaced below: another batch size would trigger a new setup on a GPU
        self._advance(slots, student)
        for slot in slots:
            if self.visits[slot] >= self.config.pool_visits:
                self._replace(slot)
        self.visits[slots] += 1
        at = torch.tensor(slots, device=self.device)
        return self.pictures[at], self.paintings[at]

    def _replace(self, slot: int) -> None:
        """Draw a new photograph and painting. The image starts as the photograph or, every other time, as noise around grey."""
        number = int(self.born[0])
        mixed = self.config.model_copy(update={"batch": 1, "noise_rate": 0.0, "mix_rate": 1.0, "blank_rate": 0.0})
        chosen = plan(mixed, self.source.counts, NEW_PLANS + number)
        both = [rows[0].to(self.device).float() / 255 for rows in self.source.cut(chosen, self.config.crop)]
        photo, painting = both if chosen.index[0, 0] < self.source.counts[0] else both[::-1]
        generator = torch.Generator().manual_seed(chosen.noise_seed)
        noise = 0.5 + NOISE_DEVIATION * torch.randn(photo.shape, generator=generator)
        self.photos[slot], self.paintings[slot] = photo, painting
        self.pictures[slot] = noise.clamp(0, 1).to(self.device) if number % 2 else photo
        self.visits[slot] = 0
        self.born += 1

    def _advance(self, slots: Sequence[int], student: Student) -> None:
        """Take one step along the student's negative gradient. Its length falls with every visit."""
        at, count, last = torch.tensor(slots, device=self.device), len(slots), self.config.learned[1]
        content_at = min(CONTENT, last - 1)
        with torch.no_grad():
            seen = student(_channels_last(torch.cat((self.photos[at], self.paintings[at]))), last=last)
            kept, targets = seen[content_at][:count].float(), [grams(F[count:]) for F in seen]
        pictures = _channels_last(self.pictures[at]).requires_grad_()
        features = student(pictures, last=last)
        style = sum(relative(grams(F) - A, A).sum() for F, A in zip(features, targets, strict=True)) / len(TAPS)
        content = (features[content_at].float() - kept).square().mean((1, 2, 3)) / kept.var((1, 2, 3)).clamp_min(1e-6)
        (gradient,) = torch.autograd.grad(style + CONTENT_WEIGHT * content.sum(), pictures)
        length = self.config.pool_step * (1 - self.visits[slots] / (self.config.pool_visits + 1))
        with torch.no_grad():
            size = gradient.float().square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-12)
            move = length.to(self.device).reshape(-1, 1, 1, 1) * (gradient.float() / size).clamp(-3, 3)
            self.pictures[at] = (self.pictures[at] - move).clamp(0, 1)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
