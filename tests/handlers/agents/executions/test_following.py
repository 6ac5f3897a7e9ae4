"""Readers of an execution on one node: they share one hearing of it, each has its place, and each gets one coherent answer.

What is said is said by hand, in a real room and a real row; the time of the readers is in the test's hand.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
import pytest

from core.auth.caller import Caller
from core.errors import HubError
from core.operations.results import Item
from core.store.redis import connect_redis
from handlers.agents.executions.following import Executing
from handlers.agents.executions.hearing import LOOK_SECONDS, MOST_KEPT, MOST_KEPT_SIZE
from handlers.agents.executions.snapshots import Snapshots
from handlers.agents.executions.store import SQL
from hub.stream.fanout import Fanout
from rooms.live import LiveRooms
from rooms.live_store import LiveStore
from rooms.openings import Openings
from rooms.recovery import Bookmark
from rooms.switch import Switch
from tests.handlers.agents.executions.bureau import Bureau
from tests.harness.clock import ManualClock
from tests.harness.waiting import cancelled, eventually

UNTIL_LOOKED = 2 * LOOK_SECONDS
SAVE = """
UPDATE executions SET text = $2, sequence = $3, places = $4, status = $5, action = $6, finished_at = $7 WHERE id = $1 RETURNING id
"""


@dataclass
class Run:
    """An execution that is running, and what is said of it."""

    bureau: Bureau
    id: UUID
    sequence: int = 0
    text: str = ""

    async def say(self, type: str, **data: Any) -> None:
        """Say it in its room."""
        said = {"execution_id": str(self.id), "attempt": 1, "sequence": self.sequence, **data}
        org_id = self.bureau.organisation.id
        await self.bureau.live.publish(org_id, f"runs:{self.id}", f"run.{type}", orjson.dumps(said), source="test")

    async def write(self, text: str) -> None:
        self.sequence, self.text = self.sequence + 1, self.text + text
        await self.say("delta", text=text)

    async def save(self, status: str = "running", action: str | None = None) -> None:
        """Keep what was written, with its place in the room."""
        found = await self.bureau.live.history(self.bureau.organisation.id, f"runs:{self.id}", Bookmark(), limit=1)
        places = orjson.dumps({f"runs:{self.id}": [found.head.position, found.head.epoch]}).decode()
        finished_at = self.bureau.clock.now() if status == "completed" else None
        saved = (self.id, self.text, self.sequence, places, status, action, finished_at)
        await self.bureau.organisation.rows(SAVE, *saved)

    async def end(self, *, is_told: bool = True) -> None:
        await self.save("completed")
        if is_told:
            await self.say("completed", status="completed")


@dataclass
class Reader:
    """What one has read. It reads on while `gate` is set."""

    task: "asyncio.Task[None] | None" = None
    items: list[Item] = field(default_factory=list[Item])
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, parts: AsyncGenerator[Item]) -> None:
        async with aclosing(parts):
            async for item in parts:
                self.items.append(item)
                await self.gate.wait()

    @property
    def types(self) -> list[str]:
        return [item.name.removeprefix("run.") for item in self.items]

    @property
    def text(self) -> str:
        """What it has; fails where something does not go on from what came before."""
        text, place = "", (-1, -1)
        for item in self.items:
            data = orjson.loads(item.data)
            if item.name == "run.delta":
                assert (data["attempt"], data["sequence"] - 1) == place
                text += data["text"]
            elif "text" in data:
                assert (data["attempt"], data["sequence"]) >= place
                text = data["text"]
            place = (data["attempt"], data.get("sequence", place[1]))
        return text


@dataclass
class Readers:
    executing: Executing
    caller: Caller
    run: Run
    all: list[Reader] = field(default_factory=list[Reader])

    def begin(self, *, reads: bool = True) -> Reader:
        """Have another read; without `reads` it takes the first part, and stops."""
        reader = Reader()
        if reads:
            reader.gate.set()
        reader.task = asyncio.create_task(reader.read(self.executing.parts(self.caller, self.run.id)))
        self.all.append(reader)
        return reader

    async def have(self, text: str, *readers: Reader) -> None:
        await eventually(lambda: all(each.items and each.text == text for each in readers), what=text)


def hearings() -> int:
    return sum(task.get_name() == "execution heard" for task in asyncio.all_tasks())


@pytest.fixture
async def run(bureau: Bureau) -> Run:
    id = await bureau.begin(await bureau.agent())
    async with bureau.database.transaction(bureau.organisation.id) as db:
        await db.fetchrow(SQL["take"], id, bureau.clock.now())
    made = Run(bureau, id)
    await made.say("started", text="")
    await made.save()
    return made


@pytest.fixture
async def readers(bureau: Bureau, run: Run, clock: ManualClock, redis_url: str) -> AsyncIterator[Readers]:
    """On another node than the one that writes."""
    redis, switch = connect_redis(redis_url), Switch(redis_url, clock=bureau.clock)
    await switch.open()
    live = LiveRooms(LiveStore(redis), switch=switch, clock=bureau.clock, sink=Fanout())
    running = asyncio.create_task(live.run())
    openings = Openings(live, Snapshots(bureau.database, bureau.clock), bureau.clock)
    caller = Caller(bureau.organisation.id, "key:of-a-test", frozenset({"read:agents"}), "enterprise")
    made = Readers(Executing(bureau.database, openings, clock), caller, run)
    yield made
    for each in made.all:
        assert each.task is not None
        await cancelled(each.task)
    await openings.close()
    await cancelled(running)
    await live.close()
    await switch.close()
    await redis.aclose()
    assert hearings() == 0
    assert clock.sleeping == 0


async def test_readers_share_one_hearing(readers: Readers, run: Run):
    """Whenever they come, each has the text, what follows, and one end."""
    first, second = readers.begin(), readers.begin()
    await run.write("a")
    await readers.have("a", first, second)
    third = readers.begin()
    await readers.have("a", third)
    assert hearings() == 1
    await run.write("b")
    await run.end()
    await eventually(lambda: all(each.task is not None and each.task.done() for each in readers.all))
    assert [each.text for each in readers.all] == ["ab"] * 3
    assert third.types == ["snapshot", "delta", "completed"]
    late = readers.begin()
    await eventually(lambda: late.types == ["snapshot", "completed"])
    assert late.text == "ab"


async def test_same_bytes_go_to_all(readers: Readers, run: Run):
    """What is said is written once."""
    first, second = readers.begin(), readers.begin()
    await readers.have("", first, second)
    await run.write("a")
    await readers.have("a", first, second)
    assert first.items[-1] is second.items[-1]


async def test_reader_that_leaves_leaves_the_others(readers: Readers, run: Run):
    """Also the one for whom the hearing was begun; the last ends it."""
    first, second = readers.begin(), readers.begin()
    await run.write("a")
    await readers.have("a", first, second)
    assert first.task is not None
    await cancelled(first.task)
    await run.write("b")
    await readers.have("ab", second)
    assert hearings() == 1
    assert second.task is not None
    await cancelled(second.task)
    assert hearings() == 0
    third = readers.begin()
    await readers.have("ab", third)


async def test_reader_that_comes_while_the_last_one_leaves(readers: Readers, run: Run):
    """It has a hearing of its own."""
    first = readers.begin()
    await run.write("a")
    await readers.have("a", first)
    assert first.task is not None
    first.task.cancel()
    second = readers.begin()
    await run.write("b")
    await readers.have("ab", second)
    assert hearings() == 1


async def test_reader_that_falls_behind_gets_the_whole_text(readers: Readers, run: Run):
    """It costs the others nothing, and no more is kept for it than is said."""
    quick, slow = readers.begin(), readers.begin(reads=False)
    await eventually(lambda: slow.types == ["snapshot"])
    for number in range(MOST_KEPT + 10):
        await run.write(f"{number} ")
    await readers.have(run.text, quick)
    assert len(quick.items) == MOST_KEPT + 11
    slow.gate.set()
    await readers.have(run.text, slow)
    assert slow.types == ["snapshot", "snapshot"]
    await run.write("end")
    await run.end()
    await eventually(lambda: slow.types[-1] == "completed")
    assert slow.text == quick.text == run.text


async def test_what_is_kept_is_bounded_by_its_size(readers: Readers, run: Run):
    """Steps may be large; who has missed some still has the text, and the end."""
    quick, slow = readers.begin(), readers.begin(reads=False)
    await eventually(lambda: slow.types == ["snapshot"])
    await run.write("a")
    size = MOST_KEPT_SIZE // 3
    for number in range(8):
        await run.say("step", step={"ordinal": number, "output": "x" * size})
    await run.write("b")
    await run.end()
    await eventually(lambda: quick.types[-1] == "completed")
    assert quick.types.count("step") == 8
    slow.gate.set()
    await eventually(lambda: slow.types[-1] == "completed")
    assert slow.types == ["snapshot", "snapshot", "completed"]
    assert slow.text == "ab"


async def test_what_no_room_tells_is_looked_up(readers: Readers, run: Run, clock: ManualClock):
    """The text as it was saved, and the end; once for all who read."""
    both = [readers.begin(), readers.begin()]
    await readers.have("", *both)
    run.text, run.sequence = "from afar", 7
    await run.save()
    await clock.advance(UNTIL_LOOKED)
    await readers.have("from afar", *both)
    await run.end(is_told=False)
    await clock.advance(UNTIL_LOOKED)
    await eventually(lambda: [each.types[-1] for each in both] == ["completed"] * 2)
    assert all(each.types.count("completed") == 1 for each in both)


async def test_end_that_comes_behind_a_gap(readers: Readers, run: Run):
    """The text is said once more, whole."""
    reader = readers.begin()
    await run.write("a")
    await readers.have("a", reader)
    run.text, run.sequence = "abc", 3
    await run.end()
    await eventually(lambda: reader.types[-1] == "completed")
    assert reader.types == ["snapshot", "delta", "snapshot", "completed"]
    assert reader.text == "abc"


async def test_execution_that_is_gone(readers: Readers, run: Run, clock: ManualClock):
    """All who read it are told so, within a look."""
    both = [readers.begin(), readers.begin()]
    await readers.have("", *both)
    await run.bureau.organisation.rows("DELETE FROM executions WHERE id = $1 RETURNING id", run.id)
    await clock.advance(UNTIL_LOOKED)
    for each in both:
        assert each.task is not None
        with pytest.raises(HubError) as caught:
            await each.task
        assert caught.value.code == "RESOURCE_NOT_FOUND"
    readers.all.clear()


async def test_many_wait_for_the_end(readers: Readers, run: Run):
    """They share what readers hear."""
    reader = readers.begin()
    await readers.have("", reader)
    waiting = [asyncio.create_task(readers.executing.wait(readers.caller, run.id, 25)) for _ in range(5)]
    await run.write("a")
    await readers.have("a", reader)
    assert hearings() == 1
    assert not any(each.done() for each in waiting)
    await run.end()
    assert [row["status"] for row in await asyncio.gather(*waiting)] == ["completed"] * 5


async def test_wait_is_bounded(readers: Readers, run: Run, clock: ManualClock):
    """Then the execution is as it is; one for no time asks only."""
    assert (await readers.executing.wait(readers.caller, run.id, 0))["status"] == "running"
    waiting = asyncio.create_task(readers.executing.wait(readers.caller, run.id, 3))
    await eventually(lambda: clock.sleeping)

    async def over() -> bool:
        await clock.advance(LOOK_SECONDS)
        return waiting.done()

    await eventually(over)
    assert (await waiting)["status"] == "running"


async def test_who_waits_is_not_told_of_what_was(readers: Readers, run: Run, clock: ManualClock):
    """It has gone on since it waited for its caller, and its room does not know yet: that is no end, and not asked without end."""
    reader = readers.begin()
    await run.save("requires_action", '{"calls": []}')
    await run.say("requires_action", action={"calls": []})
    await eventually(lambda: reader.types[-1:] == ["requires_action"])
    await run.save()
    waiting = asyncio.create_task(readers.executing.wait(readers.caller, run.id, 25))
    # The two of the hearing, and this one's.
    await eventually(lambda: clock.sleeping == 2)
    await clock.settle()
    assert not waiting.done()
    await run.end()
    assert (await waiting)["status"] == "completed"


async def test_wait_of_one_that_nobody_tells_of(readers: Readers, run: Run, clock: ManualClock):
    """PostgreSQL is asked."""
    waiting = asyncio.create_task(readers.executing.wait(readers.caller, run.id, 25))
    await eventually(lambda: clock.sleeping)
    await run.end(is_told=False)
    await clock.advance(UNTIL_LOOKED)
    assert (await waiting)["status"] == "completed"
