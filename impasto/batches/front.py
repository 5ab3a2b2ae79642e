"""The front door of batches for Python."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Literal, TypeAlias

from impasto.batches import runner
from impasto.batches.events import Event, Result
from impasto.batches.names import TEMPLATE
from impasto.batches.pairs import Pairs
from impasto.batches.work import Settings, plan
from impasto.errors import OptionError
from impasto.inputs import Layer

Words: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def batch(
    photos: Words,
    styles: Words = (),
    *,
    output: str | os.PathLike[str],
    pairs: str = "all",
    pairs_seed: int = 0,
    names: str = TEMPLATE,
    workers: int | None = None,
    threads: int = 1,
    ray: str | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
    masks: Sequence[tuple[str | os.PathLike[str], str | os.PathLike[str] | None]] = (),
    metadata: bool = True,
    keep_exif: bool = False,
    depth: Literal[8, 16] = 8,
    weights: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Iterator[Result]:
    """Repaint many photographs. Iterate over it: it yields a `Result` for each image, in the order in which they are finished.

    photos, styles: files, folders, patterns, addresses such as s3://, built-in styles, or lists of work (.csv, .jsonl). output: a
    folder or an address. pairs: "all", "zip" or "random:N", which `pairs_seed` draws. names: of the results; {photo}, {style},
    {photo_type} and {style_type} are filled in. workers: processes that paint at once; None for one to a GPU or to every `threads`
    cores. The number of threads changes the last bits of an image, the number of workers does not. ray: the address of a Ray cluster,
    or "auto". retry_failed: try again also what failed before and has not changed since. overwrite: replace files that impasto did
    not make. masks: (mask, style) pairs, later ones on top; a mask is an image for all photographs, or a folder with an image named
    like each of them; None as the style keeps the photograph. metadata: store settings in the results; without, the output folder has
    a list of them. keep_exif, depth: see `jobs.Output`. weights: a file for the encoder. options: any of `Options`.

    An item that fails has a result with state "failed" and its problem, and ends nothing else. What is there already, whole and made
    from the same inputs with the same options, is kept. Raises UsageError before anything is painted, and RunError if nothing can be.
    """
    for name, value in (("workers", workers), ("threads", threads)):
        if value is not None and value < 1:
            raise OptionError(f"must be at least 1, not {value}", option=name)
    settings = Settings(
        output=os.fspath(output),
        weights=None if weights is None else os.fspath(weights),
        metadata=metadata,
        keep_exif=keep_exif,
        depth=depth,
        overwrite=overwrite,
        threads=threads,
    )
    work = plan(
        _words(photos),
        _words(styles),
        settings,
        pairs=Pairs.parse(pairs, pairs_seed),
        template=names,
        masks=[Layer(os.fspath(mask), None if style is None else os.fspath(style)) for mask, style in masks],
        options=options,
    )
    return _results(runner.run(work, workers=workers, ray=ray, retry_failed=retry_failed))


def _results(events: Generator[Event, None, None]) -> Iterator[Result]:
    with contextlib.closing(events):
        for event in events:
            if isinstance(event, Result):
                yield event


def _words(given: Words) -> list[str]:
    return [os.fspath(word) for word in ([given] if isinstance(given, (str, os.PathLike)) else given)]
