"""Dead letters: listed, looked at, redriven and purged; nothing is dropped silently."""

from core.clock import SystemClock
from core.events.subscriptions import dead_letters
from core.events.subscriptions.dead_letters import Which
from core.events.subscriptions.subscription import Answer, Subscription
from core.ids import new_id
from tests.core.events.subscriptions.trial import Trial


async def bury_all(trial: Trial, subscription: Subscription) -> None:
    """Let all that the log has be refused for good."""
    while leased := await trial.consumer.lease(trial.org_id, subscription.id, 100):
        holds = [each.hold for each in leased]
        await trial.consumer.refuse(trial.org_id, subscription.id, holds, Answer(422, "no"), for_good=True)


async def test_dead_letters_are_listed_newest_first_and_found_with_attempts_and_event(trial: Trial):
    """By type, subject and time; one of another subscription is not found here."""
    await trial.append("agents/a", "agents/b")
    await trial.append("twins/a", type="twin.updated")
    subscription, other = await trial.subscribe(0), await trial.subscribe(None)
    await bury_all(trial, subscription)
    async with trial.database.read(trial.org_id) as db:
        listed, total = await dead_letters.find_page(
            db, trial.org_id, subscription.id, Which(), limit=2, offset=0, count=3
        )
        assert (len(listed), total) == (2, 3)
        _, counted = await dead_letters.find_page(
            db, trial.org_id, subscription.id, Which(), limit=2, offset=0, count=1
        )
        assert counted == 1
        for which, count in (
            (Which(type="agent.*"), 2),
            (Which(subject="agents/b"), 1),
            (Which(since=SystemClock().now()), 0),
            (Which(until=SystemClock().now()), 3),
        ):
            found = await dead_letters.find_page(db, trial.org_id, subscription.id, which, limit=9, offset=0, count=9)
            assert (len(found[0]), found[1]) == (count, count), which
        letter = listed[0]
        found = await dead_letters.find(db, trial.org_id, subscription.id, letter.id)
        assert found is not None
        assert found[0] == letter
        assert [(each.outcome, each.status, each.answer) for each in found[1]] == [("refused", 422, "no")]
        assert str(letter.event_id) in found[2]
        assert await dead_letters.find(db, trial.org_id, other.id, letter.id) is None
        assert await dead_letters.find(db, trial.org_id, subscription.id, new_id()) is None


async def test_redriven_letter_is_delivered_as_if_for_the_first_time(trial: Trial):
    """By id or by filter, at most so many; it is no dead letter meanwhile."""
    await trial.append("agents/a", "agents/b", "agents/c")
    subscription = await trial.subscribe(0, ordered=True, max_deliveries=1)
    await bury_all(trial, subscription)
    async with trial.database.transaction(trial.org_id) as db:
        which = Which(type="agent.*", subject="agents/b")
        assert len(await dead_letters.redrive(db, trial.org_id, subscription.id, which, 10)) == 1
    (again,) = await trial.consumer.lease(trial.org_id, subscription.id, 10)
    assert (again.position, again.attempt, again.replayed) == (2, 1, False)
    await trial.consumer.ack(trial.org_id, subscription.id, [again.hold])
    async with trial.database.transaction(trial.org_id) as db:
        assert len(await dead_letters.redrive(db, trial.org_id, subscription.id, Which(), 1)) == 1
    assert [each.position for each in await trial.consumer.lease(trial.org_id, subscription.id, 10)] == [1]
    assert (await trial.figures(subscription.id)).dead_letters == 1


async def test_purged_letters_are_gone_with_their_attempts(trial: Trial):
    """And what was not meant stays."""
    await trial.append("agents/a", "agents/b")
    subscription = await trial.subscribe(0)
    await bury_all(trial, subscription)
    async with trial.database.transaction(trial.org_id) as db:
        (kept, gone), _ = await dead_letters.find_page(
            db, trial.org_id, subscription.id, Which(), limit=2, offset=0, count=3
        )
        which = Which(ids=[gone.id, new_id()])
        assert await dead_letters.purge(db, trial.org_id, subscription.id, which, 10) == [gone.id]
    assert [row["id"] for row in await trial.rows("SELECT id FROM dead_letters")] == [kept.id]
    assert len(await trial.rows("SELECT 1 FROM attempts")) == 1
