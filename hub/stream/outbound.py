"""What waits for one client to read: written straight to the transport, queued here while the transport is full, bounded.

Nothing is awaited by those who write. A client that reads too slowly is seen by the transport's word that it is full, by the
bytes that wait and by their age; `write` and `is_stuck` say so, the owner of the connection decides.
"""

import asyncio
import termios
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fcntl import ioctl
from typing import Any, Protocol

from core.clock import Clock
from hub.stream.frames import FINAL_PONG
from hub.stream.waiting import Account

# What is handed to the transport at once after it has drained; the rest waits here, where it can be dropped.
CHUNK_BYTES = 64 * 1024


class Transport(Protocol):
    """What is used of an asyncio transport."""

    def write(self, data: bytes) -> None:
        """Send, or buffer what the socket does not take."""
        ...

    def is_closing(self) -> bool:
        """Tell whether nothing can be written any more."""
        ...

    def abort(self) -> None:
        """End at once and forget the buffer."""
        ...

    def close(self) -> None:
        """End after the buffer is sent."""
        ...

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are buffered."""
        ...

    def get_extra_info(self, name: str) -> Any:
        """Return the `socket`, where there is one."""
        ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may wait for each client of a node: so many bytes, and nothing for longer than `max_age` seconds."""

    clock: Clock
    max_bytes: int
    max_age: float


class Outbound:
    """The one way to a client. Bytes leave in the order in which they were written, whole frames at a time.

    The transport's protocol hands on what it is told: `pause`, `resume`, and `shut` when the connection is lost.
    """

    __slots__ = (
        "_account",
        "_bounds",
        "_drained",
        "_in_transport",
        "_is_aside",
        "_is_paused",
        "_is_shut",
        "_queue",
        "_queued_bytes",
        "_tap",
        "_transport",
        "_waits_since",
    )

    def __init__(self, transport: Transport, bounds: Bounds) -> None:
        self._transport = transport
        self._bounds = bounds
        # Of the rare cases below, whether there is any: the one thing that a write looks at.
        self._is_aside = False
        self._is_paused = False
        self._is_shut = False
        self._tap: Callable[[bytes], None] | None = None
        # Made when first needed: most clients read.
        self._queue: deque[tuple[float, bytes]] | None = None
        self._queued_bytes = 0
        # What the transport held when it was full: while it is, nothing is added, so it is no more than that.
        self._in_transport = 0
        self._account: Account | None = None
        # Since when the transport has taken nothing.
        self._waits_since = 0.0
        self._drained: asyncio.Future[None] | None = None

    @property
    def waiting_bytes(self) -> int:
        """How much waits for the client to read."""
        return self._queued_bytes + (0 if self._transport.is_closing() else self._transport.get_write_buffer_size())

    @property
    def held_bytes(self) -> int:
        """What waits here and in a full transport: what an account counts."""
        return self._queued_bytes + self._in_transport

    def count_in(self, account: Account) -> None:
        """Let `account` count what waits, from now on."""
        if self._account is None:
            self._account = account
            if self.held_bytes:
                account.add(self.held_bytes)

    @property
    def unread_bytes(self) -> int:
        """How much the client has not taken from the network: what waits, and what the kernel still has of it."""
        return self.waiting_bytes + _unacknowledged(self._transport)

    def tap(self, tap: Callable[[bytes], None] | None) -> None:
        """Show `tap` all that is written from now on, until another or None takes its place; it must not raise."""
        self._tap = tap
        self._look()

    @property
    def is_gone(self) -> bool:
        """Whether the transport takes nothing any more."""
        return self._transport.is_closing()

    @property
    def is_waiting(self) -> bool:
        """Whether the client does not take what is there for it: `is_stuck` must be asked within `max_age`."""
        return self._is_paused and not self._is_shut

    @property
    def takes_more(self) -> bool:
        """Whether what is written goes out at once."""
        return not (self._is_paused or self._queue or self._is_shut or self._transport.is_closing())

    def write(self, data: bytes) -> bool:
        """Send `data` (one or more whole frames) or queue it; return False when more waited than may wait.

        After `shut`, or on a transport that closes, it is dropped.
        """
        # Who is not watched pays nothing for the tap, which is one more of the rare cases.
        if self._is_aside:
            return self._write_aside(data)
        self._send(data)
        return True

    def write_if_free(self, data: bytes) -> bool:
        """Send `data` where the client has taken all that was sent before; return False, and forget it, where it has not.

        What is no more than CHUNK_BYTES makes no transport full by itself: nobody is cut for it. After `shut` it is dropped.
        """
        if self._is_shut or self._transport.is_closing():
            return True
        if self._is_paused or self._queue or self._transport.get_write_buffer_size():
            return False
        return self.write(data)

    def write_control(self, frame: bytes) -> None:
        """Do as `write` with a ping or a pong, which is no matter of who watches.

        Of pongs that wait one behind the other the last is kept (RFC 6455, section 5.5.3).
        """
        if self._is_shut:
            return
        if not self._queue and not self._is_paused:
            self._send(frame)
        elif self._queue and frame[0] == self._queue[-1][1][0] == FINAL_PONG:
            since, before = self._queue.pop()
            self._queue.append((since, frame))
            self._queued_bytes += len(frame) - len(before)
            self._count(len(frame) - len(before))
        else:
            self._queue_up(frame)

    def is_stuck(self) -> bool:
        """Tell whether the client has read nothing for too long."""
        if not self.is_waiting:
            return False
        since = self._waits_since if not self._queue else min(self._waits_since, self._queue[0][0])
        return self._bounds.clock.monotonic() - since > self._bounds.max_age

    def pause(self) -> None:
        """Queue what is written from now on: the transport is full."""
        self._is_paused = True
        self._waits_since = self._bounds.clock.monotonic()
        if not self._is_shut:
            self._in_transport = self._transport.get_write_buffer_size()
            self._count(self._in_transport)
        self._look()

    def resume(self) -> None:
        """Go on: the transport has room again."""
        self._is_paused = False
        self._count(-self._in_transport)
        self._in_transport = 0
        while self._queue and not self._is_paused and not self._is_shut:
            self._send(self._next_chunk())  # which may fill it again: then it says so meanwhile
        self._look()

    async def drained(self) -> None:
        """Return when nothing waits here and the transport has room, or when the connection has ended."""
        while (self._is_paused or self._queue) and not self._is_shut:
            if self._drained is None or self._drained.done():
                self._drained = asyncio.get_running_loop().create_future()
            # Shielded: one of several that wait here may be cancelled.
            await asyncio.shield(self._drained)

    def shut(self, last: bytes = b"", *, is_shown: bool = True) -> None:
        """Drop what waits here and send `last` as the end, shown to the tap or not; later writes are dropped."""
        if self._is_shut:
            return
        self._is_shut = True
        self._queue = None
        self._count(-self.held_bytes)
        self._queued_bytes = self._in_transport = 0
        self._look()
        if last:
            if is_shown and self._tap is not None:
                self._tap(last)
            self._send(last)

    def close(self) -> None:
        """End the transport when its buffer is sent."""
        self.shut()
        self._transport.close()

    def abort(self) -> None:
        """End the transport at once."""
        self.shut()
        self._transport.abort()

    def _look(self) -> None:
        """See which of the rare cases there are, and wake who waits for the end of them."""
        is_free = not self._is_paused and not self._queue
        self._is_aside = self._is_shut or self._tap is not None or not is_free
        if (is_free or self._is_shut) and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _count(self, size: int) -> None:
        if size and self._account is not None:
            self._account.add(size)

    def _send(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        try:
            self._transport.write(data)
        except (RuntimeError, OSError):
            # uvloop raises for a transport whose socket has died but whose loss is not reported yet: it is on its way.
            return

    def _write_aside(self, data: bytes) -> bool:
        if self._is_shut or self._transport.is_closing():
            return True
        if self._tap is not None:
            self._tap(data)
            if not self._queue and not self._is_paused:
                self._send(data)
                return True
        return self._queue_up(data)

    def _queue_up(self, data: bytes) -> bool:
        if self._queue is None:
            self._queue = deque()
        now = self._bounds.clock.monotonic()
        # What waited before counts: however much one read of the feed brings, a client that reads has the time to take it.
        is_in_time = self._queued_bytes <= self._bounds.max_bytes
        self._queue.append((now, data))
        self._queued_bytes += len(data)
        self._count(len(data))
        return is_in_time and now - self._queue[0][0] <= self._bounds.max_age

    def _next_chunk(self) -> bytes:
        queue = self._queue
        parts: list[bytes] = []
        size = 0
        while queue and size < CHUNK_BYTES:
            _, data = queue.popleft()
            parts.append(data)
            size += len(data)
        self._queued_bytes -= size
        self._count(-size)
        return b"".join(parts)


def _unacknowledged(transport: Transport) -> int:
    """Return how many bytes the kernel holds that the other side has not confirmed; 0 where it does not tell."""
    socket = None if transport.is_closing() else transport.get_extra_info("socket")
    if socket is None:
        return 0
    held = array("i", [0])
    try:
        ioctl(socket.fileno(), termios.TIOCOUTQ, held)  # of sockets only Linux answers it
    except OSError:
        return 0
    return held[0]
