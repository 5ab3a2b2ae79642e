"""Clips: what is known of one that was uploaded, and painting one as a job.

The processes behind the server import this, and the server does not: it loads torch, and decodes what clients sent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

from impasto import clips, files, pictures
from impasto.clips.animation import is_animated
from impasto.errors import PictureError, UsageError
from impasto.inputs import Layer
from impasto.jobs.events import Saved
from impasto.jobs.lock import state_of
from impasto.options import Options
from impasto.studio.kinds import style_file
from impasto.studio.store import Row, Store, erase
from impasto.studio.words import sentence
from impasto.video import Blending, Output, Video, Window, runner

NO_VIDEO = "this server reads no clips, because impasto's video extra is not installed on it: pip install 'impasto[video]'"
LARGEST_POSTER = 1280  # pixels, longer side


def check(path: Path, still: Path, max_pixels: int) -> dict[str, Any] | None:
    """Read an upload if it is a clip, and write its first frame. None for a picture.

    Returns the size (height, width), notes, and what is known of the clip. Raises PictureError. Where the video extra is missing, an
    animated image is a picture.
    """
    if not clips.is_clip(path):
        return None
    try:
        clips.check_extra()
    except UsageError as error:
        if is_animated(path):
            return None
        raise PictureError(NO_VIDEO) from error
    clip = clips.open_clip(path, max_pixels=max_pixels)
    frame = next(clip.frames())
    pictures.to_image(frame.pixels).save(still, "PNG", compress_level=1)
    facts = {"frames": clip.count, "seconds": round(float(clip.seconds), 3), "sound": clip.has_sound}
    notes = tuple(sentence(note.replace(files.printable(path), "the clip")) for note in clip.notes)
    return {"size": clip.size, "notes": notes, "clip": facts}


def events_of(store: Store, job: Row, device: str) -> Generator[Any, None, None]:
    """Paint a clip, from where an earlier process stopped. The last event is Saved or Failed."""
    return cast("Generator[Any, None, None]", runner.run(film_of(store, job, device)))


def end_early(store: Store, job: Row, device: str) -> Saved | None:
    """Write the frames that are painted so far. None if there are none. Then nothing is left of the run; an error leaves all of it."""
    saved = runner.finish_early(film_of(store, job, device))
    erase(state_of(store.files.result(job["id"], job["spec"])))
    return saved


def settings(file: Path) -> dict[str, Any]:
    """How a painted clip was made. Raises PictureError for a file without that."""
    found = clips.settings_of(file)
    if found is None:
        raise PictureError("there is no record for it")
    return found


def finished(file: Path) -> Mapping[str, Any] | None:
    """The settings of a whole painted clip; None for a file that is not one."""
    with contextlib.suppress(PictureError, UsageError):
        found = settings(file)
        return found if found.get("done", 1) == 1 else None
    return None


def keep_poster(file: Path, target: Path) -> None:
    """Write the first frame of a painted clip as a JPEG."""
    clip = clips.open_clip(file)
    size = pictures.fit(clip.size, min(LARGEST_POSTER, max(clip.size)))
    frame = next(clip.frames(size=size))
    pictures.to_image(frame.pixels).save(target, "JPEG", quality=88)


def check_film(
    clip: Path,
    asked: Mapping[str, Any],
    styles: Sequence[tuple[Path | str, float]],
    masks: Sequence[tuple[Path, Path | str | None]],
    options: Mapping[str, Any],
) -> None:
    """Make sure that a clip can be painted as asked, before it is queued. Raises OptionError, PictureError."""
    try:
        clips.check_extra()
    except UsageError as error:
        raise PictureError(NO_VIDEO) from error
    made = film(clip, styles, masks, Options(**options), asked, Path(f"result.{asked['format']}"))
    clips.open_clip(clip, max_pixels=made.options.max_pixels).start(made.window)


def film_of(store: Store, job: Row, device: str) -> Video:
    """The video of a job. Raises PictureError for a style that was deleted."""
    spec, place = job["spec"], store.files
    options = Options(**spec["options"] | ({} if device == "auto" else {"device": device}))
    styles = [(style_file(store, style, options), style["weight"]) for style in spec["styles"]]
    masks = [
        (place.image(mask["mask"]), None if mask["style"] == "keep" else style_file(store, {"id": mask["style"]}, options))
        for mask in spec["masks"]
    ]
    return film(place.image(spec["photo"]["id"]), styles, masks, options, spec["video"], place.result(job["id"], spec))


def film(
    clip: Path,
    styles: Sequence[tuple[Path | str, float]],
    masks: Sequence[tuple[Path, Path | str | None]],
    options: Options,
    asked: Mapping[str, Any],
    target: Path,
) -> Video:
    """A clip to be painted. asked: `shapes.Film` as JSON. Raises OptionError for what does not go together."""
    if len(styles) > 1:
        options = options.changed(blend=tuple(weight for _, weight in styles))
    start, end, fps = (None if asked[name] is None else Fraction(str(asked[name])) for name in ("start", "end", "fps"))
    return Video(
        clip,
        tuple(style for style, _ in styles),
        options,
        Output(target, overwrite=True),
        tuple(Layer(mask, style) for mask, style in masks),
        Window(start, end, fps, asked["every"]),
        Blending.parse(asked["blend"]) if asked["blend"] else None,
    )
