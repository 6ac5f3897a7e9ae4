"""The channels of one connection: joining, catching up, going live, leaving.

A channel is first *pending* (asked for; the organisation's feed may have to be subscribed), then *placed* (`subscribed` is sent,
with the offset after which frames follow), then *live* (in its room: `Fanout.deliver` writes to it). Between placed and live
the connection reads what was missed. Everything here runs on the event loop: between two awaits nothing is delivered.

Channels of the log go on together, by positions of one log; live rooms each by itself (live_channels.py). Durable subscriptions are
in no room: what they hand out is leased (consumed_channels.py).
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from core.auth.caller import Caller
from core.errors import HubError
from hub.stream.asked import Asked, has_had
from hub.stream.codes import CATCH_UP_STALLED
from hub.stream.commands import Pace, RefusedChannel, Settle, Subscribe, Wanted
from hub.stream.consumed_channels import ConsumedChannels
from hub.stream.live_channels import LiveChannels, put, top_of
from hub.stream.marks import marks_of
from hub.stream.present_channels import PresentChannels
from hub.stream.replay import Replay
from hub.stream.subscription import Owner, Sources, Subscription, chunks_of
from hub.stream.viewed import bound, view_for
from rooms.live_store import Head
from rooms.names import own_room
from rooms.org_feed import OrgFeed
from rooms.recovery import CatchUpStalled, LogRestarted, Missed, Start, Starts, catch_up, starts_of

# How long a subscribe waits for PostgreSQL before its channels are refused.
PATIENCE_SECONDS = 10.0
RETRY_SECONDS = 0.25

_Ready = tuple[OrgFeed, Starts]


class Subscriptions:
    """The subscriptions of one connection; `by_channel` is read by the protocol, changed here only."""

    __slots__ = (
        "_consumed",
        "_feed",
        "_live",
        "_org_id",
        "_owner",
        "_placing",
        "_present",
        "_sources",
        "_tasks",
        "by_channel",
    )

    def __init__(self, owner: Owner, sources: Sources) -> None:
        self.by_channel: dict[str, Subscription] = {}
        self._owner = owner
        self._sources = sources
        self._org_id: UUID | None = None
        self._feed: OrgFeed | None = None
        self._placing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._live = LiveChannels(owner, sources, self._is_current, self._lose)
        self._consumed = ConsumedChannels(owner, sources, self._lose)
        self._present = PresentChannels(owner, sources, self._is_current)

    def enter_own_room(self, caller: Caller) -> None:
        """Put the connection into the room of its subject, in which it is without asking."""
        self._live.enter_own(caller.org_id, own_room(caller))

    def bookmark(self) -> tuple[int, str] | None:
        """Return (offset, epoch) up to which everything of the log is in the outbound queue; None while a channel is not live.

        None too without channels of the log: there is nothing that it could be a bookmark of.
        """
        of_log = [each for each in self.by_channel.values() if each.is_of_log]
        if self._feed is None or not of_log or not all(each.is_live for each in of_log):
            return None
        return self._feed.last, self._feed.epoch

    def subscribe(self, org_id: UUID, command: Subscribe) -> None:
        """Join the channels of the frame; the answer follows when the feed is there. Answers keep the order of the frames.

        A channel that is subscribed already stays as it is, and is answered with where it stands.
        """
        self._org_id = org_id
        mine: list[Subscription] = []
        items = bound(command.items, self._owner.caller, self.by_channel, self._sources.live.namespaces)
        for index, item in enumerate(items):
            if isinstance(item, Wanted) and item.channel not in self.by_channel:
                try:
                    self._begin(org_id, item, mine)
                except HubError as refused:
                    items[index] = RefusedChannel(item.channel, refused)
        # What the frame means is fixed now: an unsubscribe that comes before the answer wins over it.
        asked = [Asked(item, self.by_channel.get(item.channel)) for item in items]
        if not any(each.subscription for each in asked):
            self._answer(command, asked)
            return
        self._spawn(self._join(org_id, command, asked, mine), mine)

    def unsubscribe(self, channels: Collection[str]) -> None:
        """Leave the channels; those that are not subscribed do not matter."""
        for channel in channels:
            subscription = self.by_channel.pop(channel, None)
            if subscription is None or self._org_id is None:
                self._live.leave_own(channel)
                continue
            if not subscription.is_live and subscription.start is not None:
                self._stop_needless(subscription.task)
            self._leave(self._org_id, subscription)

    def settle(self, org_id: UUID, command: Settle) -> Coroutine[Any, Any, None] | None:
        """Take an answer to deliveries, or refuse it; return what the next frame has to wait for."""
        return self._consumed.settle(org_id, self.by_channel.get(command.channel), command)

    def on_room_reset(self, channel: str, epoch: str, offset: int) -> None:
        """Go on from `offset` of a live room, which the client was told. Where it has a beginning, that is told anew."""
        subscription = self.by_channel.get(channel)
        if self._org_id is None or subscription is None or not subscription.is_live:
            return
        if self._sources.has_beginning(channel):
            self._live.step_back(self._org_id, subscription, epoch, offset)
            self._spawn(self._live.begin_anew(self._org_id, subscription), [subscription])

    def leave_lost(self, admit: Callable[[str], None]) -> None:
        """Leave the channels that a renewed credential may not have; rooms with a beginning, once that is known."""
        for channel, each in tuple(self.by_channel.items()):
            try:
                admit(channel)
            except HubError as refused:
                self._lose(channel, refused)
            else:
                if each.view is not None and each.view != view_for(self._owner.caller, each.view):
                    self._lose(
                        channel, HubError("FORBIDDEN", "The credential is for other resources now: subscribe again")
                    )
        if self._owner.caller is None or self._owner.caller.resource_ids is None:
            return
        for channel in self.by_channel:
            if self._sources.has_beginning(channel):
                self._spawn(self._live.check(channel), ())

    def on_new_epoch(self, epoch: str, position: int, reason: str) -> None:
        """Go on from `position` of the log's new epoch in every channel that was placed; pending ones are placed there anyway."""
        placed = [each for each in self.by_channel.values() if each.is_of_log and each.start is not None]
        for subscription in placed:
            if not subscription.is_live and subscription.task is not None:
                subscription.task.cancel()
            subscription.start = Start(position, recovered=False, reset=None)
            self._sources.counts.resets[reason] += 1
            self._write(self._owner.wire.reset(subscription.channel, position, epoch, reason))
        self._go_live(self._still(placed))  # a cut connection has left them

    def close(self, *, may_return: bool = False) -> None:
        """Leave everything, stop what is under way, give the feed back. Who may return stays present for a while."""
        for task in self._tasks:
            task.cancel()
        self._live.close()
        if self._org_id is None:
            return
        subscriptions = list(self.by_channel.values())
        self.by_channel.clear()
        for each in subscriptions:
            self._leave(self._org_id, each, may_return=may_return)
        self._sources.fanout.exit(self._org_id, self._owner)
        if self._feed is not None:
            self._feed = None
            self._sources.feeds.release(self._org_id)

    def _begin(self, org_id: UUID, item: Wanted, mine: list[Subscription]) -> None:
        """Note a subscription; raises HubError where its view is one too many."""
        if item.view is not None:
            self._sources.fanout.watches.hold(org_id, item.view)
        mine.append(Subscription(item, self._owner.wire))
        self.by_channel[item.channel] = mine[-1]
        self._live.leave_own(item.channel)

    def _leave(self, org_id: UUID, subscription: Subscription, *, may_return: bool = False) -> None:
        """Give back what a subscription has, which is no more."""
        if subscription.is_live:
            self._sources.fanout.leave(org_id, subscription.source, self._owner, subscription.view)
        if subscription.view is not None:
            self._sources.fanout.watches.drop(org_id, subscription.view)
        self._live.leave(org_id, subscription)
        self._consumed.leave(org_id, subscription)
        self._present.leave(org_id, subscription, may_return=may_return)

    async def _join(self, org_id: UUID, command: Subscribe, asked: list[Asked], mine: list[Subscription]) -> None:
        of_log = [each for each in mine if each.is_of_log]
        consumed = [each for each in mine if each.is_consumed]
        of_rooms = [each for each in mine if not (each.is_of_log or each.is_consumed)]
        ready: _Ready | None = None
        # Guards the order of the answers: what an earlier frame joined is placed when a later one is answered.
        async with self._placing:
            await self._sources.joining.enter(org_id)
            refused = dict(await self._live.place(org_id, of_rooms)) if of_rooms else {}
            refused |= await self._consumed.place(org_id, consumed)
            refused |= await self._present.place(org_id, [each for each in mine if each.channel not in refused])
            if any(each.subscription is not None and each.subscription.is_of_log for each in asked):
                try:
                    ready, unmarked = await self._ready(org_id, of_log)
                    refused |= unmarked
                except HubError as error:
                    refused |= dict.fromkeys((each.channel for each in of_log), error)
            # From here to the first await below is one turn: nothing is delivered in between.
            self._refuse(asked, refused)
            behind = self._placed(org_id, command, asked, self._still(mine), ready)
        if behind and ready is not None:
            await self._catch_up(*ready, {each.channel: each for each in behind})

    def _placed(
        self,
        org_id: UUID,
        command: Subscribe,
        asked: list[Asked],
        mine: Sequence[Subscription],
        ready: _Ready | None,
    ) -> list[Subscription]:
        """Answer, and make live what is up to date; return those of the log that are not."""
        of_log = [each for each in mine if each.is_of_log] if ready is not None else []
        of_rooms = [each for each in mine if each.place is not None]
        for each in of_log:
            each.start = None if ready is None else ready[1].channels[each.channel]
            each.sent = 0 if each.start is None else each.start.after
        for each in of_rooms:
            if each.place is not None:
                put(each, each.place)
        self._present.hear(org_id, self._still(mine))
        self._answer(command, asked, None if ready is None else ready[0])
        of_log, of_rooms = self._still(of_log), self._still(of_rooms)  # a cut connection has left them
        self._consumed.begin(org_id, self._still(mine))
        late = self._live.begin(org_id, of_rooms)
        if late:
            self._spawn(self._live.catch_up(org_id, late), late)
        if ready is None:
            return []
        feed, starts = ready
        self._tell_resets(of_log, starts)
        self._go_live([each for each in of_log if each.sent == feed.last])
        behind = [each for each in of_log if not each.is_live]
        for each in behind:
            if each.wanted.pace is not None and each.sent < feed.last:
                self._spawn(self._replay(feed, starts, each, each.wanted.pace), [each])
        return [each for each in behind if each.wanted.pace is None or each.sent >= feed.last]

    async def _ready(self, org_id: UUID, mine: Sequence[Subscription]) -> tuple[_Ready, Mapping[str, HubError]]:
        """Return the feed and where each channel starts, and the channels that are refused.

        PostgreSQL away is waited for, then HubError is raised.
        """
        clock = self._sources.clock
        wanted = [each.wanted for each in mine]
        until = clock.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                feed = await self._follow(org_id)
                bookmarks, refused = await marks_of(feed, self._sources, wanted)
                return (feed, await starts_of(feed, self._sources.log.of(feed), bookmarks)), refused
            except HubError:
                if clock.monotonic() >= until:
                    raise
                await clock.sleep(RETRY_SECONDS)

    async def _follow(self, org_id: UUID) -> OrgFeed:
        if self._feed is not None:
            return self._feed
        feed = await self._sources.feeds.acquire(org_id)
        if self._feed is not None:  # another frame of this connection was quicker; one reference is enough
            self._sources.feeds.release(org_id)
            return self._feed
        self._feed = feed
        self._sources.fanout.enter(org_id, self._owner)
        return feed

    def _tell_resets(self, subscriptions: Sequence[Subscription], starts: Starts) -> None:
        for each in subscriptions:
            if each.start is not None and each.start.reset is not None:
                self._sources.counts.resets[each.start.reset] += 1
                self._write(self._owner.wire.reset(each.channel, each.sent, starts.epoch, each.start.reset))

    def _refuse(self, asked: list[Asked], refused: Mapping[str, HubError]) -> None:
        """Leave the channels that cannot be joined; those that were left meanwhile are no matter of this frame any more."""
        for each in asked:
            error = refused.get(each.item.channel)
            if error is not None and each.subscription is not None and self._still([each.subscription]):
                each.item = RefusedChannel(each.item.channel, error)
                self.unsubscribe([each.item.channel])
                self._live.return_to_own(each.item.channel)

    def _answer(self, command: Subscribe, asked: list[Asked], feed: OrgFeed | None = None) -> None:
        channels = [self._entry_of(each, feed) for each in asked]
        self._write(self._owner.wire.subscribed(command.id, channels))

    def _entry_of(self, asked: Asked, feed: OrgFeed | None) -> Mapping[str, Any]:
        item, subscription = asked.item, asked.subscription
        if isinstance(item, RefusedChannel):
            return {"channel": item.channel, "error": self._owner.error_object(item.error)}
        if subscription is not None and subscription.taker is not None and self._still([subscription]):
            return subscription.taker.entry()
        if subscription is None or subscription.start is None or not self._still([subscription]):
            refused = HubError("RESOURCE_CONFLICT", "It was unsubscribed before it was joined")
            return {"channel": item.channel, "error": self._owner.error_object(refused)}
        if subscription.is_of_log:
            assert feed is not None  # noqa: S101 - it is ready where a channel of the log is asked for
            top = Head(feed.epoch, feed.last if subscription.is_live else subscription.sent)
            highest = feed.last
        else:
            top = top_of(subscription) or Head("", 0)
            highest = top.position
        is_recovered = subscription.start.recovered
        if item is not subscription.wanted:  # it was subscribed before
            epoch = top.epoch if subscription.place is None else subscription.place.epoch
            is_recovered = epoch == top.epoch and has_had(item, subscription.start, top.epoch, highest)
        place = {"offset": str(top.position), "epoch": top.epoch, "recovered": is_recovered}
        return {"channel": item.channel, **place, **self._present.entry(subscription)}

    async def _replay(self, feed: OrgFeed, starts: Starts, subscription: Subscription, pace: Pace) -> None:
        """Give what was recorded before, at its pace; then, at once, what came meanwhile."""
        replay = Replay(feed, self._sources, self._owner, subscription, pace)
        upto = await replay.run(lambda: bool(self._still([subscription])))
        rest = {subscription.channel: Start(upto, recovered=True, reset=None)}
        await self._catch_up(feed, Starts(starts.life, starts.epoch, rest), {subscription.channel: subscription})

    async def _catch_up(self, feed: OrgFeed, starts: Starts, behind: Mapping[str, Subscription]) -> None:
        async def deliver(missed: Missed) -> None:
            await self._sources.joining.enter(feed.org_id)
            frames = self._frames_of(missed, behind)
            for chunk in chunks_of(frames):
                self._write(chunk)
                await self._owner.outbound.drained()
            if not frames[-1:] or not frames[-1]:
                self._write(self._owner.wire.passed(missed[-1][1].position, starts.epoch))

        def go_live(missed: Missed) -> None:
            self._write(b"".join(self._frames_of(missed, behind)))
            self._go_live(self._still(behind.values()))

        late = Starts(starts.life, starts.epoch, {channel: starts.channels[channel] for channel in behind})
        try:
            pages = await catch_up(feed, self._sources.log.of(feed), late, deliver, go_live, clock=self._sources.clock)
            self._sources.counts.recoveries["log" if pages else "ring"] += len(behind)
        except CatchUpStalled:
            self._owner.end(CATCH_UP_STALLED)
        except LogRestarted:
            self._go_live(self._still(behind.values()))  # `on_new_epoch` has told the client

    def _frames_of(self, missed: Missed, behind: Mapping[str, Subscription]) -> list[bytes]:
        found: list[bytes] = []
        for channel, entry in missed:
            subscription = behind[channel]
            if self.by_channel.get(channel) is subscription:  # else it was unsubscribed meanwhile
                subscription.sent = entry.position
                found.append(subscription.frame_of(entry))
        return found

    def _lose(self, channel: str, why: HubError) -> None:
        """Leave a channel whose subscription is no more, and say so."""
        self.unsubscribe([channel])
        told = self._owner.wire.reply("unsubscribed", None, channels=[channel], error=self._owner.error_object(why))
        self._write(told)

    def _write(self, data: bytes) -> None:
        self._sources.fanout.say(self._owner, data)

    def _go_live(self, subscriptions: Sequence[Subscription]) -> None:
        if self._org_id is None:
            return
        for each in subscriptions:
            each.is_live = True
            since = 0 if each.start is None else each.start.after
            self._sources.fanout.join(self._org_id, each.source, self._owner, each.view, since)

    def _is_current(self, subscription: Subscription) -> bool:
        return self.by_channel.get(subscription.channel) is subscription

    def _still(self, subscriptions: Iterable[Subscription]) -> list[Subscription]:
        return [each for each in subscriptions if self._is_current(each)]

    def _stop_needless(self, task: asyncio.Task[None] | None) -> None:
        others = (each for each in self.by_channel.values() if each.task is task and not each.is_live)
        if task is not None and not any(others):
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None], subscriptions: Iterable[Subscription]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        for subscription in subscriptions:
            subscription.task = task
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._owner.crashed(error)
