"""The answers to many deliveries in one statement: those of push, of any organisations."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from core.events.subscriptions.settling import Settled, settle
from core.events.subscriptions.subscription import ANSWER_BYTES, Answer, Delivery
from core.store.database import Database
from handlers.webhooks.policy import DELAYS, MOST_ATTEMPTS
from tests.core.events.subscriptions.trial import Trial


@pytest.fixture
async def system(database_url: str) -> AsyncIterator[Database]:
    """Who settles."""
    database = Database(database_url, role="hub_system", size=1)
    yield database
    await database.close()


async def _pushed(trial: Trial) -> UUID:
    subscription = await trial.subscribe(
        0, delivery="push", delays=DELAYS, max_deliveries=MOST_ATTEMPTS, ack_seconds=60.0
    )
    return subscription.id


def _settled(trial: Trial, id: UUID, delivery: Delivery, *, ok: bool, answer: str = "", pause: float = 0.0) -> Settled:
    said = Answer(200 if ok else 500, answer)
    return Settled(trial.org_id, id, delivery.hold, ok, 0.25, said, pause)


async def _settle(system: Database, *settled: Settled) -> set[tuple[UUID, int]]:
    async with system.unbound() as db:
        return await settle(db, settled)


async def test_attempts_come_after_their_delays_each_spread_by_a_fifth(trial: Trial, system: Database):
    """5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h; what failed together does not come back together. Then they are dead letters."""
    await trial.append(*["agents/a"] * 30)
    id = await _pushed(trial)
    for number, delay in enumerate((*DELAYS, None), start=1):
        leased = await trial.consumer.lease(trial.org_id, id, 30)
        assert {each.attempt for each in leased} == {number}
        assert len(leased) == 30
        assert len(await _settle(system, *(_settled(trial, id, each, ok=False) for each in leased))) == 30
        if delay is None:
            break
        rows = await trial.rows("SELECT extract(epoch FROM due_at - clock_timestamp()) AS wait FROM deliveries")
        waits = [float(row["wait"]) for row in rows]
        # The statement has taken a moment by now.
        assert 0.8 * delay - 5 < min(waits)
        assert max(waits) <= 1.2 * delay
        assert max(waits) - min(waits) > 0.1 * delay
        await trial.pass_time(1.2 * delay)
    assert await trial.consumer.lease(trial.org_id, id, 30) == []
    assert (await trial.figures(id)).dead_letters == 30


async def test_pause_that_the_receiver_asked_for_is_kept(trial: Trial, system: Database):
    """Also where it is longer than the delay; a shorter one changes nothing."""
    await trial.append("agents/a", "agents/b")
    id = await _pushed(trial)
    long, short = await trial.consumer.lease(trial.org_id, id, 2)
    await _settle(system, _settled(trial, id, long, ok=False, pause=600), _settled(trial, id, short, ok=False, pause=1))
    await trial.pass_time(6.1)
    (again,) = await trial.consumer.lease(trial.org_id, id, 2)
    assert again.event_id == short.event_id
    await trial.pass_time(594)
    assert long.event_id in {each.event_id for each in await trial.consumer.lease(trial.org_id, id, 2)}


async def test_answer_is_fenced_by_its_lease(trial: Trial, system: Database):
    """Who comes late, after another has the delivery, changes nothing and leaves no attempt; others of the statement count."""
    await trial.append("agents/a", "agents/b")
    id = await _pushed(trial)
    late, good = await trial.consumer.lease(trial.org_id, id, 2)
    await trial.rows("UPDATE deliveries SET due_at = clock_timestamp() WHERE id = $1", late.hold.delivery)
    (taken,) = await trial.consumer.lease(trial.org_id, id, 2)
    told = await _settle(system, _settled(trial, id, late, ok=True), _settled(trial, id, good, ok=True))
    assert told == {(id, good.hold.delivery)}
    assert await _settle(system, _settled(trial, id, taken, ok=True)) == {(id, taken.hold.delivery)}
    rows = await trial.rows("SELECT delivery, number, outcome FROM attempts ORDER BY delivery, number")
    assert [tuple(row) for row in rows] == [
        (late.hold.delivery, 1, "expired"),
        (late.hold.delivery, 2, "acknowledged"),
        (good.hold.delivery, 1, "acknowledged"),
    ]
    # So they go with time, also the one that failed before.
    assert await trial.rows("SELECT 1 FROM attempts WHERE NOT is_over") == []


@pytest.mark.parametrize("ok", [True, False])
async def test_two_answers_to_one_delivery_are_told_apart_by_their_leases(trial: Trial, system: Database, ok: bool):
    """In one statement, whatever stands first: what counts and is kept is what the holder of the lease has said."""
    await trial.append("agents/a")
    id = await _pushed(trial)
    (late,) = await trial.consumer.lease(trial.org_id, id, 1)
    await trial.pass_time(61)
    (taken,) = await trial.consumer.lease(trial.org_id, id, 1)
    stale, valid = _settled(trial, id, late, ok=not ok, answer="late"), _settled(trial, id, taken, ok=ok, answer="good")
    assert await _settle(system, stale, valid) == {(id, taken.hold.delivery)}
    assert len(await trial.rows("SELECT 1 FROM deliveries")) == (0 if ok else 1)
    rows = await trial.rows("SELECT number, outcome, answer FROM attempts ORDER BY number")
    outcome = "acknowledged" if ok else "refused"
    assert [tuple(row) for row in rows] == [(1, "expired", None), (2, outcome, "good")]


async def test_attempt_is_kept_with_what_was_answered(trial: Trial, system: Database):
    """Its beginning, its status, and 4 KiB; what is no text for PostgreSQL is replaced."""
    await trial.append("agents/a")
    id = await _pushed(trial)
    (leased,) = await trial.consumer.lease(trial.org_id, id, 1)
    await _settle(system, _settled(trial, id, leased, ok=False, answer="a\x00é" * 5_000))
    (row,) = await trial.rows("SELECT *, extract(epoch FROM ended_at - started_at)::float AS took FROM attempts")
    assert (row["outcome"], row["status"], row["took"]) == ("refused", 500, pytest.approx(0.25, abs=0.01))
    assert "\x00" not in row["answer"]
    assert ANSWER_BYTES - 8 < len(row["answer"].encode()) <= ANSWER_BYTES
