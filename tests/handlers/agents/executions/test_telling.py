"""What a run writes, on its way: told by ticks, saved a second later, and ended by whoever has gone on with it.

Time is in the test's hand; rooms and rows are real, so what is told is waited for.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from core.clock import SystemClock
from core.store.redis import connect_redis
from handlers.agents.executions.store import SQL
from handlers.agents.executions.telling import QUIET_SECONDS, SAVE_SECONDS, Telling, number_of
from handlers.models.compatible import CompatibleModel
from handlers.models.ticks import TICK_SECONDS
from rooms.fence import Fence, Outrun
from tests.handlers.agents.executions.bureau import Bureau, opened, text_of
from tests.harness.clock import ManualClock
from tests.harness.fake_provider import FakeProvider, serving
from tests.harness.organisations import Organisation
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import cancelled, eventually

LONG = 2 * TICK_SECONDS


class Run:
    """An attempt at an execution, as a worker has it: `telling` is told what is written, `saying` brings it to the rooms."""

    def __init__(self, bureau: Bureau, clock: ManualClock, row: Any) -> None:
        self.bureau, self.clock = bureau, clock
        self.id, self.attempt = row["id"], row["attempt"]
        self.telling = Telling(bureau.live, bureau.database, clock, row)
        self.saying = asyncio.create_task(self.telling.run("run.started", {}))

    async def deltas(self) -> list[tuple[int, str]]:
        told = await self.bureau.told(self.id)
        return [(each["sequence"], each["text"]) for each in told if each["type"] == "delta"]

    async def told(self, *deltas: str) -> None:
        """Wait until just these deltas were told, numbered from 1."""
        wanted = list(enumerate(deltas, 1))

        async def there() -> bool:
            return await self.deltas() == wanted

        await eventually(there, what=str(wanted))

    async def types(self) -> list[str]:
        return [each["type"] for each in await self.bureau.told(self.id)]

    async def saved(self, text: str) -> Any:
        async def there() -> Any:
            row = await self.bureau.row(self.id)
            return row if row["text"] == text else None

        return await eventually(there)


async def taken(bureau: Bureau, clock: ManualClock) -> Run:
    """Take a new execution up."""
    id = await bureau.begin(await bureau.agent())
    async with bureau.database.transaction(bureau.organisation.id) as db:
        row = await db.fetchrow(SQL["take"], id, bureau.clock.now())
    return Run(bureau, clock, row)


@pytest.fixture
async def run(bureau: Bureau, clock: ManualClock) -> AsyncIterator[Run]:
    made = await taken(bureau, clock)
    await made.telling.flush()  # once it is told that it has begun
    yield made
    if not made.saying.done():
        await cancelled(made.saying)
    assert clock.sleeping == 0


async def test_first_piece_goes_at_once_and_then_what_a_tick_brings(run: Run, clock: ManualClock):
    """What is written within a tick is one delta; after a quiet tick a piece waits for nothing."""
    run.telling.write("a")
    await run.told("a")
    for piece in "bcd":
        run.telling.write(piece)
        await clock.settle()
    assert await run.deltas() == [(1, "a")]
    await clock.advance(LONG)
    await run.told("a", "bcd")
    await clock.advance(LONG)
    run.telling.write("e")
    await run.told("a", "bcd", "e")


async def test_pieces_that_are_written_while_one_is_told(run: Run, clock: ManualClock):
    """None is lost, and each comes once, whenever it came."""
    for number in range(200):
        run.telling.write(f"{number} ")
        if number % 7 == 0:
            await clock.advance(TICK_SECONDS / 3)
        if number % 50 == 0:
            await run.telling.flush()
    await run.telling.flush()
    deltas = await run.deltas()
    assert [sequence for sequence, _ in deltas] == list(range(1, len(deltas) + 1))
    assert "".join(text for _, text in deltas) == "".join(f"{number} " for number in range(200)) == run.telling.text


async def test_text_and_place_are_saved_a_second_after_they_were_told(run: Run, clock: ManualClock):
    """All that was told by then; and again after what is told later."""
    run.telling.write("a")
    await run.told("a")
    await clock.advance(SAVE_SECONDS / 2)
    run.telling.write("b")
    await run.told("a", "b")
    assert (await run.bureau.row(run.id))["text"] == ""
    await clock.advance(SAVE_SECONDS / 2)
    row = await run.saved("ab")
    assert row["sequence"] == 2
    (place,) = orjson.loads(row["places"]).values()
    assert place == list(run.telling._told[0].place or ())  # pyright: ignore[reportPrivateUsage]
    await eventually(lambda: clock.sleeping == 0, what="nothing is to be saved")
    run.telling.write("c")
    await run.told("a", "b", "c")
    await clock.advance(SAVE_SECONDS)
    await run.saved("abc")


async def test_step_comes_after_what_was_written(run: Run):
    """Though that waits for its tick."""
    run.telling.write("a")
    await run.told("a")
    run.telling.write("b")
    await run.telling.step('{"ordinal": 1}')
    assert await run.types() == ["started", "delta", "delta", "step"]


async def test_what_is_void_is_neither_told_nor_saved(run: Run, clock: ManualClock):
    """Also what was on its way."""
    run.telling.write("a")
    await run.told("a")
    run.telling.write("b")
    await run.telling.go_back("")
    await clock.advance(LONG)
    run.telling.write("c")
    await run.telling.flush()
    assert text_of(await run.bureau.told(run.id)) == run.telling.text == "c"
    await clock.advance(SAVE_SECONDS)
    await run.saved("c")


async def test_void_text_is_not_kept_where_nothing_follows(run: Run, clock: ManualClock):
    """Who joins then gets the text that counts."""
    run.telling.write("a")
    await run.told("a")
    await clock.advance(SAVE_SECONDS)
    await run.saved("a")
    await run.telling.go_back("")
    await clock.settle()
    await clock.advance(SAVE_SECONDS)
    await run.saved("")


async def test_who_is_outrun_in_the_room_stops(run: Run, clock: ManualClock):
    """A later attempt has spoken there; nothing goes on in the background."""
    bureau = run.bureau
    fence = Fence(str(run.id), number_of(run.attempt + 1))
    await bureau.live.publish(
        bureau.organisation.id, f"runs:{run.id}", "run.restarted", b"{}", source="test", fence=fence
    )
    run.telling.write("a")
    with pytest.raises(Outrun):
        await run.saying
    assert clock.sleeping == 0
    assert await run.deltas() == []


async def test_who_is_outrun_in_the_database_stops(run: Run, clock: ManualClock):
    """It was cancelled, and no room was told yet: found a second later."""
    await run.bureau.cancel(run.id)
    run.telling.write("a")
    await run.told("a")
    await clock.advance(SAVE_SECONDS)
    with pytest.raises(Outrun):
        await run.saying
    assert clock.sleeping == 0


async def test_who_is_outrun_by_both_stops_once(run: Run, clock: ManualClock):
    """What is to be told and what is to be saved find it in one moment."""
    bureau = run.bureau
    run.telling.write("a")
    await run.told("a")
    await bureau.cancel(run.id)
    fence = Fence(str(run.id), number_of(run.attempt + 1))
    await bureau.live.publish(
        bureau.organisation.id, f"runs:{run.id}", "run.restarted", b"{}", source="test", fence=fence
    )
    run.telling.write("b")
    await clock.advance(SAVE_SECONDS)
    with pytest.raises(Outrun):
        await run.saying
    assert clock.sleeping == 0


async def test_room_that_was_lost_is_told_everything(run: Run, clock: ManualClock, redis_url: str):
    """As one snapshot, and once more when the place in the new room is kept, for who joined in between."""
    run.telling.write("a")
    await run.told("a")
    redis = connect_redis(redis_url)
    await redis.flushall()
    await redis.aclose()
    await clock.advance(LONG)
    run.telling.write("b")

    async def mended() -> bool:
        return await run.types() == ["snapshot", "snapshot"]

    await eventually(mended)
    told = await run.bureau.told(run.id)
    assert [(each["sequence"], each["text"]) for each in told] == [(2, "ab")] * 2
    await run.saved("ab")
    run.telling.write("c")
    await clock.advance(LONG)
    await eventually(lambda: run.telling.sequence == 3)
    await run.telling.flush()
    assert await run.types() == ["snapshot", "snapshot", "delta"]


async def test_redis_that_stands_still_holds_nobody_up(
    database_url: str, own_redis: OwnRedis, organisation: Organisation, clock: ManualClock
):
    """A run has patience with it once; then it says nothing for a while. Once it answers, its room has all."""
    redis = connect_redis(own_redis.url)
    async with serving(FakeProvider()) as provider:
        model = CompatibleModel(provider.url, "tiny", None, SystemClock())
        async with opened(database_url, redis, own_redis.url, organisation, provider, model) as bureau:
            run = await taken(bureau, clock)
            run.telling.write("a")
            await run.told("a")
            own_redis.pause()
            # Of the connection's own five seconds for each, it would be a minute.
            async with asyncio.timeout(4):
                for number in range(6):
                    run.telling.write("b")
                    await run.telling.step(f'{{"ordinal": {number}}}')
            own_redis.resume()
            await clock.advance(QUIET_SECONDS + LONG)
            run.telling.write("c")
            await run.telling.flush()

            async def all_there() -> bool:
                return text_of(await bureau.told(run.id)) == "abbbbbbc"

            await eventually(all_there)
            await cancelled(run.saying)
        await model.close()
    await redis.aclose()


async def test_telling_that_is_cancelled_leaves_nothing_behind(bureau: Bureau, clock: ManualClock):
    """In each turn of its work: before it has begun, while it tells, waits for its tick, or saves."""
    for turns in range(12):
        run = await taken(bureau, clock)
        await run.telling.flush()
        run.telling.write("a")
        for _ in range(turns):
            await asyncio.sleep(0)
        run.telling.write("b")
        await cancelled(run.saying)
        assert clock.sleeping == 0
        # The last word is of whoever ends the attempt.
        await run.telling.flush()
        assert run.telling.text == "ab"
        assert text_of(await bureau.told(run.id)) == "ab"


async def test_what_is_written_before_the_beginning_is_told_comes_after_it(bureau: Bureau, clock: ManualClock):
    """The model is asked meanwhile; whoever joins finds a place before the first of its words."""
    run = await taken(bureau, clock)
    run.telling.write("a")
    await run.told("a")
    assert await run.types() == ["started", "delta"]
    assert (await run.bureau.row(run.id))["text"] == ""
    await cancelled(run.saying)
