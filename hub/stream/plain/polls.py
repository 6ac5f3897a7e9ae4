"""One poll: what comes for a client is collected until there is something to answer with. Nothing of it is left behind.

It is a connection as any other, for as long as the poll takes; what the client gets is in its answer, and where it goes on in the
cursor. What comes after the answer was made is not in it, and not behind its cursor.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from hub.stream.outbound import Bounds, Outbound
from hub.stream.plain.cursor import Place
from hub.stream.plain.places import PASSING, Places, Taken
from hub.stream.plain.wire import NUL

# An answer holds so much, and what its last frame has over it.
MOST_BYTES = 256 * 1024
# What a poll tells. Of its credential the next request speaks; of places the cursor.
_TOLD = frozenset({"event", "reset", "unsubscribed", "disconnect", "error"})


class PollOutbound(Outbound):
    """Collects `frames`; `ready` is set when they are to be answered, `joined` when the channels are joined or refused."""

    __slots__ = ("_is_done", "_places", "_size", "frames", "joined", "ready")

    def __init__(self, bounds: Bounds, places: Places) -> None:
        super().__init__(_Nowhere(), bounds)
        self.frames: list[bytes] = []
        self.ready = asyncio.Event()
        self.joined = asyncio.Event()
        self._places = places
        self._is_done = False
        self._size = 0

    def write(self, data: bytes) -> bool:
        """Collect what is for the client."""
        if NUL in data:
            pieces = data.split(NUL)
            for payload, mark in zip(pieces[:-1:2], pieces[1::2], strict=True):
                self._collect(payload, mark)
        return True

    def write_control(self, frame: bytes) -> None:
        """Send no comment: there is nothing to keep alive."""

    def shut(self, last: bytes = b"", *, is_shown: bool = True) -> None:
        """As Outbound.shut; then it is answered with what there is."""
        self.write(last)
        super().shut()
        self.ready.set()

    def answer(self, rooms: Mapping[str, Place]) -> bytes:
        """Return the answer's body; whatever comes from now on is for the next poll.

        `rooms` are the heads of live rooms of which a view may have hidden the last events: the next poll need not see those.
        """
        if self._size < MOST_BYTES:  # else a beginning may be on its way
            self._places.settle()
        if not self._is_done:
            self._places.pass_rooms(rooms)
        self._is_done = True
        return b'{"frames":[%b],"cursor":"%b"}' % (b",".join(self.frames), self._places.text().encode())

    def _collect(self, payload: bytes, mark: bytes) -> None:
        if self._is_done:
            return
        taken = self._places.take(payload, mark)
        if taken.type == "subscribed":
            self._take_answer(payload, taken)
        elif taken.type == "reset" and taken.frame is not None and self._places.waits(taken.frame["channel"]):
            # The next poll is told of it, and in the same turn what was said there so far.
            self._is_done = True
            self.ready.set()
        elif taken.type in _TOLD and taken.is_known and not taken.is_repeated:
            self._keep(payload)

    def _take_answer(self, payload: bytes, taken: Taken) -> None:
        channels: list[Any] = [] if taken.frame is None else taken.frame["channels"]
        refused = {each["error"]["code"] for each in channels if "error" in each}
        # Where it begins is kept by nobody but the client.
        begins = any("error" not in each and not self._places.had(each["channel"]) for each in channels)
        self.joined.set()
        if begins or refused or not self._places.is_whole:
            self.frames.append(payload)
            self._size += len(payload)
        if begins or not PASSING.isdisjoint(refused):
            self.ready.set()

    def _keep(self, payload: bytes) -> None:
        self.frames.append(payload)
        self._size += len(payload)
        # Where resets are under way, the others belong to the same answer.
        if self._size >= MOST_BYTES and self._places.is_whole:
            self._is_done = True
        self.ready.set()


class _Nowhere:
    """Stands for a transport: everything is taken at once."""

    def __init__(self) -> None:
        self._is_closing = False

    def write(self, data: bytes) -> None:
        """Take it."""

    def is_closing(self) -> bool:
        """Tell whether it was ended."""
        return self._is_closing

    def abort(self) -> None:
        """End."""
        self._is_closing = True

    def close(self) -> None:
        """End."""
        self._is_closing = True

    def get_write_buffer_size(self) -> int:
        """Return 0."""
        return 0

    def get_extra_info(self, name: str) -> Any:
        """Return None: there is no socket."""
