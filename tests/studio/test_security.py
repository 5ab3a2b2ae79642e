"""The guard before every request, called as an ASGI application without a server. Each rule of the studio's security is a test."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from impasto.studio.security import HEADERS, SMALL_BODY, Guard, Rates, Rules, TooLargeError, token_of

TOKEN = "t" * 40
RULES = Rules(TOKEN, 8765, max_upload=5_000_000)
HOST = ("host", "127.0.0.1:8765")
ORIGIN = ("origin", "http://127.0.0.1:8765")
BEARER = ("authorization", f"Bearer {TOKEN}")


def cookie(rules: Rules = RULES) -> tuple[str, str]:
    return "cookie", f"other=1; {rules.cookie}={rules.session()}"


def call(
    method: str,
    path: str,
    *headers: tuple[str, str],
    body: Iterable[bytes] = (b"",),
    rules: Rules = RULES,
    guard: Guard | None = None,
) -> tuple[int, dict[str, str], bytes]:
    """The answer to a request: of the guard, or 200 with the body's length where it lets the request through."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        total, more = 0, True
        while more:
            message = await receive()
            total, more = total + len(message.get("body", b"")), message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": str(total).encode()})

    parts, sent = list(body), list[dict[str, Any]]()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope = {"type": "http", "method": method, "path": path, "headers": raw, "client": ("10.0.0.9", 5)}
    asyncio.run((guard or Guard(app, rules))(scope, receive, send))
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answered, sent[1]["body"]


def status(*arguments: Any, **options: Any) -> int:
    return call(*arguments, **options)[0]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "192.168.1.7:8765", "127.0.0.1:80", ""]
)
def test_names_that_are_not_this_server_are_refused_whatever_else_a_request_has(host: str) -> None:
    """DNS rebinding: the browser takes the page's own name for same-origin."""
    for path in ("/", "/api/health", "/api/jobs", "/page/studio.css"):
        found, _, body = call("GET", path, ("host", host), BEARER, ("origin", f"http://{host}"), cookie())
        assert found == 403
        assert json.loads(body)["error"] == "This server is not reached under that name."


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "LOCALHOST:8765", "[::1]:8765", "localhost"])
def test_this_machines_names_are_allowed(host: str) -> None:
    assert status("GET", "/", ("host", host)) == 200


def test_a_shared_server_is_reached_by_its_names_and_by_numbers() -> None:
    shared = Rules(TOKEN, 8765, frozenset({"localhost", "studio.example.org"}), addresses=True)
    for host in ("192.168.1.7:8765", "[fe80::1]:8765", "studio.example.org:8765"):
        assert status("GET", "/", ("host", host), rules=shared) == 200
    for host in ("other.example.org:8765", "studio.example.org:80"):
        assert status("GET", "/", ("host", host), rules=shared) == 403


def test_a_host_that_is_sent_twice_counts_for_nothing() -> None:
    assert status("GET", "/", HOST, HOST) == 403
    assert status("GET", "/api/jobs", HOST, BEARER, BEARER) == 401


def test_every_call_needs_the_token_or_its_cookie() -> None:
    for method, path in (
        ("GET", "/api/jobs"),
        ("GET", "/api/events"),
        ("GET", "/api/openapi.json"),
        ("GET", "/api/images/x/picture"),
    ):
        assert status(method, path, HOST) == 401
        assert status(method, path, HOST, BEARER) == 200
        assert status(method, path, HOST, cookie()) == 200
    for wrong in (
        ("authorization", "Bearer " + "x" * 40),
        ("authorization", TOKEN),
        ("cookie", f"{RULES.cookie}={TOKEN}"),
        ("cookie", f"{RULES.cookie}=name.{'0' * 64}"),
        ("cookie", f"impasto-1={RULES.session()}"),
        ("cookie", "=;;;=\x7f"),
        ("cookie", f'{RULES.cookie}="name.\xe9"'),
        ("cookie", f'{RULES.cookie}="\\351.\xff\x80"'),
        ("authorization", "Bearer \xe9"),
    ):
        assert status("GET", "/api/jobs", HOST, wrong) == 401
    assert status("GET", "/", HOST) == status("GET", "/page/app.js", HOST) == status("GET", "/api/health", HOST) == 200


def test_a_change_must_come_from_this_page_or_with_the_token() -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert status(method, "/api/jobs", HOST, cookie(), ORIGIN) == 200
        assert status(method, "/api/jobs", HOST, BEARER) == 200
        for origin in ("http://evil.example", "null", "http://127.0.0.1:80", "http://localhost:8765", ""):
            assert status(method, "/api/jobs", HOST, cookie(), ("origin", origin)) == 403
        assert status(method, "/api/jobs", HOST, cookie()) == 403
    assert status("POST", "/api/session", HOST) == 403
    assert status("POST", "/api/session", HOST, ORIGIN) == 200


def test_bodies_are_counted_while_they_arrive() -> None:
    block = bytes(1_000_000)
    assert call("POST", "/api/images", HOST, BEARER, body=[block] * 5)[2] == b"5000000"
    for path, count, most in (("/api/images", 7, 6), ("/api/jobs", 2, 1)):
        with pytest.raises(TooLargeError) as caught:
            call("POST", path, HOST, BEARER, body=[block] * count)
        assert caught.value.status_code == 413
        assert caught.value.detail == {"error": f"This is too large: at most {most} MB can be sent.", "option": None}
    assert status("POST", "/api/images", HOST, BEARER, ("content-length", "9" * 9)) == 413
    assert status("POST", "/api/jobs", HOST, BEARER, ("content-length", str(SMALL_BODY + 1))) == 413
    for odd in ("x", "-1", "9" * 30, "1e3"):
        assert status("POST", "/api/jobs", HOST, BEARER, ("content-length", odd)) == 400


def test_answers_are_locked_down() -> None:
    for path, cached in (("/", "no-cache"), ("/api/health", "no-store")):
        _, headers, _ = call("GET", path, HOST)
        assert HEADERS.items() <= headers.items()
        assert headers["cache-control"] == cached
    _, refused, _ = call("GET", "/api/jobs", HOST)
    assert HEADERS.items() <= refused.items()
    policy = HEADERS["content-security-policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "access-control-allow-origin" not in {name.lower() for name in (*HEADERS, *headers, *refused)}


def test_clients_have_a_rate() -> None:
    rates = Rates(burst=3, per_second=1)
    assert [rates.allow("a", 10.0) for _ in range(4)] == [True, True, True, False]
    assert rates.allow("b", 10.0)
    assert [rates.allow("a", 12.0) for _ in range(3)] == [True, True, False]
    guard = Guard(lambda *_: None, RULES)  # type: ignore[arg-type, return-value]
    guard.rates = Rates(burst=0, per_second=0)
    found, headers, body = call("POST", "/api/jobs", HOST, BEARER, guard=guard)
    assert (found, headers["retry-after"]) == (429, "10")
    assert "Wait a few seconds" in json.loads(body)["error"]


def test_the_token_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    first = token_of(tmp_path)
    assert len(first) > 40
    assert token_of(tmp_path) == first
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    (tmp_path / "token").write_text("short")
    assert len(token_of(tmp_path)) > 40
