"""Who is in a room: people who come and go through faults, in several tabs, and readers of presence that must see them."""

import random
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from tests.harness.organisations import Organisation
from tests.harness.presence_reader import PresenceReader
from tests.harness.stream_client import StreamReader
from tests.harness.totals import Totals
from tests.harness.waiting import eventually

PEOPLE = 2
READERS = 2
MOST_TABS = 3
KIND = "presence"
# What the room is told is for others.
NOTHING = {"kind": "what nobody says"}
# A reader has to ask for a list before it is there: where the machine is busy that takes longer than a socket that is watched.
PATIENCE_FACTOR = 4


class Attendance:
    """Of one room, through gates. Everybody comes back by himself; use as an async context manager."""

    def __init__(self, urls: Sequence[str], room: str, rng: random.Random, *, heartbeat: float) -> None:
        self.readers: list[PresenceReader] = []
        self._urls = [*urls]
        self._room = room
        self._rng = rng
        self._heartbeat = heartbeat
        self._keys: dict[str, str] = {}
        self._tabs: dict[str, list[StreamReader]] = {}
        self._stack = AsyncExitStack()

    async def open(self, organisation: Organisation) -> Self:
        """Make the people, and the readers, who are there from now on."""
        for _ in range(PEOPLE):
            subject, key = await organisation.named_key()
            self._keys[subject] = key
        key = await organisation.key()
        for _ in range(READERS):
            self._rng.shuffle(self._urls)
            beat = PATIENCE_FACTOR * self._heartbeat
            reader = PresenceReader([*self._urls], key, self._room, heartbeat=beat, filter=NOTHING)
            self.readers.append(await self._stack.enter_async_context(reader))
        return self

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while any(self._tabs.values()):
            await self.someone_goes()
        await self._stack.__aexit__(kind, error, trace)

    async def someone_comes(self) -> None:
        """Somebody opens a tab more."""
        subject = self._rng.choice([*self._keys])
        if len(self._tabs.setdefault(subject, [])) < MOST_TABS:
            self._rng.shuffle(self._urls)
            tab = StreamReader([*self._urls], self._keys[subject], [self._room], heartbeat=self._heartbeat)
            self._tabs[subject].append(await tab.__aenter__())

    async def someone_goes(self) -> None:
        """Somebody closes a tab, or his network is gone for good."""
        here = [subject for subject, tabs in self._tabs.items() if tabs]
        if here:
            tabs = self._tabs[self._rng.choice(here)]
            tab = tabs.pop(self._rng.randrange(len(tabs)))
            if self._rng.random() < 0.5:
                tab.cut()
            await tab.__aexit__(None, None, None)

    async def rest(self, others: Collection[str], *, within: float) -> None:
        """Wait until every reader sees who is there, in as many tabs: the people, the readers, and `others`."""
        for reader in self.readers:
            await eventually(lambda each=reader: self._sees(each, others), within=within, every=0.02)

    def check(self, totals: Totals) -> list[str]:
        """Count what the readers were told, and return what was wrong with it."""
        found: list[str] = []
        for reader in self.readers:
            found += [f"a reader of presence: {each}" for each in reader.problems]
            for counts in (totals, totals.of(KIND)):
                counts.count(reader.counts)
        return found

    def _sees(self, reader: PresenceReader, others: Collection[str]) -> bool:
        people = {subject: len(tabs) for subject, tabs in self._tabs.items() if tabs}
        truth = {*people, *others, *(each.subject for each in self.readers)}
        seen: dict[str, Any] = {subject: reader.members.get(subject, {}).get("connections") for subject in people}
        assert reader.subjects == truth, f"there are {sorted(truth)}, but it sees {sorted(reader.subjects)}"
        assert seen == people, f"there are {people}, but it sees {seen}"
        return True
