"""What the hot statements read: a handful of rows by index, however long the log and however many other subscriptions."""

from typing import Any

import orjson
import pytest

from core.events.subscriptions import deliveries
from core.events.subscriptions.subscription import WINDOW
from core.ids import new_id
from core.store.database import connect_as
from tests.core.events.subscriptions.trial import Trial

_LONG = """
INSERT INTO events (org_id, position, event_id, type, subject, channel, time, recorded_at, envelope)
SELECT $1, n, gen_random_uuid(), 'agent.updated', 'agents/' || n % 100, 'agents:' || n % 100, now(), now(), repeat('x', 300)
FROM generate_series(1, $2) AS n
"""
_OTHERS = """
INSERT INTO deliveries (org_id, subscription_id, position, event_id, subject, due_at)
SELECT $1, ($2::uuid[])[1 + n % cardinality($2)], n, gen_random_uuid(), 'agents/' || n % 100, now()
FROM generate_series(1, 20000) AS n
"""
_ATTEMPTS = """
INSERT INTO attempts (org_id, subscription_id, delivery, number, event_id, started_at, ended_at, outcome, is_over)
SELECT $1, $2, n, 1, gen_random_uuid(), now() - interval '8 days', now() - interval '8 days', $4, $4 = 'acknowledged'
FROM generate_series(1, $3::int) AS n
"""
LENGTH = 30_000


@pytest.fixture
async def crowded(trial: Trial) -> Trial:
    """A long log, and many deliveries of others; the statistics know of both."""
    await trial.rows(_LONG, trial.org_id, LENGTH)
    await trial.rows("UPDATE heads SET position = $2 WHERE org_id = $1", trial.org_id, LENGTH)
    await trial.rows(_OTHERS, trial.org_id, [new_id() for _ in range(20)])
    connection = await connect_as(trial.url, "hub_owner")
    try:
        for table in ("events", "deliveries", "subscriptions"):
            await connection.execute(f"VACUUM ANALYZE {table}")
    finally:
        await connection.close()
    return trial


async def explained(connection: Any, query: str, args: tuple[object, ...]) -> tuple[int, str]:
    """Return how many pages a statement touches, and its plan; what it does is undone."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        (row,) = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", *args)
    finally:
        await transaction.rollback()
    plan = orjson.loads(row[0])[0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], orjson.dumps(plan).decode()


@pytest.mark.parametrize("ordered", [False, True])
async def test_lease_fill_and_ack_read_by_index(crowded: Trial, ordered: bool):
    """No statement walks through a table; each touches pages in the order of what it hands out."""
    trial = crowded
    subscription = await trial.subscribe(LENGTH - 2_000, ordered=ordered)
    (leased, *_) = await trial.consumer.lease(trial.org_id, subscription.id, 1)
    sql, key = deliveries.SQL, (trial.org_id, subscription.id)
    connection = await connect_as(trial.url, "hub_app")
    try:
        await connection.execute("SELECT set_config('hub.org_id', $1::text, false)", str(trial.org_id))
        asked: list[tuple[str, tuple[object, ...], int]] = [
            (sql["hold"], key, 60),
            (sql["next_due"], (*key, WINDOW), 60),
            (sql["fill"], (*key, LENGTH - 500, ["%"], [], 2 * WINDOW, 100), 4_000),
            (sql["lease"], (*key, 10, 100, 20, 30.0, ordered, False), 1_000),
            (sql["take"], (*key, LENGTH - 500, ["%"], [], 2 * WINDOW, 100, 100, 1_000, 30.0), 4_000),
            (sql["ack"], (*key, [leased.hold.delivery], [leased.hold.lease], False, None, None), 60),
            (sql["extend"], (*key, [leased.hold.delivery], [leased.hold.lease], 60.0), 60),
        ]
        for query, args, most in asked:
            pages, plan = await explained(connection, query, args)
            sequential = [each for each in plan.split('"Node Type":"')[1:] if each.startswith("Seq Scan")]
            assert not [each for each in sequential if '"events"' in each or '"deliveries"' in each], (query, plan)
            assert pages < most, (pages, query, plan)
    finally:
        await connection.close()


async def test_looking_for_what_is_to_be_buried_reads_each_delivery_once(crowded: Trial):
    """And nothing of the log."""
    await crowded.subscribe(0)
    connection = await connect_as(crowded.url, "hub_system")
    try:
        pages, plan = await explained(connection, deliveries.SQL["exhausted_anywhere"], ())
    finally:
        await connection.close()
    assert '"events"' not in plan
    (table,) = await crowded.rows("SELECT pg_relation_size('deliveries') / 8192 AS pages")
    assert pages <= 2 * table["pages"] + 20, plan


async def test_sweep_of_attempts_costs_what_it_removes(trial: Trial):
    """However many attempts of dead letters and of what is outstanding are old: a sweep does not look at them."""
    await trial.rows(_ATTEMPTS, trial.org_id, new_id(), 30_000, "refused")
    await trial.rows(_ATTEMPTS, trial.org_id, new_id(), 50, "acknowledged")
    connection = await connect_as(trial.url, "hub_app")
    try:
        # The first time of a session the catalogue is read too; what EXPLAIN removes is there again afterwards.
        await explained(connection, "SELECT sweep_attempts($1)", (1_000,))
        removing, _ = await explained(connection, "SELECT sweep_attempts($1)", (1_000,))
        removed = await connection.fetchval("SELECT sweep_attempts(1000)")
        finding_none, _ = await explained(connection, "SELECT sweep_attempts($1)", (1_000,))
        assert removed == 50
        assert await connection.fetchval("SELECT sweep_attempts(1000)") == 0
    finally:
        await connection.close()
    assert (removing < 300, finding_none < 20) == (True, True), (removing, finding_none)


async def test_plan_that_was_made_on_a_short_log_serves_a_long_one(trial: Trial):
    """Sessions keep plans, and no statistics are taken in between: each event is still looked up by its position."""
    subscription = await trial.subscribe(0)
    await trial.append("agents/a", "agents/b")
    connection = await connect_as(trial.url, "hub_system")
    take = f"EXECUTE take('{trial.org_id}', '{subscription.id}', 0, '{{%}}', '{{}}', 1000, 5000, 100, 1000, 30)"
    types = "uuid, uuid, bigint, text[], text[], bigint, bigint, bigint, bigint, double precision"
    try:
        await connection.execute(f"PREPARE take ({types}) AS {deliveries.SQL['take']}")
        for _ in range(6):  # from the sixth on a plan is kept
            await explained(connection, take, ())
        await trial.append(*["agents/a"] * 10_000)
        far = take.replace("', 0,", "', 8000,")
        pages, plan = await explained(connection, far, ())
    finally:
        await connection.close()
    assert pages < 4_000, plan
