"""The server: the application with its guard, the processes behind it, and the page."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from impasto import __version__
from impasto.errors import OptionError, OutputError
from impasto.files import printable, reason
from impasto.page import SHARED
from impasto.studio import anywhere, api, folders, reference
from impasto.studio.events import Events
from impasto.studio.processes import Painting, Previewing
from impasto.studio.queue import GoneError, Queue
from impasto.studio.security import LOOPBACK, Guard, Rules, token_of
from impasto.studio.store import Store
from impasto.studio.words import sentence

PAGE = Path(__file__).parent / "page"
SWEEP_EVERY = 3600.0  # seconds between deletions of what is old
UNUSED_HOURS = 48.0  # after which an upload is deleted that no job refers to
EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104  (names of no address, so another one is printed; nothing is bound here)
SHUTDOWN = 3  # seconds that open requests may take when the server ends


@dataclass(frozen=True)
class Settings:
    """What `impasto studio` was asked for. host: an address or a name; port: 0 takes a free one. devices: one painter for each."""

    data: Path
    host: str = "127.0.0.1"
    port: int = 0
    names: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("auto",)
    limits: api.Limits = field(default_factory=api.Limits)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in ("localhost", "127.0.0.1", "::1")


def application(settings: Settings, store: Store, port: int) -> FastAPI:
    """The application. Its processes start and end with it. port: at which it is reached. Raises OutputError."""
    queue = Queue(store)
    names = frozenset(name.lower() for name in settings.names)
    hosts = LOOPBACK | names | (frozenset() if settings.is_local else {settings.host.lower()})
    rules = Rules(token_of(settings.data), port, hosts, not settings.is_local, settings.limits.max_upload)

    @contextlib.asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        queue.crashed()
        store.sweep()
        studio = api.Studio(
            store,
            queue,
            Previewing(settings.limits.max_pixels, settings.devices[0]),
            Painting(queue, list(settings.devices)),
            Events(store),
            rules,
            settings.limits,
        )
        app.state.studio = studio
        await studio.events.start()
        keeping = asyncio.create_task(_keep_tidy(studio))
        try:
            yield
        finally:
            keeping.cancel()
            await studio.events.stop()
            await asyncio.to_thread(studio.painting.end)
            await asyncio.to_thread(studio.previewing.end)

    app = FastAPI(
        title="impasto studio",
        version=__version__,
        lifespan=running,
        docs_url=None,  # it would fetch its scripts from the network
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
    )
    for router in api.ROUTERS:
        app.include_router(router)
    app.include_router(anywhere.router)
    app.mount("/page/shared", StaticFiles(directory=SHARED), name="shared")
    app.mount("/page", StaticFiles(directory=PAGE), name="page")

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", media_type="text/html; charset=utf-8")

    @app.get("/reference", include_in_schema=False)
    def described() -> HTMLResponse:
        return HTMLResponse(reference.page(app.openapi()))

    _say_errors_in_words(app)
    app.add_middleware(Guard, rules=rules)
    return app


async def _keep_tidy(studio: api.Studio) -> None:
    """Delete what is old: results only if the server was asked to, uploads that nothing refers to."""
    while True:
        with contextlib.suppress(sqlite3.Error, OSError):  # the next time will do
            if studio.limits.keep_days is not None:
                await asyncio.to_thread(studio.queue.remove_old, studio.limits.keep_days)
            await asyncio.to_thread(studio.store.remove_unused_images, UNUSED_HOURS)
            await asyncio.to_thread(folders.remove_unused, studio.store, UNUSED_HOURS)
        await asyncio.sleep(SWEEP_EVERY)


def _say_errors_in_words(app: FastAPI) -> None:
    """Have every error answered by one sentence in JSON."""

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        if isinstance(error.detail, dict):
            return JSONResponse(error.detail, status_code=error.status_code)
        words = {404: "There is nothing at this address.", 405: "This address does not take that method."}
        return _problem(error.status_code, words.get(error.status_code, error.detail))

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> Response:
        first: dict[str, Any] = dict(error.errors()[0])
        place = " ".join(str(part) for part in first.get("loc", ())[1:])
        why = "a file is expected" if place == "file" else first.get("msg", "")
        return _problem(422, ": ".join(filter(None, ("the request is not as it should be", place, why))))

    @app.exception_handler(GoneError)
    def gone(request: Request, error: GoneError) -> Response:
        return _problem(404, "This job is not here any more.")

    @app.exception_handler(sqlite3.Error)
    def unwritten(request: Request, error: sqlite3.Error) -> Response:
        return _problem(503, f"The server's database cannot be used: {error}. Try again in a moment.")

    @app.exception_handler(Exception)
    def failed(request: Request, error: Exception) -> Response:
        return _problem(500, "The server failed. Its log says why.")


def _problem(status: int, error: str) -> Response:
    return JSONResponse({"error": sentence(error), "option": None}, status_code=status)


def listening(settings: Settings) -> socket.socket:
    """A socket at the address asked for. Raises OptionError where that is not possible."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((settings.host, settings.port))
    except (OSError, OverflowError) as error:
        found.close()
        why = reason(error) if isinstance(error, OSError) else "no such port"
        raise OptionError(
            f"{settings.host}:{settings.port} cannot be used: {why}", remedy="choose another {port} or {host}"
        ) from error
    return found


def serve(settings: Settings, started: Callable[[str], object]) -> None:
    """Serve until interrupted. started: called with the address, token included, once the server answers. Raises UsageError."""
    from filelock import FileLock, Timeout

    store = Store(settings.data)
    try:
        lock = FileLock(settings.data / ".lock", timeout=0).acquire()
    except Timeout:
        problem = f"another studio uses the data directory {printable(settings.data)}"
        raise OutputError(problem, remedy="use another {data}") from None
    with lock, listening(settings) as found:
        port = found.getsockname()[1]
        app = application(settings, store, port)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=SHUTDOWN,
        )
        server = uvicorn.Server(config)
        shown = "127.0.0.1" if settings.host in EVERYWHERE else settings.host
        shown = f"[{shown}]" if ":" in shown else shown
        address = f"http://{shown}:{port}/#token={token_of(settings.data)}"
        threading.Thread(target=_announce, args=(server, address, started), daemon=True).start()
        server.run(sockets=[found])


def _announce(server: uvicorn.Server, address: str, started: Callable[[str], object]) -> None:
    while not server.started:
        if server.should_exit:
            return
        time.sleep(0.02)
    started(address)
