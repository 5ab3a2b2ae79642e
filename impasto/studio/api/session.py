"""Health, sessions, limits."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response

from impasto import __version__, catalog
from impasto.options import Options
from impasto.studio import anywhere, shapes
from impasto.studio.api.context import PROBLEMS, Here, Refused

DIALS = ("quality", "size", "strength", "style_scale", "keep_colors", "seed")  # options that the page shows
router = APIRouter(prefix="/api", responses=PROBLEMS)


@router.get("/health")
def health(studio: Here) -> dict[str, Any]:
    """Whether the server and its painters run. Needs no session."""
    return {"status": "ok" if all(studio.painting.alive) else "starting", "version": __version__}


@router.post("/session", status_code=204)
def enter(body: shapes.Session, studio: Here) -> Response:
    """Exchange the token for a cookie."""
    if not hmac.compare_digest(body.token.encode(), studio.rules.token.encode()):
        raise Refused(401, "This is not the token of this studio.")
    answer = Response(status_code=204)
    answer.set_cookie(
        studio.rules.cookie, studio.rules.session(), httponly=True, samesite="strict", max_age=365 * 86_400, path="/"
    )
    return answer


@router.delete("/session", status_code=204)
def leave(studio: Here) -> Response:
    """Forget the cookie."""
    answer = Response(status_code=204)
    answer.delete_cookie(studio.rules.cookie, httponly=True, samesite="strict", path="/")
    return answer


@router.get("/limits")
def limits(studio: Here) -> dict[str, Any]:
    """What the server allows, and the options that the page shows."""
    known = Options.model_json_schema()["properties"]
    return {
        "max_upload": studio.limits.max_upload,
        "max_pixels": studio.limits.max_pixels,
        "max_queued": studio.limits.most_queued,
        "keep_days": studio.limits.keep_days,
        "free_disk": studio.store.free_disk(),
        "anywhere": anywhere.available(),
        "version": __version__,
        "options": {name: _described(name, known[name]) for name in DIALS},
    }


def _described(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """An option, from the one place where it is declared."""
    parts = [schema, *schema.get("anyOf", ())]
    found = {key: part[key] for key in ("minimum", "maximum") for part in parts if key in part}
    choices = next((part["enum"] for part in parts if "enum" in part), None)
    kinds = [part.get("type") for part in parts]
    kind = "choice" if choices and "integer" not in kinds else "number" if "number" in kinds else "integer"
    if name == "size":
        found = {"minimum": 16, "maximum": 65_535}
        choices = None
    default = getattr(Options(), name)
    return (
        {"kind": kind, "default": default, "about": catalog.OPTIONS[name].about}
        | found
        | ({"choices": choices} if choices else {})
    )
