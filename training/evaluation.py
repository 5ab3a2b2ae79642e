"""R2 to the teacher and relative Gram error of every tap, on held-out images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from training.config import TAPS
from training.data import HeldOut, Picture, decode
from training.distillation import Network

NOISE = 0.3  # fraction of uniform noise in noisy images
STEP = 16  # pixels; sides are cropped to a multiple, so that no pooling drops a row or column


@dataclass
class Score:
    """Sums over images for one tap of one student."""

    values: int = 0
    errors: float = 0.0
    sums: float = 0.0
    squares: float = 0.0
    grams: list[float] = field(default_factory=list)

    def add(self, F: Tensor, T: Tensor) -> None:
        """Add one image. F: the student's tap, T: the teacher's; both 1xCxhxw."""
        rows, seen = (x[0].float().permute(1, 2, 0).flatten(0, 1) for x in (F, T))  # MxC, a view of channels_last
        self.values += T.numel()
        self.errors += float((rows - seen).square_().sum(dtype=torch.float64))
        self.sums += float(seen.sum(dtype=torch.float64))
        self.squares += float(seen.square().sum(dtype=torch.float64))
        G, A = rows.T @ rows, seen.T @ seen
        self.grams.append(float((G - A).norm() / A.norm().clamp_min(1e-12)))

    @property
    def r2(self) -> float:
        """1 - squared error / squared deviation from the tap's mean, over all images, channels and positions."""
        spread = self.squares - self.sums**2 / max(self.values, 1)
        return 1 - self.errors / spread if spread > 0 else float("nan")

    @property
    def gram(self) -> float:
        """|G - A| / |A| (Frobenius norms of Gram matrices), averaged over images."""
        return float(np.mean(self.grams)) if self.grams else float("nan")


Scores = dict[str, dict[str, dict[str, Score]]]  # by student, group of images and tap


def prepared(picture: Picture) -> Tensor:
    """Crop the center of an image to multiples of 16 pixels. Returns 1x3xHxW float32, 0..1."""
    pixels = np.array(decode(picture), dtype=np.float32) / 255
    height, width = (max(STEP, side - side % STEP) for side in pixels.shape[:2])
    top, left = (max(0, side - kept) // 2 for side, kept in zip(pixels.shape[:2], (height, width), strict=True))
    cut = pixels[top : top + height, left : left + width]
    grown = [(0, max(0, STEP - side)) for side in cut.shape[:2]]
    padded = np.pad(cut, (*grown, (0, 0)), mode="edge")
    return torch.from_numpy(padded).permute(2, 0, 1)[None]


def noisy(image: Tensor, seed: int) -> Tensor:
    """Mix an image with seeded noise. image: 1x3xHxW on the CPU, 0..1."""
    noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(seed))
    return (1 - NOISE) * image + NOISE * noise


def variants(pictures: HeldOut) -> Iterator[tuple[str, Tensor]]:
    """Yield every image, clean and noisy, with the name of its group, such as "photographs, clean"."""
    for kind, row in zip(("photographs", "paintings"), pictures, strict=True):
        for seed, picture in enumerate(row):
            image = prepared(picture)
            yield f"{kind}, clean", image
            yield f"{kind}, noisy", noisy(image, seed)


@torch.no_grad()
def evaluate(
    students: Mapping[str, Network],
    teacher: Network,
    pictures: HeldOut,
    device: torch.device,
    progress: Callable[[int], None] = lambda done: None,
) -> Scores:
    """Score students by group of images ("all, clean", "photographs, noisy", ...) and by tap.

    progress: called with the number of images done.
    """
    scores: Scores = {name: {} for name in students}
    for done, (group, image) in enumerate(variants(pictures), start=1):
        x = image.to(device, memory_format=torch.channels_last)
        seen = teacher(x)
        for name, student in students.items():
            for tap, F, T in zip(TAPS, student(x), seen, strict=True):
                for row in (group, "all, " + group.partition(", ")[2]):
                    scores[name].setdefault(row, {}).setdefault(tap, Score()).add(F, T)
        progress(done)
    return scores


def table(scores: Scores) -> str:
    """A Markdown table with two rows for each student and group of images."""
    lines = [f"| network | pictures | measure | {' | '.join(TAPS)} |", "|" + "---|" * (3 + len(TAPS))]
    for name, groups in scores.items():
        for group in sorted(groups):
            taps = groups[group].values()
            lines.append(f"| {name} | {group} | R2 to the teacher | {' | '.join(f'{score.r2:.3f}' for score in taps)} |")
            lines.append(f"| {name} | {group} | relative Gram error | {' | '.join(f'{score.gram:.3f}' for score in taps)} |")
    return "\n".join(lines)


def figures(scores: Scores) -> dict[str, object]:
    """The table as JSON: {network: {group: {tap: {"r2": .., "gram": ..}}}}."""
    return {
        name: {
            group: {tap: {"r2": round(score.r2, 5), "gram": round(score.gram, 5)} for tap, score in taps.items()}
            for group, taps in groups.items()
        }
        for name, groups in scores.items()
    }
