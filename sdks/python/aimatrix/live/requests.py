"""What was asked and is not answered yet. No I/O; time is given."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aimatrix.live.events import Frame
from aimatrix.live.rules import MOST_REQUESTS
from aimatrix.live.signals import Key


@dataclass(slots=True)
class Request:
    """One request; `id` while the hub has it."""

    key: Key
    frame: Mapping[str, Any]
    until: float
    id: int | None = None

    @property
    def may_repeat(self) -> bool:
        """Whether it may be sent once more after it was sent, and does nothing twice."""
        kind = self.frame["type"]
        reads = kind == "history" or (kind == "presence" and "data" not in self.frame)
        return reads or self.frame.get("idempotency_key") is not None


class Requests:
    """The requests of a client, in the order in which they were made."""

    def __init__(self) -> None:
        self._all: dict[Key, Request] = {}
        self._by_id: dict[object, Request] = {}

    def __bool__(self) -> bool:
        return bool(self._all)

    @property
    def is_full(self) -> bool:
        """Whether no more may wait."""
        return len(self._all) >= MOST_REQUESTS

    @property
    def until(self) -> float:
        """When the first of them has waited long enough."""
        return min((each.until for each in self._all.values()), default=math.inf)

    def add(self, request: Request) -> None:
        """Take one more."""
        self._all[request.key] = request

    def unsent(self, next_id: Callable[[], int]) -> Iterator[Frame]:
        """Return the frames that are still to be sent; `next_id` gives the id of each."""
        for each in self._all.values():
            if each.id is None:
                each.id = next_id()
                self._by_id[each.id] = each
                yield {**each.frame, "id": each.id}

    def answered(self, id: object) -> Request | None:
        """Return the request that a frame with this id answers, which is then done."""
        request = self._by_id.get(id) if isinstance(id, int) else None
        if request is not None:
            self.abandon(request.key)
        return request

    def abandon(self, key: Key) -> None:
        """Let one go."""
        request = self._all.pop(key, None)
        if request is not None:
            self._by_id.pop(request.id, None)

    def expired(self, now: float) -> list[Key]:
        """Return the keys of those that have waited long enough; they are done."""
        return self._done(lambda each: each.until <= now)

    def lost(self) -> list[Key]:
        """Note that the connection is gone; return the keys of those that may have happened, which are done.

        The others are sent again.
        """
        keys = self._done(lambda each: each.id is not None and not each.may_repeat)
        for each in self._all.values():
            each.id = None
        self._by_id.clear()
        return keys

    def clear(self) -> list[Key]:
        """Return the keys of all; they are done."""
        return self._done(lambda _: True)

    def _done(self, is_done: Callable[[Request], bool]) -> list[Key]:
        keys = [each.key for each in self._all.values() if is_done(each)]
        for key in keys:
            self.abandon(key)
        return keys
