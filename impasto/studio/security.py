"""What stands before every request: whose it may be, how large it may be, and what a browser may do with the answer.

- The Host header must be one that this server is reached by, so that a web page cannot reach it under a name of its own (DNS
  rebinding).
- Every call of the API needs the token: as a bearer, or as the cookie that `POST /api/session` gave for it.
- A change that comes with the cookie must come from a page of this server (the Origin header).
- Bodies are counted while they arrive.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from impasto.errors import OutputError
from impasto.files import printable, reason

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
SAFE = frozenset({"GET", "HEAD"})
OPEN = frozenset({("GET", "/api/health"), ("HEAD", "/api/health"), ("POST", "/api/session")})
SMALL_BODY = 1 << 20  # bytes of a body that is no upload
UPLOADS = frozenset({"/api/images", "/api/styles", "/api/folders"})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}
BURST, PER_SECOND = 120, 10.0  # changes that a client may make at once, and then in a second
MOST_CLIENTS = 10_000


def token_of(root: Path) -> str:
    """The token of a data directory, which is made once. Only its owner can read the file. Raises OutputError."""
    file = root / "token"
    try:
        found = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        found = ""
    if len(found) < 32:
        found = secrets.token_urlsafe(32)
        try:
            file.touch(mode=0o600)
            file.chmod(0o600)
            file.write_text(found, encoding="ascii")
        except OSError as error:
            raise OutputError(f"data directory {printable(root)} cannot be used: {reason(error)}") from error
    return found


@dataclass
class Rates:
    """How many changes each client has left."""

    burst: float = BURST
    per_second: float = PER_SECOND
    _left: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def allow(self, client: str, now: float | None = None) -> bool:
        """Count a change; False if the client has to wait."""
        now = time.monotonic() if now is None else now
        left, then = self._left.pop(client, (self.burst, now))
        left = min(self.burst, left + (now - then) * self.per_second)
        allowed = left >= 1
        self._left[client] = (left - allowed, now)
        while len(self._left) > MOST_CLIENTS:
            self._left.popitem(last=False)
        return allowed


@dataclass(frozen=True)
class Rules:
    """What the guard goes by.

    hosts: names under which the server is reached, without port, in brackets for IPv6; numeric addresses are allowed besides where
    `addresses` is true. port: 0 for any. max_upload: bytes.
    """

    token: str
    port: int
    hosts: frozenset[str] = LOOPBACK
    addresses: bool = False
    max_upload: int = 1 << 28

    @property
    def cookie(self) -> str:
        """The cookie's name. Browsers share cookies among the ports of a host."""
        return f"impasto-{self.port}"

    def session(self) -> str:
        """A new cookie's value: who it is, signed."""
        name = secrets.token_hex(8)
        return f"{name}.{self._signature(name)}"

    def client(self, value: str) -> str:
        """Who a cookie's value is of; "" for a wrong one."""
        name, _, signature = value.partition(".")
        return name if name and _same(signature, self._signature(name)) else ""

    def _signature(self, name: str) -> str:
        return hmac.new(self.token.encode(), name.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def allows_host(self, host: str) -> bool:
        """Whether a Host header may be this server's."""
        name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        if not colon:
            name, port = host, ""
        if port and self.port and port != str(self.port):
            return False
        return name.lower() in self.hosts or (self.addresses and _is_address(name))


def _same(sent: str, known: str) -> bool:
    """Whether two texts are the same, in a time that does not tell how much of them is. sent: of any characters."""
    return hmac.compare_digest(sent.encode("utf-8", "replace"), known.encode())


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


class Guard:
    """The middleware."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self.app, self.rules, self.rates = app, rules, Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on a request that may be answered."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = _headers(scope["headers"])
        status, error = self._refusal(scope, headers)
        if status:
            more = {"retry-after": "10"} if status == 429 else {}
            await _answer(send, status, error, more)
            return
        limit = self.rules.max_upload + SMALL_BODY if scope["path"] in UPLOADS else SMALL_BODY
        await self.app(scope, _counted(receive, limit), _with_headers(send, scope["path"]))

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str]:
        """The status and the sentence of a refusal; (0, "") for a request to pass on. It finds out whose request it is."""
        method, path, host = scope["method"], scope["path"], headers.get("host", "")
        if not self.rules.allows_host(host):
            return 403, "This server is not reached under that name."
        bearer = headers.get("authorization", "")
        by_token = bearer.startswith("Bearer ") and _same(bearer[7:], self.rules.token)
        client = "" if by_token else self.rules.client(_cookie(headers.get("cookie", ""), self.rules.cookie))
        if method not in SAFE and not by_token:
            allowed = {f"{scheme}://{host}" for scheme in ("http", "https")}
            if headers.get("origin", "") not in allowed:
                return 403, "A change must come from the studio's own page, or with the token."
        if path.startswith("/api/") and (method, path) not in OPEN and not (by_token or client):
            return 401, "Open the studio with the address that `impasto studio` printed; it holds the key."
        address = (scope.get("client") or ("", 0))[0]
        scope.setdefault("state", {})["client"] = client or f"token@{address}"
        length = headers.get("content-length", "0")
        limit = self.rules.max_upload + SMALL_BODY if path in UPLOADS else SMALL_BODY
        if not length.isdecimal() or len(length) > 18:
            return 400, "The length of the request is not a number."
        if int(length) > limit:
            return 413, too_large(limit)
        if method not in SAFE and path != "/api/instant" and not self.rates.allow(scope["state"]["client"]):
            return 429, "Too many changes in a short time. Wait a few seconds."
        return 0, ""


class TooLargeError(HTTPException):
    """A body is longer than it may be. An HTTPException, because FastAPI takes others for a malformed body."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, detail={"error": too_large(limit), "option": None})


def too_large(limit: int) -> str:
    """The sentence about it."""
    size = f"{limit / 1e6:.0f} MB" if limit >= 1e6 else f"{limit / 1e3:.0f} kB"
    return f"This is too large: at most {size} can be sent."


def _counted(receive: Receive, limit: int) -> Receive:
    """Raises TooLargeError as soon as more has come."""
    total = 0

    async def counted() -> Message:
        nonlocal total
        message = await receive()
        if message["type"] == "http.request":
            total += len(message.get("body", b""))
            if total > limit:
                raise TooLargeError(limit)
        return message

    return counted


def _with_headers(send: Send, path: str) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message["headers"]}
            more = HEADERS | {"cache-control": "no-store" if path.startswith("/api/") else "no-cache"}
            message["headers"] = [
                *message["headers"],
                *((name.encode(), value.encode()) for name, value in more.items() if name.encode() not in present),
            ]
        await send(message)

    return sent


async def _answer(send: Send, status: int, error: str, more: dict[str, str]) -> None:
    body = json.dumps({"error": error, "option": None}).encode()
    headers = (
        HEADERS | {"content-type": "application/json", "content-length": str(len(body)), "cache-control": "no-store"} | more
    )
    await send(
        {"type": "http.response.start", "status": status, "headers": [(n.encode(), v.encode()) for n, v in headers.items()]}
    )
    await send({"type": "http.response.body", "body": body})


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """By lower-case name. A header that is there twice has no value, as nobody knows which one counts."""
    found: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1").lower()
        found[key] = (
            "" if key in found and key in ("host", "origin", "content-length", "authorization") else value.decode("latin-1")
        )
    return found


def _cookie(header: str, name: str) -> str:
    try:
        morsel: Any = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return str(morsel.value) if morsel else ""
