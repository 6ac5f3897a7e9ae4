"""What is handed out, to whom, in which order, and how often."""

from core.events.subscriptions.deliveries import LOOK
from core.events.subscriptions.subscription import ANSWER_BYTES, WINDOW, Answer, Delivery, Hold
from core.ids import new_id
from core.operations.housekeeping import sweep_attempts
from core.store.database import Database
from tests.core.events.subscriptions.trial import Trial
from tests.harness.organisations import Organisations


def positions(deliveries: list[Delivery]) -> list[int]:
    return [each.position for each in deliveries]


def holds(deliveries: list[Delivery]) -> list[Hold]:
    return [each.hold for each in deliveries]


async def test_events_behind_the_cursor_are_handed_out_once_each_in_order(trial: Trial):
    """What is leased is nobody else's; what is acknowledged never comes back; the envelope is the log's."""
    await trial.append("agents/a", "agents/b")
    subscription = await trial.subscribe(1)
    await trial.append("agents/c")
    leased = await trial.consumer.lease(trial.org_id, subscription.id, 10)
    assert positions(leased) == [2, 3]
    assert [(each.attempt, each.replayed, each.subject) for each in leased] == [
        (1, False, "agents/b"),
        (1, False, "agents/c"),
    ]
    assert str(leased[0].event_id) in leased[0].envelope
    assert await trial.consumer.lease(trial.org_id, subscription.id, 10) == []
    assert await trial.consumer.ack(trial.org_id, subscription.id, holds(leased)) == set(holds(leased))
    await trial.pass_time(3600)
    assert await trial.consumer.lease(trial.org_id, subscription.id, 10) == []


async def test_subscription_from_now_gets_only_what_comes(trial: Trial):
    """Without a cursor it begins at the end of the log."""
    await trial.append("agents/a")
    subscription = await trial.subscribe(None)
    assert await trial.consumer.lease(trial.org_id, subscription.id, 10) == []
    (last,) = await trial.append("agents/b")
    assert positions(await trial.consumer.lease(trial.org_id, subscription.id, 10)) == [last]


async def test_filter_of_types_and_subjects_is_of_globs_and_their_characters_are_their_own(trial: Trial):
    """`*` spans dots and slashes; `_` and `%` match themselves only."""
    await trial.append("agents/a", "twins/a", "agents/b", type="custom.a_b")
    await trial.append("agents/a", type="custom.axb")
    subscription = await trial.subscribe(0, types=["custom.a_*", "nothing"], subjects=["agents/*"])
    assert positions(await trial.consumer.lease(trial.org_id, subscription.id, 10)) == [1, 3]


async def test_what_matches_rarely_is_found_however_far_it_is(trial: Trial):
    """Several looks of a bounded length, in one lease."""
    await trial.append(*["agents/a"] * (2 * LOOK + 10))
    (last,) = await trial.append("agents/a", type="agent.deleted")
    subscription = await trial.subscribe(0, types=["agent.deleted"])
    assert positions(await trial.consumer.lease(trial.org_id, subscription.id, 10)) == [last]
    assert (await trial.figures(subscription.id)).lag == 0


async def test_window_of_outstanding_deliveries_is_bounded(trial: Trial):
    """A consumer that is away holds no more rows than a window; the cursor stands until there is room."""
    await trial.append(*["agents/a"] * (WINDOW + 500))
    subscription = await trial.subscribe(0, max_in_flight=10 * WINDOW)
    first = await trial.consumer.lease(trial.org_id, subscription.id, 10 * WINDOW)
    assert positions(first) == list(range(1, WINDOW + 1))
    figures = await trial.figures(subscription.id)
    assert (figures.lag, figures.outstanding, figures.in_flight) == (500, WINDOW, WINDOW)
    assert await trial.consumer.next_due(trial.org_id, subscription.id) != 0, "a full window takes nothing of the log"
    await trial.consumer.ack(trial.org_id, subscription.id, holds(first[:100]))
    more = await trial.consumer.lease(trial.org_id, subscription.id, 10 * WINDOW)
    assert positions(more) == list(range(WINDOW + 1, WINDOW + 101))


async def test_what_came_back_goes_before_what_is_new_and_is_filled_up_with_it(trial: Trial):
    """One lease holds both; each event once, and nothing of the log is passed by."""
    await trial.append(*["agents/a"] * 6)
    subscription = await trial.subscribe(0)
    first = await trial.consumer.lease(trial.org_id, subscription.id, 3)
    refused = await trial.consumer.refuse(trial.org_id, subscription.id, [first[1].hold], Answer(), delay_seconds=0)
    assert refused == {first[1].hold}
    more = await trial.consumer.lease(trial.org_id, subscription.id, 3)
    assert [(each.position, each.attempt) for each in more] == [(2, 2), (4, 1), (5, 1)]
    assert positions(await trial.consumer.lease(trial.org_id, subscription.id, 3)) == [6]


async def test_no_more_are_in_flight_than_allowed(trial: Trial):
    """`max_in_flight` is of all consumers together; an answer makes room."""
    await trial.append(*["agents/a"] * 10)
    subscription = await trial.subscribe(0, max_in_flight=4)
    first = await trial.consumer.lease(trial.org_id, subscription.id, 3)
    assert len(await trial.consumer.lease(trial.org_id, subscription.id, 3)) == 1
    assert await trial.consumer.lease(trial.org_id, subscription.id, 3) == []
    await trial.consumer.ack(trial.org_id, subscription.id, holds(first[:2]))
    assert len(await trial.consumer.lease(trial.org_id, subscription.id, 3)) == 2


async def test_unanswered_delivery_comes_again_with_the_same_event_and_its_old_lease_is_worth_nothing(trial: Trial):
    """The lease is the fence: an answer that comes after another has taken it over changes nothing."""
    await trial.append("agents/a")
    subscription = await trial.subscribe(0, ack_seconds=30)
    (first,) = await trial.consumer.lease(trial.org_id, subscription.id, 10)
    await trial.pass_time(29)
    assert await trial.consumer.lease(trial.org_id, subscription.id, 10) == []
    await trial.pass_time(2)
    (second,) = await trial.consumer.lease(trial.org_id, subscription.id, 10)
    assert (second.event_id, second.attempt) == (first.event_id, 2)
    assert await trial.consumer.ack(trial.org_id, subscription.id, [first.hold]) == set()
    assert await trial.consumer.extend(trial.org_id, subscription.id, [first.hold], 60) == {}
    assert await trial.consumer.refuse(trial.org_id, subscription.id, [first.hold], Answer()) == set()
    assert await trial.consumer.ack(trial.org_id, subscription.id, [second.hold]) == {second.hold}


async def test_stale_and_valid_lease_of_one_delivery_are_told_apart(trial: Trial):
    """Also in one call: only that of who has it now is done."""
    await trial.append("agents/a", "agents/b")
    subscription = await trial.subscribe(0, max_in_flight=1)
    for _ in range(2):
        (stale,) = await trial.consumer.lease(trial.org_id, subscription.id, 1)
        await trial.pass_time(31)
        (valid,) = await trial.consumer.lease(trial.org_id, subscription.id, 1)
        both = [stale.hold, valid.hold]
        assert set(await trial.consumer.extend(trial.org_id, subscription.id, both, 60)) == {valid.hold}
        assert await trial.consumer.refuse(trial.org_id, subscription.id, both, Answer(500), delay_seconds=0) == {
            valid.hold
        }
        (again,) = await trial.consumer.lease(trial.org_id, subscription.id, 1)
        assert await trial.consumer.ack(trial.org_id, subscription.id, [*both, again.hold]) == {again.hold}


async def test_late_answer_counts_while_nobody_else_has_the_delivery(trial: Trial):
    """The work is done: to hand it out again would only make a double."""
    await trial.append("agents/a")
    subscription = await trial.subscribe(0)
    (late,) = await trial.consumer.lease(trial.org_id, subscription.id, 10)
    await trial.pass_time(3600)
    assert await trial.consumer.ack(trial.org_id, subscription.id, [late.hold]) == {late.hold}


async def test_extended_lease_ends_later(trial: Trial):
    """`extend` counts from now."""
    await trial.append("agents/a")
    subscription = await trial.subscribe(0, ack_seconds=10)
    (held,) = await trial.consumer.lease(trial.org_id, subscription.id, 10)
    ends = await trial.consumer.extend(trial.org_id, subscription.id, [held.hold], 60)
    assert ends[held.hold] > held.lease_until
    await trial.pass_time(50)
    assert await trial.consumer.lease(trial.org_id, subscription.id, 10) == []
    await trial.pass_time(11)
    assert len(await trial.consumer.lease(trial.org_id, subscription.id, 10)) == 1


async def test_refused_delivery_comes_again_after_its_delay_with_jitter(trial: Trial):
    """The delays rise with the attempts, the last holds for the rest; each is spread by a fifth to either side."""
    await trial.append("agents/a")
    subscription = await trial.subscribe(0, delays=[10.0, 100.0])
    for delay in (10, 100, 100):
        (held,) = await trial.consumer.lease(trial.org_id, subscription.id, 10)
        await trial.consumer.refuse(trial.org_id, subscription.id, [held.hold], Answer())
        seconds = await trial.consumer.next_due(trial.org_id, subscription.id)
        assert seconds is not None
        assert delay * 0.75 < seconds <= delay * 1.2
        await trial.pass_time(delay * 1.21)
    (held,) = await trial.consumer.lease(trial.org_id, subscription.id, 10)
    await trial.consumer.refuse(trial.org_id, subscription.id, [held.hold], Answer(), delay_seconds=0)
    assert [each.attempt for each in await trial.consumer.lease(trial.org_id, subscription.id, 10)] == [5]


async def test_ordered_subject_waits_for_its_oldest_and_others_do_not(trial: Trial):
    """Of a subject one is out at a time; one that is refused keeps the later ones back."""
    await trial.append("agents/a", "agents/a", "agents/b")
    subscription = await trial.subscribe(0, ordered=True, delays=[60.0])
    first = await trial.consumer.lease(trial.org_id, subscription.id, 10)
    assert positions(first) == [1, 3]
    await trial.consumer.refuse(trial.org_id, subscription.id, [first[0].hold], Answer())
    await trial.consumer.ack(trial.org_id, subscription.id, [first[1].hold])
    assert await trial.consumer.lease(trial.org_id, subscription.id, 10) == []
    await trial.pass_time(80)
    again = await trial.consumer.lease(trial.org_id, subscription.id, 10)
    assert positions(again) == [1]
    await trial.consumer.ack(trial.org_id, subscription.id, holds(again))
    assert positions(await trial.consumer.lease(trial.org_id, subscription.id, 10)) == [2]


async def test_last_attempt_that_is_refused_is_a_dead_letter_with_every_attempt(trial: Trial):
    """Each attempt is kept: when, status, the first 4 KiB of the answer; the death is announced and the relay poked."""
    await trial.append("agents/a")
    subscription = await trial.subscribe(0, max_deliveries=2, delays=[0.0])
    for status in (500, 503):
        (held,) = await trial.consumer.lease(trial.org_id, subscription.id, 10)
        text = "n\0o" + "é" * ANSWER_BYTES
        await trial.consumer.refuse(trial.org_id, subscription.id, [held.hold], Answer(status, text), delay_seconds=0)
    await trial.pass_time(3600)
    assert await trial.consumer.lease(trial.org_id, subscription.id, 10) == []
    (letter,) = await trial.rows("SELECT * FROM dead_letters")
    assert (letter["reason"], letter["attempts"], letter["position"]) == ("max_deliveries", 2, 1)
    kept = await trial.rows("SELECT * FROM attempts ORDER BY number")
    assert [(row["status"], row["outcome"]) for row in kept] == [(500, "refused"), (503, "refused")]
    assert all(ANSWER_BYTES - 2 < len(row["answer"].encode()) <= ANSWER_BYTES for row in kept)
    (told,) = await trial.rows("SELECT type, subject, envelope FROM outbox")
    assert (told["type"], told["subject"]) == ("subscription.dead_lettered", f"subscriptions/{subscription.id}")
    assert str(letter["id"]) in told["envelope"]
    assert trial.pokes == [1]


async def test_last_attempt_that_nobody_answers_is_a_dead_letter_when_it_is_looked_for(trial: Trial):
    """Its attempts say that they expired."""
    await trial.append("agents/a", "agents/b")
    subscription = await trial.subscribe(0, max_deliveries=2)
    for _ in range(2):
        assert len(await trial.consumer.lease(trial.org_id, subscription.id, 10)) == 2
        await trial.pass_time(31)
    assert await trial.consumer.lease(trial.org_id, subscription.id, 10) == []
    letters = await trial.rows("SELECT reason FROM dead_letters")
    assert [row["reason"] for row in letters] == ["max_deliveries"] * 2
    assert [row["outcome"] for row in await trial.rows("SELECT outcome FROM attempts")] == ["expired"] * 4


async def test_what_can_never_succeed_is_a_dead_letter_at_once(trial: Trial):
    """`for_good` does not wait for more attempts."""
    await trial.append("agents/a")
    subscription = await trial.subscribe(0)
    (held,) = await trial.consumer.lease(trial.org_id, subscription.id, 10)
    await trial.consumer.refuse(trial.org_id, subscription.id, [held.hold], Answer(410), for_good=True)
    assert [row["reason"] for row in await trial.rows("SELECT reason FROM dead_letters")] == ["rejected"]


async def test_death_of_an_announcement_is_not_announced_and_none_hears_of_itself(trial: Trial):
    """Two subscriptions that fail do not tell each other for ever."""
    subscription = await trial.subscribe(0)
    await trial.append(
        f"subscriptions/{subscription.id}", f"subscriptions/{new_id()}", type="subscription.dead_lettered"
    )
    leased = await trial.consumer.lease(trial.org_id, subscription.id, 10)
    assert positions(leased) == [2]
    await trial.consumer.refuse(trial.org_id, subscription.id, holds(leased), Answer(), for_good=True)
    assert len(await trial.rows("SELECT 1 FROM dead_letters")) == 1
    assert await trial.rows("SELECT 1 FROM outbox") == []


async def test_another_organisation_reaches_nothing(trial: Trial, organisations: Organisations):
    """Row-level security, and every statement names the organisation."""
    await trial.append("agents/a")
    subscription = await trial.subscribe(0)
    other = await organisations.create()
    (held,) = await trial.consumer.lease(trial.org_id, subscription.id, 10)
    assert await trial.consumer.lease(other.id, subscription.id, 10) == []
    assert await trial.consumer.ack(other.id, subscription.id, [held.hold]) == set()
    async with trial.database.read(other.id) as db:
        for table in ("subscriptions", "deliveries", "attempts", "dead_letters", "replays"):
            assert await db.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608 - tables by name


async def test_worker_of_all_organisations_finds_what_is_ready_and_serves_it(
    trial: Trial, organisations: Organisations
):
    """As hub_system: push subscriptions only, and only while they have something to do."""
    other = await organisations.create()
    database = Database(trial.url, role="hub_system", size=2)
    worker = Trial.of(trial.url, database, other).consumer
    pushed = await trial.subscribe(0, delivery="push")
    await trial.subscribe(0)
    assert await worker.ready() == []
    await trial.append("agents/a")
    assert await worker.ready() == [(trial.org_id, pushed.id)]
    (held,) = await worker.lease(trial.org_id, pushed.id, 10)
    assert await worker.ready() == []
    assert await worker.ack(trial.org_id, pushed.id, [held.hold], Answer(200, "ok")) == {held.hold}
    assert [tuple(row) for row in await trial.rows("SELECT outcome, status, answer FROM attempts")] == [
        ("acknowledged", 200, "ok")
    ]
    await database.close()


async def test_hold_is_read_as_it_is_written_and_nothing_else(trial: Trial):
    """What a client sends is a delivery's number and its lease."""
    hold = Hold(42, new_id())
    assert Hold.parse(str(hold)) == hold
    for text in (
        "",
        "42",
        "42.",
        f"x.{hold.lease}",
        f"-1.{hold.lease}",
        f"²{hold}",
        f"{10**20}.{hold.lease}",
        f"{hold}.1",
    ):
        assert Hold.parse(text) is None, text


async def test_attempts_are_swept_after_a_week_unless_they_still_belong_to_something(trial: Trial):
    """Those of dead letters and of what is outstanding stay; of what is done, also those that failed before."""
    await trial.append("agents/a", "agents/b", "agents/c")
    subscription = await trial.subscribe(0)
    await trial.consumer.lease(trial.org_id, subscription.id, 10)
    await trial.pass_time(31)
    done, dead, again = await trial.consumer.lease(trial.org_id, subscription.id, 10)
    await trial.consumer.ack(trial.org_id, subscription.id, [done.hold], Answer(200))
    await trial.consumer.refuse(trial.org_id, subscription.id, [dead.hold], Answer(410), for_good=True)
    await trial.consumer.refuse(trial.org_id, subscription.id, [again.hold], Answer(500))
    assert await sweep_attempts(trial.database) == 0
    await trial.rows("UPDATE attempts SET ended_at = ended_at - interval '8 days'")
    assert await sweep_attempts(trial.database) == 2
    left = await trial.rows("SELECT number, status FROM attempts ORDER BY status, number")
    assert [tuple(row) for row in left] == [(2, 410), (2, 500), (1, None), (1, None)]
