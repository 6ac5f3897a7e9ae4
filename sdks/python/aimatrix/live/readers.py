"""All readers of a client, by channel: hands out to each what comes, and lets channels rest whose readers are behind."""

import asyncio
from collections.abc import Callable

from aimatrix.live.deltas import Deltas
from aimatrix.live.errors import LiveError
from aimatrix.live.events import Event, Frame, Reset
from aimatrix.live.places import Place, is_consumed
from aimatrix.live.subscription import Subscription

# A reader that is quicker than this is never asked to come back for what it missed; the other channels wait as long.
_MOMENT_SECONDS = 0.25


class Readers:
    """`hold` lets a channel rest at the hub, `resume` asks for it again from where it was."""

    def __init__(self, hold: Callable[[str], None], resume: Callable[[str], None]) -> None:
        self.is_crowded = False
        self._hold = hold
        self._resume = resume
        self._all: dict[str, list[Subscription]] = {}
        self._held: set[str] = set()
        self._deltas = Deltas()
        self._room = asyncio.Event()

    def has(self, channel: str) -> bool:
        """Tell whether somebody reads a channel."""
        return channel in self._all

    def add(self, reader: Subscription, *, has_deltas: bool) -> None:
        """Take one more; where its channel is asked for with deltas, they are made whole."""
        if has_deltas:
            self._deltas.follow(reader.channel)
        self._all.setdefault(reader.channel, []).append(reader)

    def remove(self, reader: Subscription) -> bool:
        """Let one go; tell whether it was there."""
        readers = self._all.get(reader.channel, [])
        if reader not in readers:
            return False
        readers.remove(reader)
        self.has_room(reader.channel)
        if not readers:
            del self._all[reader.channel]
            self._held.discard(reader.channel)
            self._deltas.leave(reader.channel)
        return True

    def take(self, item: Event | Reset) -> None:
        """Hand out an event, or that some may be missing."""
        if isinstance(item, Event):
            item = self._deltas.made_whole(item)
        else:
            self._deltas.begin(item.channel)
        for each in self._all.get(item.channel, ()):
            each.take(item)
            if each.is_behind:
                self.is_crowded = True

    def joined(self, channel: str, place: Place | None, recovered: bool) -> None:
        """Tell where a channel goes on."""
        self._deltas.begin(channel)
        for each in self._all.get(channel, ()):
            each.take_place(place, recovered=recovered)

    def bookmark(self, place_of: Callable[[str], Place | None]) -> None:
        """Tell that quiet channels have moved on."""
        for channel, readers in self._all.items():
            place = place_of(channel)
            if place is not None:
                for each in readers:
                    each.take_bookmark(place)

    def other(self, channel: str, frame: Frame) -> None:
        """Hand out a frame that is no event."""
        for each in self._all.get(channel, ()):
            each.take_frame(frame)

    def end(self, channel: str, error: LiveError) -> None:
        """End the readers of a channel that is no more."""
        self._held.discard(channel)
        self._deltas.leave(channel)
        for each in self._all.pop(channel, ()):
            each.take_end(error)

    def end_all(self, error: LiveError) -> None:
        """End all, by an error."""
        for channel in list(self._all):
            self.end(channel, error)

    def close(self) -> None:
        """End all, because the program wants it."""
        for readers in list(self._all.values()):
            for each in list(readers):
                each.close()

    async def relieved(self, *, rests: bool) -> None:
        """Give readers that are behind a turn; one that is full a moment, and then, with `rests`, its channel rests.

        Meanwhile nothing is read from the hub.
        """
        self.is_crowded = False
        await asyncio.sleep(0)
        full = self._full()
        if not full:
            return
        try:
            async with asyncio.timeout(_MOMENT_SECONDS if rests else None):
                while full:
                    self._room.clear()
                    await self._room.wait()
                    full = self._full()
        except TimeoutError:
            for channel in self._full():
                if channel not in self._held:
                    self._held.add(channel)
                    self._hold(channel)

    def _full(self) -> list[str]:
        # What a durable subscription hands out is bounded by itself.
        return [
            channel
            for channel, readers in self._all.items()
            if channel not in self._held and not is_consumed(channel) and any(each.is_full for each in readers)
        ]

    def has_room(self, channel: str) -> None:
        """Hear that a reader has room again: its channel goes on once all of its readers have."""
        self._room.set()
        if channel in self._held and all(each.has_room for each in self._all.get(channel, ())):
            self._held.discard(channel)
            self._resume(channel)
