"""The figures of all subscriptions together, that the metrics tell."""

from core.clock import SystemClock
from core.events.subscriptions import store
from core.events.subscriptions.store import Change
from core.events.subscriptions.subscription import Answer
from core.events.subscriptions.totals import SubscriptionFigures, Totals
from core.store.database import Database
from tests.core.events.subscriptions.trial import Trial
from tests.harness.organisations import Organisations


async def test_totals_are_of_every_organisation_by_way_of_delivery(trial: Trial, organisations: Organisations):
    """Sums and the worst; what is paused has no lag to tell of; a way that has nothing left is 0."""
    other = Trial.of(trial.url, trial.database, await organisations.create())
    await trial.append(*["agents/a"] * 5)
    await other.append(*["agents/a"] * 9)
    mine, theirs = await trial.subscribe(0), await other.subscribe(2)
    paused = await other.subscribe(0)
    async with other.database.transaction(other.org_id) as db:
        await store.change(db, other.org_id, paused.id, Change(status="paused"), SystemClock().now())
    held = await trial.consumer.lease(trial.org_id, mine.id, 3)
    await trial.consumer.refuse(trial.org_id, mine.id, [held[0].hold], Answer(), for_good=True)
    await trial.rows("UPDATE events SET recorded_at = recorded_at - interval '1 h' WHERE org_id = $1", other.org_id)
    system = Database(trial.url, role="hub_system", size=1)
    figures = SubscriptionFigures(system, SystemClock())
    await figures.look()
    (totals,) = figures.by_way.values()
    assert 3600 <= totals.oldest_seconds < 7200
    assert totals == Totals(3, 9, 7, 2, 2, 1, totals.oldest_seconds)
    for each, id in ((trial, mine.id), (other, theirs.id), (other, paused.id)):
        async with each.database.transaction(each.org_id) as db:
            await store.remove(db, each.org_id, id)
    await figures.look()
    assert figures.by_way == {"pull": Totals()}
    await system.close()


async def test_delivery_says_that_its_last_lease_has_ended(trial: Trial):
    """Not one that was refused."""
    await trial.append("agents/a", "agents/b")
    subscription = await trial.subscribe(0)
    first = await trial.consumer.lease(trial.org_id, subscription.id, 2)
    await trial.consumer.refuse(trial.org_id, subscription.id, [first[1].hold], Answer(), delay_seconds=0)
    await trial.pass_time(31)
    again = await trial.consumer.lease(trial.org_id, subscription.id, 2)
    assert [each.expired for each in (*first, *again)] == [False, False, True, False]
