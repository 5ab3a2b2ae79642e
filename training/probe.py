"""Linear probes: how well a linear regression on each convolution's features predicts the teacher's taps.

They show where a student loses information (Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from impasto.encoders import layers
from training.config import TAPS
from training.data import HeldOut
from training.distillation import Network
from training.evaluation import Score, variants
from training.student import Student

POSITIONS = 2000  # samples per image, at most
RIDGE = 1e-6  # relative to the mean energy of the inputs

Place = tuple[str, str]  # a convolution of the student, a tap


@dataclass
class Regression:
    """Ridge regression of a tap on 3x3 patches, from sums over images."""

    products: list[Tensor] = field(default_factory=list)  # inputs^T inputs, inputs^T targets

    def add(self, x: Tensor, T: Tensor) -> None:
        """Add samples of an image. x: 1xCx(h+2)x(w+2), padded; T: 1xKxhxw."""
        rows = functional.unfold(x, 3)[0].T
        chosen = torch.linspace(0, len(rows) - 1, min(len(rows), POSITIONS), device=x.device).long()
        read = functional.pad(rows[chosen].double(), (0, 1), value=1.0)
        wanted = T[0].flatten(1).T[chosen].double()
        new = [read.T @ read, read.T @ wanted]
        self.products = [a + b for a, b in zip(self.products, new, strict=True)] if self.products else new

    def solve(self, channels: int) -> tuple[Tensor, Tensor]:
        """The best filters, KxCx3x3, and biases, K. channels: C."""
        energy, mixed = self.products
        ridge = RIDGE * energy.diagonal().mean() * torch.eye(len(energy), dtype=energy.dtype, device=energy.device)
        found = torch.linalg.solve(energy + ridge, mixed).float().T
        return found[:, :-1].reshape(len(found), channels, 3, 3), found[:, -1]


def features(student: Student, image: Tensor) -> dict[str, Tensor]:
    """The rectified features of every convolution of the trunk, by name."""
    seen: dict[str, Tensor] = {}
    hooks = [
        student.get_submodule(name).register_forward_hook(
            lambda layer, x, y, name=name: seen.update({name: functional.relu(y)})
        )
        for name in student.shape.convolutions()
    ]
    student.trunk(image)
    for hook in hooks:
        hook.remove()
    return seen


def samples(student: Student, image: Tensor, teacher: Network) -> Iterator[tuple[Place, Tensor, Tensor]]:
    """Yield the inputs and targets of every probe: padded features of a convolution, and a tap of the same size.

    teacher: returns taps before their ReLU. Each convolution is probed for its own block's tap; the last one of a block also, after
    pooling, for the next block's. relu1_1 is not probed.
    """
    seen, taps = features(student, image), dict(zip(TAPS, teacher(image), strict=True))
    for block, row in enumerate(student.shape.widths, start=1):
        for i in range(1, len(row) + 1):
            name = f"conv{block}_{i}"
            if block > 1:
                yield (name, f"relu{block}_1"), layers.pad_border(seen[name]), taps[f"relu{block}_1"]
            if i == len(row) and block < len(student.shape.widths):
                tap = f"relu{block + 1}_1"
                yield (name, tap), layers.pad_border(functional.max_pool2d(seen[name], 2)), taps[tap]


@torch.no_grad()
def probe(
    student: Student,
    teacher: Network,
    pictures: HeldOut,
    device: torch.device,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[Place, Score]:
    """Score every probe, after a ReLU, by convolution and tap.

    teacher: returns taps before their ReLU. Half of the images of each kind fit the regressions; the other half is scored.
    progress: called with the number of images done.
    """
    regressions, scores = dict[Place, Regression](), dict[Place, Score]()
    fitted, scored = [row[::2] for row in pictures], [row[1::2] for row in pictures]
    for done, (_, image) in enumerate(variants(fitted), start=1):
        for place, x, T in samples(student, image.to(device), teacher):
            regressions.setdefault(place, Regression()).add(x, T)
        progress(done)
    solved: dict[Place, tuple[Tensor, Tensor]] = {}
    for done, (_, image) in enumerate(variants(scored), start=1 + 2 * sum(map(len, fitted))):
        for place, x, T in samples(student, image.to(device), teacher):
            if place not in solved:
                solved[place] = regressions[place].solve(x.shape[1])
            scores.setdefault(place, Score()).add(functional.relu(functional.conv2d(x, *solved[place])), functional.relu(T))
        progress(done)
    return scores


def table(scores: Mapping[str, Mapping[Place, Score]]) -> str:
    """A Markdown table of R2, with a row for each student and convolution."""
    lines = [f"| network | 3x3 patches of | {' | '.join(TAPS[1:])} |", "|" + "---|" * (1 + len(TAPS))]
    for network, found in scores.items():
        for name in dict.fromkeys(name for name, _ in found):
            cells = [f"{found[name, tap].r2:.3f}" if (name, tap) in found else "" for tap in TAPS[1:]]
            lines.append(f"| {network} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
