"""What must hold before a job writes its image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from impasto import files
from impasto.errors import OutputError
from impasto.files import printable
from impasto.jobs.job import SUFFIXES, Job, check_frames, check_no_input, replaces
from impasto.jobs.lock import how_to_resume, state_of

if TYPE_CHECKING:
    from impasto.jobs.unfinished import Card


def check(job: Job, card: Card | None = None) -> None:
    """Raise OutputError if the image must not be written. card: of the run to resume."""
    target = job.output.path
    if target is None:
        return
    state = state_of(target)
    if card is None and not job.output.overwrite and state.exists():
        how = how_to_resume(target)
        raise OutputError(f"{printable(state)} belongs to an unfinished run: {how}", remedy="use {overwrite} to start again")
    if card is not None and not same_job(card, job):
        raise OutputError(
            f"{printable(state)} belongs to an unfinished run of another job: {how_to_resume(target)}",
            remedy="use {overwrite} to start again",
        )
    mine = card is not None and card.may_replace(target)
    files.check(target, SUFFIXES, overwrite=job.output.overwrite or mine)
    check_no_input(target, job.inputs)
    for file in job.inputs.files().values():
        if replaces(job.output, target, file):
            raise OutputError(f"a frame or a preview would replace the input {printable(file)}; choose another name")
    if job.output.frames and card is None:
        check_frames(job.output.frames, overwrite=job.output.overwrite)


def same_job(card: Card, job: Job) -> bool:
    """Whether a state is of a job, wherever its files are now; that they have the same bytes is checked when they are read."""
    if not job.storable:
        return False
    now = job.to_json()
    empty: dict[str, dict[str, object]] = {"options": {}, "inputs": {}}
    stored = empty | card.job
    return bool(stored["options"] == now["options"] and stored["inputs"].keys() == now["inputs"].keys())
