"""The HTTP API, as its OpenAPI page describes it: uploads, styles, batches, instant pictures, jobs, events."""

from impasto.studio.api import batches, jobs, session, uploads
from impasto.studio.api.context import Limits, Studio

ROUTERS = (session.router, uploads.router, batches.router, jobs.router)

__all__ = ["ROUTERS", "Limits", "Studio"]
