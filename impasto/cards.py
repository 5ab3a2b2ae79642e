"""safetensors files with a card: one JSON text in the metadata that says what the tensors are. Reading one runs no code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias, TypeVar

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from impasto import files
from impasto.errors import ImpastoError

Card = TypeVar("Card")
Framework: TypeAlias = Literal["pt", "np"]  # the kind of tensors to read: torch's, or NumPy's arrays, which need no torch


@contextmanager
def opened(
    path: files.PathLike,
    key: str,
    parse: Callable[[str], Card],
    error: type[ImpastoError],
    what: str,
    framework: Framework = "pt",
) -> Iterator[tuple[Card, Any]]:
    """The card and the tensors of a file.

    key: of the card in the metadata; parse: its JSON to the card, may raise pydantic's ValidationError; what: the kind of file, for
    messages. framework: what the tensors become.

    Yields (card, safetensors' open file). Raises `error` for anything else than such a file.
    """
    name = files.printable(path)
    files.open_regular(path, error, what).close()
    try:
        with _safetensors(path, name, error, framework) as content:
            text = (content.metadata() or {}).get(key)
            if text is None:
                raise error(f"{name} is a safetensors file, but not a {what}")
            yield parse(text), content
    except ImpastoError:
        raise
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        where = files.one_line(".".join(map(str, first["loc"]))) or "the card"
        raise error(
            f"{what} {name} is damaged, or from another version of impasto: {where}: {files.one_line(first['msg'])}"
        ) from problem
    except SafetensorError as problem:
        raise error(f"{name} is not a {what}, or is cut short: {files.one_line(str(problem))}") from problem
    except (OSError, ValueError) as problem:
        raise error(f"{what} {name}: {files.reason(problem)}") from problem


def _safetensors(path: files.PathLike, name: str, error: type[ImpastoError], framework: Framework) -> Any:
    """Open the file. torch opens it twice, and fails if another process replaces it in between."""
    try:
        return safe_open(path, framework=framework)
    except RuntimeError as problem:
        raise error(f"{name} is being written at this moment; try again") from problem
