"""From painted frames to the finished file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from impasto import clips, files
from impasto.clips import Window
from impasto.errors import OutputError, SaveError
from impasto.jobs import places, records
from impasto.video.session import Session, Times
from impasto.video.workspace import FOLDER, Workspace


def settings(session: Session, count: int, seconds: float, done: float = 1.0) -> dict[str, Any]:
    """What is stored in the file of so many frames: the options and the record, as in an image, and what only clips have.

    done: share of the frames, less than 1 where the run was ended early.
    """
    video, stylizer, made_by = session.video, session.stills.stylizer, session.made_by()
    height, width = session.size
    job = video.to_json()
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
        clip={"frames": count} | {name: value for name in ("window", "blending") if (value := job[name])},
    )
    return records.settings(stylizer.options.changed(size=video.options.size)) | record.stored()


def finish(
    session: Session, workspace: Workspace, times: Times, stored: Mapping[str, Any], window: Window | None = None
) -> places.Written:
    """Write the finished file under the output's name, or where `places.write` finds a place.

    It is made in the workspace first, and the card gets its digest, so that a run that is killed here is known to be finished.
    stored: its settings; empty for none. window: what the frames show, if not the whole window of the video: sound is cut to it.
    Raises SaveError, OutputError.
    """
    output, made = session.video.output, workspace.folder / f"whole{session.kind.suffix}"
    notes = _make(made, session, workspace, times, stored, window or session.video.window)
    replaced = workspace.card.mine
    workspace.save(whole=files.digest(made) or FOLDER)

    def save(name: Path, overwrite: bool) -> tuple[str, ...]:
        if made.is_dir():
            _publish_folder(made, name)
        else:
            with files.replacing(name, overwrite=overwrite) as temporary:
                _link_or_copy(made, temporary)
        return notes

    def may_replace(name: Path) -> bool:
        return output.overwrite or (bool(replaced) and files.digest(name) == replaced)

    return places.write(output.path, save, may_replace)


def _make(
    made: Path, session: Session, workspace: Workspace, times: Times, stored: Mapping[str, Any], window: Window
) -> tuple[str, ...]:
    """Write the file, or the folder of images, into the workspace. Returns notes."""
    if session.kind.is_film:
        workspace.encode_up_to(len(times), times)
        return clips.join(workspace.parts(), made, clip=session.clip, window=window, overwrite=True, metadata=stored or None)
    if session.kind.suffix:
        shown = ((pixels, *times[number]) for number, pixels in enumerate(workspace.all_frames(len(times))))
        clips.write_gif(shown, made, overwrite=True, metadata=stored or None)
    else:
        workspace.copy_frames(made, len(times))
    return ()


def _publish_folder(made: Path, name: Path) -> None:
    final = files.real(name)
    try:
        if final.is_dir():
            final.rmdir()
        elif final.exists():
            raise OutputError(f"{files.printable(name)} exists")
        shutil.move(made, final)
    except OSError as error:
        raise OutputError(f"{files.printable(name)} could not be written: {files.reason(error)}") from error


def _link_or_copy(made: Path, copy: Path) -> None:
    try:
        os.link(made, copy)
    except OSError:  # another file system, or one without links
        try:
            shutil.copyfile(made, copy)
        except OSError as error:
            raise SaveError(f"{files.printable(copy)} could not be written: {files.reason(error)}") from error


def finish_preview(session: Session, workspace: Workspace) -> Path:
    """Write the parts so far as the film of the preview, without sound. Returns its path."""
    target = session.video.output.path
    file = target.with_name(f"{target.stem}-preview{target.suffix}")
    clips.join(workspace.parts(), file, clip=None, window=Window(), overwrite=True)
    return file
