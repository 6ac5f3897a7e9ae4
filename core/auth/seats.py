"""How many connections an organisation has open, on all nodes together, against its limit.

Each node sets its own share as a whole (seats.lua) and renews it; the share of a node that dies runs out by itself. All that is
wanted while one question is under way goes into the next, so a storm of handshakes costs a few round trips. While Redis is away a
node counts its own alone: the limit is then one for each node, never none, and nobody is shut out by it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from core.clock import Clock
from core.deadline import within
from core.errors import Detail, HubError
from core.store.redis import Redis, Script

LEASE_SECONDS = 15.0
BEAT_SECONDS = 5.0
# A handshake waits no longer for Redis; after that the node counts alone for a while, and nobody waits.
ASK_SECONDS = 1.0
ALONE_SECONDS = 2.0
RETRY_SECONDS = 5
ASKED_TOGETHER = 500
_SCRIPT = Path(__file__).with_name("seats.lua")


class Seat:
    """The right to one open connection."""

    def __init__(self, seats: "Seats", org_id: UUID) -> None:
        self._seats: Seats | None = seats
        self._org_id = org_id

    def give_back(self) -> None:
        """Let somebody else have it; a second time does nothing."""
        if self._seats is not None:
            self._seats.give_back(self._org_id)
            self._seats = None


@dataclass(slots=True)
class _Share:
    """What this node has of one organisation; `told` is what Redis was told last."""

    held: int = 0
    told: int = 0
    limit: int = 0
    waiting: list[asyncio.Future[bool]] = field(default_factory=list["asyncio.Future[bool]"])


class Seats:
    """The shares of one node, which is called `node`. `run` must run; `close` gives everything back."""

    def __init__(self, redis: Redis, clock: Clock, *, node: str) -> None:
        self._redis = redis
        self._clock = clock
        self._node = node
        self._script = Script(_SCRIPT)
        self._shares: dict[UUID, _Share] = {}
        self._due: set[UUID] = set()
        self._something_is_due = asyncio.Event()
        self._alone_until = 0.0
        self._log = structlog.get_logger()

    def held(self, org_id: UUID) -> int:
        """Return how many seats of an organisation this node holds."""
        share = self._shares.get(org_id)
        return 0 if share is None else share.held

    async def take(self, org_id: UUID, limit: int) -> Seat:
        """Return a seat; raises HubError RATE_LIMIT_EXCEEDED where the organisation has `limit` already."""
        share = self._shares.setdefault(org_id, _Share())
        share.limit = limit
        granted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        share.waiting.append(granted)
        self._ask_for(org_id)
        try:
            is_granted = await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.result():
                self.give_back(org_id)  # it was granted in the turn in which its taker went away
            raise
        if not is_granted:
            detail = Detail("concurrent_connections", "VALUE_OUT_OF_RANGE", f"At most {limit} connections at once")
            raise HubError("RATE_LIMIT_EXCEEDED", details=[detail], retry_after=RETRY_SECONDS)
        return Seat(self, org_id)

    def give_back(self, org_id: UUID) -> None:
        """Take one seat off this node's share; for Seat."""
        share = self._shares.get(org_id)
        if share is not None and share.held > 0:  # else everything was given back by `close`
            share.held -= 1
            self._ask_for(org_id)

    async def run(self) -> None:
        """Answer those who want seats, and renew what is held, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._answer())
            group.create_task(self._beat())

    async def close(self) -> None:
        """Give back what is held, if Redis takes it; else it runs out."""
        for share in self._shares.values():
            share.held = 0
            for granted in share.waiting:
                granted.cancel()
        told = [org_id for org_id, share in self._shares.items() if share.told]
        self._shares = {org_id: _Share() for org_id in told}
        for start in range(0, len(told), ASKED_TOGETHER):
            await self._ask(told[start : start + ASKED_TOGETHER])

    def _ask_for(self, org_id: UUID) -> None:
        self._due.add(org_id)
        self._something_is_due.set()

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(BEAT_SECONDS)
            for org_id in self._shares:
                self._ask_for(org_id)

    async def _answer(self) -> None:
        while True:
            await self._something_is_due.wait()
            some = list(self._due)[:ASKED_TOGETHER]
            self._due.difference_update(some)
            if not self._due:
                self._something_is_due.clear()
            wanted = {org_id: list(self._shares[org_id].waiting) for org_id in some if org_id in self._shares}
            answers = await self._ask(list(wanted))
            for (org_id, waiting), granted in zip(wanted.items(), answers, strict=True):
                self._settle(org_id, waiting, granted)

    async def _ask(self, org_ids: Sequence[UUID]) -> list[int]:
        """Tell Redis the shares of these, and return how many more seats each gets; counts alone while Redis is away."""
        asked = [(org_id, self._shares[org_id], len(self._shares[org_id].waiting)) for org_id in org_ids]
        alone = [max(0, min(wanted, share.limit - share.held)) for _, share, wanted in asked]
        if not asked or self._clock.monotonic() < self._alone_until:
            return alone
        calls = [
            ((f"seats:{{{org_id}}}",), (self._node, share.held, wanted, share.limit, round(LEASE_SECONDS * 1000)))
            for org_id, share, wanted in asked
        ]
        held = [share.held for _, share, _ in asked]
        try:
            answers = await within(self._clock, ASK_SECONDS, self._script.run_each(self._redis, calls))
        except TimeoutError as error:
            answers = list[Any]([error]) * len(asked)
        self._note([answer for answer in answers if isinstance(answer, Exception)], of=len(asked))
        granted: list[int] = []
        for (_, share, _), was_held, answer, own in zip(asked, held, answers, alone, strict=True):
            if isinstance(answer, Exception):
                granted.append(own)
            else:
                granted.append(int(answer[0]))
                share.told = was_held + granted[-1]
        return granted

    def _note(self, errors: Sequence[Exception], *, of: int) -> None:
        """Note whether Redis answers. In a cluster one server may not, and its organisations alone are counted alone."""
        if len(errors) == of:
            if not self._alone_until:
                self._log.warning("seats_counted_alone", error=type(errors[0]).__name__)
            self._alone_until = self._clock.monotonic() + ALONE_SECONDS
        elif self._alone_until:
            self._alone_until = 0.0
            self._log.info("seats_counted_together")

    def _settle(self, org_id: UUID, waiting: Sequence["asyncio.Future[bool]"], granted: int) -> None:
        share = self._shares[org_id]
        for future in waiting:
            share.waiting.remove(future)
            if not future.done():
                future.set_result(granted > 0)
                if granted > 0:
                    share.held += 1
                    granted -= 1
        if granted or share.waiting:
            self._ask_for(org_id)  # who wanted it has gone, or more have come
        elif not share.held and not share.told:
            del self._shares[org_id]
