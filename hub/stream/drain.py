"""How a stopping node sends its sockets to the others: one after the other, so that nobody sees a stampede.

A socket is served until its turn comes, so a client misses no more than its own way back takes. Those whose turn lies behind the
deadline go at the end, all together, each with the time that it is to wait; so the others see the same rate either way.
"""

from collections.abc import Sequence
from typing import Protocol

from core.clock import Clock

TICK_SECONDS = 0.05
# The end of a drain: what is left is told to go, and has this long to answer the close.
LAST_CALL_SECONDS = 1.0
# Clients do not wait longer than this, whatever the rate.
MAX_SLOT_SECONDS = 300.0
# A client's way back varies: a little under the rate, the others see at most the rate.
_SHARE = 0.9


class Leaves(Protocol):
    """A socket."""

    def announce_restart(self, after_ms: int) -> None:
        """Tell the client to come back after so long, and end; nothing happens where it has ended."""
        ...


async def send_away(sockets: Sequence[Leaves], *, rate: float, clock: Clock, deadline: float) -> None:
    """End every socket, at most `rate` a second coming back; returns when all are told, before `deadline` (monotonic)."""
    turn = clock.monotonic()
    last_call = deadline - min(LAST_CALL_SECONDS, max(0.0, deadline - turn) / 2)
    gap = 1 / (rate * _SHARE)
    told = 0
    while told < len(sockets):
        now = clock.monotonic()
        until = float("inf") if now >= last_call else now + TICK_SECONDS
        # Turns that this node has slept through are not made up for: they would all come back in one moment.
        turn = max(turn, now)
        while told < len(sockets) and turn < until:
            sockets[told].announce_restart(round(min(MAX_SLOT_SECONDS, turn - now) * 1000))
            turn += gap
            told += 1
        if told < len(sockets):
            await clock.sleep(TICK_SECONDS)
