"""From painted frames to the finished file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from impasto import clips
from impasto.clips import Window
from impasto.jobs import records
from impasto.video.session import Session, Times
from impasto.video.workspace import Workspace


def settings(session: Session, count: int, seconds: float, done: float = 1.0) -> dict[str, Any]:
    """What is stored in the file of so many frames: the options and the record, as in an image, and what only clips have.

    done: share of the frames, less than 1 where the run was ended early.
    """
    video, stylizer, made_by = session.video, session.stills.stylizer, session.made_by()
    height, width = session.size
    inputs = {"photo": (session.clip.name, session.clip.digest)} | session.styles
    record = records.Record(
        impasto=made_by["impasto"],
        torch=made_by["torch"],
        encoder_digest=made_by["encoder"],
        network=made_by["network"],
        ran_on=made_by["computed on"],
        threads=int(made_by["threads"]),
        inputs={role: records.Input(name=name, sha256=digest) for role, (name, digest) in inputs.items()},
        width=width,
        height=height,
        seconds=seconds,
        done=done,
    )
    options = stylizer.options.changed(size=video.options.size)
    job = video.to_json()
    of_clip = {"frames": count, "window": job["window"], "blending": job["blending"]}
    return records.settings(options) | record.stored() | of_clip


def finish(
    session: Session, workspace: Workspace, times: Times, stored: Mapping[str, Any], window: Window | None = None
) -> tuple[Path, tuple[str, ...]]:
    """Write the finished file. Returns its path, and notes.

    stored: its settings; empty for none. window: what the frames show, if not the whole window of the video: sound is cut to it.
    Raises SaveError, OutputError.
    """
    target, overwrite = session.video.output.path, session.video.output.overwrite
    if session.kind.is_film:
        workspace.encode_up_to(len(times), times)
        clip, window = session.clip, window or session.video.window
        parts = workspace.parts()
        return target, clips.join(parts, target, clip=clip, window=window, overwrite=overwrite, metadata=stored or None)
    if session.kind.suffix:
        shown = ((pixels, *times[number]) for number, pixels in enumerate(workspace.all_frames(len(times))))
        clips.write_gif(shown, target, overwrite=overwrite, metadata=stored or None)
    else:
        workspace.move_frames(target, len(times))
    return target, ()


def finish_preview(session: Session, workspace: Workspace) -> Path:
    """Write the parts so far as the film of the preview, without sound. Returns its path."""
    target = session.video.output.path
    file = target.with_name(f"{target.stem}-preview{target.suffix}")
    clips.join(workspace.parts(), file, clip=None, window=Window(), overwrite=True)
    return file
