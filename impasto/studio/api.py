"""The HTTP API: uploads, styles, instant pictures, jobs, events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, HTTPException, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse, StreamingResponse

from impasto import __version__, catalog
from impasto.errors import ImpastoError, OptionError
from impasto.files import one_line
from impasto.inputs import STYLE_SUFFIX, built_in, style_names
from impasto.options import Options
from impasto.studio import shapes
from impasto.studio.events import Events
from impasto.studio.previewer import LARGEST_VIEW
from impasto.studio.processes import Painting, Previewing, SupersededError
from impasto.studio.queue import ConflictError, FullError, Queue
from impasto.studio.security import Rules
from impasto.studio.store import Row, Store, is_id, new_id

DIALS = ("quality", "size", "strength", "style_scale", "keep_colors", "seed")  # options that the page shows
LARGEST_INSTANT = 1024  # pixels
LEAST_DISK = 1 << 28  # bytes that must stay free
BLOCK = 1 << 16  # bytes copied at once
PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": shapes.Problem} for code in (400, 401, 404, 409, 413, 415, 422, 429, 503)
}


@dataclass(frozen=True)
class Limits:
    """What the server allows. most_queued: jobs in the queue; most_each: of one client. keep_days: None keeps results for ever."""

    max_upload: int = 1 << 28
    max_pixels: int = 200_000_000
    most_queued: int = 500
    most_each: int = 200
    keep_days: float | None = None


@dataclass
class Studio:
    """Everything that a request may need."""

    store: Store
    queue: Queue
    previewing: Previewing
    painting: Painting
    events: Events
    rules: Rules
    limits: Limits


def studio_of(request: Request) -> Studio:
    """The studio of a request's application."""
    studio: Studio = request.app.state.studio
    return studio


Here = Annotated[Studio, Depends(studio_of)]
router = APIRouter(prefix="/api", responses=PROBLEMS)


class Refused(HTTPException):
    """A refusal in one sentence. option: the option at fault."""

    def __init__(self, status: int, error: str, option: str | None = None) -> None:
        super().__init__(status, detail={"error": error, "option": option})


def sentence(text: str) -> str:
    """A message with a capital letter and a full stop."""
    text = one_line(text) if len(text) > 400 else " ".join(text.split())
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "!", "?")) else ".")


# ---------------------------------------------------------------------------------------------------- session and limits


@router.get("/health")
def health(studio: Here) -> dict[str, Any]:
    """Whether the server and its painters run. Needs no session."""
    return {"status": "ok" if all(studio.painting.alive) else "starting", "version": __version__}


@router.post("/session", status_code=204)
def enter(body: shapes.Session, studio: Here) -> Response:
    """Exchange the token for a cookie."""
    import hmac

    if not hmac.compare_digest(body.token.encode(), studio.rules.token.encode()):
        raise Refused(401, "This is not the token of this studio.")
    answer = Response(status_code=204)
    answer.set_cookie(
        studio.rules.cookie, studio.rules.session(), httponly=True, samesite="strict", max_age=365 * 86_400, path="/"
    )
    return answer


@router.delete("/session", status_code=204)
def leave(studio: Here) -> Response:
    """Forget the cookie."""
    answer = Response(status_code=204)
    answer.delete_cookie(studio.rules.cookie, httponly=True, samesite="strict", path="/")
    return answer


@router.get("/limits")
def limits(studio: Here) -> dict[str, Any]:
    """What the server allows, and the options that the page shows."""
    known = Options.model_json_schema()["properties"]
    return {
        "max_upload": studio.limits.max_upload,
        "max_pixels": studio.limits.max_pixels,
        "max_queued": studio.limits.most_queued,
        "keep_days": studio.limits.keep_days,
        "free_disk": studio.store.free_disk(),
        "version": __version__,
        "options": {name: _described(name, known[name]) for name in DIALS},
    }


def _described(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """An option, from the one place where it is declared."""
    parts = [schema, *schema.get("anyOf", ())]
    found = {key: part[key] for key in ("minimum", "maximum") for part in parts if key in part}
    choices = next((part["enum"] for part in parts if "enum" in part), None)
    kinds = [part.get("type") for part in parts]
    kind = "choice" if choices and "integer" not in kinds else "number" if "number" in kinds else "integer"
    if name == "size":
        found = {"minimum": 16, "maximum": 65_535}
        choices = None
    default = getattr(Options(), name)
    return (
        {"kind": kind, "default": default, "about": catalog.OPTIONS[name].about}
        | found
        | ({"choices": choices} if choices else {})
    )


# ------------------------------------------------------------------------------------------------------------- uploads


async def _received(studio: Studio, upload: UploadFile, target: Path) -> None:
    """Copy an upload into place. Raises Refused where there is no room for it."""
    if studio.store.free_disk() < LEAST_DISK + studio.limits.max_upload:
        raise Refused(503, "There is too little space on the server's disk.")

    def copy() -> int:
        total = 0
        with target.open("xb") as file:
            while block := upload.file.read(BLOCK):
                total += len(block)
                file.write(block)
        return total

    if not await asyncio.to_thread(copy):
        target.unlink(missing_ok=True)
        raise Refused(415, "The file is empty.")


async def _checked(studio: Studio, path: Path, name: str) -> dict[str, Any]:
    """Have an upload read by the previewer. Raises Refused, and then the file is gone."""
    answer = await asyncio.wrap_future(studio.previewing.ask("check", path=path, name=name))
    if answer.error:
        path.unlink(missing_ok=True)
        raise Refused(415, sentence(answer.error))
    found: dict[str, Any] = answer.value
    return found


def _display(name: str | None) -> str:
    """The name of an upload as people see it. It never becomes a path."""
    return one_line((name or "").replace("\\", "/").rsplit("/", 1)[-1]) or "picture"


@router.post("/images", status_code=201)
async def add_image(file: Annotated[UploadFile, File()], studio: Here) -> shapes.Image:
    """Upload a photograph or a mask."""
    number, name = new_id(), _display(file.filename)
    path = studio.store.files.image(number)
    await _received(studio, file, path)
    found = await _checked(studio, path, "picture")
    row = await asyncio.to_thread(studio.store.add_image, number, name, found["size"], found["notes"])
    return shapes.Image(**{key: row[key] for key in shapes.Image.model_fields})


def _image(studio: Studio, number: str) -> Row:
    row = studio.store.image(number) if is_id(number) else None
    if row is None:
        raise Refused(404, "This picture is not here any more.")
    return row


@router.get("/images/{number}")
def get_image(number: str, studio: Here) -> shapes.Image:
    """An upload."""
    row = _image(studio, number)
    return shapes.Image(**{key: row[key] for key in shapes.Image.model_fields})


Longer = Annotated[int, Query(ge=16, le=LARGEST_VIEW, description="Longer side at most, in pixels.")]


@router.get("/images/{number}/picture", response_class=Response)
async def image_view(number: str, studio: Here, size: Longer = 1024) -> Response:
    """An upload as it looks: upright, in sRGB, as JPEG or PNG."""
    await asyncio.to_thread(_image, studio, number)
    return await _view(studio, "view", path=studio.store.files.image(number), size=size)


async def _view(studio: Studio, name: str, **arguments: Any) -> Response:
    answer = await asyncio.wrap_future(studio.previewing.ask(name, **arguments))
    if answer.error:
        raise Refused(415, sentence(answer.error))
    data, kind = answer.value
    return Response(data, media_type=kind, headers={"cache-control": "private, max-age=3600"})


@router.delete("/images/{number}", status_code=204)
def remove_image(number: str, studio: Here) -> None:
    """Delete an upload."""
    _image(studio, number)
    if studio.store.in_use(number):
        raise Refused(409, "A job needs this picture. Delete the job first.")
    studio.store.remove_image(number)


# -------------------------------------------------------------------------------------------------------------- styles


def _style(studio: Studio, number: str) -> shapes.Style:
    if number in style_names():
        return shapes.Style(id=number, name=number, kind="built-in", tuned=True, created=None)
    row = studio.store.style(number) if is_id(number) else None
    if row is None:
        raise Refused(404, "This style is not here any more.")
    return shapes.style_of(row)


def _style_file(studio: Studio, style: shapes.Style) -> Path:
    return built_in(style.id) if style.kind == "built-in" else studio.store.files.style(style.id, style.kind)


@router.get("/styles")
def list_styles(studio: Here) -> dict[str, list[shapes.Style]]:
    """The built-in styles, then those that were added."""
    return {
        "styles": [_style(studio, name) for name in style_names()] + [shapes.style_of(row) for row in studio.store.styles()]
    }


@router.post("/styles", status_code=201)
async def add_style(file: Annotated[UploadFile, File()], studio: Here) -> shapes.Style:
    """Add a painting, or a style file."""
    number, name = new_id(), _display(file.filename)
    kind: Literal["file", "painting"] = "file" if name.lower().endswith(STYLE_SUFFIX) else "painting"
    path = studio.store.files.style(number, kind)
    await _received(studio, file, path)
    found = await _checked(studio, path, "painting")
    name = name.rsplit(".", 1)[0] or name
    row = await asyncio.to_thread(studio.store.add_style, number, name, kind, tuned=bool(found["tuned"]))
    return shapes.style_of(row)


@router.get("/styles/{number}/picture", response_class=Response)
async def style_view(number: str, studio: Here, size: Longer = 160) -> Response:
    """The painting of a style."""
    style = await asyncio.to_thread(_style, studio, number)
    return await _view(studio, "style_view", path=_style_file(studio, style), size=size)


@router.post("/styles/{number}/tune", status_code=202)
def tune_style(number: str, request: Request, studio: Here) -> shapes.Job:
    """Fit the network of quality instant to a painting, in about a minute."""
    style = _style(studio, number)
    if style.kind != "painting":
        raise Refused(409, "Only a painting that was added can be tuned.")
    spec: Row = {"photo": None, "styles": [{"id": style.id, "name": style.name, "weight": 1.0}], "masks": [], "options": {}}
    return _queued(studio, request, "tune", spec)


@router.delete("/styles/{number}", status_code=204)
def remove_style(number: str, studio: Here) -> None:
    """Delete a style that was added."""
    if _style(studio, number).kind == "built-in":
        raise Refused(409, "Built-in styles cannot be deleted.")
    if studio.store.in_use(number, finished=False):
        raise Refused(409, "A job that is not finished needs this style.")
    studio.store.remove_style(number)


# ------------------------------------------------------------------------------------------------- pictures and their options


def _options(asked: Mapping[str, Any], studio: Studio, **fixed: Any) -> Options:
    """Options that were asked for. Raises Refused."""
    mine = {"device", "max_pixels", "max_memory", "blend", *fixed} & asked.keys()
    if mine:
        raise Refused(400, f"The server decides about {', '.join(sorted(mine))}.", sorted(mine)[0])
    try:
        return Options(**asked, **fixed, max_pixels=studio.limits.max_pixels)
    except OptionError as error:
        raise Refused(400, sentence(error.worded(lambda option: option.replace("_", " "))), error.option or None) from error


def _spec(asked: shapes.Picture, studio: Studio) -> Row:
    """What a job is made from, with names. Raises Refused for what is not here, and for a picture without a style."""
    photo = _image(studio, asked.photo)
    styles = [{"id": one.id, "name": _style(studio, one.id).name, "weight": one.weight} for one in asked.styles]
    for mask in asked.masks:
        _image(studio, mask.mask)
        if mask.style != "keep":
            _style(studio, mask.style)
    if len(styles) > 1 and not sum(one.weight for one in asked.styles):
        raise Refused(400, "At least one of the styles must have a weight above 0.")
    return {
        "photo": {name: photo[name] for name in ("id", "name", "width", "height")},
        "styles": styles,
        "masks": [mask.model_dump() for mask in asked.masks],
        "options": dict(asked.options),
    }


def _needs_style(asked: shapes.Picture) -> None:
    if not asked.styles and not any(mask.style != "keep" for mask in asked.masks):
        raise Refused(400, "Choose a style.")


@router.post("/instant", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
async def instant(asked: shapes.Instant, request: Request, studio: Here) -> Response:
    """Paint at once, with quality instant, at most 1024 pixels. The answer is a JPEG, or a PNG for a photograph with transparency."""
    _needs_style(asked)
    await asyncio.to_thread(_spec, asked, studio)
    options = _options({name: value for name, value in asked.options.items() if name != "quality"}, studio, quality="instant")
    longer = LARGEST_INSTANT if options.size == "original" else min(int(options.size), LARGEST_INSTANT)

    def source(number: str) -> str | Path:
        style = _style(studio, number)
        return style.id if style.kind == "built-in" else _style_file(studio, style)

    place = studio.store.files
    future = studio.previewing.ask(
        "paint",
        stream=f"{request.state.client} {asked.stream}",
        photo=place.image(asked.photo),
        styles=[(source(one.id), one.weight) for one in asked.styles],
        masks=[(place.image(mask.mask), None if mask.style == "keep" else source(mask.style)) for mask in asked.masks],
        options={name: getattr(options, name) for name in options.model_fields_set - {"quality", "max_pixels"}}
        | {"size": longer},
    )
    try:
        answer = await asyncio.wrap_future(future)
    except SupersededError:
        raise Refused(409, "superseded") from None
    if answer.error:
        raise Refused(
            400 if answer.kind == "option" else 415 if answer.kind == "picture" else 503,
            sentence(answer.error),
            answer.option or None,
        )
    data, kind = answer.value
    return Response(data, media_type=kind)


# ---------------------------------------------------------------------------------------------------------------- jobs


def _queued(studio: Studio, request: Request, kind: str, spec: Row) -> shapes.Job:
    if studio.store.free_disk() < LEAST_DISK:
        raise Refused(503, "There is too little space on the server's disk.")
    most = studio.limits
    try:
        row = studio.queue.add(kind, spec, client=request.state.client, most=most.most_queued, most_each=most.most_each)
    except FullError as error:
        raise Refused(429, str(error)) from error
    return shapes.job_of(row)


@router.post("/jobs", status_code=202)
def add_job(asked: shapes.NewJob, request: Request, studio: Here) -> shapes.Job:
    """Queue a picture to be painted, or a contact sheet."""
    if asked.kind == "paint":
        _needs_style(asked)
    elif asked.masks:
        raise Refused(400, "A contact sheet has no masks.")
    spec = _spec(asked, studio)
    options = _options(asked.options, studio)
    spec["options"] = options.model_dump(mode="json", include=options.model_fields_set - {"max_pixels"})
    return _queued(studio, request, asked.kind, spec)


@router.get("/jobs")
def list_jobs(
    studio: Here,
    query: Annotated[str, Query(max_length=200)] = "",
    state: Annotated[str, Query(max_length=100, description="States, separated by commas.")] = "",
    result: Annotated[bool, Query(description="Only jobs that have a result.")] = False,
    before: Annotated[str, Query(max_length=16, description="Only jobs older than this one.")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> shapes.Jobs:
    """Jobs, the newest first."""
    states = tuple(one for one in state.split(",") if one)
    rows = studio.queue.list(query=query, states=states, with_result=result, before=before, limit=limit + 1)
    return shapes.Jobs(jobs=[shapes.job_of(row) for row in rows[:limit]], more=len(rows) > limit)


def _job(studio: Studio, number: str) -> Row:
    row = studio.queue.get(number) if is_id(number) else None
    if row is None:
        raise Refused(404, "This job is not here any more.")
    return row


@router.get("/jobs/{number}")
def get_job(number: str, studio: Here) -> shapes.Job:
    """A job."""
    return shapes.job_of(_job(studio, number))


@router.post("/jobs/{number}/{action}")
def change_job(number: str, action: Literal["cancel", "pause", "resume", "retry"], studio: Here) -> shapes.Job:
    """cancel: stop, and keep the best image so far. pause, resume. retry: a job that failed, was cancelled, or is held."""
    _job(studio, number)
    try:
        match action:
            case "cancel":
                studio.queue.cancel(number)
            case "pause":
                studio.queue.pause(number)
            case "resume":
                studio.queue.go_on(number, states=("paused",))
            case "retry":
                studio.queue.go_on(number, states=("failed", "cancelled", "held"))
    except ConflictError as error:
        raise Refused(409, str(error)) from error
    return shapes.job_of(_job(studio, number))


@router.put("/jobs/{number}/place")
def move_job(number: str, body: shapes.Move, studio: Here) -> shapes.Job:
    """Give a job that waits another place in the queue."""
    _job(studio, number)
    try:
        studio.queue.move(number, body.place)
    except ConflictError as error:
        raise Refused(409, str(error)) from error
    return shapes.job_of(_job(studio, number))


@router.delete("/jobs/{number}", status_code=204)
def remove_job(number: str, studio: Here) -> None:
    """Delete a job and what it made. A running one is stopped."""
    _job(studio, number)
    studio.queue.remove(number)


@router.get("/jobs/{number}/preview", response_class=FileResponse)
def job_preview(number: str, studio: Here) -> Response:
    """The newest preview of a running job, a JPEG."""
    _job(studio, number)
    file = studio.store.files.preview(number)
    if not file.exists():
        raise Refused(404, "There is no preview yet.")
    return FileResponse(file, media_type="image/jpeg", headers={"cache-control": "no-store"})


@router.get("/jobs/{number}/result", response_class=Response)
async def job_result(
    number: str,
    studio: Here,
    format: Literal["png", "jpg"] = "png",  # noqa: A002  (the name in the address)
    size: Annotated[int, Query(ge=0, le=LARGEST_VIEW, description="Longer side at most; 0 for the whole image.")] = 0,
    download: bool = False,
) -> Response:
    """What a job made: as PNG, as JPEG, or smaller."""
    row = await asyncio.to_thread(_job, studio, number)
    file = studio.store.files.result(number)
    if row["result"] is None or not file.exists():
        raise Refused(404, "There is no result yet.")
    name = f"{_stem(row)}.{format}"
    headers = {"cache-control": "private, max-age=60"}
    if size:
        return await _view(studio, "view", path=file, size=size)
    if format == "png":
        disposition = "attachment" if download else "inline"
        return FileResponse(file, media_type="image/png", filename=name, content_disposition_type=disposition, headers=headers)
    answer = await asyncio.wrap_future(studio.previewing.ask("as_jpeg", path=file))
    if answer.error:
        raise Refused(503, sentence(answer.error))
    if download:
        headers |= {"content-disposition": _attachment(name)}
    return Response(answer.value, media_type="image/jpeg", headers=headers)


def _stem(row: Row) -> str:
    """A file name for a download, of letters, digits and dashes."""
    spec = row["spec"]
    words = [(spec["photo"] or {}).get("name", "picture").rsplit(".", 1)[0], *(style["name"] for style in spec["styles"])]
    text = "-".join(words) if row["kind"] == "paint" else f"{words[0]}-sheet"
    return "".join(one if one.isalnum() or one in "-_" else "-" for one in text)[:100].strip("-") or "impasto"


def _attachment(name: str) -> str:
    from urllib.parse import quote

    return f"attachment; filename*=utf-8''{quote(name)}"


@router.get("/jobs/{number}/record")
def job_record(number: str, studio: Here) -> dict[str, Any]:
    """How the result was made: inputs with their hashes, options, versions, losses, time."""
    row = _job(studio, number)
    from impasto.jobs import records

    try:
        settings = dict(records.read(studio.store.files.result(number)).settings)
    except (ImpastoError, OSError) as error:
        raise Refused(404, "There is no record for it.") from error
    spec, inputs = row["spec"], settings.get("inputs", {})
    names = {"photo": spec["photo"]["name"]} | {
        "style" if place == 1 else f"style {place}": style["name"] for place, style in enumerate(spec["styles"], 1)
    }
    settings["inputs"] = {role: {**entry, "name": names.get(role, entry["name"])} for role, entry in inputs.items()}
    return json.loads(json.dumps(settings, default=str))  # type: ignore[no-any-return]


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
