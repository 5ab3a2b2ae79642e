"""`impasto resume`: going on with a picture whose run was interrupted, or killed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from pydantic import ValidationError

from impasto.cli.again import Search
from impasto.cli.console import note, refuse_address, tell
from impasto.cli.painting import Unfinished, paint_picture
from impasto.errors import StateFileError, UsageError
from impasto.files import one_line, printable
from impasto.options import Output, explain

if TYPE_CHECKING:
    from impasto.records import Earlier
    from impasto.states import Card

Flag = Parameter(negative=(), show_default=False)


def resume(
    file: Path,
    /,
    *,
    overwrite: Annotated[bool, Flag] = False,
    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"), negative=(), show_default=False)] = False,
    json_line: Annotated[bool, Parameter(name="--json", negative=(), show_default=False)] = False,
) -> int:
    """Go on with a picture that was interrupted, to the one that it would have become.

    Parameters
    ----------
    file: Path
        The picture that was to be written; beside it is what to go on from, FILE.unfinished.
    overwrite: bool
        Replace FILE even if it is not what the interrupted run left there.
    quiet: bool
        Say nothing but errors.
    json_line: bool
        End with one line of JSON on standard output, for programs.
    """
    refuse_address(file)
    from impasto import states  # only now: torch takes a second to load

    target = file.with_name(file.name.removesuffix(states.SUFFIX))
    if not states.place(target).exists():
        why = "it is finished, or never was begun, or for less time than after which a run is first saved"
        raise UsageError(f"{printable(target)} has no unfinished run ({printable(states.place(target))} is not there): {why}")
    card = states.read(states.place(target))
    output = _output(card, target).model_copy(update={"overwrite": overwrite, "quiet": quiet, "json_line": json_line})
    if card.whole and states.digest(target) == card.whole:
        return _finished(target, output)
    record = _record(target, card)
    asked, search = record.options({}), _Known(record, card)
    options = asked.changed(**search.of_options(asked, {}))
    photo, *styles = (search.file(role, "") for role in ("photo", *search.styles()))
    note(f"going on at {card.done:.0%}", quiet=quiet)
    return paint_picture(photo, tuple(styles), target, output, options, unfinished=Unfinished(card, record))


def _finished(target: Path, output: Output) -> int:
    """What was killed after its picture was in place, and before its film was made or its state was gone."""
    from impasto import states
    from impasto.cli.making import finish_film

    with states.alone(target):
        if output.frames and output.frames.suffix:
            finish_film(output.frames)
        states.place(target).unlink(missing_ok=True)
    if not output.quiet:
        tell(f"{printable(target)} was finished already")
    return 0


def _record(target: Path, card: Card) -> Earlier:
    """The picture's record as far as it goes. Raises StateFileError for one that is damaged."""
    from impasto import records

    try:
        return records.Earlier(target, card.settings, records.Made.model_validate(card.settings))
    except ValidationError as error:
        raise StateFileError(f"the state of {printable(target)} is damaged: {one_line(explain(error))}") from error


def _output(card: Card, target: Path) -> Output:
    """The command line's own options of the run. Raises StateFileError."""
    try:
        return Output.model_validate({**card.output, "output": target})
    except ValidationError as error:
        raise StateFileError(f"the state of {printable(target)} is damaged: {one_line(explain(error))}") from error


class _Known(Search):
    """Finds the files a run was begun with: where they were, else where `again` would look, and only the very same."""

    def __init__(self, earlier: Earlier, card: Card) -> None:
        super().__init__(earlier)
        self.paths = card.paths

    def styles(self) -> list[str]:
        """The roles of the styles."""
        from impasto import records

        return records.roles("style", self.earlier.made.inputs)

    def file(self, role: str, how: str) -> Path:
        """The input of a role. Raises StateFileError for one that is nowhere, or not what it was."""
        from impasto import records, states

        source = self.earlier.made.inputs.get(role)
        if source is None or role not in self.paths:
            raise StateFileError(f"the state of {printable(self.earlier.file)} is damaged: it does not know its {role}")
        there = Path(self.paths[role])
        if states.digest(there) == source.sha256:
            return there
        found = records.find(source, self.folders)
        if found is not None and states.digest(found) == source.sha256:
            return found
        wrong = "is not what it was (its hash differs)" if states.digest(there) else "is not there any more"
        raise StateFileError(f"{role} {printable(there)} {wrong}, so the run cannot go on")
