"""Schedules: what can happen to a feed, in any order, repeated from a seed."""

import asyncio
import contextlib
import random

from core.errors import HubError
from tests.rooms.model import Node


class Schedule:
    """What can happen to a feed, chosen by chance. `wire` is on the way to it, `old` has arrived before."""

    def __init__(self, rng: random.Random, *, restores: bool = True) -> None:
        self.rng = rng
        failures = rng.choice((0.0, 0.0, 0.3))
        self.node = Node(
            rng,
            failures=failures,
            keeps=rng.choice((0, 5, 1000)),
            ring=rng.choice((0, 4, 1000)),
            held=rng.choice((3, 1000)),
            fills=rng.choice((0.0, 0.1, 0.5)),
        )
        self.wire: list[bytes] = []
        self.old: list[bytes] = []
        self._things = {
            self.something_is_committed: 45,
            self.relay_publishes_again: 10,
            self.connection_is_lost: 5,
            self.redis_loses_everything: 5,
            self.old_message_comes_again: 5,
            self.unreadable_message_is_sent: 2,
            self.log_is_restored: 2 if restores else 0,
            self.messages_arrive: 26,
            self.there_is_room_again: 10,
        }

    async def started(self) -> int:
        """Start the feed, as often as it takes; return where it began."""
        while not self.node.feed.epoch:
            with contextlib.suppress(HubError):
                await self.node.feed.start()
        return self.node.feed.last

    async def step(self) -> None:
        """Let one thing happen, then perhaps some time pass."""
        (thing,) = self.rng.choices(list(self._things), list(self._things.values()))
        thing()
        if self.rng.random() < 0.3:
            await self.node.clock.advance(self.rng.random())
        elif self.rng.random() < 0.5:
            await asyncio.sleep(0)

    def something_is_committed(self) -> None:
        entries = self.node.commit(self.rng.choice((1, 1, 2, 10)))
        if self.rng.random() < 0.9:  # else a relay that died between commit and publish
            self.wire += self.node.publish(entries)

    def relay_publishes_again(self) -> None:
        entries = self.node.log.entries
        self.wire += self.node.publish(entries[self.rng.randrange(len(entries) + 1) :])

    def connection_is_lost(self) -> None:
        self.wire.clear()
        if self.rng.random() < 0.5:
            self.node.feed.check()

    def redis_loses_everything(self) -> None:
        self.node.tail.flush()

    def old_message_comes_again(self) -> None:
        if self.old:
            self.wire.append(self.rng.choice(self.old))

    def unreadable_message_is_sent(self) -> None:
        self.wire.append(b"2\x1f?")

    def log_is_restored(self) -> None:
        """Lose the end of the log; a new epoch begins."""
        log = self.node.log
        del log.entries[self.rng.randrange(log.top + 1) :]
        log.epoch = f"e{int(log.epoch[1:]) + 1}"
        self.node.commit(self.rng.randrange(3))

    def there_is_room_again(self) -> None:
        self.node.sink.make_room()

    def messages_arrive(self) -> None:
        count = self.rng.randrange(1, 6)
        arrived, self.wire[:] = self.wire[:count], self.wire[count:]
        self.old += arrived
        if arrived:
            self.node.feed.receive(arrived)
