"""Server-sent events from the database, which several processes write."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from typing import Any

from impasto.studio.store import Store

LOOK = 0.2  # seconds between looks into the database
HEARTBEAT = 15.0  # seconds of silence after which a ping is sent, so that nobody takes the stream for dead


class Events:
    """The streams of all pages. One look into the database serves them all."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._newest = 0
        self._news = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look."""
        self._newest = await asyncio.to_thread(self._store.last_event)
        self._watch = asyncio.create_task(self._look())

    async def stop(self) -> None:
        """End every stream."""
        if self._watch:
            self._watch.cancel()
        self._newest = -1
        self._news.set()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                newest = await asyncio.to_thread(self._store.last_event)
            except sqlite3.Error:  # no more files can be opened, or the disk is full: that may pass
                continue
            if newest != self._newest:
                self._newest = newest
                self._news.set()
                self._news = asyncio.Event()

    async def stream(self, after: int | None, describe: Callable[[str, str], tuple[str, Any]]) -> AsyncIterator[str]:
        """A stream from after an event, or from now. describe: the name and the data of an event, by its kind and subject."""
        sent = self._newest if after is None or after > self._newest else after
        yield f"retry: 2000\nid: {sent}\n\n"
        while True:
            news = self._news
            if self._newest < 0:
                return
            if self._newest > sent:
                found = await asyncio.to_thread(self._store.events, sent)
                if found is None:
                    sent = self._newest
                    yield f"id: {sent}\nevent: reset\ndata: {{}}\n\n"
                    continue
                for number, kind, subject in found:
                    name, data = await asyncio.to_thread(describe, kind, subject)
                    sent = number
                    yield f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n"
                continue
            try:
                await asyncio.wait_for(news.wait(), HEARTBEAT)
            except (asyncio.TimeoutError, TimeoutError):
                yield "event: ping\ndata: {}\n\n"
