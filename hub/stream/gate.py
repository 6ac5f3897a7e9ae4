"""At what pace handshakes are taken: a storm of them must not hold up the sockets that are open, nor be served all too late.

enter --> at once, or in its order with so many others a turn of the loop, or refused with the time to come back
"""

import asyncio
from collections import deque
from math import ceil

from core.clock import Clock
from core.errors import HubError
from hub.stream.counts import StreamCounts

# Clients do not wait longer than this, however many are refused.
MAX_SLOT_SECONDS = 60


class Gate:
    """`per_turn` handshakes go on in a turn of the loop, `most` wait for theirs; what is refused comes back at `rate` a second."""

    def __init__(self, clock: Clock, counts: StreamCounts, *, per_turn: int, most: int, rate: float) -> None:
        self._clock = clock
        self._counts = counts
        self._per_turn = per_turn
        self._most = most
        self._gap = 1 / rate
        self._left = per_turn
        self._is_turning = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._next_slot = 0.0

    async def enter(self) -> None:
        """Return when it is this handshake's turn.

        Raises HubError SERVICE_UNAVAILABLE at once where too many wait, each time with a later slot.
        """
        if not self._is_turning:
            self._is_turning = True
            self._left = self._per_turn
            asyncio.get_running_loop().call_soon(self._turn)
        if self._left > 0:
            self._left -= 1
            return
        if len(self._waiting) >= self._most:
            self._counts.handshakes_refused += 1
            raise HubError(
                "SERVICE_UNAVAILABLE", "Too many streams are being opened for the moment", retry_after=self._slot()
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._counts.handshakes_waiting = len(self._waiting)
        await turn

    def _turn(self) -> None:
        """Let the next ones go on; what else the loop has to do comes between two turns."""
        self._left = self._per_turn
        while self._waiting and self._left > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._left -= 1
        self._counts.handshakes_waiting = len(self._waiting)
        if self._waiting or self._left < self._per_turn:
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._is_turning = False

    def _slot(self) -> int:
        """Return after how many seconds to come back: at least one, so that those who wait are in by then."""
        now = self._clock.monotonic()
        self._next_slot = min(max(self._next_slot, now) + self._gap, now + MAX_SLOT_SECONDS)
        return max(1, ceil(self._next_slot - now))
