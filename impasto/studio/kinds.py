"""What each kind of job does, as an iterator of events."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

from impasto import jobs
from impasto.errors import PictureError
from impasto.inputs import Inputs, Layer, style_names
from impasto.jobs import sheet
from impasto.jobs.lock import state_of
from impasto.options import Options
from impasto.studio import tuning
from impasto.studio.store import Place, Row, Store

PREVIEWS = ((768, 2), (1536, 4), (65_535, 10))  # (longer side up to, steps between previews)


def events_of(store: Store, job: Row, device: str, painters: int = 1) -> Generator[Any, None, None]:
    """Carry out a job. The last event is Saved or Failed, of a batch Ended. Closing the iterator cancels it, and saves its state where
    there is one. painters: of the studio. Raises ImpastoError.
    """
    spec, place = job["spec"], store.files
    if job["kind"] == "tune":
        number = spec["styles"][0]["id"]
        return tuning.tune(place.style(number, "painting"), place.style(number, "file"))
    if job["kind"] == "video":
        from impasto.studio import films  # here: the server must not load torch

        return films.events_of(store, job, device)
    if job["kind"] == "batch":
        from impasto.studio import batching  # here: it needs what is above in this module

        return batching.events_of(store, job, device, painters)
    options = Options(**spec["options"] | ({} if device == "auto" else {"device": device}))
    photo, result = place.picture(spec["photo"]["id"]), place.result(job["id"])
    styles = tuple(style_file(store, style, options) for style in spec["styles"])
    if job["kind"] == "sheet":
        return sheet.run(sheet.Sheet(photo, styles, options, jobs.Output(path=result, overwrite=True)))
    if len(styles) > 1:
        options = options.changed(blend=tuple(style["weight"] for style in spec["styles"]))
    layers = tuple(
        Layer(
            place.picture(mask["mask"]), None if mask["style"] == "keep" else style_file(store, {"id": mask["style"]}, options)
        )
        for mask in spec["masks"]
    )
    longer = max(spec["photo"]["width"], spec["photo"]["height"]) if options.size == "original" else int(options.size)
    every = None if options.quality == "instant" else next(steps for most, steps in PREVIEWS if longer <= most)
    output = jobs.Output(path=result, overwrite=not state_of(result).exists(), preview=every)
    return cast("Generator[Any, None, None]", jobs.run(jobs.Job(Inputs(photo, styles, layers), options, output)))


def source_of(place: Place, style: Row, options: Options) -> Path:
    """The file that a style of the store is painted from: of a tuned painting its style file, where that is of use."""
    tuned = style["tuned"] and options.quality == "instant" and options.keep_colors != "match"
    return place.style(style["id"], "file" if tuned else style["kind"])


def style_file(store: Store, style: Row, options: Options) -> Path | str:
    """The file of a style, or its built-in name. Raises PictureError if it was deleted."""
    number: str = style["id"]
    if number in style_names():
        return number
    found = store.style(number)
    if found is None:
        raise PictureError(f"the style {style.get('name', number)} was deleted")
    return source_of(store.files, found, options)
