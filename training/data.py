"""Pictures from folders and tars, and crops of them: every step's order and augmentation follows from (seed, step) alone."""

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
STORED_SIDE = 256  # pixels of a picture kept decoded
AHEAD = 3  # batches cut while a step is computed
LUMA = (0.299, 0.587, 0.114)

Bytes = NDArray[np.uint8]
Reals = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Picture:
    """A picture file in memory."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Pictures:
    """Photographs and paintings, those to train on and those kept out, and the names of files that could not be read."""

    train: tuple[tuple[Picture, ...], tuple[Picture, ...]]
    held_out: tuple[tuple[Picture, ...], tuple[Picture, ...]]
    unreadable: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Of the pictures trained on, by name and content."""
        digest = hashlib.sha256()
        for picture in (*self.train[0], *self.train[1]):
            digest.update(f"{picture.name} {len(picture.data)}\n".encode() + picture.data[-64:])
        return digest.hexdigest()


def gather(photos: Sequence[Path], paintings: Sequence[Path], held_out: int, *, train: bool = True) -> Pictures:
    """Read pictures into memory. The last `held_out` of each kind, by name, are kept out of training.

    photos, paintings: folders (searched to the bottom) and tar files. train: False reads those kept out only.
    Raises PictureError: nothing there, or too few. Files that are no pictures are named in the result and left out.
    """
    sound: list[tuple[Picture, ...]] = []
    kept: list[tuple[Picture, ...]] = []
    unreadable: list[str] = []
    for kind, sources in (("photographs", photos), ("paintings", paintings)):
        found = sorted((picture for source in sources for picture in _read(source)), key=lambda picture: picture.name)
        if not found:
            raise PictureError(f"no {kind} found in {', '.join(printable(source) for source in sources) or 'nothing'}")
        split = max(0, len(found) - held_out)
        wanted = (found[:split] if train else [], found[split:])
        bad = {picture.name for part in wanted for picture in part if not readable(picture)}
        rows = [tuple(picture for picture in part if picture.name not in bad) for part in wanted]
        unreadable += sorted(bad)
        if train and not rows[0]:
            raise PictureError(
                f"{len(found)} {kind} and {held_out} kept out by --held-out leave none that can be read to train on"
            )
        sound.append(rows[0])
        kept.append(rows[1])
    return Pictures((sound[0], sound[1]), (kept[0], kept[1]), tuple(unreadable))


def _read(source: Path) -> Iterator[Picture]:
    try:
        if source.is_dir():
            yield from _read_folder(source)
        else:
            yield from _read_tar(source)
    except tarfile.TarError as error:
        raise PictureError(f"{printable(source)} is neither a folder nor a whole tar file: {error}") from error
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
    """Whether a picture can be decoded to its end; JPEGs at an eighth of their size, which finds the same faults sooner."""
    try:
        with Image.open(io.BytesIO(picture.data)) as image:
            image.draft("RGB", (1, 1))
            image.load()
    except Exception:  # Pillow raises nearly anything for a damaged file
        return False
    return True


def decode(picture: Picture) -> Image.Image:
    """A picture as RGB."""
    with Image.open(io.BytesIO(picture.data)) as image:
        return image.convert("RGB")


@dataclass(frozen=True)
class Plan:
    """One step's batch: all its chances, drawn before any picture is touched. B crops; index, zoom, ... are 2xB.

    Row 0 is the crop; row 1 the one it is mixed with, of the other kind. kind: "plain", "noise", "mix" or "blank" per crop.
    index: in photographs and paintings, one after the other. at: left and top of the window as shares of the room it has.
    """

    index: Indices
    zoom: Reals
    at: Reals  # 2xBx2
    mirrored: NDArray[np.bool_]
    upside_down: NDArray[np.bool_]
    kind: tuple[str, ...]
    contrast: Reals
    brightness: Reals
    tint: Reals  # Bx3
    saturation: Reals
    amount: Reals  # of noise or of the other picture, 0..1
    coarseness: Indices  # pixels of a grain, also of the blur that parts low from high frequencies
    offsets: tuple[tuple[int, int], ...]  # of the sub-grids the taps are compared on
    match_gradients: bool
    noise_seed: int


def plan(config: Config, counts: tuple[int, int], step: int) -> Plan:
    """The plan of a step. counts: of photographs and paintings. The same for the same arguments."""
    rng, batch = np.random.default_rng((config.seed, step)), config.batch
    which = rng.integers(0, 2, batch)
    which = np.stack((which, 1 - which))  # the other one is of the other kind
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
    """Where crops come from."""

    counts: tuple[int, int]

    def cut(self, plan: Plan, size: int) -> tuple[Tensor, Tensor]:
        """The plan's crops: uint8, Bx3xSxS of row 0, and of row 1 for the crops that are mixed only (else any values)."""


class Compressed:
    """Pictures as the files they came in; each crop is decoded anew. Little memory, and fast enough for a CPU."""

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = (*pictures.train[0], *pictures.train[1])
        self.counts = (len(pictures.train[0]), len(pictures.train[1]))

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
    """Left, top and side of a crop's window in a picture of extent (width, height): not less than size, if the picture has that."""
    short = min(extent)
    side = max(plan.zoom[row, b] * short, min(size, short))
    return plan.at[row, b, 0] * (extent[0] - side), plan.at[row, b, 1] * (extent[1] - side), side


class Decoded:
    """Every picture's middle square, decoded once to 256x256 bytes on the device (2.6 GB for 13,000): for a GPU that outruns Pillow."""

    def __init__(self, pictures: Pictures, device: torch.device, workers: int) -> None:
        everything = (*pictures.train[0], *pictures.train[1])
        self.counts = (len(pictures.train[0]), len(pictures.train[1]))
        self.store = torch.empty((len(everything), 3, STORED_SIDE, STORED_SIDE), dtype=torch.uint8, device=device)
        with ThreadPoolExecutor(workers) as pool:
            for i, square in enumerate(pool.map(_square, everything)):
                self.store[i] = torch.from_numpy(square).permute(2, 0, 1).to(device)

    def cut(self, plan: Plan, size: int) -> tuple[Tensor, Tensor]:
        """See Source. Sampled at twice the size and averaged, because a window of 256 pixels would alias at 128."""
        first, second = (self._cut_row(plan, row, size) for row in (0, 1))
        return first, second

    def _cut_row(self, plan: Plan, row: int, size: int) -> Tensor:
        device, batch = self.store.device, len(plan.kind)
        extent = (STORED_SIDE, STORED_SIDE)
        boxes = np.array([window(plan, row, b, extent, size) for b in range(batch)]) / STORED_SIDE  # Bx3: left, top, side
        scale, middle = boxes[:, 2], 2 * boxes[:, :2] + boxes[:, 2:] - 1  # in -1..1, as affine_grid has it
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


def cuts(source: Source, plans: Iterable[Plan], size: int, device: torch.device, workers: int) -> Iterator[tuple[Plan, Tensor]]:
    """Every plan with its batch (`augment`), made ahead by threads: Pillow decodes without Python's lock. workers: 0 has none."""

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
    """The batch that networks see. crops, others: Bx3xSxS uint8, on the device. Returns Bx3xSxS float32, RGB, 0..1, channels_last.

    Noise is the device's own: the same for the same plan on the same kind of device.
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
    """A photograph and a painting, one over the other, or the large forms of one and the strokes of the other."""
    found = torch.lerp(x, others, _amounts(plan, rows, x))
    for grain in np.unique(plan.coarseness[rows]):
        there = torch.from_numpy(np.flatnonzero((plan.coarseness[rows] == grain) & (rows % 2 == 0))).to(x.device)
        if len(there):
            low, high, reach = x[there], others[there], 4 * int(grain)
            found[there] = (_blurred(low, reach) + high - _blurred(high, reach)).clamp(0, 1)
    return found


def _blank(plan: Plan, rows: Indices, x: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    """Nothing but noise, or one colour and noise."""
    noise = _noise(plan.coarseness[rows], x, generator)
    colour = torch.rand((len(rows), 3, 1, 1), generator=generator, device=x.device)
    alone = torch.from_numpy(rows % 2 == 1).to(x.device).reshape(-1, 1, 1, 1)
    return torch.where(alone, noise, torch.lerp(colour, noise, _amounts(plan, rows, x)))


def _amounts(plan: Plan, rows: Indices, x: Tensor) -> Tensor:
    return torch.from_numpy(plan.amount[rows]).float().to(x.device).reshape(-1, 1, 1, 1)


def _noise(coarseness: Indices, like: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform noise with square grains of so many pixels a side. like: Bx3xSxS."""
    noise, size = torch.empty_like(like), like.shape[-1]
    for grain in np.unique(coarseness):
        there = torch.from_numpy(np.flatnonzero(coarseness == grain)).to(like.device)
        small = torch.rand((len(there), 3, *[-(-size // grain)] * 2), generator=generator, device=like.device)
        large = small.repeat_interleave(int(grain), -1).repeat_interleave(int(grain), -2)
        noise[there] = large[..., :size, :size]
    return noise


def _blurred(x: Tensor, reach: int) -> Tensor:
    """Bx3xSxS without what is smaller than `reach` pixels."""
    small = functional.avg_pool2d(x, reach, ceil_mode=True)
    return functional.interpolate(small, size=x.shape[-2:], mode="bilinear", align_corners=False)


def _colored(plan: Plan, x: Tensor) -> Tensor:
    """Saturation, contrast, brightness and tint of every crop, clipped to 0..1."""
    shifts = [torch.from_numpy(a).float().to(x.device) for a in (plan.saturation, plan.contrast, plan.brightness)]
    saturation, contrast, brightness = (shift.reshape(-1, 1, 1, 1) for shift in shifts)
    tint = torch.from_numpy(plan.tint).float().to(x.device)[:, :, None, None]
    grey = (x * torch.tensor(LUMA, device=x.device).reshape(1, 3, 1, 1)).sum(1, keepdim=True)
    x = grey + saturation * (x - grey)
    return ((x - 0.5) * contrast + 0.5 + brightness + tint).clamp(0, 1)
