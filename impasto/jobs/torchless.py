"""Jobs where torch is not installed: of quality "instant", painted by `impasto.portable`, with the same events, records and files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from impasto import __version__, pictures, portable
from impasto.errors import RunError
from impasto.extras import needs_torch, threads
from impasto.inputs import Inputs
from impasto.jobs import places, signals
from impasto.jobs.events import Event, Failed, Note, Progress, Saved
from impasto.jobs.job import BYTE_DEPTH, Job
from impasto.jobs.records import Input, Previous, Record, digest_of_pixels, settings
from impasto.portable import card


def events(job: Job, previous: Previous | None = None) -> Iterator[Event]:
    """Run a job. The last event is Saved or Failed. Arguments and errors: see `runner.run`; UsageError also for what needs torch."""
    started, output = time.monotonic(), job.output
    options, notes = portable.settled(job.options)
    for what, asked in {"a preview": output.preview, "a making-of": output.frames}.items():
        if asked:
            raise needs_torch(what)
    loaded = job.inputs.load(options.max_pixels, stills=True)
    painting = portable.Painting(options, loaded)
    if output.path is not None:
        pictures.check_output(output.path, overwrite=output.overwrite, size=painting.size)
    record = _begun(painting, job, loaded)
    notes = (*notes, *painting.notes, *(previous.differences(record) if previous else ()))
    if output.keep_exif and not loaded.photo.exif:
        notes = (*notes, "the photograph has no EXIF that could be kept")
    yield from map(Note, notes)
    try:
        for level in painting:
            yield _progress(painting, level)
    except KeyboardInterrupt as stopped:
        text, code = signals.how_stopped(stopped)
        yield Failed(f"{text}; nothing was written", code)
        return
    except RunError as error:
        yield Failed(f"{error}; nothing was written", error.exit_code, error)
        return
    with signals.ignored():
        saved = _save(painting, job, loaded, record, notes, time.monotonic() - started, previous)
    yield from map(Note, saved.notes[len(notes) :])
    yield saved


def _begun(painting: portable.Painting, job: Job, loaded: Inputs) -> Record:
    with card.opened() as (network_card, _):
        encoder = network_card.encoder
    return Record(
        impasto=__version__,
        encoder_digest=encoder,
        network=portable.network_digest(),
        ran_on=f"cpu fp32, ONNX Runtime {version('onnxruntime')}",
        threads=threads(),
        inputs={role: Input(name=name, sha256=digest) for role, (name, digest) in loaded.hashes().items()},
        width=painting.size[1],
        height=painting.size[0],
        keep_exif=job.output.keep_exif,
        depth=job.output.depth,
    )


def _progress(painting: portable.Painting, level: portable.Level) -> Progress:
    height, width = level.image.shape[2:]
    return Progress(
        count=level.count,
        of=len(painting),
        scale=level.count,
        scales=len(painting),
        step=1,
        steps=1,
        width=width,
        height=height,
        losses={},
        done=level.done,
    )


def _save(
    painting: portable.Painting,
    job: Job,
    loaded: Inputs,
    record: Record,
    notes: tuple[str, ...],
    seconds: float,
    previous: Previous | None,
) -> Saved:
    """Write the image. Raises OutputError and SaveError."""
    output, image = job.output, painting.image()
    record = record.model_copy(
        update={"seconds": 0.0 if output.repeatable else round(seconds, 1), "picture": digest_of_pixels(image)}
    )
    compared = previous.compared(image, record) if previous else ""
    stored = settings(painting.options) | (previous.settled(record) if previous else record).stored()
    exact = painting.words() if output.depth > BYTE_DEPTH else image
    kept, exif = stored if output.metadata else None, loaded.photo.exif if output.keep_exif else None
    path, data = output.path, b""
    if output.path is None:
        data, more = pictures.encode(exact, output.suffix, settings=kept, exif=exif)
    else:

        def save(name: Path, overwrite: bool) -> tuple[str, ...]:
            return pictures.save(exact, name, overwrite=overwrite, settings=kept, exif=exif)

        written = places.write(output.path, save, lambda name: output.overwrite)
        path, more = written.path, written.notes
    return Saved(
        path=path,
        data=data,
        width=image.width,
        height=image.height,
        seconds=round(seconds, 2),
        losses={},
        settings=stored,
        notes=(*notes, *more),
        compared=compared,
    )
