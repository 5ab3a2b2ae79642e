"""`impasto info`, `impasto again` and `impasto resume`: how an image was made, making it again, and finishing it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto import files, jobs
from impasto.catalog import PLACE, defaults
from impasto.cli.console import note, refuse_address, seconds, tell
from impasto.cli.forms import PaintFlags
from impasto.cli.paint import carry_out
from impasto.errors import StateFileError, UsageError
from impasto.files import one_line, printable
from impasto.inputs import Inputs
from impasto.jobs import lock

if TYPE_CHECKING:
    from impasto.jobs.records import Previous
    from impasto.jobs.unfinished import Card

ALWAYS = ("method", "encoder", "size", "quality")  # listed first, and also at their defaults
SHOWN_OF_A_HASH = 12  # characters; all of them with --json


# ------------------------------------------------------------------------------------------------------------------- info


def info(file: Path, /, *, json_line: bool = False) -> None:
    """Show how an image or a clip was made: its inputs, options, versions, time and losses.

    Parameters
    ----------
    file: Path
        An image or a clip made by impasto, or the output of an unfinished run.
    json_line: bool
        Print everything that is stored, as one line of JSON.
    """
    refuse_address(file)
    target = lock.output_of(file)
    if lock.state_of(target).is_dir():
        _tell_of_video(target, json_line=json_line)
        return
    card = _state(target)
    if card and (file != target or not file.exists()):
        tell(json.dumps(card.settings | {"done": card.done}) if json_line else _how_far(target, card))
        return
    from impasto.jobs import records  # here: help does not wait for pydantic

    previous = records.read(file)
    if json_line:
        tell(json.dumps(dict(previous.settings)))
        return
    for title, rows in _listing(previous):
        width = max((len(name) for name, _ in rows), default=0)
        tell("\n".join((title, *(f"  {name:{width}}  {value}" for name, value in rows))))
    if card:
        tell(_how_far(target, card))


def _tell_of_video(target: Path, *, json_line: bool) -> None:
    """Print how far an unfinished video is."""
    from impasto.video.workspace import Workspace

    card = Workspace.read(target)
    if json_line:
        tell(card.model_dump_json())
    else:
        how = f"{card.painted} of {card.frames} frames painted in {seconds(card.seconds)}; {lock.how_to_resume(target)}"
        tell(f"{printable(target)}: unfinished, {how}")


def _state(target: Path) -> Card | None:
    """What the state of an unfinished run says; None without one."""
    if not lock.state_of(target).is_file():
        return None
    from impasto.jobs import unfinished

    return unfinished.read(lock.state_of(target))


def _how_far(target: Path, card: Card) -> str:
    return f"{printable(target)}: unfinished, {card.done:.0%} done in {seconds(card.seconds)}; {lock.how_to_resume(target)}"


def _listing(previous: Previous) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Groups of (title, rows of (name, value))."""
    record = previous.record
    size = f"{record.width}x{record.height}" if record.width and record.height else "an image"
    took = f" in {seconds(record.seconds)}" if record.seconds else ""
    stopped = f", interrupted at {record.done:.0%}" if record.done < 1 else ""
    version = _shown(record.impasto) or "of unknown version"
    yield f"{printable(previous.file)}: {size}, made by impasto {version}{took}{stopped}", []
    versions = {
        "torch": record.torch,
        "encoder": _hash(record.encoder_digest),
        "computed on": record.ran_on,
        "threads": record.threads or "",
    }
    groups = {
        "inputs": [(_shown(role), f"{_shown(one.name)}  {_hash(one.sha256)}") for role, one in record.inputs.items()],
        "options": [(name.replace("_", "-"), _shown(value)) for name, value in _telling(previous.stored)],
        "versions": [(name, _shown(value)) for name, value in versions.items() if value],
        "clip": [(_shown(name), _shown(value)) for name, value in record.clip.items()],
        "losses": [(_shown(name), f"{value:.4g}") for name, value in record.losses.items()],
        "not known to this version of impasto": [(_shown(name), "") for name in previous.unknown],
    }
    yield from ((title, rows) for title, rows in groups.items() if rows)


def _telling(stored: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """The options to list: some always, of the others those that differ from the method's defaults."""
    usual = defaults(*(str(stored.get(name, "")) for name in PLACE))
    for name in sorted(stored, key=lambda name: (name not in ALWAYS, ALWAYS.index(name) if name in ALWAYS else 0)):
        default = usual.get(name)
        if name in ALWAYS or (stored[name] or None) != ((list(default) if isinstance(default, tuple) else default) or None):
            yield name, stored[name]


def _shown(value: object) -> str:
    """A value from a file of any origin, as a short line."""
    if isinstance(value, list):
        return one_line(" ".join(map(str, value)))
    return one_line(f"{value:g}" if isinstance(value, float) else str(value))


def _hash(digest: str) -> str:
    return f"sha256 {_shown(digest)[:SHOWN_OF_A_HASH]}" if digest else ""


# ------------------------------------------------------------------------------------------------------------------ again


def again(file: Path, /, *inputs: Path, flags: PaintFlags) -> int:
    """Make an image again from the settings in its file: the same one, or with other options or inputs.

    Parameters
    ----------
    file: Path
        An image made by impasto.
    inputs: Path
        The photograph and the paintings, if they are not in FILE's folder or the current one under their names.
    """
    refuse_address(file)
    from impasto.jobs import records

    previous = records.read(file)
    if previous.record.clip:
        raise UsageError(f"{printable(file)} is a clip; paint it again with `impasto video`")
    if previous.unknown:
        names = ", ".join(map(_shown, previous.unknown[:5]))
        note(f"{printable(file)} has settings that this version of impasto does not know: {names}", quiet=flags.quiet)
    changes, others = flags.changes(), flags.inputs()
    previous = replace(previous, changed=bool(others or changes.keys() - records.HARDLY_CHANGES))
    options = previous.options(changes)
    cleared = {role: None for option, role in (("encoder", "weights"), ("init", "start")) if option in changes}
    found = records.inputs_again(previous, inputs, cleared | others)
    output = flags.to(
        file.with_name(f"{file.stem}-again{file.suffix}"), keep_exif=previous.record.keep_exif, depth=previous.record.depth
    )
    return carry_out(jobs.Job(found, options, output), flags, previous)


# ----------------------------------------------------------------------------------------------------------------- resume


def resume(file: Path, /, *, overwrite: bool = False, quiet: bool = False, json_line: bool = False) -> int:
    """Resume an interrupted run. The result is the same as if it had never stopped.

    Parameters
    ----------
    file: Path
        The output of the interrupted run. Its state is next to it, as FILE.unfinished.
    overwrite: bool
        Replace FILE even if the interrupted run did not write it.
    quiet: bool
        Print errors only.
    json_line: bool
        Print one line of JSON at the end, for programs.
    """
    refuse_address(file)
    target = lock.output_of(file)
    state = lock.state_of(target)
    if state.is_dir():
        return _resume_video(target, PaintFlags(overwrite=overwrite, quiet=quiet, json_line=json_line))
    if not state.exists():
        why = "it has finished, was never started, or was interrupted before its first save (20 s)"
        raise UsageError(f"{printable(target)} has no unfinished run ({printable(state)} does not exist): {why}")
    from impasto.jobs import unfinished

    card = unfinished.read(state)
    job = _moved(jobs.Job.from_json(card.job), target, card, overwrite=overwrite)
    if card.whole and files.digest(target) == card.whole:
        return _finished(job, target, quiet=quiet)
    note(f"resuming at {card.done:.0%}", quiet=quiet)
    flags = PaintFlags(overwrite=overwrite, quiet=quiet, json_line=json_line)
    return carry_out(job, flags, resume=True)


def _resume_video(target: Path, flags: PaintFlags) -> int:
    from impasto.cli.video import carry_out as carry_out_video
    from impasto.video.job import Video
    from impasto.video.workspace import Workspace

    card = Workspace.read(target)
    job = Video.from_json(card.job)
    job = replace(job, output=replace(job.output, path=target, overwrite=flags.overwrite))
    note(f"resuming after {card.painted} of {card.frames} frames", quiet=flags.quiet)
    return carry_out_video(job, flags, resume=True)


def _moved(job: jobs.Job, target: Path, card: Card, *, overwrite: bool) -> jobs.Job:
    """The job with its output at `target`, and its inputs where they are now: only with the same bytes. Raises StateFileError."""
    from impasto.jobs import records

    previous = records.Previous(target, card.settings, records.record_of(card.settings, f"the state of {printable(target)}"))
    sources = job.inputs.sources()
    for role, place in job.inputs.files().items():
        wanted = previous.record.inputs.get(role)
        if wanted and files.digest(place) != wanted.sha256:
            sources[role] = _same_bytes(previous, role, place)
    output = job.output.model_copy(update={"overwrite": overwrite, "path": target})
    return jobs.Job(Inputs.of(sources), job.options, output)


def _same_bytes(previous: Previous, role: str, place: Path) -> Path | str:
    """An input that is no longer where it was, found where `again` would look. Raises StateFileError."""
    from impasto.errors import PictureError
    from impasto.jobs import records

    wrong = "has changed (its hash differs)" if files.digest(place) else "is missing"
    try:
        found = records.find(previous, role)
    except PictureError:
        found = None
    if found is None or (isinstance(found, Path) and files.digest(found) != previous.record.inputs[role].sha256):
        raise StateFileError(f"{role} {printable(place)} {wrong}, so the run cannot be resumed")
    return found


def _finished(job: jobs.Job, target: Path, *, quiet: bool) -> int:
    """Clean up after a run that was killed when its image was written, but its film was not made or its state not removed."""
    from impasto.jobs import film

    with lock.alone(target):
        if job.output.frames and job.output.frames.suffix:
            film.finish(job.output.frames)
        lock.state_of(target).unlink(missing_ok=True)
    if not quiet:
        tell(f"{printable(target)} was finished already")
    return 0
