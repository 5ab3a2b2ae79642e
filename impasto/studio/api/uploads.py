"""Photographs, clips, masks and styles that are uploaded, and views of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Request, Response, UploadFile

from impasto.files import one_line, reason
from impasto.inputs import STYLE_SUFFIX, style_names
from impasto.studio import shapes
from impasto.studio.api.context import (
    LEAST_DISK,
    PROBLEMS,
    Here,
    Longer,
    Refused,
    Studio,
    answered,
    file_of,
    image_of,
    queued,
    style_of,
    view,
)
from impasto.studio.store import Row, new_id

BLOCK = 1 << 16  # bytes copied at once
router = APIRouter(prefix="/api", responses=PROBLEMS)


async def received(studio: Studio, upload: UploadFile, target: Path) -> None:
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

    try:
        length = await asyncio.to_thread(copy)
    except OSError as error:
        target.unlink(missing_ok=True)
        raise Refused(503, f"The server cannot keep the file: {reason(error)}.") from error
    if not length:
        target.unlink(missing_ok=True)
        raise Refused(415, "The file is empty.")


async def _checked(studio: Studio, path: Path, name: str, still: Path | None = None) -> dict[str, Any]:
    """Have an upload read by the previewer. still: see `Previewer.check`. Raises Refused, and then the files are gone."""
    try:
        found: dict[str, Any] = await answered(studio, studio.previewing.ask("check", path=path, name=name, still=still))
    except Refused:
        for file in filter(None, (path, still)):
            file.unlink(missing_ok=True)
        raise
    return found


def display(name: str | None) -> str:
    """The name of an upload as people see it. It never becomes a path."""
    return one_line((name or "").replace("\\", "/").rsplit("/", 1)[-1]) or "picture"


@router.post("/images", status_code=201)
async def add_image(file: Annotated[UploadFile, File()], studio: Here) -> shapes.Image:
    """Upload a photograph, a clip, or a mask. The content of the file decides which it is; its name does not matter."""
    number, name = new_id(), display(file.filename)
    path = studio.store.files.image(number)
    await received(studio, file, path)
    found = await _checked(studio, path, "picture", studio.store.files.still(number))
    row = await asyncio.to_thread(studio.store.add_image, number, name, found["size"], found["notes"], found["clip"])
    return shapes.Image(**{key: row[key] for key in shapes.Image.model_fields})


@router.get("/images/{number}")
def get_image(number: str, studio: Here) -> shapes.Image:
    """An upload."""
    row = image_of(studio, number)
    return shapes.Image(**{key: row[key] for key in shapes.Image.model_fields})


@router.get("/images/{number}/picture", response_class=Response)
async def image_view(number: str, studio: Here, size: Longer = 1024) -> Response:
    """An upload as it looks, of a clip its first frame: upright, in sRGB, as JPEG or PNG."""
    await asyncio.to_thread(image_of, studio, number)
    return await view(studio, "view", path=studio.store.files.picture(number), size=size)


@router.delete("/images/{number}", status_code=204)
def remove_image(number: str, studio: Here) -> None:
    """Delete an upload."""
    image_of(studio, number)
    if studio.store.in_use(number):
        raise Refused(409, "A job needs this picture. Delete the job first.")
    studio.store.remove_image(number)


# -------------------------------------------------------------------------------------------------------------- styles


@router.get("/styles")
def list_styles(studio: Here) -> dict[str, list[shapes.Style]]:
    """The built-in styles, then those that were added."""
    return {
        "styles": [style_of(studio, name) for name in style_names()] + [shapes.style_of(row) for row in studio.store.styles()]
    }


@router.post("/styles", status_code=201)
async def add_style(file: Annotated[UploadFile, File()], studio: Here) -> shapes.Style:
    """Add a painting, or a style file."""
    number, name = new_id(), display(file.filename)
    kind: Literal["file", "painting"] = "file" if name.lower().endswith(STYLE_SUFFIX) else "painting"
    path = studio.store.files.style(number, kind)
    await received(studio, file, path)
    found = await _checked(studio, path, "painting")
    name = name.rsplit(".", 1)[0] or name
    row = await asyncio.to_thread(studio.store.add_style, number, name, kind, tuned=bool(found["tuned"]))
    return shapes.style_of(row)


@router.get("/styles/{number}/picture", response_class=Response)
async def style_view(number: str, studio: Here, size: Longer = 160) -> Response:
    """The painting of a style."""
    style = await asyncio.to_thread(style_of, studio, number)
    return await view(studio, "style_view", path=file_of(studio, style), size=size)


@router.post("/styles/{number}/tune", status_code=202)
def tune_style(number: str, request: Request, studio: Here) -> shapes.Job:
    """Fit the network of quality instant to a painting, in a minute or two."""
    style = style_of(studio, number)
    if style.kind != "painting":
        raise Refused(409, "Only a painting that was added can be tuned.")
    if style.tuned or studio.store.in_use(style.id, finished=False, kind="tune"):
        raise Refused(409, "This painting is tuned already." if style.tuned else "This painting is being tuned already.")
    spec: Row = {"photo": None, "styles": [{"id": style.id, "name": style.name, "weight": 1.0}], "masks": [], "options": {}}
    return queued(studio, request, "tune", spec)


@router.delete("/styles/{number}", status_code=204)
def remove_style(number: str, studio: Here) -> None:
    """Delete a style that was added."""
    if style_of(studio, number).kind == "built-in":
        raise Refused(409, "Built-in styles cannot be deleted.")
    if studio.store.in_use(number, finished=False):
        raise Refused(409, "A job that is not finished needs this style.")
    studio.store.remove_style(number)
