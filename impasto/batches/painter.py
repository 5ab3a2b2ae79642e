"""What a worker does: paints one item after another, with an encoder and styles that it keeps."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from impasto import files, jobs, pictures
from impasto.batches import places
from impasto.batches.done import Verdict, digest, verdict, verdict_unmarked
from impasto.batches.events import Made, Result, State
from impasto.batches.kept import Kept
from impasto.batches.sources import Source
from impasto.batches.work import Item, Settings, result_of
from impasto.errors import ImpastoError, OutputError, SaveError, UsageError
from impasto.inputs import Inputs, words_of
from impasto.jobs import Failed, Job, Output, Progress, Saved
from impasto.jobs.lock import state_of
from impasto.jobs.runner import Prepared
from impasto.options import Options
from impasto.stylizer import Stylizer

Tell = Callable[[float], object]  # called with the share of an image that is done, 0..1, after every step


class StoppedError(Exception):
    """The batch was stopped while an item was being painted. Its state is saved, if it has one."""


class Painter:
    """Paints items. Errors of any kind end an item only. worker: its name in results."""

    def __init__(self, settings: Settings, worker: str = "") -> None:
        self.settings, self.worker = settings, worker
        self.folder = places.Folder(settings.output)
        torch.set_num_threads(settings.threads)
        self.kept = Kept(settings)

    def paint(self, number: int, item: Item, tell: Tell = bool) -> Result:
        """Paint an item, unless its result is there. tell: may raise StoppedError, which is passed on."""
        if torch.get_num_threads() != self.settings.threads:  # setting them makes oneDNN forget its compiled kernels
            torch.set_num_threads(self.settings.threads)  # of this thread: OpenMP has one setting for each
        began = time.monotonic()

        def result(state: State, **more: Any) -> Result:
            seconds = round(time.monotonic() - began, 3)
            return result_of(number, item, self.folder, state, seconds=seconds, worker=self.worker, **more)

        try:
            return result(**self._painted(item, tell))
        except StoppedError:
            raise
        except ImpastoError as error:
            again = not isinstance(error, UsageError) or isinstance(error, OutputError)
            return result("failed", problem=str(error), error=error, again=again)
        except MemoryError:
            return result("failed", problem="not enough memory", again=True)
        except Exception as error:  # a bug, or an image that no test foresaw: the batch continues
            problem = f"impasto failed ({type(error).__name__}: {files.one_line(str(error))})"
            return result("failed", problem=problem, again=True)

    def _painted(self, item: Item, tell: Tell) -> dict[str, Any]:
        """What the result says. Raises ImpastoError."""
        stylizer = self.kept.stylizer(item.options)
        there = self._is_there(item, stylizer)
        if there:
            return {"state": "kept"}
        sources, most = item.sources, item.options.max_pixels
        loaded = replace(
            Inputs.of({role: self.kept.opened(source, role, most) for role, source in sources.items()}),
            weights=self.settings.weights,
        )
        if there is None and self._is_same_panorama(item, stylizer, loaded):
            return {"state": "kept"}
        job, target = self._job(item, loaded)
        saved: Saved | None = None
        events = jobs.run(job, stylizer, prepared=Prepared(loaded, self.kept.limit(stylizer)))
        with contextlib.closing(events):
            for event in events:
                if isinstance(event, Progress):
                    tell(event.done)
                elif isinstance(event, Failed):
                    raise event.error or SaveError(event.problem)
                elif isinstance(event, Saved):
                    saved = event
        if saved is None or saved.problem:
            raise (saved and saved.error) or SaveError(saved.problem if saved else "nothing was saved")
        if target is None:
            self.folder.write(item.output, saved.data)
        elif saved.path != target:
            raise SaveError(
                f"{files.printable(target)} could not be written, and it was saved as {files.printable(str(saved.path))}"
            )
        made = None if self.settings.metadata or target is None else Made(self._digest(item, stylizer), files.digest(target))
        return {"state": "painted", "width": saved.width, "height": saved.height, "notes": saved.notes, "made": made}

    def _job(self, item: Item, loaded: Inputs) -> tuple[Job, Path | None]:
        """The job of an item, and the file that it writes; None if its bytes go to an address.

        Where all its inputs are files, so does the job say, which can then save its state.
        """
        target, settings = self.folder.file(item.output), self.settings
        self.folder.make_parent(item.output)
        named = {role: source.place for role, source in item.sources.items()}
        kept = target is not None and not any(map(places.is_address, named.values()))
        of = replace(Inputs.of(named), weights=settings.weights) if kept else loaded
        output = Output(
            path=target,
            suffix=Path(item.output).suffix,
            overwrite=True,
            metadata=settings.metadata,
            repeatable=True,
            keep_exif=settings.keep_exif,
            depth=settings.depth,
        )
        return Job(of, item.options, output), target

    # -------------------------------------------------------------------------------------------------- is it there?

    def _is_there(self, item: Item, stylizer: Stylizer) -> bool | None:
        """Whether the result is there and whole; None if only its size differs, which was not given.

        Raises OutputError for a file that impasto did not make.
        """
        data = self.folder.read(item.output)
        if data is None or self._is_unfinished(item):
            return False
        found = self._verdict(data, item, stylizer.having(item.options).options)
        if found is Verdict.FOREIGN and not self.settings.overwrite:
            place = files.printable(self.folder.place_of(item.output))
            raise OutputError(f"{place} exists, and is no result of impasto", remedy="use {overwrite} to replace it")
        if found is Verdict.CHANGED and "size" not in item.options.model_fields_set:
            stored = (pictures.read_settings(data) or {}).get("size")
            if isinstance(stored, int) and stored != item.options.size:
                same = stylizer.having(item.options.changed(size=stored)).options
                return None if self._verdict(data, item, same) is Verdict.DONE else False
        return found is Verdict.DONE

    def _is_unfinished(self, item: Item) -> bool:
        """Whether there is the state of an interrupted run."""
        target = self.folder.file(item.output)
        return target is not None and state_of(target).exists()

    def _verdict(self, data: bytes, item: Item, options: Options) -> Verdict:
        hashes, settings = self._hashes(item), self.settings
        if not settings.metadata:
            return verdict_unmarked(data, digest(options, hashes, settings.depth), item.made)
        found = verdict(data, options, hashes, keep_exif=settings.keep_exif, depth=settings.depth)
        ours = item.made and item.made.sha256 in ("", hashlib.sha256(data).hexdigest())
        return Verdict.CHANGED if found is Verdict.FOREIGN and ours else found

    def _digest(self, item: Item, stylizer: Stylizer) -> str:
        """Of a result without metadata: what it is made from, and how."""
        return digest(stylizer.having(item.options).options, self._hashes(item), self.settings.depth)

    def _hashes(self, item: Item) -> dict[str, str]:
        """{role: SHA-256} of all inputs."""
        sources = item.sources
        if self.settings.weights:
            sources["weights"] = Source(self.settings.weights, "")
        return {role: self.kept.hash_of(source, words_of(role)) for role, source in sources.items()}

    def _is_same_panorama(self, item: Item, stylizer: Stylizer, loaded: Inputs) -> bool:
        """Whether a photograph that is too thin for the default size has the result that it would get now."""
        data = self.folder.read(item.output)
        return data is not None and self._verdict(data, item, stylizer.problem(loaded).options) is Verdict.DONE
