"""One durable subscription on one node: leases for its sockets together, as pulls lease, and hands out what each has room for.

    outlook --> lease --> the takers in turn --> answers
       ^---- news of the log, an answer, room again, a lease's end, or the next look

Desks of several nodes, and pulls, compete in PostgreSQL. What a socket leaves unanswered is given back at once, and was an attempt,
for the client may have seen it: an event that kills whoever takes it becomes a dead letter. What no socket has seen was none.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import partial
from typing import Any, Protocol
from uuid import UUID

import structlog

from core.clock import Clock
from core.deadline import end_tasks, ended_within
from core.errors import HubError
from core.events.subscriptions.subscription import Answer, Delivery, Hold, Outlook
from hub.stream.acks import Acks
from hub.stream.commands import Ack, Extend, Nack, Settle
from hub.stream.taker import Taker, shared

MOST_LEASED = 100
# However it is told, a desk looks now and then: what happens on other nodes tells nobody. Less often where nothing is outstanding.
LOOK_SECONDS, IDLE_LOOK_SECONDS = 1.0, 5.0
SHORTEST_LOOK_SECONDS = 0.05
# What is due but kept back, by `max_in_flight` or an older event of its subject, waits for an answer, perhaps on another node.
KEPT_BACK_SECONDS = 0.25
RETRY_SECONDS = 0.5


class Leases(Protocol):
    """What a desk asks of the subscriptions (core.events.subscriptions.consumer.Consumer); all raise HubError."""

    async def outlook(self, org_id: UUID, id: UUID) -> Outlook | None:
        """Return how a subscription stands, and when there may be something to lease."""
        ...

    async def lease(self, org_id: UUID, id: UUID, most: int) -> list[Delivery]:
        """Take up to `most` deliveries that are due."""
        ...

    async def ack(self, org_id: UUID, id: UUID, holds: Sequence[Hold]) -> set[Hold]:
        """End deliveries; return those whose lease still held."""
        ...

    async def refuse(
        self,
        org_id: UUID,
        id: UUID,
        holds: Sequence[Hold],
        answer: Answer,
        *,
        delay_seconds: float | None = None,
        for_good: bool = False,
    ) -> set[Hold]:
        """Have deliveries come again later, or never; return those whose lease still held."""
        ...

    async def extend(self, org_id: UUID, id: UUID, holds: Sequence[Hold], seconds: float) -> dict[Hold, datetime]:
        """Let leases end later, or now; return those that still held."""
        ...

    async def give_back(self, org_id: UUID, id: UUID, holds: Sequence[Hold]) -> None:
        """Undo leases."""
        ...


class News(Protocol):
    """What waits for more events of an organisation (rooms.arrivals.News)."""

    async def wait(self, seconds: float) -> None:
        """Return when there may be more, at the latest after `seconds`; may be cancelled, and asked again."""
        ...


class Arrivals(Protocol):
    """Where news come from (rooms.arrivals.Arrivals)."""

    def following(self, org_id: UUID) -> AbstractAsyncContextManager[News]:
        """Follow the organisation's log."""
        ...


class Desk:
    """`run` works as long as there are takers, or something to give back. After `stop_leasing` it takes answers only."""

    def __init__(self, org_id: UUID, id: UUID, leases: Leases, arrivals: Arrivals, clock: Clock) -> None:
        self._org_id = org_id
        self._id = id
        self._leases = leases
        self._arrivals = arrivals
        self._clock = clock
        self._takers: dict[Taker, None] = {}
        self._left: list[Hold] = []
        self._watched: dict[Taker, asyncio.Task[None]] = {}
        self._acks = Acks(partial(leases.ack, org_id, id))
        self._stirred = asyncio.Event()
        self._is_leasing = True

    @property
    def is_needed(self) -> bool:
        """Whether there is something to do."""
        return bool(self._takers or self._left)

    def join(self, taker: Taker) -> None:
        """Let a socket take part."""
        self._takers[taker] = None
        self.stir()

    def leave(self, taker: Taker) -> None:
        """Let it take part no more, and others have what it has not answered."""
        self._takers.pop(taker, None)
        self._give_up(taker, taker.leave())

    def stop_leasing(self) -> None:
        """Hand nothing out any more."""
        self._is_leasing = False

    def stir(self) -> None:
        """Have it look now."""
        self._stirred.set()

    async def run(self) -> None:
        """Hand out until nobody takes part any more."""
        try:
            async with self._arrivals.following(self._org_id) as news:
                while self.is_needed:
                    await self._try_turn(news)
        finally:
            await end_tasks(self._watched.values())

    def settle(self, taker: Taker, command: Settle) -> Coroutine[Any, Any, set[Hold]]:
        """Take a client's answer; return what tells the deliveries whose lease still held, or raises HubError."""
        if isinstance(command, Extend):
            return self._extend(taker, command)
        # In this turn: who leaves in the next has answered these.
        return self._end_leases(taker, command, taker.take_out(command.holds))

    async def _extend(self, taker: Taker, command: Extend) -> set[Hold]:
        ends = await self._leases.extend(self._org_id, self._id, command.holds, command.seconds)
        end = self._clock.monotonic() + command.seconds
        taker.extend((hold for hold in command.holds if hold in ends), end)
        return set(ends)

    async def _end_leases(self, taker: Taker, command: Settle, mine: dict[Hold, float]) -> set[Hold]:
        try:
            done = await self._settled(command)
        except HubError:
            self._restore(taker, mine)
            raise
        finally:
            self.stir()
        taker.counts.consumed["acked" if isinstance(command, Ack) else "nacked"] += len(done)
        return done

    async def _settled(self, command: Settle) -> set[Hold]:
        if isinstance(command, Nack):
            return await self._leases.refuse(
                self._org_id,
                self._id,
                command.holds,
                Answer(text=command.reason),
                delay_seconds=command.delay_seconds,
                for_good=command.dead_letter,
            )
        done = await self._acks.add(command.holds)
        return done & set(command.holds)

    def _restore(self, taker: Taker, holds: dict[Hold, float]) -> None:
        if taker in self._takers:
            taker.take_back(holds)
        else:
            self._give_up(taker, list(holds))

    def _give_up(self, taker: Taker, holds: list[Hold]) -> None:
        self._left += holds
        taker.counts.consumed["returned"] += len(holds)
        self.stir()

    async def _try_turn(self, news: News) -> None:
        try:
            await self._turn(news)
        except HubError as refused:
            structlog.get_logger().warning("consumers_wait", subscription=str(self._id), code=refused.code)
            if not self._takers:  # what could not be given back comes again when its lease ends
                self._left.clear()
                return
            await self._clock.sleep(RETRY_SECONDS)

    async def _turn(self, news: News) -> None:
        """Give back, look, lease and hand out; or wait until there may be something to do."""
        # Before anything is read: what happens from here on is not missed.
        self._stirred.clear()
        await self._give_back()
        if not self._takers:
            return
        outlook = await self._leases.outlook(self._org_id, self._id)
        if outlook is None:
            self._end()
            return
        for taker in tuple(self._takers):
            taker.tell(outlook)
        room = self._room()
        is_due = outlook.seconds is not None and outlook.seconds <= 0
        if room and is_due and await self._hand_out(room, outlook):
            return
        await self._wait(news, outlook, hears=bool(room), is_due=is_due)

    async def _give_back(self) -> None:
        """Let what was left unanswered be leased again; these have been attempts."""
        while self._left:
            left = self._left[:MOST_LEASED]
            await self._leases.extend(self._org_id, self._id, left, 0.0)
            del self._left[: len(left)]

    async def _hand_out(self, room: int, outlook: Outlook) -> bool:
        leased = await self._leases.lease(self._org_id, self._id, min(room, MOST_LEASED))
        rest = shared(leased, self._takers, self._clock.monotonic() + outlook.ack_seconds)
        if rest:
            await self._leases.give_back(self._org_id, self._id, [each.hold for each in rest])
        return bool(leased)

    async def _wait(self, news: News, outlook: Outlook, *, hears: bool, is_due: bool) -> None:
        """Wait for a word, or until something is due; for the log only while somebody has room."""
        if outlook.seconds is None:
            seconds = IDLE_LOOK_SECONDS
        elif is_due:
            seconds = KEPT_BACK_SECONDS if hears else LOOK_SECONDS
        else:
            seconds = min(max(outlook.seconds, SHORTEST_LOOK_SECONDS), LOOK_SECONDS)
        waits: list[asyncio.Task[object]] = [asyncio.create_task(self._stirred.wait())]
        if hears and outlook.status == "active":
            waits.append(asyncio.create_task(news.wait(seconds)))
        try:
            await ended_within(self._clock, seconds, *waits)
        finally:
            for each in waits:
                each.cancel()
        for each in waits:
            if each.done() and not each.cancelled():
                each.result()

    def _room(self) -> int:
        """Return how many deliveries the takers have room for; who is slow is heard of when it has caught up."""
        if not self._is_leasing:
            return 0
        now = self._clock.monotonic()
        for taker in self._takers:
            taker.forget_late(now)
            if taker.is_slow and taker not in self._watched:
                task = self._watched[taker] = asyncio.create_task(taker.drained())
                task.add_done_callback(partial(self._flows, taker))
        return sum(taker.room for taker in self._takers)

    def _flows(self, taker: Taker, _task: "asyncio.Task[None]") -> None:
        self._watched.pop(taker, None)
        self.stir()

    def _end(self) -> None:
        takers = tuple(self._takers)
        self._takers.clear()
        for taker in takers:
            taker.leave()
            taker.end(HubError("RESOURCE_NOT_FOUND", "There is no such subscription any more"))
