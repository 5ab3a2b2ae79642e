"""What a video job works with: the opened clip, the styles, the painter, and the way to the finished file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from impasto import __version__, clips, fast, files, inputs, pictures
from impasto.clips import Clip, Format, Window, format_of
from impasto.compute import memory
from impasto.errors import PictureError, StateFileError
from impasto.files import printable
from impasto.ladder import Size
from impasto.stylizer import Stylizer
from impasto.video.job import Video
from impasto.video.moments import Painter
from impasto.video.painters import painter
from impasto.video.stills import Stills
from impasto.video.workspace import Card, Workspace

Times = list[tuple[Fraction, Fraction]]


@dataclass
class Session:
    """A video job with everything that was opened for it.

    clip: opened; masks: those of the layers, as a Clip, or as pixels of an image, 1x3xHxW. stills: what frames are painted with;
    painter: of the quality. size: (height, width) of the result in pixels; count: frames, about. notes: for the user, known before
    painting.
    """

    video: Video
    clip: Clip
    masks: tuple[Clip | Tensor, ...]
    stills: Stills
    painter: Painter
    kind: Format
    size: Size
    count: int
    notes: tuple[str, ...]
    styles: dict[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, video: Video, stylizer: Stylizer | None = None, card: Card | None = None) -> Session:
        """Open everything. card: of the run to resume. Raises UsageError, and StateFileError if it would not end as that run."""
        options = video.options
        clip = clips.open_clip(video.clip, max_pixels=options.max_pixels)
        kind = format_of(video.output.path)
        longer = max(clip.size) if options.size == "original" else int(options.size)
        size = _fitting(pictures.fit(clip.size, longer), kind)
        stylizer = (stylizer or Stylizer(options, weights=video.weights)).changed(size="original")
        opened = video_inputs(video, options.max_pixels)
        styles = [stylizer.style(style) for style in opened.styles]
        layers = [None if layer.style is None else stylizer.style(layer.style) for layer in opened.layers]
        masks = tuple(layer.mask for layer in opened.layers)
        blending = video.blending
        blend = None if blending is None else lambda share: blending.at(share, len(styles))
        stills = Stills(stylizer, styles, layers, blend)
        stills.limit = card.memory if card else options.memory_limit or memory.limit_of(stills.device)
        hashes = {role: found for role, found in opened.hashes().items() if not role.startswith("mask")}
        count = clip.count_in(video.window)
        session = cls(video, clip, masks, stills, painter(options.quality, stills), kind, size, count, (), hashes)
        notes = (*stylizer.notes, *clip.notes, *session._notes())
        session.notes = tuple(dict.fromkeys(notes))
        return session

    def _notes(self) -> Iterator[str]:
        """Those of the styles, and of how the clip is enlarged."""
        times = max(self.size) / max(self.clip.size)
        if times > ENLARGED:
            height, width = self.clip.size
            yield f"the clip has {width}x{height} pixels and is enlarged {times:.3g} times; a smaller size is sharper"
        for style in (*self.stills.styles, *self.stills.layers):
            if style is not None:
                yield from style.notes
                yield from style.notes_at([max(self.size) * self.stills.stylizer.options.style_scale])

    def made_by(self) -> dict[str, str]:
        """What the frames depend on besides the job."""
        encoder = self.stills.stylizer.encoder
        found = {
            "impasto": __version__,
            "torch": str(torch.__version__),
            "encoder": encoder.digest,
            "network": fast.load().digest,
            "computed on": f"{self.stills.device.type} {'bf16' if encoder.dtype == torch.bfloat16 else 'fp32'}",
            "threads": str(torch.get_num_threads()),
        }
        return found | {role: digest for role, (_, digest) in self.styles.items()} | self._digests_of_masks()

    def _digests_of_masks(self) -> dict[str, str]:
        found = zip(self.masks, self.video.layers, strict=True)
        return {
            f"mask {number}": mask.digest if isinstance(mask, Clip) else files.digest(layer.mask)
            for number, (mask, layer) in enumerate(found, 1)
        }

    def workspace(self, card: Card | None) -> Workspace:
        """The folder of the run: a new one, or that of the run to resume. Raises StateFileError."""
        video = self.video
        clock = self.clip.time_base_in(video.window), self.clip.rate_in(video.window)
        if card is None:
            found = Workspace(video.output.path, self.kind, self._card(), *clock)
            found.begin()
            return found
        name = printable(video.output.path)
        if card.clip != self.clip.digest:
            raise StateFileError(f"{name} cannot be resumed: the clip has changed (its hash differs)")
        now = self.made_by()
        for what, before in card.made_by.items():
            if now.get(what, "") != before and what != "threads":
                raise StateFileError(f"{name} cannot be resumed: {what} has changed")
        if now["threads"] != card.made_by["threads"]:
            before = card.made_by["threads"]
            self.notes += (f"the run continues on {now['threads']} threads and started on {before}: the last bits may differ",)
        return Workspace(video.output.path, self.kind, card, *clock)

    def _card(self) -> Card:
        path, video = self.video.output.path, self.video
        mine = files.digest(path) if video.output.overwrite else ""
        return Card(
            job=video.to_json(),
            clip=self.clip.digest,
            made_by=self.made_by(),
            memory=self.stills.limit or 0,
            frames=self.count,
            mine=mine,
        )

    def frames(self, first: int, times: Times) -> Iterator[tuple[int, Tensor, float, tuple[Tensor, ...]]]:
        """The frames from number `first` on: (number, pixels, share of the clip, masks). times: each frame's is appended."""
        window, size = self.video.window, self.size
        masks = [_over_time(mask, self.clip, window) for mask in self.masks]
        for frame in self.clip.frames(window, size, first=first):
            times.append((frame.time, frame.duration))
            share = min(1.0, frame.number / max(1, self.count - 1))
            yield frame.number, frame.pixels, share, tuple(mask(frame.time) for mask in masks)

    def times(self) -> Times:
        """When each frame of the window is shown, and for how long, without decoding the clip."""
        window = self.video.window
        shown = self.clip.times(window)
        ends = [*shown[1:], self.clip.seconds_in(window)]
        return [(start, end - start) for start, end in zip(shown, ends, strict=True)]


ENLARGED = 2  # times: a clip that is enlarged more gets a note


def video_inputs(video: Video, max_pixels: int) -> inputs.Inputs:
    """The styles and masks, opened: a mask that is a clip as a Clip, one that is an image as its pixels."""
    plain = [replace(layer, mask=_mask(layer.mask, max_pixels)) for layer in video.layers]
    styles = [inputs.open_style(style, max_pixels) for style in video.styles]
    layers = [
        replace(layer, style=None if layer.style is None else inputs.open_style(layer.style, max_pixels)) for layer in plain
    ]
    return inputs.Inputs(video.clip, tuple(styles), tuple(layers), weights=video.weights)


def _mask(source: Any, max_pixels: int) -> Clip | Tensor:
    if clips.is_clip(source):
        return clips.open_clip(source, max_pixels=max_pixels)
    return pictures.load(source, max_pixels=max_pixels, role="mask").pixels


def _over_time(mask: Clip | Tensor, clip: Clip, window: Window) -> Any:
    """The mask at a time of the window: of a mask that is a clip the frame that is shown then, the last one when it has ended."""
    if isinstance(mask, Tensor):
        return lambda moment: mask
    if abs(mask.size[0] * clip.size[1] - mask.size[1] * clip.size[0]) > ASPECT * mask.size[1] * clip.size[1]:
        raise PictureError(f"mask {printable(mask.name)} has another aspect than the clip")
    frames = mask.frames(replace(window, fps=None, every=1))
    shown = next(frames)
    following = next(frames, None)

    def at(moment: Fraction) -> Tensor:
        nonlocal shown, following
        while following is not None and following.time <= moment:
            shown, following = following, next(frames, None)
        return shown.pixels

    return at


def _fitting(size: Size, kind: Format) -> Size:
    """The size with even sides for a film, which no encoder takes otherwise."""
    return (max(2, size[0] - size[0] % 2), max(2, size[1] - size[1] % 2)) if kind.is_film else size


ASPECT = 0.02  # difference of aspect ratios that is still rounding
