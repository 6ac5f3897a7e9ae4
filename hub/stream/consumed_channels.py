"""The durable subscriptions that one connection consumes: joining, answers, leaving. Wire form: docs/protocol.md, "Consuming"."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any
from uuid import UUID

from core.errors import HubError
from core.events.subscriptions.subscription import Hold, Outlook
from hub.stream.commands import Settle
from hub.stream.subscription import Owner, Sources, Subscription
from hub.stream.taker import Taker
from rooms.names import parse_channel

# How long a subscribe waits for PostgreSQL before its channel is refused.
PATIENCE_SECONDS = 10.0
RETRY_SECONDS = 0.25


class ConsumedChannels:
    """What Subscriptions leaves to it. `lost` is called for a channel whose subscription is no more."""

    __slots__ = ("_lost", "_owner", "_sources")

    def __init__(self, owner: Owner, sources: Sources, lost: Callable[[str, HubError], None]) -> None:
        self._owner = owner
        self._sources = sources
        self._lost = lost

    async def place(self, org_id: UUID, subscriptions: Iterable[Subscription]) -> Mapping[str, HubError]:
        """Find the subscriptions; return those that are refused, by channel."""
        refused: dict[str, HubError] = {}
        for each in subscriptions:
            try:
                outlook = await self._outlook(org_id, _id_of(each))
                each.taker = self._taker(each, outlook)
            except HubError as error:
                refused[each.channel] = error
        return refused

    def begin(self, org_id: UUID, subscriptions: Iterable[Subscription]) -> None:
        """Take part in those that are placed. `subscribed` has been sent."""
        for each in subscriptions:
            if each.taker is not None and not each.is_live:
                each.is_live = True
                self._sources.consumers.join(org_id, _id_of(each), each.taker)

    def leave(self, org_id: UUID, subscription: Subscription) -> None:
        """Take part no more; what was not answered is given back."""
        if subscription.taker is not None and subscription.is_live:
            subscription.is_live = False
            self._sources.consumers.leave(org_id, _id_of(subscription), subscription.taker)

    def settle(
        self, org_id: UUID, subscription: Subscription | None, command: Settle
    ) -> Coroutine[Any, Any, None] | None:
        """Take an answer, or refuse it; return what the connection's next frame has to wait for.

        Answers to what the client holds are as many as it holds, and go on beside other frames; all others, one by one.
        """
        if subscription is None or subscription.taker is None or not subscription.is_live:
            refused = HubError("CHANNEL_NOT_FOUND", "The connection does not consume this channel")
            self._refuse(command, refused)
            return None
        is_held = subscription.taker.holds_all(command.holds)
        settling = self._sources.consumers.settle(org_id, _id_of(subscription), subscription.taker, command)
        # What the client has said counts also where it leaves before that is done.
        task = self._sources.consumers.spawn(self._settle(command, settling))
        return None if is_held else _ended(task)

    async def _settle(self, command: Settle, settling: Coroutine[Any, Any, set[Hold]]) -> None:
        try:
            done = await settling
        except HubError as refused:
            self._refuse(command, refused)
        except Exception as fault:  # noqa: BLE001 - a fault in one connection must not be lost with its task
            self._owner.crashed(fault)
        else:
            self._answer(command, done)

    def _answer(self, command: Settle, done: set[Hold]) -> None:
        lost = [str(hold) for hold in command.holds if hold not in done]
        if command.id is None and not lost:
            return
        said = {"done": [str(hold) for hold in command.holds if hold in done], "lost": lost}
        self._sources.fanout.say(self._owner, self._owner.wire.reply("result", command.id, result=said))

    def _refuse(self, command: Settle, refused: HubError) -> None:
        self._sources.counts.refused += 1
        said = self._owner.wire.error(command.id, self._owner.error_object(refused))
        self._sources.fanout.say(self._owner, said)

    def _taker(self, subscription: Subscription, outlook: Outlook | None) -> Taker:
        if outlook is None:
            raise HubError("CHANNEL_NOT_FOUND", "There is no subscription with this id")
        if outlook.delivery != "socket":
            raise HubError("RESOURCE_CONFLICT", f"This subscription is delivered by {outlook.delivery}, not by socket")
        channel, most = subscription.channel, subscription.wanted.max_in_flight
        made = Taker(channel, self._owner, self._sources.fanout, most, lambda why: self._lost(channel, why))
        made.status = outlook.status
        return made

    async def _outlook(self, org_id: UUID, id: UUID) -> Outlook | None:
        clock = self._sources.clock
        until = clock.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await self._sources.consumers.outlook(org_id, id)
            except HubError:
                if clock.monotonic() >= until:
                    raise
                await clock.sleep(RETRY_SECONDS)


def _id_of(subscription: Subscription) -> UUID:
    id = parse_channel(subscription.channel).resource_id
    assert id is not None  # noqa: S101 - the protocol has admitted the name
    return id


async def _ended(task: "asyncio.Task[None]") -> None:
    await asyncio.shield(task)
