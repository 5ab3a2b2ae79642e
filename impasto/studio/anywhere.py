"""The page that paints in the visitor's own browser (`impasto.page`), under /anywhere/, where onnxruntime-web is on this machine."""

from __future__ import annotations

import mimetypes
import re
import threading

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import RedirectResponse

from impasto.page import runtime

router = APIRouter(include_in_schema=False)
_lock = threading.Lock()
_content: dict[str, bytes] = {}  # made when it is first asked for, since compressing takes seconds

TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".webmanifest": "application/manifest+json"}
POLICY = re.compile(r'Content-Security-Policy" content="([^"]+)"')


def available() -> bool:
    """Whether there is such a page."""
    return runtime.cached().is_dir()


@router.get("/anywhere")
def moved() -> RedirectResponse:
    """The address without its slash."""
    return RedirectResponse("/anywhere/")


@router.get("/anywhere/{name:path}")
def file(name: str) -> Response:
    """A file of the page."""
    found = _files()
    data = found.get(name or "index.html")
    if data is None:
        raise HTTPException(404)
    suffix = f".{name.rpartition('.')[2]}" if name else ".html"
    kind = TYPES.get(suffix) or mimetypes.guess_type(f"file{suffix}")[0] or "application/octet-stream"
    policy = POLICY.search(found["index.html"].decode())
    headers = {"cross-origin-embedder-policy": "require-corp"} | ({"content-security-policy": policy[1]} if policy else {})
    return Response(data, media_type=kind, headers=headers)


def _files() -> dict[str, bytes]:
    with _lock:
        place = None if _content else runtime.find()
        if place:
            from impasto.page import folder  # it loads Pillow, which the server has no other use for

            _content.update(folder.content(place))
        return _content
