"""Dead letters of what nobody asks for any more: they do not wait for a pull."""

from collections.abc import AsyncIterator

import orjson
import pytest

from core.clock import SystemClock
from core.events.subscriptions import store
from core.events.subscriptions.consumer import Consumer
from core.events.subscriptions.deliveries import BURIED_AT_ONCE
from core.events.subscriptions.store import Change
from core.events.subscriptions.subscription import Status, Subscription
from core.store.database import Database
from tests.core.events.subscriptions.trial import Trial
from tests.harness.organisations import Organisations


@pytest.fixture
async def worker(trial: Trial) -> AsyncIterator[Consumer]:
    """What housekeeping works with: all organisations."""
    database = Database(trial.url, role="hub_system", size=2)
    yield Consumer(database, SystemClock(), lambda: trial.pokes.append(1))
    await database.close()


async def left_alone(trial: Trial, subscription: Subscription) -> None:
    """Hand everything out for the last time, to somebody who never answers."""
    while await trial.consumer.lease(trial.org_id, subscription.id, 1_000):
        pass
    await trial.pass_time(31)


async def set_status(trial: Trial, subscription: Subscription, status: Status) -> None:
    """Pause or disable it."""
    async with trial.database.transaction(trial.org_id) as db:
        await store.change(db, trial.org_id, subscription.id, Change(status=status), SystemClock().now())


async def test_last_attempt_that_nobody_answers_is_a_dead_letter_without_a_pull(trial: Trial, worker: Consumer):
    """With its attempt, announced once each, the relay poked; also where the subscription was paused or disabled meanwhile."""
    await trial.append("agents/a", "agents/b")
    subscriptions = [await trial.subscribe(0, max_deliveries=1) for _ in range(3)]
    for each in subscriptions:
        await left_alone(trial, each)
    await set_status(trial, subscriptions[1], "paused")
    await set_status(trial, subscriptions[2], "disabled")
    assert await worker.bury_exhausted() == 6
    letters = await trial.rows("SELECT subscription_id, position, reason, attempts FROM dead_letters")
    assert {tuple(row) for row in letters} == {
        (each.id, position, "max_deliveries", 1) for each in subscriptions for position in (1, 2)
    }
    assert [row["outcome"] for row in await trial.rows("SELECT outcome FROM attempts")] == ["expired"] * 6
    told = await trial.rows("SELECT type, subject, org_id FROM outbox")
    assert sorted(row["subject"] for row in told) == sorted(f"subscriptions/{each.id}" for each in subscriptions * 2)
    assert {(row["type"], row["org_id"]) for row in told} == {("subscription.dead_lettered", trial.org_id)}
    assert len(trial.pokes) == 3
    assert await worker.bury_exhausted() == 0
    assert len(await trial.rows("SELECT 1 FROM outbox")) == 6


async def test_what_has_an_attempt_left_or_time_to_answer_stays(trial: Trial, worker: Consumer):
    """A lease that lasts, a refusal that waits, an attempt more, and what was never handed out."""
    await trial.append("agents/a", "agents/b", "agents/c")
    held = await trial.subscribe(0, max_deliveries=1)
    (delivery, *_) = await trial.consumer.lease(trial.org_id, held.id, 1)
    again = await trial.subscribe(0, max_deliveries=2)
    await trial.consumer.lease(trial.org_id, again.id, 10)
    await trial.rows(
        "UPDATE deliveries SET due_at = clock_timestamp() - interval '1 h' WHERE subscription_id = $1", again.id
    )
    assert await worker.bury_exhausted() == 0
    assert await trial.consumer.ack(trial.org_id, held.id, [delivery.hold]) == {delivery.hold}
    assert len(await trial.consumer.lease(trial.org_id, again.id, 10)) == 3


async def test_answer_that_comes_after_the_burial_is_lost(trial: Trial, worker: Consumer):
    """It is a dead letter by then, which can be redriven or purged."""
    await trial.append("agents/a")
    subscription = await trial.subscribe(0, max_deliveries=1)
    (late,) = await trial.consumer.lease(trial.org_id, subscription.id, 10)
    await trial.pass_time(31)
    assert await worker.bury_exhausted() == 1
    assert await trial.consumer.ack(trial.org_id, subscription.id, [late.hold]) == set()
    figures = await trial.figures(subscription.id)
    assert (figures.outstanding, figures.dead_letters) == (0, 1)


async def test_every_organisation_and_more_than_a_step_are_buried(
    trial: Trial, worker: Consumer, organisations: Organisations
):
    """And each is told of its own only."""
    other = Trial.of(trial.url, trial.database, await organisations.create())
    for each, count in ((trial, 2 * BURIED_AT_ONCE + 1), (other, 3)):
        await each.append(*["agents/a"] * count)
        await left_alone(each, await each.subscribe(0, max_deliveries=1, max_in_flight=1_000))
    assert await worker.bury_exhausted() == 2 * BURIED_AT_ONCE + 4
    told = await trial.rows("SELECT org_id, envelope FROM outbox")
    assert [row["org_id"] for row in told].count(other.org_id) == 3
    letters = {str(row["id"]) for row in await trial.rows("SELECT id FROM dead_letters")}
    assert {orjson.loads(row["envelope"])["data"]["dead_letter_id"] for row in told} == letters
