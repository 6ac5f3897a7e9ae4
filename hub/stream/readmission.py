"""Streams whose channels are looked at again, since what goes for them has changed: rules of namespaces, mutes and bans."""

import asyncio
from collections.abc import Collection
from typing import Protocol
from uuid import UUID

from core.auth.caller import Caller
from core.clock import Clock
from rooms.namespaces import Namespaces

# Streams that are looked at in one go, with up to 128 channels each.
AT_ONCE = 50


class Stream(Protocol):
    """An open stream."""

    @property
    def caller(self) -> Caller | None:
        """Who it speaks for."""
        ...

    def readmit(self) -> None:
        """Leave the channels that the caller may not have any more."""
        ...


class Readmission:
    """Hears of changes; `run` has those streams look at their channels whom they concern, within a moment."""

    def __init__(self, namespaces: Namespaces, clock: Clock) -> None:
        self._clock = clock
        self._organisations: set[UUID] = set()
        self._subjects: set[tuple[UUID, str]] = set()
        self._due = asyncio.Event()
        namespaces.when_changed(self._rules_changed)
        namespaces.sanctions.when_changed(self._sanctioned)

    async def run(self, streams: Collection[Stream]) -> None:
        """Work until cancelled; `streams` are those that are open, as they are at each moment."""
        while True:
            await self._due.wait()
            self._due.clear()
            organisations, self._organisations = self._organisations, set()
            subjects, self._subjects = self._subjects, set()
            looked = 0
            for stream in tuple(streams):
                caller = stream.caller
                if caller is None:
                    continue
                if caller.org_id in organisations or (caller.org_id, caller.subject) in subjects:
                    stream.readmit()
                    looked += 1
                    if looked % AT_ONCE == 0:
                        await self._clock.sleep(0)

    def _rules_changed(self, org_id: UUID) -> None:
        self._organisations.add(org_id)
        self._due.set()

    def _sanctioned(self, org_id: UUID, subject: str) -> None:
        self._subjects.add((org_id, subject))
        self._due.set()
