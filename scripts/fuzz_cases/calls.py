"""Calls of the library that cases make. Each yields what is wrong with a result; an error is judged by the caller."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fuzz_cases import PIXELS


def _image(name: str, how: str, role: str) -> Iterator[str]:
    """Read an image's settings, and the image."""
    from impasto import pictures
    from impasto.errors import ImpastoError

    data = Path(name).read_bytes()
    source: Any = data if how == "bytes" else Path(name)
    if how == "file":
        with Path(name).open("rb") as file:
            picture = pictures.load(file, max_pixels=PIXELS, role=role)
    try:
        settings = pictures.read_settings(source, max_pixels=PIXELS)
    except ImpastoError:
        settings = None
    if not (settings is None or isinstance(settings, dict)):
        yield f"settings of type {type(settings).__name__}"
    if how != "file":
        picture = pictures.load(source, max_pixels=PIXELS, role=role)
    yield from _picture(picture)


def _picture(picture: Any) -> Iterator[str]:
    for name, values in (("pixels", picture.pixels), ("alpha", picture.alpha)):
        if values is None:
            continue
        low, high = (float(value) for value in values.aminmax())
        if not (0 <= low <= high <= 1):
            yield f"{name} from {low} to {high}"
    height, width = picture.size
    if height * width > PIXELS:
        yield f"{height * width} pixels, more than the limit"
    if picture.pixels.shape != (1, 3, height, width):
        yield f"pixels of shape {tuple(picture.pixels.shape)}"
    if picture.alpha is not None and picture.alpha.shape != (1, 1, height, width):
        yield f"alpha of shape {tuple(picture.alpha.shape)}"
    for note in picture.notes:
        if not note.isprintable() or len(note) > 1000:
            yield f"a note that is not one short line: {note[:200]!r}"


@functools.cache
def _encoder() -> Any:
    from impasto.options import Options
    from impasto.stylizer import Stylizer

    return Stylizer(Options(size=32, iterations=1, device="cpu"))


def _style(name: str) -> Iterator[str]:
    """Read a style file as a run does, and as `style show` does."""
    from impasto import styles

    style = _encoder().style(name)
    card = styles.read_card(name)
    images = [styles.read_image(name, kind) for kind in ("thumbnail", "painting")]
    for number in (*card.rungs[:1], *card.rungs[-1:], 0, 50):
        targets = [*style.at(number).values(), *style.means_at(number).values()]
        if not all(bool(tensor.isfinite().all()) for tensor in targets):
            yield f"targets on rung {number} that are not finite"
    if not bool(style.quantiles().isfinite().all()):
        yield "quantiles that are not finite"
    style.notes_at((32.0, 5000.0))
    if not all(isinstance(image, (bytes, type(None))) for image in images):
        yield "an image that is not bytes"


def _weights(name: str, network: str, convention: str) -> Iterator[str]:
    """Read a weights file."""
    from impasto import weights

    found = weights.load(Path(name), network=network or None, convention=convention or None)
    for key, tensor in found.tensors.items():
        if not bool(tensor.isfinite().all()):
            yield f"{key} is not finite"


def _network(name: str) -> Iterator[str]:
    """Read the network of quality instant."""
    from impasto.fast import stored

    found = stored.load.__wrapped__(Path(name))
    if not all(bool(tensor.isfinite().all()) for tensor in found.net.state_dict().values()):
        yield "a network that is not finite"


def _option(kind: str, given: dict[str, Any]) -> Iterator[str]:
    """Make Options or an Output of values of any type. What is accepted must survive JSON."""
    from impasto import jobs
    from impasto.options import Options

    made = (Options if kind == "Options" else jobs.Output)(**given)
    json.dumps(made.model_dump(mode="json"), allow_nan=False)
    yield from ()


def _job(stored: Any) -> Iterator[str]:
    """Restore a job from JSON."""
    from impasto import jobs

    job = jobs.Job.from_json(stored)
    job.inputs.files()
    yield from ()


CALLS: dict[str, Callable[..., Iterator[str]]] = {
    "image": _image,
    "style": _style,
    "weights": _weights,
    "network": _network,
    "option": _option,
    "job": _job,
}
