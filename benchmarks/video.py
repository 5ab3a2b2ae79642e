"""Consistency and speed of painted clips, for docs/video.md.

    python benchmarks/video.py consistency [--clips FOLDER...] [--photo FILE] [--styles NAME...] [--size 384] [--frames 16]
    python benchmarks/video.py still       100 frames of a still scene with grain: how far colors drift
    python benchmarks/video.py speed       seconds a frame, by stage
    python benchmarks/video.py strip       docs/images/video-strip.jpg and video-error.svg
    ... --write docs/video.md              put the table between its markers

Synthetic clips have exact flow and known occlusions (benchmarks/motion.py). Clips given as folders of frames have the flow that the
method itself finds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from machine import PHOTO, ROOT, processor, write_between
from motion import KINDS, Motion
from PIL import Image

from impasto import clips
from impasto.pictures import fit, load
from impasto.stylizer import Stylizer
from impasto.video import flow, painters
from impasto.video.consistency import Back, warping_error
from impasto.video.moments import Moment, Painted, moments
from impasto.video.stills import Stills

LONG = 8  # frames: the distance at which long-range errors are measured
ASPECT = (9, 16)
GRAIN = 2.0  # levels of 255


@dataclass(frozen=True)
class Shown:
    """A clip: frames, 1x3xHxW in 0..1, and the flow from one to an earlier one."""

    name: str
    frames: list[torch.Tensor]
    back: Back


def synthetic(kind: str, photo: Path, longer: int, count: int) -> Shown:
    """A clip of known motion over a photograph."""
    pixels = load(photo).pixels[0].permute(1, 2, 0).contiguous().numpy()
    motion = Motion(pixels, fit(ASPECT, longer), kind, count)
    return Shown(f"{kind} (exact flow)", [tensor(frame) for frame in motion.frames()], motion.back)


def recorded(folder: Path, longer: int, count: int) -> Shown:
    """The first frames of a folder, with the flow that is found in them."""
    clip = clips.open_clip(folder)
    frames = [frame.pixels for frame, _ in zip(clip.frames(size=fit(clip.size, longer)), range(count), strict=False)]
    grays, known = [flow.gray(frame) for frame in frames], dict[tuple[int, int], tuple[Any, Any]]()

    def back(now: int, then: int) -> tuple[Any, Any]:
        if (now, then) not in known:
            found = flow.motion(grays[then], grays[now], grays[now].shape)
            known[now, then] = found.back, (found.reliable > 0.5).astype(np.float32)
        return known[now, then]

    return Shown(folder.name, frames, back)


def tensor(frame: Any) -> torch.Tensor:
    """HxWx3 as 1x3xHxW."""
    return torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].contiguous()


def shown(frames: Sequence[torch.Tensor]) -> Iterator[Moment]:
    """The frames as painters get them."""
    return moments((number, frame, number / len(frames), ()) for number, frame in enumerate(frames))


def painted(quality: str, stills: Stills, frames: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """All frames painted."""
    found: dict[int, Painted] = {
        one.number: one for one in painters.painter(quality, stills).paint(shown(frames), lambda _: None)
    }
    return [found[number].image for number in range(len(frames))]


def stills_of(style: str) -> Stills:
    """What frames are painted with."""
    stylizer = Stylizer(size="original", device="cpu")
    return Stills(stylizer, [stylizer.style(style)])


def consistency(asked: argparse.Namespace) -> str:
    """The table of warping errors."""
    found = [synthetic(kind, asked.photo, asked.size, asked.frames) for kind in KINDS if kind != "still"]
    found += [recorded(folder, asked.size, asked.frames) for folder in asked.clips]
    lines = [
        f"Mean squared differences in units of 1e-4, {asked.frames} frames of {asked.size} pixels; after the slash over {LONG} frames.",
        "",
        "| clip | style | the clip itself | each frame by the network | instant | normal | best |",
        "|---|---|---|---|---|---|---|",
    ]
    for style in asked.styles:
        stills = stills_of(style)
        for clip in found:
            own = errors(clip, clip.frames)
            alone = errors(clip, [stills.network(moment) for moment in shown(clip.frames)])
            cells = [cell(own), cell(alone)]
            for quality in painters.PAINTERS:
                error = errors(clip, painted(quality, stills, clip.frames))
                against = alone if quality == "instant" else own
                cells.append(f"{cell(error)} ({error[0] / against[0]:.2f} × {'alone' if against is alone else 'own'})")
            lines.append(f"| {clip.name} | {style} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    return "\n".join(lines)


def errors(clip: Shown, frames: list[torch.Tensor]) -> tuple[float, float]:
    """The warping error over one frame, and over LONG."""
    return warping_error(frames, clip.back), warping_error(frames, clip.back, LONG)


def cell(error: tuple[float, float]) -> str:
    """Two errors in units of 1e-4."""
    return f"{error[0] * 1e4:.2f} / {error[1] * 1e4:.2f}"


def still(asked: argparse.Namespace) -> str:
    """The table of a still scene's drift."""
    frame = synthetic("still", asked.photo, asked.size // 2, 1).frames[0]
    generator = torch.Generator().manual_seed(0)
    frames = [(frame + torch.randn(frame.shape, generator=generator) * GRAIN / 255).clamp(0, 1) for _ in range(asked.still)]
    lines = [
        f"{asked.still} frames of {asked.size // 2} pixels with grain of {GRAIN:g} levels. Levels of 255.",
        "",
        "| style | quality | largest change of a mean color | change of the whole frame (rms), first to last |",
        "|---|---|---|---|",
    ]
    for style in asked.styles[:1]:
        for quality in painters.PAINTERS:
            found = painted(quality, stills_of(style), frames)
            means = torch.stack([one.mean((0, 2, 3)) for one in found])
            drift = float((means - means[0]).abs().max()) * 255
            change = float((found[-1] - found[0]).square().mean().sqrt()) * 255
            lines.append(f"| {style} | {quality} | {drift:.2f} | {change:.1f} |")
            print(lines[-1], flush=True)
    return "\n".join(lines)


def speed(asked: argparse.Namespace) -> str:
    """The table of seconds a frame."""
    lines = [
        f"{processor()}, {psutil.cpu_count()} cores, {torch.get_num_threads()} threads. Seconds a frame, 16:9.",
        "",
        "| pixels | arithmetic | decode | flow, both ways | encode | instant | normal | best |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for longer in asked.sizes:
        frames = synthetic("pan", asked.photo, longer, 14).frames
        parts = [*in_and_out(frames), *(seconds_of(quality, asked.styles[0], frames, asked) for quality in painters.PAINTERS)]
        decode, encode, *whole = parts
        earlier, later = (flow.gray(frame) for frame in frames[:2])
        size = (frames[0].shape[-2], frames[0].shape[-1])
        by_flow = min(timed(lambda e=earlier, o=later, s=size: flow.motion(e, o, s)) for _ in range(3))
        cells = [f"{value:.3f}" for value in (decode, by_flow, encode)] + [f"{value:.2f}" for value in whole]
        lines.append(f"| {longer} | {asked.precision} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def seconds_of(quality: str, style: str, frames: list[torch.Tensor], asked: argparse.Namespace) -> float:
    """Seconds a frame without reading and writing, from the second frame on; a whole stretch for key frames."""
    stylizer = Stylizer(size="original", device="cpu", precision=asked.precision)
    stills = Stills(stylizer, [stylizer.style(style)])
    count = painters.KEY_EVERY + 1 if quality == "normal" else 5
    started = 0.0
    for _ in painters.painter(quality, stills).paint(shown(frames[:count]), lambda _: None):
        started = started or time.perf_counter()  # the first frame also analyzes the style
    return (time.perf_counter() - started) / (count - 1)


def in_and_out(frames: list[torch.Tensor]) -> tuple[float, float]:
    """Seconds a frame to decode and to encode."""
    levels = [(frame[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy() for frame in frames]
    timed_frames = [(one, Fraction(number, 24), Fraction(1, 24)) for number, one in enumerate(levels)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clip.mp4"
        encode = timed(lambda: clips.encode(timed_frames, file, clips.format_of(file)))
        clip = clips.open_clip(file)
        decode = timed(lambda: list(clip.frames()))
    return decode / len(frames), encode / len(frames)


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def strip(asked: argparse.Namespace) -> str:
    """Write a strip of consecutive frames with their differences, and a plot of errors over time. Returns what was written."""
    clip = synthetic("foreground", asked.photo, asked.size, asked.frames)
    stills = stills_of(asked.styles[0])
    rows = {"the clip": clip.frames, "each frame by the network": [stills.network(moment) for moment in shown(clip.frames)]}
    rows |= {quality: painted(quality, stills, clip.frames) for quality in painters.PAINTERS}
    first = len(clip.frames) // 2 - 1
    images = []
    for frames in rows.values():
        images.append(
            np.concatenate([plain(frames[first + step]) for step in range(2)] + [change(clip, frames, first + 1)], axis=1)
        )
    folder = ROOT / "docs" / "images"
    Image.fromarray(np.concatenate(images)).save(folder / "video-strip.jpg", quality=85)
    (folder / "video-error.svg").write_text(
        plot({name: over_time(clip, frames) for name, frames in rows.items()}), encoding="utf-8"
    )
    return f"video-strip.jpg: {', '.join(rows)}; frames {first}, {first + 1}, and the change between them, 8 times."


def plain(frame: torch.Tensor) -> Any:
    """HxWx3 uint8."""
    return (frame[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def change(clip: Shown, frames: list[torch.Tensor], number: int) -> Any:
    """What changed from the frame before, warped, where the flow holds: 8 times, black for no change."""
    back, holds = clip.back(number, number - 1)
    away = (frames[number] - flow.warped(frames[number - 1], flow.coordinates(back))).abs()
    return plain(away * torch.from_numpy(holds) * 8)


def over_time(clip: Shown, frames: list[torch.Tensor]) -> list[float]:
    """The error of each pair of frames."""
    return [
        warping_error(frames[number - 1 : number + 1], lambda _, __, at=number: clip.back(at, at - 1))
        for number in range(1, len(frames))
    ]


def plot(curves: dict[str, list[float]], width: int = 640, height: int = 300) -> str:
    """Curves on a logarithmic axis as SVG."""
    colors = ("#888888", "#d62728", "#ff7f0e", "#1f77b4", "#2ca02c")
    low, high = -5.0, -1.0

    def place(step: int, count: int, value: float) -> str:
        y = height - 30 - (np.log10(max(value, 10**low)) - low) / (high - low) * (height - 50)
        return f"{50 + step / max(1, count - 1) * (width - 220):.1f},{y:.1f}"

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">']
    parts.append(f'<rect width="{width}" height="{height}" fill="white"/>')
    for power in range(int(low), int(high) + 1):
        x, y = place(0, 2, 10.0**power).split(",")
        parts.append(
            f'<line x1="{x}" x2="{width - 170}" y1="{y}" y2="{y}" stroke="#dddddd"/><text x="8" y="{y}">1e{power}</text>'
        )
    for number, (name, values) in enumerate(curves.items()):
        points = " ".join(place(step, len(values), value) for step, value in enumerate(values))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colors[number]}" stroke-width="2"/>')
        parts.append(f'<text x="{width - 160}" y="{30 + 18 * number}" fill="{colors[number]}">{name}</text>')
    parts.append(f'<text x="50" y="{height - 8}">warping error from frame to frame</text></svg>')
    return "\n".join(parts) + "\n"


COMMANDS = {"consistency": consistency, "still": still, "speed": speed, "strip": strip}


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--photo", type=Path, default=PHOTO)
    parser.add_argument("--clips", type=Path, nargs="*", default=[])
    parser.add_argument("--styles", nargs="+", default=["starry-night"])
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--still", type=int, default=100)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    table = COMMANDS[asked.command](asked)
    print(table)
    if asked.write and asked.command != "strip":
        write_between(asked.write, f"{asked.command} {asked.precision}" if asked.command == "speed" else asked.command, table)


if __name__ == "__main__":
    main()
