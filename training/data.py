"""Images from folders and tar files, and crops of them. The crops and augmentation of a step depend only on (seed, step)."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from impasto.errors import PictureError
from impasto.files import printable, reason
from training.config import Config

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
STORED_SIDE = 256  # pixels of an image stored decoded
AHEAD = 3  # batches prepared during a step
LUMA = (0.299, 0.587, 0.114)

Bytes = NDArray[np.uint8]
Reals = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Picture:
    """An image file in memory."""

    name: str
    data: bytes


HeldOut = Sequence[Sequence[Picture]]  # photographs, paintings


@dataclass(frozen=True)
class Pictures:
    """Training and held-out images, each as (photographs, paintings), and the names of unreadable files."""

    train: tuple[tuple[Picture, ...], tuple[Picture, ...]]
    held_out: tuple[tuple[Picture, ...], tuple[Picture, ...]]
    unreadable: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the names, sizes and last bytes of the training images."""
        digest = hashlib.sha256()
        for picture in (*self.train[0], *self.train[1]):
            digest.update(f"{picture.name} {len(picture.data)}\n".encode() + picture.data[-64:])
        return digest.hexdigest()

    @property
    def counts(self) -> tuple[int, int]:
        """The number of training photographs and paintings."""
        return len(self.train[0]), len(self.train[1])


def gather(photos: Sequence[Path], paintings: Sequence[Path], held_out: int, *, train: bool = True) -> Pictures:
    """Read images into memory. The last `held_out` of each kind, by name, are not used for training.

    photos, paintings: folders (searched recursively) and tar files. train: False reads only held-out images. Unreadable files are
    skipped and named in the result. Raises PictureError if no image is left.
    """
    (train_a, held_a, bad_a), (train_b, held_b, bad_b) = (
        _split(kind, sources, held_out, train=train) for kind, sources in (("photographs", photos), ("paintings", paintings))
    )
    return Pictures((train_a, train_b), (held_a, held_b), (*bad_a, *bad_b))


def _split(
    kind: str, sources: Sequence[Path], held_out: int, *, train: bool
) -> tuple[tuple[Picture, ...], tuple[Picture, ...], list[str]]:
    """The readable training and held-out images of one kind, and the names of unreadable files."""
    found = sorted((picture for source in sources for picture in _read(source)), key=lambda picture: picture.name)
    if not found:
        raise PictureError(f"no {kind} found in {', '.join(printable(source) for source in sources) or 'nothing'}")
    split = max(0, len(found) - held_out)
    parts = (found[:split] if train else [], found[split:])
    bad = {picture.name for part in parts for picture in part if not readable(picture)}
    kept, held = (tuple(picture for picture in part if picture.name not in bad) for part in parts)
    if train and not kept:
        raise PictureError(
            f"none of the {len(found)} {kind} is left for training: {len(found) - split} are held out, {len(bad)} are unreadable",
            remedy="lower {held_out} or add images",
        )
    return kept, held, sorted(bad)


def _read(source: Path) -> Iterator[Picture]:
    try:
        if source.is_dir():
            yield from _read_folder(source)
        else:
            yield from _read_tar(source)
    except tarfile.TarError as error:
        raise PictureError(f"{printable(source)} is neither a folder nor a complete tar file: {error}") from error
    except OSError as error:
        raise PictureError(f"{printable(source)} cannot be read: {reason(error)}") from error


def _read_folder(folder: Path) -> Iterator[Picture]:
    for file in folder.rglob("*"):
        if file.suffix.lower() in SUFFIXES and file.is_file():
            yield Picture(f"{folder.name}/{file.relative_to(folder).as_posix()}", file.read_bytes())


def _read_tar(file: Path) -> Iterator[Picture]:
    with tarfile.open(file) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.name.lower().endswith(SUFFIXES) else None
            if stream is not None:
                yield Picture(member.name, stream.read())


def readable(picture: Picture) -> bool:
    """Whether an image can be decoded completely. JPEGs are decoded at 1/8 size, which is faster and finds the same errors."""
    try:
        with Image.open(io.BytesIO(picture.data)) as image:
            image.draft("RGB", (1, 1))
            image.load()
    except Exception:  # Pillow raises many types of error for damaged files
        return False
    return True


def decode(picture: Picture) -> Image.Image:
    """Decode an image as RGB."""
    with Image.open(io.BytesIO(picture.data)) as image:
        return image.convert("RGB")


@dataclass(frozen=True)
class Plan:
    """All random choices for one batch of B crops, drawn before any image is decoded.

    Arrays with two rows have the crop in row 0 and, in row 1, the crop of the other kind that it may be mixed with.
    """

    index: Indices  # 2xB, into photographs followed by paintings
    zoom: Reals  # 2xB
    at: Reals  # 2xBx2, left and top as fractions of the available room
    mirrored: NDArray[np.bool_]  # 2xB
    upside_down: NDArray[np.bool_]  # 2xB
    kind: tuple[str, ...]  # "plain", "noise", "mix" or "blank"
    contrast: Reals
    brightness: Reals
    tint: Reals  # Bx3
    saturation: Reals
    amount: Reals  # of noise or of the other crop, 0..1
    coarseness: Indices  # pixels of a noise grain; also sets the blur that separates frequencies in a mix
    offsets: tuple[tuple[int, int], ...]  # of the sub-grids on which taps are compared
    match_gradients: bool
    noise_seed: int


def plan(config: Config, counts: tuple[int, int], step: int) -> Plan:
    """The plan of a step, a pure function of its arguments. counts: number of photographs and paintings."""
    rng, batch = np.random.default_rng((config.seed, step)), config.batch
    which = rng.integers(0, 2, batch)
    which = np.stack((which, 1 - which))
    index = np.where(which == 0, rng.integers(0, counts[0], (2, batch)), counts[0] + rng.integers(0, counts[1], (2, batch)))
    rates = (config.noise_rate, config.mix_rate, config.blank_rate)
    kind = rng.choice(4, batch, p=[1 - sum(rates), *rates])
    return Plan(
        index=index,
        zoom=rng.uniform(config.zoom, 1, (2, batch)),
        at=rng.random((2, batch, 2)),
        mirrored=rng.random((2, batch)) < config.flip_rate,
        upside_down=rng.random((2, batch)) < config.upside_down_rate,
        kind=tuple(("plain", "noise", "mix", "blank")[i] for i in kind),
        contrast=rng.uniform(1 - config.contrast, 1 + config.contrast, batch),
        brightness=rng.uniform(-config.brightness, config.brightness, batch),
        tint=rng.uniform(-config.tint, config.tint, (batch, 3)),
        saturation=rng.uniform(min(0.8, 1 + config.saturation), 1 + config.saturation, batch),
        amount=rng.uniform(0.1, 0.7, batch),
        coarseness=2 ** rng.integers(0, 3, batch),
        offsets=tuple((int(rng.integers(stride)), int(rng.integers(stride))) for stride in config.strides),
        match_gradients=bool(config.gradient_matching and rng.random() < config.gradient_rate),
        noise_seed=int(rng.integers(2**62)),
    )


class Source(Protocol):
    """A source of crops. counts: number of photographs and paintings."""

    counts: tuple[int, int]

    def cut(self, plan: Plan, size: int) -> tuple[Tensor, Tensor]:
        """Both rows of a plan's crops, Bx3xSxS uint8 each. In row 1 only the crops to mix are defined."""


class Compressed:
    """Images kept as encoded files and decoded for every crop. Uses little memory; fast enough for a CPU."""

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = (*pictures.train[0], *pictures.train[1])
        self.counts = pictures.counts

    def cut(self, plan: Plan, size: int) -> tuple[Tensor, Tensor]:
        """See Source."""
        rows = np.zeros((2, len(plan.kind), size, size, 3), np.uint8)
        for b, kind in enumerate(plan.kind):
            for row in (0, 1) if kind == "mix" else (0,) if kind != "blank" else ():
                rows[row, b] = self._window(plan, row, b, size)
        crops = torch.from_numpy(rows).permute(0, 1, 4, 2, 3)
        return crops[0], crops[1]

    def _window(self, plan: Plan, row: int, b: int, size: int) -> Bytes:
        image = decode(self.pictures[plan.index[row, b]])
        left, top, side = window(plan, row, b, image.size, size)
        crop = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side)))
        crop = crop[:, ::-1] if plan.mirrored[row, b] else crop
        return crop[::-1] if plan.upside_down[row, b] else crop


def window(plan: Plan, row: int, b: int, extent: tuple[int, int], size: int) -> tuple[float, float, float]:
    """Left, top and side of a crop in an image of extent (width, height). The side is at least `size` where the image allows."""
    short = min(extent)
    side = max(plan.zoom[row, b] * short, min(size, short))
    return plan.at[row, b, 0] * (extent[0] - side), plan.at[row, b, 1] * (extent[1] - side), side


class Decoded:
    """The center square of every image, decoded once to 256x256 on the device (2.6 GB for 13,000). For a GPU, which outpaces Pillow."""

    def __init__(self, pictures: Pictures, device: torch.device, workers: int) -> None:
        everything = (*pictures.train[0], *pictures.train[1])
        self.counts = pictures.counts
        self.store = torch.empty((len(everything), 3, STORED_SIDE, STORED_SIDE), dtype=torch.uint8, device=device)
        with ThreadPoolExecutor(workers) as pool:
            for i, square in enumerate(pool.map(_square, everything)):
                self.store[i] = torch.from_numpy(square).permute(2, 0, 1).to(device)

    def cut(self, plan: Plan, size: int) -> tuple[Tensor, Tensor]:
        """See Source. Samples at twice the size and averages, to avoid aliasing."""
        first, second = (self._cut_row(plan, row, size) for row in (0, 1))
        return first, second

    def _cut_row(self, plan: Plan, row: int, size: int) -> Tensor:
        device, batch = self.store.device, len(plan.kind)
        extent = (STORED_SIDE, STORED_SIDE)
        boxes = np.array([window(plan, row, b, extent, size) for b in range(batch)]) / STORED_SIDE  # Bx3: left, top, side
        scale, middle = boxes[:, 2], 2 * boxes[:, :2] + boxes[:, 2:] - 1  # -1..1, for affine_grid
        matrix = np.zeros((batch, 2, 3))
        matrix[:, 0, 0] = np.where(plan.mirrored[row], -scale, scale)
        matrix[:, 1, 1] = np.where(plan.upside_down[row], -scale, scale)
        matrix[:, :, 2] = middle
        theta = torch.from_numpy(matrix).float().to(device)
        grid = functional.affine_grid(theta, [batch, 3, 2 * size, 2 * size], align_corners=False)
        squares = self.store[torch.from_numpy(plan.index[row]).to(device)].float()
        sampled = functional.grid_sample(squares, grid, padding_mode="border", align_corners=False)
        return functional.avg_pool2d(sampled, 2).round().to(torch.uint8)


def _square(picture: Picture) -> Bytes:
    image = decode(picture)
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.array(image.resize((STORED_SIDE, STORED_SIDE), Image.Resampling.BICUBIC, box))


def batches(
    source: Source, plans: Iterable[Plan], size: int, device: torch.device, workers: int
) -> Iterator[tuple[Plan, Tensor]]:
    """Yield every plan with its augmented batch. workers: threads that prepare batches ahead (Pillow releases the GIL); 0: none."""

    def batch(plan: Plan) -> tuple[Plan, Tensor]:
        crops, others = source.cut(plan, size)
        return plan, augment(plan, crops.to(device), others.to(device))

    if not workers:
        yield from map(batch, plans)
        return
    waiting: deque[Future[tuple[Plan, Tensor]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for plan in plans:
                waiting.append(pool.submit(batch, plan))
                if len(waiting) >= AHEAD + workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def augment(plan: Plan, crops: Tensor, others: Tensor) -> Tensor:
    """Augment crops. crops, others: Bx3xSxS uint8 on the device. Returns Bx3xSxS float32, RGB, 0..1, channels_last.

    The noise depends on the plan and on the type of device.
    """
    x = crops.float() / 255
    generator = torch.Generator(x.device).manual_seed(plan.noise_seed)
    for kind, make in (("noise", _with_noise), ("mix", _mixed), ("blank", _blank)):
        rows = np.array([b for b, its in enumerate(plan.kind) if its == kind], dtype=np.int64)
        if len(rows):
            at = torch.from_numpy(rows).to(x.device)
            x[at] = make(plan, rows, x[at], others[at].float() / 255, generator)
    return _colored(plan, x).contiguous(memory_format=torch.channels_last)


def _with_noise(plan: Plan, rows: Indices, x: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    return torch.lerp(x, _noise(plan.coarseness[rows], x, generator), _amounts(plan, rows, x))


def _mixed(plan: Plan, rows: Indices, x: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    """Blend a photograph and a painting, or combine the low frequencies of one with the high frequencies of the other."""
    found = torch.lerp(x, others, _amounts(plan, rows, x))
    for grain in np.unique(plan.coarseness[rows]):
        there = torch.from_numpy(np.flatnonzero((plan.coarseness[rows] == grain) & (rows % 2 == 0))).to(x.device)
        if len(there):
            low, high, reach = x[there], others[there], 4 * int(grain)
            found[there] = (_blurred(low, reach) + high - _blurred(high, reach)).clamp(0, 1)
    return found


def _blank(plan: Plan, rows: Indices, x: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    """Noise only, or one color mixed with noise."""
    noise = _noise(plan.coarseness[rows], x, generator)
    color = torch.rand((len(rows), 3, 1, 1), generator=generator, device=x.device)
    alone = torch.from_numpy(rows % 2 == 1).to(x.device).reshape(-1, 1, 1, 1)
    return torch.where(alone, noise, torch.lerp(color, noise, _amounts(plan, rows, x)))


def _amounts(plan: Plan, rows: Indices, x: Tensor) -> Tensor:
    return torch.from_numpy(plan.amount[rows]).float().to(x.device).reshape(-1, 1, 1, 1)


def _noise(coarseness: Indices, like: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform noise with square grains. coarseness: pixels per side, B. like: Bx3xSxS."""
    noise, size = torch.empty_like(like), like.shape[-1]
    for grain in np.unique(coarseness):
        there = torch.from_numpy(np.flatnonzero(coarseness == grain)).to(like.device)
        small = torch.rand((len(there), 3, *[-(-size // grain)] * 2), generator=generator, device=like.device)
        large = small.repeat_interleave(int(grain), -1).repeat_interleave(int(grain), -2)
        noise[there] = large[..., :size, :size]
    return noise


def _blurred(x: Tensor, reach: int) -> Tensor:
    """Low-pass Bx3xSxS images by downsampling `reach` times."""
    small = functional.avg_pool2d(x, reach, ceil_mode=True)
    return functional.interpolate(small, size=x.shape[-2:], mode="bilinear", align_corners=False)


def _colored(plan: Plan, x: Tensor) -> Tensor:
    """Apply saturation, contrast, brightness and tint, and clip to 0..1."""
    shifts = [torch.from_numpy(a).float().to(x.device) for a in (plan.saturation, plan.contrast, plan.brightness)]
    saturation, contrast, brightness = (shift.reshape(-1, 1, 1, 1) for shift in shifts)
    tint = torch.from_numpy(plan.tint).float().to(x.device)[:, :, None, None]
    grey = (x * torch.tensor(LUMA, device=x.device).reshape(1, 3, 1, 1)).sum(1, keepdim=True)
    x = grey + saturation * (x - grey)
    return ((x - 0.5) * contrast + 0.5 + brightness + tint).clamp(0, 1)
