"""The live rooms of one connection: its own room from the start, those that it subscribes to, catching up, leaving."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from uuid import UUID

from core.errors import HubError
from hub.stream.subscription import Owner, Sources, Subscription, chunks_of
from rooms.live_feed import LiveFeed
from rooms.live_recovery import Place
from rooms.live_store import Head
from rooms.live_wire import LiveEntry
from rooms.recovery import Bookmark, Start

# What the rooms of one frame send in the turn that answers it; the others follow as the client reads.
AT_ONCE_BYTES = 256 * 1024
# How long a subscribe waits for Redis to answer before its channel is refused.
PATIENCE_SECONDS = 10.0
RETRY_SECONDS = 0.25


class LiveChannels:
    """What Subscriptions leaves to it.

    `is_current` tells whether a subscription was not left meanwhile; `lose` leaves a channel, and says why.
    """

    __slots__ = ("_is_current", "_is_in_own", "_lose", "_org_id", "_own", "_owner", "_sources")

    def __init__(
        self,
        owner: Owner,
        sources: Sources,
        is_current: Callable[[Subscription], bool],
        lose: Callable[[str, HubError], None],
    ) -> None:
        self._owner = owner
        self._sources = sources
        self._is_current = is_current
        self._lose = lose
        self._org_id: UUID | None = None
        self._own = ""
        self._is_in_own = False

    def enter_own(self, org_id: UUID, channel: str) -> None:
        """Put the connection into the room of its subject, once. Nothing is awaited or asked for that."""
        if self._own:
            return
        self._org_id, self._own, self._is_in_own = org_id, channel, True
        self._sources.live.hold(org_id, channel)
        self._sources.fanout.join(org_id, channel, self._owner)

    def leave_own(self, channel: str) -> bool:
        """Leave the own room, if this is it; tell whether the connection was in it without having subscribed."""
        if not self._is_in_own or channel != self._own or self._org_id is None:
            return False
        self._is_in_own = False
        self._sources.fanout.leave(self._org_id, channel, self._owner)
        return True

    def return_to_own(self, channel: str) -> None:
        """Undo leave_own: the subscription that was to take its place is refused."""
        if channel == self._own and self._org_id is not None:
            self._is_in_own = True
            self._sources.fanout.join(self._org_id, channel, self._owner)

    async def place(self, org_id: UUID, subscriptions: Sequence[Subscription]) -> Mapping[str, HubError]:
        """Hold the rooms and find where each subscription starts; return those that are refused, by channel."""
        outcomes = await asyncio.gather(*(self._place(org_id, each) for each in subscriptions), return_exceptions=True)
        refused: dict[str, HubError] = {}
        for each, outcome in zip(subscriptions, outcomes, strict=True):
            if isinstance(outcome, HubError):
                refused[each.channel] = outcome
            elif outcome is not None:
                raise outcome
        return refused

    def begin(self, org_id: UUID, subscriptions: Iterable[Subscription]) -> list[Subscription]:
        """Tell resets, and make live what needs no waiting; return the others, for catch_up. `subscribed` has been sent."""
        behind: list[Subscription] = []
        left = AT_ONCE_BYTES
        for each in subscriptions:
            place, feed = each.place, each.feed
            if place is None or feed is None:
                continue
            if place.reset is not None:
                self._tell_reset(each, place)
            if left > 0:
                left -= self._say_beginning(each)
            rest = None if left <= 0 else self._sources.live.recovery.try_go_live(feed, each.channel, place)
            if rest is None:
                behind.append(each)
            else:
                left -= self._go_live(org_id, each, rest)
        return behind

    async def catch_up(self, org_id: UUID, subscriptions: Sequence[Subscription]) -> None:
        """Bring the subscriptions up to date, one after the other, as the client reads."""
        for each in subscriptions:
            await self._owner.outbound.drained()
            try:
                await self._catch_up(org_id, each)
            except _BeginAnew:
                await self.begin_anew(org_id, each)

    async def begin_anew(self, org_id: UUID, subscription: Subscription) -> None:
        """After a reset that the client was told: tell it what was said so far, then what follows, and make it live."""
        while self._is_current(subscription):
            await self._owner.outbound.drained()
            await self._open_anew(subscription)
            try:
                await self._catch_up(org_id, subscription)
            except _BeginAnew:
                continue
            return

    def step_back(self, org_id: UUID, subscription: Subscription, epoch: str, offset: int) -> None:
        """Leave the room for a while: the subscription goes on after `offset`."""
        subscription.is_live = False
        self._sources.fanout.leave(org_id, subscription.channel, self._owner, subscription.view)
        if subscription.feed is not None:
            life = subscription.feed.life
            put(subscription, Place(offset, epoch, recovered=False, reset=None, sequence=offset, life=life))

    async def check(self, channel: str) -> None:
        """Lose a channel whose room has a beginning that the caller may not know of."""
        caller, openings = self._owner.caller, self._sources.openings
        while caller is not None and openings is not None:
            try:
                await openings.check(caller, channel)
            except HubError as refused:
                if is_final(refused):
                    self._lose(channel, refused)
                    return
                await self._sources.clock.sleep(RETRY_SECONDS)
            else:
                return

    def leave(self, org_id: UUID, subscription: Subscription) -> None:
        """Give the room back; the connection is no member of it any more."""
        feed = subscription.feed
        if feed is None:
            return
        subscription.feed = None
        if not self._sources.fanout.size(org_id, subscription.channel):
            feed.forget(subscription.channel)
        self._sources.live.release(org_id, subscription.channel)

    def close(self) -> None:
        """Leave the own room for good."""
        if self._own and self._org_id is not None:
            self.leave_own(self._own)
            self._sources.live.release(self._org_id, self._own)
            self._org_id = None

    async def _place(self, org_id: UUID, subscription: Subscription) -> None:
        clock = self._sources.clock
        wanted = subscription.wanted
        until = clock.monotonic() + PATIENCE_SECONDS
        while self._is_current(subscription):
            try:
                if subscription.feed is None:
                    subscription.feed = await self._sources.live.acquire(org_id, wanted.channel)
                    if not self._is_current(subscription):
                        self.leave(org_id, subscription)
                        return
                mark = Bookmark(wanted.offset, wanted.epoch)
                subscription.place = await self._where(subscription, subscription.feed, mark)
                return
            except HubError as refused:
                if is_final(refused) or clock.monotonic() >= until:
                    raise
                await clock.sleep(RETRY_SECONDS)

    async def _where(self, subscription: Subscription, feed: LiveFeed, mark: Bookmark) -> Place:
        """Return where a subscription starts, and note what is to be told before."""
        channel, caller, openings = subscription.channel, self._owner.caller, self._sources.openings
        if openings is None or caller is None or not openings.covers(channel):
            return await self._sources.live.recovery.place(feed, channel, mark)
        place, subscription.beginning = await openings.open(feed, caller, channel, mark)
        return place

    async def _open_anew(self, subscription: Subscription) -> None:
        """Find what is to be told after a reset; what follows is what follows that, and the place that the reset told."""
        told = subscription.place
        while (feed := subscription.feed) is not None and told is not None and self._is_current(subscription):
            try:
                place = await self._where(subscription, feed, Bookmark())
            except HubError as refused:
                if is_final(refused):
                    self._lose(subscription.channel, refused)
                    return
                await self._sources.clock.sleep(RETRY_SECONDS)
                continue
            if told.life == place.life and told.after < place.after:
                # What the client has read elsewhere since the reset may be older than what was said so far.
                place = replace(told, reset=None)
            put(subscription, place)
            return

    async def _catch_up(self, org_id: UUID, subscription: Subscription) -> None:
        """Bring a subscription up to date. Raises _BeginAnew where the room, which has a beginning, was reset meanwhile."""
        if subscription.feed is None or subscription.place is None or not self._is_current(subscription):
            return
        self._say_beginning(subscription)
        await self._sources.live.recovery.catch_up(
            subscription.feed,
            subscription.channel,
            subscription.place,
            partial(self._deliver, subscription),
            partial(self._go_live, org_id, subscription),
            partial(self._reset, subscription),
        )

    def _say_beginning(self, subscription: Subscription) -> int:
        """Send what was said so far, if there is something; return how many bytes that was."""
        envelope, place = subscription.beginning, subscription.place
        subscription.beginning = None
        if envelope is None or place is None or not self._is_current(subscription):
            return 0
        frame = subscription.frame_of(LiveEntry(place.after, subscription.channel, envelope, place.after, ""))
        self._write(frame)
        return len(frame)

    def _reset(self, subscription: Subscription, place: Place) -> None:
        self._tell_reset(subscription, place)
        if self._sources.has_beginning(subscription.channel):
            raise _BeginAnew

    async def _deliver(self, subscription: Subscription, entries: list[LiveEntry]) -> None:
        for chunk in chunks_of([subscription.frame_of(entry) for entry in entries]):
            if not self._is_current(subscription):
                return
            self._write(chunk)
            await self._owner.outbound.drained()
        subscription.sent = entries[-1].position

    def _go_live(self, org_id: UUID, subscription: Subscription, rest: list[LiveEntry]) -> int:
        """Send the rest and become a member, in one turn; return how many bytes that was."""
        if not self._is_current(subscription):
            return 0
        data = b"".join([subscription.frame_of(entry) for entry in rest])
        self._sources.counts.recoveries["room"] += bool(rest)
        self._write(data)
        if not self._is_current(subscription):  # the connection was cut for not reading
            return 0
        subscription.is_live = True
        self._sources.fanout.join(org_id, subscription.channel, self._owner, subscription.view)
        return len(data)

    def _tell_reset(self, subscription: Subscription, place: Place) -> None:
        if self._is_current(subscription):
            put(subscription, place)
            self._sources.counts.resets[place.reset or "epoch"] += 1
            self._write(subscription.wire.reset(subscription.channel, place.after, place.epoch, place.reset or "epoch"))

    def _write(self, data: bytes) -> None:
        self._sources.fanout.say(self._owner, data)


class _BeginAnew(Exception):
    """The room was reset, which the client was told: what was said so far is to be told anew."""


def is_final(refused: HubError) -> bool:
    """Tell whether asking again brings nothing else."""
    return refused.status < 500


def put(subscription: Subscription, place: Place) -> None:
    """Note where a subscription stands."""
    subscription.place = place
    subscription.start = Start(place.after, place.recovered, None)
    subscription.sent = place.after


def top_of(subscription: Subscription) -> Head | None:
    """Return up to where a subscription's events are in the outbound queue; None where it is not placed, or left."""
    place, feed = subscription.place, subscription.feed
    if place is None or feed is None:
        return None
    if not subscription.is_live:
        return Head(place.epoch, subscription.sent)
    return feed.top(subscription.channel) or Head(place.epoch, place.after)


def heads_of_views(subscriptions: Iterable[Subscription]) -> Mapping[str, tuple[int, str]]:
    """Return up to where (offset, epoch) those with a view, which are live, have been looked at, whatever that shows."""
    viewed = (each for each in subscriptions if each.view is not None and each.is_live)
    heads = ((each.channel, top_of(each)) for each in viewed)
    return {channel: (head.position, head.epoch) for channel, head in heads if head is not None}
