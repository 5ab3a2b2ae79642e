"""How well students see: R2 to the teacher and relative Gram error of every tap, on pictures kept out of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from training.config import TAPS
from training.data import Picture, decode
from training.distillation import Network

NOISE = 0.3  # share of uniform noise in noise-mixed pictures
STEP = 16  # pixels sides are cut to a multiple of, so that every pooling keeps all of the picture


@dataclass
class Score:
    """Sums over pictures, of one tap of one student."""

    values: int = 0
    errors: float = 0.0
    sums: float = 0.0
    squares: float = 0.0
    grams: list[float] = field(default_factory=list)

    def add(self, F: Tensor, T: Tensor) -> None:
        """Count one picture. F: the student's tap; T: the teacher's; 1xCxhxw both."""
        rows, seen = (x[0].float().permute(1, 2, 0).flatten(0, 1) for x in (F, T))  # MxC, a view of channels_last
        self.values += T.numel()
        self.errors += float((rows - seen).square_().sum(dtype=torch.float64))
        self.sums += float(seen.sum(dtype=torch.float64))
        self.squares += float(seen.square().sum(dtype=torch.float64))
        G, A = rows.T @ rows, seen.T @ seen
        self.grams.append(float((G - A).norm() / A.norm().clamp_min(1e-12)))

    @property
    def r2(self) -> float:
        """1 - squared error over squared distance from the tap's mean, both summed over all pictures, channels and positions."""
        spread = self.squares - self.sums**2 / max(self.values, 1)
        return 1 - self.errors / spread if spread > 0 else float("nan")

    @property
    def gram(self) -> float:
        """|G - A| / |A|, the Frobenius norm of the Gram matrices' difference, averaged over pictures."""
        return float(np.mean(self.grams)) if self.grams else float("nan")


def prepared(picture: Picture) -> Tensor:
    """The middle of a picture, cut to multiples of 16 pixels. Returns 1x3xHxW float32, 0..1."""
    pixels = np.array(decode(picture), dtype=np.float32) / 255
    height, width = (max(STEP, side - side % STEP) for side in pixels.shape[:2])
    top, left = (max(0, side - kept) // 2 for side, kept in zip(pixels.shape[:2], (height, width), strict=True))
    cut = pixels[top : top + height, left : left + width]
    grown = [(0, max(0, STEP - side)) for side in cut.shape[:2]]
    padded = np.pad(cut, (*grown, (0, 0)), mode="edge")
    return torch.from_numpy(padded).permute(2, 0, 1)[None]


def noisy(image: Tensor, seed: int) -> Tensor:
    """A picture mixed with noise, the same for the same seed. image: 1x3xHxW on the CPU, 0..1."""
    noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(seed))
    return (1 - NOISE) * image + NOISE * noise


def variants(pictures: Sequence[Sequence[Picture]]) -> Iterator[tuple[str, Tensor]]:
    """Every picture, clean and noise-mixed, and what it counts for: "photographs, clean"."""
    for kind, row in zip(("photographs", "paintings"), pictures, strict=True):
        for seed, picture in enumerate(row):
            image = prepared(picture)
            yield f"{kind}, clean", image
            yield f"{kind}, noisy", noisy(image, seed)


@torch.no_grad()
def evaluate(
    students: Mapping[str, Network],
    teacher: Network,
    pictures: Sequence[Sequence[Picture]],
    device: torch.device,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, dict[str, dict[str, Score]]]:
    """Scores by student, by group of pictures ("all, clean", "photographs, noisy", ...) and by tap."""
    scores: dict[str, dict[str, dict[str, Score]]] = {name: {} for name in students}
    for done, (group, image) in enumerate(variants(pictures), start=1):
        x = image.to(device, memory_format=torch.channels_last)
        seen = teacher(x)
        for name, student in students.items():
            for tap, F, T in zip(TAPS, student(x), seen, strict=True):
                for row in (group, "all, " + group.partition(", ")[2]):
                    scores[name].setdefault(row, {}).setdefault(tap, Score()).add(F, T)
        progress(done)
    return scores


def table(scores: Mapping[str, Mapping[str, Mapping[str, Score]]]) -> str:
    """Markdown: two rows for each student and each kind of picture."""
    lines = [f"| network | pictures | measure | {' | '.join(TAPS)} |", "|" + "---|" * (3 + len(TAPS))]
    for name, groups in scores.items():
        for group in sorted(groups):
            taps = groups[group].values()
            lines.append(f"| {name} | {group} | R2 to the teacher | {' | '.join(f'{score.r2:.3f}' for score in taps)} |")
            lines.append(f"| {name} | {group} | relative Gram error | {' | '.join(f'{score.gram:.3f}' for score in taps)} |")
    return "\n".join(lines)


def figures(scores: Mapping[str, Mapping[str, Mapping[str, Score]]]) -> dict[str, object]:
    """The table for programs: {network: {pictures: {tap: {"r2": .., "gram": ..}}}}."""
    return {
        name: {
            group: {tap: {"r2": round(score.r2, 5), "gram": round(score.gram, 5)} for tap, score in taps.items()}
            for group, taps in groups.items()
        }
        for name, groups in scores.items()
    }
