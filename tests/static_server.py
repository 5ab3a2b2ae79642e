"""A static server on this machine, such as anybody would use, under any path."""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path
from typing import Any

ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder under the server's path."""

    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012 (as in its base)

    def translate_path(self, path: str) -> str:
        prefix = self.server.prefix  # type: ignore[attr-defined]  # a Server
        if not path.startswith(prefix):
            return str(Path(self.directory) / "no such file")
        return super().translate_path(path.removeprefix(prefix))

    def end_headers(self) -> None:
        for name, value in self.server.headers.items():  # type: ignore[attr-defined]  # a Server
            self.send_header(name, value)
        super().end_headers()

    def log_request(self, *args: Any) -> None:
        pass

    log_error = log_request


class Server(http.server.ThreadingHTTPServer):
    """A running server. prefix: the path of the page, with slashes around it; headers: more headers of every answer."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path, prefix: str = "/", headers: dict[str, str] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
        self.prefix, self.headers = prefix, headers or {}
        self.base = f"http://127.0.0.1:{self.server_port}"
        self.page = f"{self.base}{prefix}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """End, and refuse further connections."""
        self.shutdown()
        self.server_close()
