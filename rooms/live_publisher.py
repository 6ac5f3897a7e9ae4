"""Publishing into live rooms: what one turn of the event loop brings goes to Redis together.

    publish() ... publish()   -> one pipeline, with one script call for some rooms of one organisation -> the place of each event

Under load a turn brings much, so a busy node asks less of Redis, and of itself; alone an event waits for nothing. An organisation
that publishes much has pipelines of its own, one after the other.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from rooms.fence import Fence
from rooms.live_store import AT_ONCE, Head, Letter, Letters, LiveStore, Outcome, unavailable

# Events of one pipeline of an organisation, about.
ORGANISATION_AT_ONCE = 256

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


@dataclass(slots=True)
class _Waiting:
    """The events of one room that go together, and who waits for each."""

    org_id: UUID
    channel: str
    letters: list[Letter] = field(default_factory=list[Letter])
    futures: list["asyncio.Future[Head]"] = field(default_factory=list["asyncio.Future[Head]"])

    def answered(self, outcomes: Sequence[Outcome]) -> None:
        for future, outcome in zip(self.futures, outcomes, strict=True):
            if future.done():  # whoever asked has gone
                continue
            if isinstance(outcome, Head):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)

    def failed(self, error: Exception) -> None:
        for future in self.futures:
            if not future.done():
                refused = unavailable()
                refused.__cause__ = error
                future.set_exception(refused)


class _Organisation:
    """What one organisation's publishers wait for, and whether some of it is under way."""

    __slots__ = ("_full", "_open", "is_under_way")

    def __init__(self) -> None:
        # Rooms with as many events as go together; what comes later goes behind them.
        self._full: list[_Waiting] = []
        self._open: dict[str, _Waiting] = {}
        self.is_under_way = False

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self, org_id: UUID, channel: str, letter: Letter, future: "asyncio.Future[Head]") -> None:
        waiting = self._open.get(channel)
        if waiting is None:
            waiting = self._open[channel] = _Waiting(org_id, channel)
        elif len(waiting.letters) == AT_ONCE:
            self._full.append(waiting)
            waiting = self._open[channel] = _Waiting(org_id, channel)
        waiting.letters.append(letter)
        waiting.futures.append(future)

    def take(self, most: int) -> list[_Waiting]:
        """Take what came first, about so many events; those of one room stay in order."""
        taken: list[_Waiting] = []
        for some in [*self._full, *self._open.values()]:
            if most <= 0:
                break
            most -= len(some.letters)
            taken.append(some)
        full = len(self._full)
        self._full = self._full[len(taken) :]
        for some in taken[full:]:
            del self._open[some.channel]
        return taken


class LivePublisher:
    """One of a node. `spawn` runs what must succeed beside its owner, and cancels it at the end.

    Of an organisation one pipeline is under way, with at most ORGANISATION_AT_ONCE events: what it publishes meanwhile goes
    together after that. So however much it publishes, others' events wait for no more than that; and each room's stay in order.
    """

    def __init__(self, store: LiveStore, spawn: Spawn) -> None:
        self._store = store
        self._spawn = spawn
        self._organisations: dict[UUID, _Organisation] = {}
        # Those that send in the next turn of the loop.
        self._due: dict[UUID, _Organisation] = {}

    async def publish(self, org_id: UUID, channel: str, envelope: str, fence: Fence | None = None) -> Head:
        """Publish an event; return its offset and the room's epoch. Those of one room keep the order of the calls.

        Raises Outrun and RoomLost where the fence does not let it through, and HubError SERVICE_UNAVAILABLE when Redis does not
        answer: whether the event went out is unknown then.
        """
        organisation = self._organisations.get(org_id)
        if organisation is None:
            organisation = self._organisations[org_id] = _Organisation()
        future: asyncio.Future[Head] = asyncio.get_running_loop().create_future()
        organisation.add(org_id, channel, Letter(envelope, fence), future)
        self._look(org_id, organisation)
        return await future

    def _look(self, org_id: UUID, organisation: _Organisation) -> None:
        """Have an organisation send in the next turn of the loop, if it has something and nothing of it is under way."""
        if not organisation:
            if not organisation.is_under_way:
                self._organisations.pop(org_id, None)
        elif not organisation.is_under_way:
            if not self._due:
                self._spawn(self._send()).add_done_callback(self._let_go)
            self._due[org_id] = organisation

    def _let_go(self, sending: asyncio.Task[None]) -> None:
        """Answer those who wait for what was cancelled before it began."""
        if sending.cancelled():
            due, self._due = self._due, {}
            for org_id, organisation in due.items():
                self._organisations.pop(org_id, None)
                while organisation:
                    for some in organisation.take(ORGANISATION_AT_ONCE):
                        some.failed(ConnectionError("The node ends"))

    async def _send(self) -> None:
        due, self._due = self._due, {}
        together: dict[UUID, list[_Waiting]] = {}
        for org_id, organisation in due.items():
            taken = organisation.take(ORGANISATION_AT_ONCE)
            organisation.is_under_way = True
            if sum(len(some.letters) for some in taken) > AT_ONCE:
                # Who publishes much waits for his own answers only, and nobody for his.
                self._spawn(self._carry({org_id: taken})).add_done_callback(partial(self._end, {org_id: taken}))
            else:
                together[org_id] = taken
        if together:
            try:
                await self._carry(together)
            finally:
                self._end(together)

    async def _carry(self, by_organisation: Mapping[UUID, Sequence[_Waiting]]) -> None:
        sent = [some for taken in by_organisation.values() for some in taken]
        letters = [Letters(some.org_id, some.channel, some.letters) for some in sent]
        for some, answer in zip(sent, await self._store.publish_each(letters), strict=True):
            if isinstance(answer, Exception):
                some.failed(answer)
            else:
                some.answered(answer)

    def _end(self, by_organisation: Mapping[UUID, Sequence[_Waiting]], _ended: object = None) -> None:
        """Let the organisations send again. Who has no answer by now, since the node ends or by a bug, waits for none."""
        for org_id, taken in by_organisation.items():
            for some in taken:
                some.failed(ConnectionError("The node ends"))
            organisation = self._organisations[org_id]
            organisation.is_under_way = False
            self._look(org_id, organisation)
