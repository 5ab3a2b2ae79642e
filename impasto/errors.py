"""Every error a user can cause, as one tree.

ImpastoError                    the base; `exit_code` is what the command line ends with
├── UsageError                  exit 2: the request cannot be carried out; nothing was written
│   ├── OptionError             an option is out of range, or two options contradict each other
│   ├── UnknownNameError        a name is not in its table (encoder, tap, weights, style)
│   ├── PictureError            an input is not an image or a video this program can use
│   ├── OutputError             the output exists, has an unknown suffix, or cannot be written
│   ├── WeightsFileError        a weights file is damaged, cut short, or for another network
│   ├── StyleFileError          a style file is damaged, cut short, or made for another encoder or version
│   └── StateFileError          the saved state of a run is damaged, cut short, or cannot be resumed here
└── RunError                    exit 1: the request was valid; carrying it out failed
    ├── MissingWeightsError     weights are not on this machine
    ├── DownloadError           a download failed or delivered the wrong bytes
    ├── SaveError               the result could not be written (disk full, permission lost)
    ├── DivergenceError         the losses became NaN or infinite
    └── MemoryLimitError        the image does not fit into memory

A bug is none of these and keeps its traceback.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar


class ImpastoError(Exception):
    """Base of every error a user can cause. Its text is one line.

    problem: the rule that was broken and the value that broke it, taken literally. option: the name of the option at fault, which
    then begins the text ("style_weight must be at least 0, not -1"). remedy: what to do about it; here `{name}` stands for an option.
    Options are named as in Python. `worded` names them in another way, so that a front end can show its own flags or fields.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, option: str = "", remedy: str = "") -> None:
        super().__init__(problem)
        self.problem, self.option, self.remedy = problem, option, remedy

    def worded(self, spell: Callable[[str], str]) -> str:
        """The error's text with every option's name spelled by `spell`."""
        subject = f"{spell(self.option)} " if self.option else ""
        remedy = re.sub(r"\{(\w+)\}", lambda name: spell(name[1]), self.remedy)
        return f"{subject}{self.problem}" + (f"; {remedy}" if remedy else "")

    def __str__(self) -> str:
        return self.worded(str)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(_restored, type(self)), (self.problem, self.option, self.remedy), self.__dict__


def _restored(kind: type[ImpastoError], problem: str, option: str, remedy: str) -> ImpastoError:
    """Rebuild a pickled error without the arguments of its own class."""
    error = kind.__new__(kind)
    ImpastoError.__init__(error, problem, option=option, remedy=remedy)
    return error


class UsageError(ImpastoError, ValueError):
    """The request cannot be carried out."""

    exit_code = 2


class OptionError(UsageError):
    """An option is out of range, or contradicts another."""


class PictureError(UsageError):
    """An input is not an image or a video that can be used."""


class OutputError(UsageError):
    """The output exists, has an unknown suffix, or cannot be written."""


class WeightsFileError(UsageError):
    """A weights file is damaged, cut short, or for another network."""


class StyleFileError(UsageError):
    """A style file is damaged, cut short, or made for another encoder or another version of impasto."""


class StateFileError(UsageError):
    """The saved state of a run is damaged, cut short, or cannot be resumed: its inputs or this program have changed."""


class UnknownNameError(UsageError):
    """A name is not in its table.

    kind: what is named ("encoder"); name: what was given; known: the valid names. The text suggests the nearest valid name.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        near = difflib.get_close_matches(name, names, n=1)
        super().__init__(
            f"unknown {kind} {_short(name)}; " + (f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}")
        )


def _short(name: str) -> str:
    """A name as it was given, in quotes; of a long one the beginning."""
    return repr(name) if len(name) <= 100 else f"{name[:100]!r}..."


class RunError(ImpastoError, RuntimeError):
    """The request was valid; carrying it out failed."""


class MissingWeightsError(RunError):
    """Weights are not on this machine."""


class DownloadError(RunError):
    """A download failed or delivered the wrong bytes."""


class SaveError(RunError):
    """The result could not be written."""


class DivergenceError(RunError):
    """The losses became NaN or infinite."""


class MemoryLimitError(RunError):
    """The image does not fit into memory."""
