"""Every error a user can cause, as one tree.

ImpastoError                    the base; `exit_code` is what the command line ends with
├── UsageError                  exit 2: something asked for cannot be done; nothing was written
│   ├── OptionError             an option out of range, or two that contradict each other
│   ├── UnknownNameError        a name that is not in its table (encoder, tap, weights, style), with the nearest one
│   ├── PictureError            an input that is not a picture this program can use
│   ├── OutputError             an output that exists, has an unknown suffix or cannot be written
│   ├── WeightsFileError        a weights file that is wrong, cut, or for another network
│   ├── StyleFileError          a style file that is wrong, cut, or made for another encoder or version
│   └── StateFileError          an unfinished run's state that is wrong, cut, or cannot be gone on with here
└── RunError                    exit 1: the request was fine, carrying it out failed
    ├── MissingWeightsError     weights that are not on this machine, with the way to get them
    ├── DownloadError           a download that failed or brought the wrong bytes
    ├── SaveError               the result could not be written (disk full, permissions lost)
    ├── DivergenceError         the losses turned NaN or infinite
    └── MemoryLimitError        the picture does not fit into memory

A bug is none of these and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class ImpastoError(Exception):
    """Base of every error a user can cause. The message is one line that names the rule and the value that broke it."""

    exit_code: ClassVar[int] = 1


class UsageError(ImpastoError, ValueError):
    """Something asked for cannot be done."""

    exit_code = 2


class OptionError(UsageError):
    """An option is out of its range or contradicts another."""


class PictureError(UsageError):
    """An input is not a picture that can be used."""


class OutputError(UsageError):
    """The output exists, has an unknown suffix, or cannot be written."""


class WeightsFileError(UsageError):
    """A weights file is wrong, cut, or for another network."""


class StyleFileError(UsageError):
    """A style file is wrong, cut, or made for another encoder or another version of impasto."""


class StateFileError(UsageError):
    """An unfinished run's state is wrong, cut, or cannot be gone on with: its inputs or this program are not what they were."""


class UnknownNameError(UsageError):
    """A name is not in its table.

    kind: what is named ("encoder"); name: what was given; known: the names there are.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")


class RunError(ImpastoError, RuntimeError):
    """The request was fine; carrying it out failed."""


class MissingWeightsError(RunError):
    """Weights are not on this machine."""


class DownloadError(RunError):
    """A download failed or brought the wrong bytes."""


class SaveError(RunError):
    """The result could not be written."""


class DivergenceError(RunError):
    """The losses turned NaN or infinite."""


class MemoryLimitError(RunError):
    """The picture does not fit into memory."""
