"""What every route needs: the studio behind a request, its limits, refusals, and what ids stand for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, HTTPException, Query, Request, Response

from impasto.errors import OptionError
from impasto.inputs import built_in, style_names
from impasto.options import Options
from impasto.studio import shapes
from impasto.studio.events import Events
from impasto.studio.previewer import LARGEST_VIEW, Answer
from impasto.studio.processes import Painting, Previewing
from impasto.studio.queue import FullError, Queue
from impasto.studio.security import Rules
from impasto.studio.store import Row, Store, is_id
from impasto.studio.words import sentence, without_paths

LEAST_DISK = 1 << 28  # bytes that must stay free
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


class Refused(HTTPException):
    """A refusal in one sentence. option: the option at fault."""

    def __init__(self, status: int, error: str, option: str | None = None) -> None:
        super().__init__(status, detail={"error": error, "option": option})


Longer = Annotated[int, Query(ge=16, le=LARGEST_VIEW, description="Longer side at most, in pixels.")]


def image_of(studio: Studio, number: str) -> Row:
    """An upload. Raises Refused where there is none."""
    row = studio.store.image(number) if is_id(number) else None
    if row is None:
        raise Refused(404, "This picture is not here any more.")
    return row


def style_of(studio: Studio, number: str) -> shapes.Style:
    """A style, built-in or added. Raises Refused where there is none."""
    if number in style_names():
        return shapes.Style(id=number, name=number, kind="built-in", tuned=True, created=None)
    row = studio.store.style(number) if is_id(number) else None
    if row is None:
        raise Refused(404, "This style is not here any more.")
    return shapes.style_of(row)


def file_of(studio: Studio, style: shapes.Style) -> Path:
    """The painting or the style file."""
    return built_in(style.id) if style.kind == "built-in" else studio.store.files.style(style.id, style.kind)


async def answered(studio: Studio, future: Future[Answer]) -> Any:
    """What the previewer answers. Raises Refused, and SupersededError."""
    answer = await asyncio.wrap_future(future)
    if answer.error:
        status = {"option": 400, "gone": 404, "picture": 415}.get(answer.kind, 503)
        raise Refused(status, sentence(without_paths(answer.error, studio.store.files.root)), answer.option or None)
    return answer.value


async def view(studio: Studio, name: str, **arguments: Any) -> Response:
    """A picture that the previewer makes. name: its method. Raises Refused."""
    data, kind = await answered(studio, studio.previewing.ask(name, **arguments))
    return Response(data, media_type=kind, headers={"cache-control": "private, max-age=3600"})


def queued(studio: Studio, request: Request, kind: str, spec: Row) -> shapes.Job:
    """A new job. Raises Refused where there is no room for it."""
    if studio.store.free_disk() < LEAST_DISK:
        raise Refused(503, "There is too little space on the server's disk.")
    most = studio.limits
    try:
        row = studio.queue.add(kind, spec, client=request.state.client, most=most.most_queued, most_each=most.most_each)
    except FullError as error:
        raise Refused(429, str(error)) from error
    return shapes.job_of(row)


def options_of(asked: Mapping[str, Any], studio: Studio, **fixed: Any) -> Options:
    """Options that were asked for. Raises Refused."""
    mine = {"device", "max_pixels", "max_memory", "blend", *fixed} & asked.keys()
    if mine:
        raise Refused(400, f"The server decides about {', '.join(sorted(mine))}.", sorted(mine)[0])
    try:
        return Options(**asked, **fixed, max_pixels=studio.limits.max_pixels)
    except OptionError as error:
        raise Refused(400, sentence(error), error.option or None) from error


def job_of(studio: Studio, number: str) -> Row:
    """A job's row. Raises Refused where there is none."""
    row = studio.queue.get(number) if is_id(number) else None
    if row is None:
        raise Refused(404, "This job is not here any more.")
    return row


def attachment(name: str) -> str:
    """The header of a download: its file's name, of any characters."""
    return f"attachment; filename*=utf-8''{quote(name)}"
