"""In which order the items of a batch are painted: a worker stays with a style, so that each style is analyzed once where possible."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from impasto.batches.sources import Source
from impasto.batches.work import Item

Group = tuple[Source, ...]


class Order:
    """The items that wait. `next` takes one for a worker: of the style that it painted last, or of one that no other worker has."""

    def __init__(self, items: Iterable[tuple[int, Item]]) -> None:
        self._waiting = dict[Group, deque[tuple[int, Item]]]()
        self._of = dict[int, Group]()  # by worker
        self._count = 0
        for number, item in items:
            self._waiting.setdefault(item.styles, deque()).append((number, item))
            self._count += 1

    def __len__(self) -> int:
        return self._count

    def next(self, worker: int) -> tuple[int, Item]:
        """The number and the item that a worker paints next. Raises IndexError if none waits."""
        group = self._of.get(worker)
        if group is None or group not in self._waiting:
            group = self._free(worker)
            self._of[worker] = group
        found = self._waiting[group].popleft()
        if not self._waiting[group]:
            del self._waiting[group]
        self._count -= 1
        return found

    def _free(self, worker: int) -> Group:
        if not self._waiting:
            raise IndexError("no item waits")
        taken = {group for other, group in self._of.items() if other != worker}
        free = next((group for group in self._waiting if group not in taken), None)
        return free if free is not None else max(self._waiting, key=lambda group: len(self._waiting[group]))

    def put_back(self, number: int, item: Item) -> None:
        """An item whose worker died: it is next among those of its style."""
        self._waiting.setdefault(item.styles, deque()).appendleft((number, item))
        self._count += 1

    def forget(self, worker: int) -> None:
        """A worker that died."""
        self._of.pop(worker, None)
