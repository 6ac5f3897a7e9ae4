"""At what pace handshakes are taken: a storm of them must not hold up the sockets that are open, nor be served all too late.

enter --> at once, or in its order with so many others a turn of the loop and a second, or refused with the time to come back
"""

import asyncio
from math import ceil

from core.bucket import Bucket
from core.clock import Clock
from core.pressure import RETRY_SECONDS, Calm, Part, Pressed
from hub.stream.counts import StreamCounts
from hub.stream.returns import NotNowError, Returns
from hub.stream.turnstile import Turnstile

# A client waits for an answer to its handshake about as long; whoever would wait longer is refused at once, and told when to come.
PATIENCE_SECONDS = 5.0
# Of the places of those who wait, one credential or address has at most this part.
SHARE = 0.9
# So much of a second's permits may be used at once after a pause, and the rest comes with the second: in no second are there more.
BURST = 0.1
# Permits are waited for in steps of this many seconds.
STEP_SECONDS = 0.01


class Gate:
    """`per_turn` handshakes go on in a turn of the loop, and `per_second` in any second; `most` wait for theirs.

    What is refused comes back at `rate` a second. Those who wait go by turns of who they say they are, so that one client's many
    do not keep out another's one. Under `pressure` all are refused.
    """

    def __init__(
        self,
        clock: Clock,
        counts: StreamCounts,
        *,
        per_turn: int,
        most: int,
        rate: float,
        per_second: float = 1_000_000.0,
        pressure: Pressed | None = None,
    ) -> None:
        self._clock = clock
        self._counts = counts
        self._burst = max(1.0, per_second * BURST)
        self._per_second = per_second * (1 - BURST)
        self._bucket = Bucket(clock.monotonic(), self._burst)
        self._most = min(most, ceil(per_second * PATIENCE_SECONDS))
        self._returns = Returns(clock, min(rate, self._per_second))
        self._pressure = pressure or Calm()
        self._turnstile = Turnstile[str](per_turn, self._may_go, self._await_permit)
        self._filling: asyncio.Task[None] | None = None

    async def enter(self, owner: str = "") -> None:
        """Return when it is this handshake's turn; `owner` is who it says it is of.

        Raises NotNowError at once where too many wait, or the node has too much to do, each time with a later slot.
        """
        if self._pressure.gives_up(Part.JOINS):
            raise self._refusal("The hub is too busy for more streams for the moment", RETRY_SECONDS)
        if self._turnstile.try_enter():
            return
        waiting = len(self._turnstile)
        if waiting >= self._most or self._turnstile.size_of(owner) >= max(1, self._most * SHARE):
            # Those who wait are in by then.
            raise self._refusal("Too many streams are being opened for the moment", waiting / self._per_second)
        self._counts.handshakes_waiting += 1
        try:
            await self._turnstile.wait(owner)
        finally:
            self._counts.handshakes_waiting -= 1

    def close(self) -> None:
        """End what waits for permits."""
        if self._filling is not None:
            self._filling.cancel()

    def _refusal(self, why: str, least: float) -> NotNowError:
        self._counts.handshakes_refused += 1
        return NotNowError(why, self._returns.slot(least))

    def _may_go(self) -> bool:
        if self._bucket.fill(self._clock.monotonic(), self._per_second, self._burst) < 1:
            return False
        self._bucket.left -= 1
        return True

    def _await_permit(self) -> None:
        if self._filling is None:
            self._filling = asyncio.get_running_loop().create_task(self._fill())

    async def _fill(self) -> None:
        """Go on once there is a permit."""
        try:
            await self._clock.sleep(max(STEP_SECONDS, (1 - self._bucket.left) / self._per_second))
        finally:
            self._filling = None
        self._turnstile.go_on()
