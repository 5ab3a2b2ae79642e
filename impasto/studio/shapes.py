"""What the API takes and gives, as the OpenAPI page shows it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
StyleId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")]
FilmFormat = Literal["mp4", "webm", "gif"]
FolderId = Annotated[str, StringConstraints(min_length=1, max_length=255)]
MOST_STYLES, MOST_MASKS = 8, 8
MOST_BATCH_STYLES = 100


class Asked(BaseModel):
    """A body of a request. Unknown fields are refused, so that a misspelt one is not silently ignored."""

    model_config = ConfigDict(extra="forbid")


class Session(Asked):
    """The token of the address that `impasto studio` printed."""

    token: Annotated[str, Field(max_length=200)]


class Weighted(Asked):
    """A style, and its share where there are several."""

    id: StyleId
    weight: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = 1.0


class Masked(Asked):
    """Where the mask is white, the picture gets this style, or stays the photograph for "keep"."""

    mask: Id
    style: StyleId | Literal["keep"]


class Film(Asked):
    """How a clip is painted. start, end: seconds, for a part of it. fps: frames a second; null keeps the clip's times. every: paint one
    of so many frames. blend: a weight for each style, "0.7", or one that changes over the clip, "1..0"; [] for the weights of styles.
    """

    start: Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)] | None = None
    end: Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)] | None = None
    fps: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] | None = None
    every: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    blend: Annotated[list[Annotated[str, Field(max_length=40)]], Field(max_length=MOST_STYLES)] = []
    format: FilmFormat = "mp4"


class Picture(Asked):
    """A photograph, styles, masks and options: any of those that `impasto --help-all` lists, with underscores. Of a clip that was
    uploaded the first frame is the photograph.
    """

    photo: Id
    styles: Annotated[list[Weighted], Field(max_length=MOST_STYLES)] = []
    masks: Annotated[list[Masked], Field(max_length=MOST_MASKS)] = []
    options: dict[str, Any] = {}


class Instant(Picture):
    """A picture to paint immediately. stream: a newer request with the same stream name replaces one that has not started."""

    stream: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "instant"


class NewJob(Picture):
    """What to paint. kind "sheet": a contact sheet of the photograph in each of the styles, or in all built-in ones. kind "video": a
    clip that was uploaded; its masks may be clips.
    """

    kind: Literal["paint", "sheet", "video"] = "paint"
    video: Film | None = None


class NewBatch(Asked):
    """Photographs to be painted: those of a zip that was uploaded, or of a folder on the server, in each of the styles, or as `pairs`
    says: "all", "zip" for the first photograph in the first style and so on, or "random:N". pairs_seed: of random pairs.
    """

    folder: FolderId
    styles: Annotated[list[StyleId], Field(min_length=1, max_length=MOST_BATCH_STYLES)]
    pairs: Annotated[str, Field(max_length=20)] = "all"
    pairs_seed: Annotated[int, Field(ge=0, le=2**53)] = 0
    format: Literal["png", "jpg", "webp", "tif"] = "png"
    options: dict[str, Any] = {}


class Move(Asked):
    """The place in the queue, counted from 1."""

    place: Annotated[int, Field(ge=1, le=1_000_000)]


class Clip(BaseModel):
    """What is known of a clip. sound: whether the painted clip can have its sound."""

    frames: int
    seconds: float
    sound: bool


class Image(BaseModel):
    """An upload. width, height: upright, in pixels. notes: what was changed or ignored when it was read. clip: null for a picture."""

    id: str
    name: str
    width: int
    height: int
    notes: list[str]
    clip: Clip | None


class Folder(BaseModel):
    """Photographs for a batch. kind: a zip that was uploaded, or a folder on the server, of which the id is its name. photos: how many
    there are in a zip. notes: what was left out of it.
    """

    id: str
    name: str
    kind: Literal["zip", "folder"]
    photos: int | None
    notes: list[str]
    created: float | None


class Failure(BaseModel):
    """An image of a batch that could not be painted. name: as it would have in the result."""

    name: str
    photo: str
    styles: list[str]
    problem: str


class Style(BaseModel):
    """A style. kind: it comes with impasto, or is a painting or a style file that was added. tuned: for quality instant."""

    id: str
    name: str
    kind: Literal["built-in", "painting", "file"]
    tuned: bool
    created: float | None


class Job(BaseModel):
    """A job. Times are seconds since 1970. place: in the queue, from 1. preview: grows with every new preview. video: how a clip is
    painted. folder, batch: of what and how a batch is painted. whole: false where it was stopped, and the best image, or the frames or
    images, so far were kept.
    """

    id: str
    kind: Literal["paint", "sheet", "video", "batch", "tune"]
    state: Literal["queued", "running", "paused", "done", "failed", "cancelled", "held"]
    place: int | None
    done: float
    progress: dict[str, Any] | None
    preview: int
    created: float
    started: float | None
    finished: float | None
    seconds: float | None
    photo: dict[str, Any] | None
    styles: list[dict[str, Any]]
    masks: list[dict[str, Any]]
    options: dict[str, Any]
    video: dict[str, Any] | None
    folder: dict[str, Any] | None
    batch: dict[str, Any] | None
    result: dict[str, int] | None
    whole: bool
    error: str | None
    notes: list[str]


class Jobs(BaseModel):
    """Some jobs, the newest first. more: whether there are older ones."""

    jobs: list[Job]
    more: bool


class Problem(BaseModel):
    """Why a request was refused, in one sentence. option: the option at fault, if it is one."""

    error: str
    option: str | None = None


def job_of(row: dict[str, Any]) -> Job:
    """A row of the queue as the API shows it."""
    spec = row["spec"]
    names = (
        "id",
        "kind",
        "state",
        "place",
        "done",
        "progress",
        "preview",
        "created",
        "started",
        "finished",
        "seconds",
        "result",
    )
    return Job(
        **{name: row[name] for name in names},
        photo=spec.get("photo"),
        styles=spec.get("styles", []),
        masks=spec.get("masks", []),
        options=spec.get("options", {}),
        video=spec.get("video"),
        folder=spec.get("folder"),
        batch=spec.get("batch"),
        whole=bool(row["whole"]),
        error=row["error"],
        notes=row["notes"] or [],
    )


def style_of(row: dict[str, Any]) -> Style:
    """A row of the added styles as the API shows it."""
    return Style(**{name: row[name] for name in ("id", "name", "kind", "tuned", "created")})
