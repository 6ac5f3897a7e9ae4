"""How a session stands is told in the order of its versions, and after the end of each run; rooms are real."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import orjson
import pytest

from core.clock import SystemClock
from core.deadline import end_tasks
from core.store.database import Database
from core.store.redis import connect_redis
from handlers.agents.executions.announcing import ExecutionEnds
from handlers.agents.sessions.telling import Standing
from hub.stream.fanout import Fanout
from rooms.fence import Fence
from rooms.live import LiveRooms, Published
from rooms.live_store import LiveStore
from rooms.recovery import Bookmark
from rooms.switch import Switch
from tests.handlers.agents.sessions.talk import Talk, talk
from tests.harness.organisations import Organisation
from tests.harness.waiting import eventually


@pytest.fixture
async def live(redis_url: str) -> AsyncIterator[LiveRooms]:
    clock, redis = SystemClock(), connect_redis(redis_url)
    made = LiveRooms(LiveStore(redis), switch=Switch(redis_url, clock=clock), clock=clock, sink=Fanout())
    running = asyncio.create_task(made.run())
    yield made
    await end_tasks([running])
    await made.close()
    await redis.aclose()


@pytest.fixture
async def system(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url, role="hub_system", size=2)
    yield made
    await made.close()


class Slow:
    """Rooms that let each event through when the test says so, in whatever order."""

    def __init__(self, live: LiveRooms) -> None:
        self.live = live
        self.gates: list[asyncio.Event] = []
        self.done = 0

    async def publish(
        self, org_id: UUID, channel: str, type: str, data: bytes, *, source: str, fence: Fence | None = None
    ) -> Published:
        gate = asyncio.Event()
        self.gates.append(gate)
        await gate.wait()
        try:
            return await self.live.publish(org_id, channel, type, data, source=source, fence=fence)
        finally:
            self.done += 1


async def told(live: LiveRooms, talk: Talk, session: str) -> list[tuple[str, Any]]:
    """Return what the session's room was told: types and data."""
    found = await live.history(talk.caller.org_id, f"sessions:{session}", Bookmark(0, None), limit=1_000)
    events = [orjson.loads(entry.envelope) for entry in found.entries]
    return [(event["type"], event["data"]) for event in events]


async def test_older_state_does_not_come_last(database_url: str, organisation: Organisation, live: LiveRooms):
    """Two are changed one after the other; what is told of the first comes late, and is dropped."""
    slow = Slow(live)
    async with talk(database_url, organisation.caller(), slow) as made:
        session = (await made.session())["id"]
        await made.run("sessions.update", id=session, body={"title": "A"})
        await eventually(lambda: len(slow.gates) == 1)
        last = await made.run("sessions.update", id=session, body={"title": "B"})
        await eventually(lambda: len(slow.gates) == 2)
        for number, gate in enumerate(reversed(slow.gates), 1):
            gate.set()
            await eventually(lambda number=number: slow.done == number)
        assert await told(live, made, session) == [("session.updated", {"session": last})]


async def test_session_is_told_of_after_the_end_of_its_run(
    database_url: str, organisation: Organisation, live: LiveRooms, system: Database
):
    """Once, whoever announces; where it has gone on meanwhile, as it is now."""
    async with talk(database_url, organisation.caller(), live) as made:
        ends = ExecutionEnds(system, live, Standing(made.database, live), made.clock)
        session = (await made.session())["id"]
        await made.say(session, "How?", answer=None)
        await eventually(lambda: _has(live, made, session, 2))
        answer = await made.answer(session, "So.")
        assert (await ends.tell(), await ends.tell()) == (1, 0)
        *_, (type, _), (last, data) = await told(live, made, session)
        assert (type, last) == ("run.completed", "session.updated")
        assert data["session"] == await made.run("sessions.get", id=session)
        assert (data["session"]["active_id"], data["session"]["head_id"]) == (None, answer)
        assert await Standing(made.database, live).tell(made.caller.org_id, UUID(session))
        assert (await told(live, made, session))[-1] == (last, data)
        assert [type for type, _ in await told(live, made, session)].count("session.updated") == 2


async def test_session_that_is_gone_is_not_told_of(database_url: str, organisation: Organisation, live: LiveRooms):
    """Its room is told nothing, and the end of its run counts as told."""
    async with talk(database_url, organisation.caller(), live) as made:
        session = (await made.session())["id"]
        await made.run("sessions.delete", id=session)
        assert await Standing(made.database, live).tell(made.caller.org_id, UUID(session))
        assert await told(live, made, session) == []


async def _has(live: LiveRooms, talk: Talk, session: str, count: int) -> bool:
    return len(await told(live, talk, session)) == count
