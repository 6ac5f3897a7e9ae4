"""Pulling from a subscription, and answering what was pulled."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import Any, Protocol
from uuid import UUID

import orjson

from core.clock import Clock, rfc3339
from core.deadline import within
from core.errors import Detail, HubError
from core.events.subscriptions import deliveries
from core.events.subscriptions.consumer import Consumer
from core.events.subscriptions.dead_letters import announcements
from core.events.subscriptions.subscription import Answer, Delivery, Hold
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Shown
from core.presence import caller_is_gone
from handlers.lists.turns import Turns
from handlers.subscriptions.models import Ack, Answered, Extend, Nack, Pull, PulledEvents
from handlers.subscriptions.rights import check_caller, found, missing, parsed

_WRITE = "write:subscriptions"
# A pull ends so long before its caller's patience does.
SPARE_SECONDS = 1.0
# However it is told, who waits looks now and then: what a lease's end makes due tells nobody.
LONGEST_LOOK_SECONDS = 5.0
SHORTEST_LOOK_SECONDS = 0.05
# What is due but kept back, by `max_in_flight` or an older event of its subject, waits for another consumer's answer.
KEPT_BACK_SECONDS = 0.25


class News(Protocol):
    """What waits for more events of an organisation (rooms.arrivals.News)."""

    async def wait(self, seconds: float) -> None:
        """Return when there may be more, at the latest after `seconds`."""
        ...


class Arrivals(Protocol):
    """Where news come from (rooms.arrivals.Arrivals)."""

    def following(self, org_id: UUID) -> AbstractAsyncContextManager[News]:
        """Follow the organisation's log."""
        ...


class Consuming:
    """What consumers do, counted in `counts`.

    A pull holds no transaction and no connection while it waits, not even for others that pull.

    A lease holds the subscription's row: of those who would wait for it, one has a connection. Of those who wait for events, one
    looks; when it has some, the next one does.
    """

    def __init__(self, consumer: Consumer, arrivals: Arrivals, clock: Clock, counts: Counter[str]) -> None:
        self._counts = counts
        self._consumer = consumer
        self._arrivals = arrivals
        self._clock = clock
        self._leasing = Turns(1)
        self._looking = Turns(1)

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation("subscriptions.pull", scope=_WRITE, transaction="none", input=Pull, result=Shown, shows=PulledEvents)
    async def pull(self, ctx: Context, wanted: Pull) -> Shown:
        """Take events; each is the caller's until its lease ends, and comes again where it is not acknowledged by then."""
        check_caller(ctx.caller, sees_events=True)
        id = parsed(wanted.id)
        if await self._consumer.way(ctx.caller.org_id, id) not in ("pull", "socket"):
            missing()
        until = min(self._clock.monotonic() + wanted.wait_seconds, ctx.deadline - SPARE_SECONDS)
        leased = await self._lease(ctx.caller.org_id, id, wanted.max)
        if not leased and wanted.wait_seconds:
            leased = await self._wait(ctx.caller.org_id, id, wanted.max, until)
        self._counts.update(delivered=len(leased), expired=sum(each.expired for each in leased))
        return Shown(orjson.dumps({"deliveries": [_shown(each) for each in leased]}).decode())

    @operation("subscriptions.ack", scope=_WRITE, transaction="write", input=Ack, result=Shown, shows=Answered)
    async def ack(self, ctx: Context, wanted: Ack) -> Shown:
        """Acknowledge: the event is done, and does not come again."""
        holds = await self._holds(ctx, wanted)
        done = await deliveries.ack(ctx.db, ctx.caller.org_id, parsed(wanted.id), list(holds.values()))
        ctx.after_commit(partial(self._counts.update, acknowledged=len(done)))
        return _answered(holds, done)

    @operation("subscriptions.nack", scope=_WRITE, transaction="write", input=Nack, result=Shown, shows=Answered)
    async def nack(self, ctx: Context, wanted: Nack) -> Shown:
        """Refuse: the event comes again later, or becomes a dead letter."""
        holds = await self._holds(ctx, wanted)
        refused, buried = await deliveries.refuse(
            ctx.db,
            ctx.caller.org_id,
            parsed(wanted.id),
            list(holds.values()),
            answer=Answer(text=wanted.reason),
            delay_seconds=wanted.delay_seconds,
            for_good=wanted.dead_letter,
        )
        for told in announcements(parsed(wanted.id), buried):
            ctx.emit(told.type, told.subject, told.data)
        ctx.after_commit(partial(self._counts.update, refused=len(refused)))
        return _answered(holds, refused)

    @operation("subscriptions.extend", scope=_WRITE, transaction="write", input=Extend, result=Shown, shows=Answered)
    async def extend(self, ctx: Context, wanted: Extend) -> Shown:
        """Keep events for longer; the time is counted from now."""
        holds = await self._holds(ctx, wanted)
        ends = await deliveries.extend(
            ctx.db, ctx.caller.org_id, parsed(wanted.id), list(holds.values()), wanted.seconds
        )
        return _answered(holds, set(ends))

    async def _lease(self, org_id: UUID, id: UUID, most: int) -> list[Delivery]:
        async with self._leasing.taken(id):
            return [] if caller_is_gone() else await self._consumer.lease(org_id, id, most)

    async def _wait(self, org_id: UUID, id: UUID, most: int, until: float) -> list[Delivery]:
        async with AsyncExitStack() as stack:
            turn = stack.enter_async_context(self._looking.taken(id))
            try:
                await within(self._clock, until - self._clock.monotonic(), turn)
            except TimeoutError:
                return []
            news = await stack.enter_async_context(self._arrivals.following(org_id))
            return await self._look(news, org_id, id, most, until)

    async def _look(self, news: News, org_id: UUID, id: UUID, most: int, until: float) -> list[Delivery]:
        while (left := until - self._clock.monotonic()) > 0 and not caller_is_gone():
            due = await self._consumer.next_due(org_id, id)
            if due is not None and due <= 0:
                if leased := await self._lease(org_id, id, most):
                    return leased
                due = KEPT_BACK_SECONDS
            look = LONGEST_LOOK_SECONDS if due is None else max(due, SHORTEST_LOOK_SECONDS)
            await news.wait(min(left, look, LONGEST_LOOK_SECONDS))
        return []

    async def _holds(self, ctx: Context, wanted: Ack) -> Mapping[str, Hold]:
        check_caller(ctx.caller)
        await found(ctx, wanted.id)
        holds = {text: Hold.parse(text) for text in wanted.ack_ids}
        wrong = [
            Detail(f"ack_ids[{index}]", "INVALID_FORMAT", "An ack_id is written as a pull has given it")
            for index, text in enumerate(wanted.ack_ids)
            if holds[text] is None
        ]
        if wrong:
            raise HubError("VALIDATION_ERROR", details=wrong)
        return {text: hold for text, hold in holds.items() if hold is not None}


def _answered(holds: Mapping[str, Hold], done: Set[Hold]) -> Shown:
    said: dict[str, Sequence[str]] = {
        "done": [text for text, hold in holds.items() if hold in done],
        "lost": [text for text, hold in holds.items() if hold not in done],
    }
    return Shown(orjson.dumps(said).decode())


def _shown(delivery: Delivery) -> dict[str, Any]:
    return {
        "ack_id": str(delivery.hold),
        "attempt": delivery.attempt,
        "lease_until": rfc3339(delivery.lease_until),
        "position": str(delivery.position),
        "replayed": delivery.replayed,
        "event": orjson.Fragment(delivery.envelope),
    }
