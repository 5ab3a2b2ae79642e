"""Batches: zips and folders of photographs, painted as one job, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, File, Request, Response, UploadFile
from fastapi.responses import StreamingResponse

from impasto.errors import ImpastoError, OptionError
from impasto.studio import batching, folders, shapes
from impasto.studio.api.context import (
    LEAST_DISK,
    PROBLEMS,
    Here,
    Refused,
    Studio,
    answered,
    attachment,
    job_of,
    options_of,
    queued,
    style_of,
)
from impasto.studio.api.uploads import display, received
from impasto.studio.store import Row, erase, new_id
from impasto.studio.words import sentence, without_paths

MOST_TIMES = 4  # the largest upload, to which a zip may unpack
router = APIRouter(prefix="/api", responses=PROBLEMS)


@router.post("/folders", status_code=201)
async def add_folder(file: Annotated[UploadFile, File()], studio: Here) -> shapes.Folder:
    """Upload a zip of photographs, with folders or without. Files in it without the suffix of an image are left out."""
    number, name = new_id(), display(file.filename)
    target = folders.place_of(studio.store, number)
    archive = target.with_suffix(".part")
    most = studio.limits.max_upload * MOST_TIMES
    await received(studio, file, archive)
    try:
        if studio.store.free_disk() < LEAST_DISK + most:
            raise Refused(503, "There is too little space on the server's disk.")
        found = await answered(studio, studio.previewing.ask("unpack", archive=archive, target=target, most=most))
    except Refused:
        erase(target)  # it may have taken too long
        raise
    finally:
        archive.unlink(missing_ok=True)
    row = await asyncio.to_thread(folders.add, studio.store, number, name, found["photos"], found["notes"])
    return _folder(row)


@router.get("/folders")
def list_folders(studio: Here) -> dict[str, list[shapes.Folder]]:
    """The zips that were uploaded, and the folders in DATA/folders on the server."""
    return {"folders": [_folder(row) for row in folders.listed(studio.store)]}


@router.delete("/folders/{number}", status_code=204)
def remove_folder(number: str, studio: Here) -> None:
    """Delete a zip that was uploaded."""
    if _folder_of(studio, number)["kind"] != "zip":
        raise Refused(409, "A folder on the server cannot be deleted from here.")
    if studio.store.in_use(number):
        raise Refused(409, "A job needs these photographs. Delete the job first.")
    folders.remove(studio.store, number)


def _folder(row: Row) -> shapes.Folder:
    return shapes.Folder(**{name: row[name] for name in shapes.Folder.model_fields})


def _folder_of(studio: Studio, number: str) -> Row:
    row = folders.get(studio.store, number)
    if row is None:
        raise Refused(404, "These photographs are not here any more.")
    return row


# ------------------------------------------------------------------------------------------------------------- batches


@router.post("/batches", status_code=202)
async def add_batch(asked: shapes.NewBatch, request: Request, studio: Here) -> shapes.Job:
    """Queue a batch. It is a job like others, of kind "batch". Jobs of other kinds go first."""
    spec = await asyncio.to_thread(_spec, asked, studio)
    return await asyncio.to_thread(queued, studio, request, "batch", spec)


def _spec(asked: shapes.NewBatch, studio: Studio) -> Row:
    """What the job is made from. Raises Refused for what is not here or does not go together."""
    folder = _folder_of(studio, asked.folder)
    styles = [
        style_of(studio, one).model_dump(include={"id", "name", "kind"}) | {"weight": 1.0}
        for one in dict.fromkeys(asked.styles)
    ]
    options = options_of(asked.options, studio)
    spec: dict[str, Any] = {
        "photo": None,
        "folder": {name: folder[name] for name in ("id", "name", "kind")},
        "styles": styles,
        "masks": [],
        "options": options.model_dump(mode="json", include=options.model_fields_set),
        "batch": {"pairs": asked.pairs, "pairs_seed": asked.pairs_seed, "format": asked.format},
    }
    spec["batch"]["images"] = _count(spec, studio)
    return spec


def _count(spec: Mapping[str, Any], studio: Studio) -> int:
    """How many images a batch makes. Raises Refused if it is not possible."""
    try:
        work, _ = batching.work_of(studio.store, spec, studio.store.files.result("0" * 16, spec))
    except OptionError as error:
        raise Refused(400, sentence(error), error.option or None) from error
    except ImpastoError as error:
        raise Refused(400, sentence(without_paths(sentence(error), studio.store.files.root))) from error
    return len(work.items)


@router.get("/jobs/{number}/failures")
async def job_failures(number: str, studio: Here) -> dict[str, list[shapes.Failure]]:
    """The images of a batch that could not be painted so far, with the reasons; at most 1000."""
    row = await _batch_of(studio, number)
    found = await asyncio.to_thread(batching.failures, studio.store.files.result(number, row["spec"]))
    return {"failures": [shapes.Failure(**one) for one in found]}


@router.get("/jobs/{number}/images", response_class=StreamingResponse, responses={200: {"content": {"application/zip": {}}}})
async def job_images(number: str, studio: Here) -> Response:
    """The images of a batch that are painted so far, as a zip."""
    row = await _batch_of(studio, number)
    found = await asyncio.to_thread(batching.results, studio.store.files.result(number, row["spec"]))
    if not found:
        raise Refused(404, "There is no result yet.")
    name = row["spec"]["folder"]["name"].removesuffix(".zip")
    headers = {"content-disposition": attachment(f"{name}-painted.zip")}
    return StreamingResponse(batching.zipped(found), media_type="application/zip", headers=headers)


async def _batch_of(studio: Studio, number: str) -> Row:
    row = await asyncio.to_thread(job_of, studio, number)
    if row["kind"] != "batch":
        raise Refused(409, "This job is not a batch.")
    return row
