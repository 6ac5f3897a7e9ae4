"""Connections as recovery sees them: members that join while a log grows, and what they must have been sent."""

import asyncio
from bisect import bisect
from collections.abc import Mapping, Sequence
from functools import cache
from uuid import UUID

from core.errors import HubError
from core.events.event import Entry, namespace_of
from rooms.recovery import (
    Bookmark,
    ChannelLog,
    LogRestarted,
    Missed,
    catch_up,
    starts_of,
)
from tests.rooms.model import Node, Recording


def channels_of(entry: Entry) -> Sequence[str]:
    return _channels_of(entry.channel)


@cache
def _channels_of(channel: str) -> Sequence[str]:
    return tuple(dict.fromkeys((namespace_of(channel), channel)))


class Member:
    """A connection as recovery sees it: what it was sent, by channel and position, in order."""

    def __init__(self, channels: Mapping[str, Bookmark]) -> None:
        self.channels = channels
        self.live = False
        self.frames: list[tuple[str, Entry]] = []
        self.after: dict[str, int] = {}
        self.pages: list[int] = []

    def take(self, missed: Missed) -> None:
        self.frames += missed

    def go_live(self, missed: Missed) -> None:
        assert not self.live
        self.take(missed)
        self.live = True

    def restart(self, position: int) -> None:
        """As after a `reset` frame: what comes is after `position`."""
        self.frames.clear()
        self.after = dict.fromkeys(self.channels, position)
        self.live = True

    def expected(self, entries: list[Entry]) -> list[tuple[str, Entry]]:
        """What of the whole log, in its order, it must have been sent."""
        first = min(self.after.values(), default=0)
        return [
            (channel, entry)
            for entry in entries[bisect(entries, first, key=lambda each: each.position) :]
            for channel in channels_of(entry)
            if entry.position > self.after.get(channel, entry.position)
        ]


class Members(Recording):
    """A sink with members."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Member] = []

    def deliver(self, org_id: UUID, entries: list[Entry]) -> None:
        super().deliver(org_id, entries)
        for member in self.all:
            if member.live:
                member.take(
                    [
                        (channel, entry)
                        for entry in entries
                        for channel in channels_of(entry)
                        if channel in member.channels
                    ]
                )

    def reset(self, org_id: UUID, epoch: str, position: int, reason: str) -> None:
        super().reset(org_id, epoch, position, reason)
        for member in self.all:
            if member.live:
                member.restart(position)


async def join(node: Node, members: Members, member: Member, log: ChannelLog | None = None) -> None:
    """Subscribe, in the order of steps that recovery.py gives."""
    log = log or node.log
    members.all.append(member)

    async def deliver(missed: Missed) -> None:
        assert missed
        member.pages.append(len(missed))
        await node.chance.delay()
        member.take(missed)
        await node.chance.delay()

    starts = None
    while starts is None:
        try:
            starts = await starts_of(node.feed, log, member.channels)
        except HubError:
            await asyncio.sleep(0)
    member.after = starts.after
    try:
        await catch_up(node.feed, log, starts, deliver, member.go_live, clock=node.clock)
    except LogRestarted:
        member.restart(node.feed.last)


async def grown(node: Node, count: int) -> None:
    """Start, then publish `count` events, all of which arrive."""
    await node.feed.start()
    node.feed.receive(node.publish(node.commit(count)))
