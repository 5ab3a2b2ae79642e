"""Instant pictures, jobs and events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from impasto.errors import ImpastoError
from impasto.options import Options
from impasto.studio import shapes
from impasto.studio.api.context import (
    PROBLEMS,
    Here,
    Refused,
    Studio,
    answered,
    attachment,
    image_of,
    job_of,
    options_of,
    queued,
    style_of,
    view,
)
from impasto.studio.kinds import source_of
from impasto.studio.previewer import LARGEST_VIEW
from impasto.studio.processes import SupersededError
from impasto.studio.queue import ConflictError
from impasto.studio.store import Row

LARGEST_INSTANT = 1024  # pixels
SHEET = {"quality": "instant", "size": 320}  # of a contact sheet, unless asked for otherwise, as `impasto sheet` makes it
MEDIA = {"png": "image/png", "mp4": "video/mp4", "webm": "video/webm", "gif": "image/gif"}
Weighted: TypeAlias = list[tuple[str | Path, float]]
Masked: TypeAlias = list[tuple[str, str | Path | None]]
router = APIRouter(prefix="/api", responses=PROBLEMS)


def _spec(asked: shapes.Picture, studio: Studio) -> Row:
    """What a job is made from, with names. Raises Refused for what is not here, and for a picture without a style."""
    photo = image_of(studio, asked.photo)
    styles = [
        style_of(studio, one.id).model_dump(include={"id", "name", "kind"}) | {"weight": one.weight} for one in asked.styles
    ]
    for mask in asked.masks:
        image_of(studio, mask.mask)
        if mask.style != "keep":
            style_of(studio, mask.style)
    if len(styles) > 1 and not sum(one.weight for one in asked.styles):
        raise Refused(400, "At least one of the styles must have a weight above 0.")
    return {
        "photo": {name: photo[name] for name in ("id", "name", "width", "height", "clip")},
        "styles": styles,
        "masks": [mask.model_dump() for mask in asked.masks],
        "options": dict(asked.options),
    }


def _needs_style(asked: shapes.Picture) -> None:
    if not asked.styles and not any(mask.style != "keep" for mask in asked.masks):
        raise Refused(400, "Choose a style.")


def _sources(asked: shapes.Picture, studio: Studio, options: Options) -> tuple[Weighted, Masked]:
    """The files or names of the styles with their weights; the ids of the masks with the files or names of theirs."""

    def source(number: str) -> str | Path:
        style = style_of(studio, number)
        return style.id if style.kind == "built-in" else source_of(studio.store.files, style.model_dump(), options)

    masks = [(mask.mask, None if mask.style == "keep" else source(mask.style)) for mask in asked.masks]
    return [(source(one.id), one.weight) for one in asked.styles], masks


@router.post("/instant", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
async def instant(asked: shapes.Instant, request: Request, studio: Here) -> Response:
    """Paint at once, with quality instant, at most 1024 pixels. The answer is a JPEG, or a PNG for a photograph with transparency."""
    _needs_style(asked)
    await asyncio.to_thread(_spec, asked, studio)
    options = options_of({name: value for name, value in asked.options.items() if name != "quality"}, studio, quality="instant")
    longer = LARGEST_INSTANT if options.size == "original" else min(int(options.size), LARGEST_INSTANT)

    place = studio.store.files
    styles, masks = _sources(asked, studio, options)
    future = studio.previewing.ask(
        "paint",
        client=request.state.client,
        stream=asked.stream,
        photo=place.picture(asked.photo),
        styles=styles,
        masks=[(place.picture(mask), style) for mask, style in masks],
        options={name: getattr(options, name) for name in options.model_fields_set - {"quality", "max_pixels"}}
        | {"size": longer},
    )
    try:
        data, kind = await answered(studio, future)
    except SupersededError:
        raise Refused(409, "superseded") from None
    return Response(data, media_type=kind)


# ---------------------------------------------------------------------------------------------------------------- jobs


@router.post("/jobs", status_code=202)
async def add_job(asked: shapes.NewJob, request: Request, studio: Here) -> shapes.Job:
    """Queue a picture or a clip to be painted, or a contact sheet."""
    if asked.kind != "sheet":
        _needs_style(asked)
    elif asked.masks:
        raise Refused(400, "A contact sheet has no masks.")
    if asked.kind != "video" and asked.video:
        raise Refused(400, "Only a job of kind video says how a clip is painted.")
    spec = await asyncio.to_thread(_spec, asked, studio)
    options = options_of(SHEET | asked.options if asked.kind == "sheet" else asked.options, studio)
    kept = options.model_fields_set - (set() if asked.kind == "video" else {"max_pixels"})
    spec["options"] = options.model_dump(mode="json", include=kept)
    if asked.kind == "video":
        spec["video"] = (asked.video or shapes.Film()).model_dump()
        await _check_film(asked, spec, studio, options)
    return await asyncio.to_thread(queued, studio, request, asked.kind, spec)


async def _check_film(asked: shapes.NewJob, spec: Row, studio: Studio, options: Options) -> None:
    """Have a worker find out whether a clip can be painted as asked. Raises Refused."""
    if not spec["photo"]["clip"]:
        raise Refused(400, "This is a picture, not a clip.")
    place = studio.store.files
    styles, masks = _sources(asked, studio, options)
    files = [(place.image(mask), style) for mask, style in masks]
    clip, given = place.image(asked.photo), spec["options"]
    await answered(
        studio,
        studio.previewing.ask("check_film", clip=clip, film=spec["video"], styles=styles, masks=files, options=given),
    )


@router.get("/jobs")
def list_jobs(
    studio: Here,
    query: Annotated[str, Query(max_length=200)] = "",
    state: Annotated[str, Query(max_length=100, description="States, separated by commas.")] = "",
    kind: Annotated[str, Query(max_length=20)] = "",
    result: Annotated[bool, Query(description="Only jobs that have a result.")] = False,
    before: Annotated[str, Query(max_length=16, description="Only jobs older than this one.")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> shapes.Jobs:
    """Jobs, the newest first."""
    states = tuple(one for one in state.split(",") if one)
    rows = studio.queue.list(query=query, states=states, kind=kind, with_result=result, before=before, limit=limit + 1)
    return shapes.Jobs(jobs=[shapes.job_of(row) for row in rows[:limit]], more=len(rows) > limit)


@router.get("/jobs/{number}")
def get_job(number: str, studio: Here) -> shapes.Job:
    """A job."""
    return shapes.job_of(job_of(studio, number))


@router.post("/jobs/{number}/{action}")
def change_job(number: str, action: Literal["cancel", "pause", "resume", "retry"], studio: Here) -> shapes.Job:
    """cancel: stop, and keep the best image, or the frames or images, so far. pause, resume. retry: a job that failed, was cancelled or
    is held, or a batch of which images failed.
    """
    row = job_of(studio, number)
    try:
        match action:
            case "cancel":
                studio.queue.cancel(number)
            case "pause":
                studio.queue.pause(number)
            case "resume":
                studio.queue.go_on(number, states=("paused",))
            case "retry":
                again = ("done",) if row["kind"] == "batch" else ()
                studio.queue.go_on(number, states=("failed", "cancelled", "held", *again))
    except ConflictError as error:
        raise Refused(409, str(error)) from error
    return shapes.job_of(job_of(studio, number))


@router.put("/jobs/{number}/place")
def move_job(number: str, body: shapes.Move, studio: Here) -> shapes.Job:
    """Give a job that waits another place in the queue."""
    job_of(studio, number)
    try:
        studio.queue.move(number, body.place)
    except ConflictError as error:
        raise Refused(409, str(error)) from error
    return shapes.job_of(job_of(studio, number))


@router.delete("/jobs/{number}", status_code=204)
def remove_job(number: str, studio: Here) -> None:
    """Delete a job and what it made. A running one is stopped."""
    job_of(studio, number)
    studio.queue.remove(number)


@router.get("/jobs/{number}/preview", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
def job_preview(number: str, studio: Here) -> Response:
    """The newest preview of a running job, a JPEG."""
    job_of(studio, number)
    try:
        data = studio.store.files.preview(
            number
        ).read_bytes()  # at once: the painter replaces and deletes this file at any time
    except FileNotFoundError:
        raise Refused(404, "There is no preview yet.") from None
    return Response(data, media_type="image/jpeg", headers={"cache-control": "no-store"})


@router.get("/jobs/{number}/result", response_class=Response)
async def job_result(
    number: str,
    studio: Here,
    suffix: Annotated[
        Literal["png", "jpg"] | shapes.FilmFormat | None, Query(alias="format", description="None for what it is stored as.")
    ] = None,
    size: Annotated[int, Query(ge=0, le=LARGEST_VIEW, description="Longer side at most; 0 for the whole image.")] = 0,
    download: bool = False,
) -> Response:
    """What a job made: an image as PNG, as JPEG, or smaller; a clip as it is stored, in ranges too, or its first frame, smaller."""
    row = await asyncio.to_thread(job_of, studio, number)
    file = studio.store.files.result(number, row["spec"])
    if row["kind"] == "batch":
        raise Refused(409, "The results of a batch are at images.")
    if row["result"] is None or not file.exists():
        raise Refused(404, "There is no result yet.")
    if size:
        still = studio.store.files.preview(number) if row["kind"] == "video" else file
        return await view(studio, "view", path=still, size=size)
    stored = file.suffix[1:]
    wanted = suffix or stored
    if wanted != stored and (row["kind"] == "video" or wanted != "jpg"):
        raise Refused(400, f"This result is stored as {stored}.", "format")
    name = f"{_stem(row)}.{wanted}"
    headers = {"cache-control": "private, max-age=60"}
    if wanted == stored:
        disposition = "attachment" if download else "inline"
        return FileResponse(
            file, media_type=MEDIA[stored], filename=name, content_disposition_type=disposition, headers=headers
        )
    data = await answered(studio, studio.previewing.ask("as_jpeg", path=file))
    if download:
        headers |= {"content-disposition": attachment(name)}
    return Response(data, media_type="image/jpeg", headers=headers)


def _stem(row: Row) -> str:
    """A file name for a download, of letters, digits and dashes."""
    spec = row["spec"]
    words = [(spec["photo"] or {}).get("name", "picture").rsplit(".", 1)[0], *(style["name"] for style in spec["styles"])]
    text = f"{words[0]}-sheet" if row["kind"] == "sheet" else "-".join(words)
    return "".join(one if one.isalnum() or one in "-_" else "-" for one in text)[:100].strip("-") or "impasto"


@router.get("/jobs/{number}/record")
async def job_record(number: str, studio: Here) -> dict[str, Any]:
    """How the result was made: inputs with their hashes, options, versions, losses, time."""
    row = await asyncio.to_thread(job_of, studio, number)
    file = studio.store.files.result(number, row["spec"])
    settings: dict[str, Any]
    try:
        if row["kind"] == "video":
            settings = await answered(studio, studio.previewing.ask("film_settings", path=file))
        else:
            settings = await asyncio.to_thread(_settings, file)
    except (ImpastoError, OSError, Refused) as error:
        raise Refused(404, "There is no record for it.") from error
    spec, inputs = row["spec"], settings.get("inputs", {})
    names = {"photo": (spec["photo"] or {}).get("name", "")} | {
        "style" if place == 1 else f"style {place}": style["name"] for place, style in enumerate(spec["styles"], 1)
    }
    settings["inputs"] = {role: {**entry, "name": names.get(role, entry["name"])} for role, entry in inputs.items()}
    return settings


def _settings(file: Path) -> dict[str, Any]:
    """What is stored in an image. Raises ImpastoError."""
    from impasto.jobs import records

    return dict(records.read(file).settings)


# -------------------------------------------------------------------------------------------------------------- events


@router.get("/events", response_class=StreamingResponse)
async def events(request: Request, studio: Here) -> StreamingResponse:
    """Changes of jobs and styles as server-sent events. `Last-Event-ID` resumes after the last one that was received."""
    last = request.headers.get("last-event-id", "")
    after = int(last) if last.isdecimal() and len(last) < 18 else None
    stream: AsyncIterator[str] = studio.events.stream(after, lambda kind, subject: _event(studio, kind, subject))
    return StreamingResponse(stream, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


def _event(studio: Studio, kind: str, subject: str) -> tuple[str, Any]:
    """The name and the data of an event: its subject as it is now."""
    if kind == "job":
        row = studio.queue.get(subject)
        return ("job", shapes.job_of(row).model_dump()) if row else ("removed", {"id": subject})
    if kind == "style":
        style = studio.store.style(subject)
        return ("style", shapes.style_of(style).model_dump()) if style else ("style-removed", {"id": subject})
    return kind, {"id": subject}
