"""Replays: marked, paced, paused, cancelled, beside live delivery."""

import pytest

from core.clock import SystemClock
from core.errors import HubError
from core.events.subscriptions import replays
from core.events.subscriptions.replays import MOST_AT_ONCE, NewReplay, Replay
from core.events.subscriptions.subscription import WINDOW, Answer, Delivery, Subscription
from core.ids import new_id
from core.operations.housekeeping import sweep_attempts
from tests.core.events.subscriptions.trial import Trial


async def begin(trial: Trial, source: Subscription, target: Subscription | None = None, **fields: object) -> Replay:
    """Begin a replay of all that the log has, or as `fields` say."""
    wanted = {"after": 0, **fields}
    new = NewReplay(new_id(), source.id, (target or source).id, **wanted)  # pyright: ignore[reportArgumentType] - fields of the test
    async with trial.database.transaction(trial.org_id) as db:
        return await replays.create(db, trial.org_id, new, SystemClock().now())


async def found(trial: Trial, replay: Replay) -> tuple[Replay, int]:
    """Return how a replay is, and how much of it is outstanding."""
    async with trial.database.read(trial.org_id) as db:
        now = await replays.find(db, trial.org_id, replay.subscription_id, replay.id)
    assert now is not None
    return now


async def say(trial: Trial, replay: Replay, status: replays.Status) -> None:
    """Pause, resume or cancel."""
    async with trial.database.transaction(trial.org_id) as db:
        assert await replays.set_status(
            db, trial.org_id, replay.subscription_id, replay.id, status, SystemClock().now()
        )


async def taken(trial: Trial, subscription: Subscription, most: int = 1_000) -> list[Delivery]:
    """Lease and acknowledge."""
    leased = await trial.consumer.lease(trial.org_id, subscription.id, most)
    await trial.consumer.ack(trial.org_id, subscription.id, [each.hold for each in leased])
    return leased


async def test_replay_is_marked_and_live_events_go_first(trial: Trial):
    """The same events with the same ids, marked; what is new does not wait for them."""
    await trial.append("agents/a", "agents/b", "agents/c")
    subscription = await trial.subscribe(0)
    first = await taken(trial, subscription)
    replay = await begin(trial, subscription, after=1)
    await trial.append("agents/d")
    again = [await taken(trial, subscription, 1) for _ in range(3)]
    assert [[(each.position, each.replayed) for each in batch] for batch in again] == [
        [(4, False)],
        [(2, True)],
        [(3, True)],
    ]
    assert again[1][0].event_id == first[1].event_id
    now, outstanding = await found(trial, replay)
    assert (now.status, now.cursor, now.placed, outstanding) == ("done", 3, 2, 0)
    assert await taken(trial, subscription) == []


async def test_replayed_event_that_came_back_waits_for_live_ones_too(trial: Trial):
    """It goes before what its replay has not handed out yet."""
    await trial.append("agents/a", "agents/b")
    subscription = await trial.subscribe(None)
    await begin(trial, subscription, after=0)
    (held,) = await trial.consumer.lease(trial.org_id, subscription.id, 1)
    await trial.consumer.refuse(trial.org_id, subscription.id, [held.hold], Answer(), delay_seconds=0)
    await trial.append("agents/c")
    again = [await taken(trial, subscription, 1) for _ in range(3)]
    assert [(each.position, each.replayed) for batch in again for each in batch] == [(3, False), (1, True), (2, True)]


async def test_replay_into_another_subscription_has_the_filter_of_its_source(trial: Trial):
    """The other one may have any filter; its own cursor does not move."""
    await trial.append("agents/a", "twins/a")
    source = await trial.subscribe(None, subjects=["twins/*"])
    target = await trial.subscribe(None, types=["nothing"])
    await begin(trial, source, target)
    assert [(each.position, each.replayed) for each in await taken(trial, target)] == [(2, True)]
    assert await taken(trial, source) == []


async def test_more_than_a_window_is_replayed_as_it_is_taken(trial: Trial):
    """At most a window is outstanding, and all of it comes, in order."""
    await trial.append(*["agents/a"] * (2 * WINDOW + 7))
    subscription = await trial.subscribe(None, max_in_flight=10 * WINDOW)
    replay = await begin(trial, subscription, upto=2 * WINDOW + 5)
    seen: list[int] = []
    while batch := await taken(trial, subscription, 10 * WINDOW):
        assert len(batch) <= WINDOW
        seen += [each.position for each in batch]
    assert seen == list(range(1, 2 * WINDOW + 6))
    assert (await found(trial, replay))[0].status == "done"


async def test_pace_is_kept_however_often_it_is_asked(trial: Trial):
    """Ten a second are ten a second; a pause is not followed by a burst of more than a second's."""
    await trial.append(*["agents/a"] * 100)
    subscription = await trial.subscribe(None)
    await begin(trial, subscription, rate=0.5)
    assert await taken(trial, subscription) == []
    seconds = await trial.consumer.next_due(trial.org_id, subscription.id)
    assert seconds is not None
    assert 0 < seconds <= 2
    await trial.pass_time(2)
    assert len(await taken(trial, subscription)) == 1
    await trial.pass_time(3600)
    assert [len(await taken(trial, subscription)) for _ in range(3)] == [1, 0, 0]
    fast = await trial.subscribe(None)
    await begin(trial, fast, rate=10)
    await trial.pass_time(3600)
    assert len(await taken(trial, fast)) == 10
    for _ in range(4):
        await trial.pass_time(0.25)
    assert len(await taken(trial, fast)) >= 10


async def test_pace_of_less_than_one_a_second_goes_on_whatever_the_float_makes_of_it(trial: Trial):
    """0.013 times 1 / 0.013 is a little less than one event, and one all the same."""
    await trial.append("agents/a", "agents/a")
    subscription = await trial.subscribe(None)
    await begin(trial, subscription, rate=0.013)
    for _ in range(2):
        await trial.pass_time(3600)
        assert len(await taken(trial, subscription)) == 1


async def test_paused_replay_places_nothing_and_goes_on_where_it_was(trial: Trial):
    """Pausing twice is pausing."""
    await trial.append(*["agents/a"] * (WINDOW + 1))
    subscription = await trial.subscribe(None, max_in_flight=10 * WINDOW)
    replay = await begin(trial, subscription)
    assert len(await taken(trial, subscription, 10 * WINDOW)) == WINDOW
    for status in ("paused", "paused"):
        await say(trial, replay, status)
    assert await taken(trial, subscription) == []
    await say(trial, replay, "running")
    assert [each.position for each in await taken(trial, subscription)] == [WINDOW + 1]


async def test_cancelled_replay_withdraws_what_nobody_has_and_stays_cancelled(trial: Trial):
    """Who has one may still acknowledge it."""
    await trial.append("agents/a", "agents/b")
    subscription = await trial.subscribe(None, max_in_flight=1, ordered=True)
    replay = await begin(trial, subscription, after=0)
    (held,) = await trial.consumer.lease(trial.org_id, subscription.id, 10)
    other = await begin(trial, subscription, rate=0.001)
    await say(trial, other, "cancelled")
    with pytest.raises(HubError, match="cancelled"):
        await say(trial, other, "running")
    with pytest.raises(HubError, match="done"):
        await say(trial, replay, "cancelled")
    assert await trial.consumer.ack(trial.org_id, subscription.id, [held.hold]) == {held.hold}
    assert [each.position for each in await taken(trial, subscription)] == [2]


async def test_subscription_has_only_so_many_replays_at_once(trial: Trial):
    """Each may have a window of rows outstanding."""
    await trial.append("agents/a")
    subscription = await trial.subscribe(None)
    for _ in range(MOST_AT_ONCE):
        await begin(trial, subscription)
    with pytest.raises(HubError) as refused:
        await begin(trial, subscription)
    assert refused.value.code == "RESOURCE_CONFLICT"
    async with trial.database.read(trial.org_id) as db:
        listed, total = await replays.find_page(db, trial.org_id, subscription.id, limit=2, offset=0)
    assert (len(listed), total) == (2, MOST_AT_ONCE)


async def test_attempts_of_a_cancelled_replay_are_swept_with_time(trial: Trial):
    """What was refused of it belongs to nothing any more; what was refused of live events still does."""
    await trial.append("agents/a", "agents/b")
    subscription = await trial.subscribe(0)
    replay = await begin(trial, subscription)
    leased = await trial.consumer.lease(trial.org_id, subscription.id, 3)
    assert [each.replayed for each in leased] == [False, False, True]
    holds = [each.hold for each in leased]
    await trial.consumer.refuse(trial.org_id, subscription.id, holds, Answer(500), delay_seconds=3600)
    await say(trial, replay, "cancelled")
    await trial.rows("UPDATE attempts SET ended_at = ended_at - interval '8 days'")
    assert await sweep_attempts(trial.database) == 1
    left = await trial.rows("SELECT delivery FROM attempts ORDER BY delivery")
    assert [row["delivery"] for row in left] == [each.hold.delivery for each in leased[:2]]
