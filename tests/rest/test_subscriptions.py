"""Subscriptions over HTTP: made, pulled from, answered, paused; who may; and what another organisation sees."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import jsonschema
import orjson
import pytest

from core.events.subscriptions.dead_letters import MOST_OUTSTANDING
from core.ids import new_id
from core.store.database import Database, connect_as
from tests.core.events.subscriptions.trial import Trial
from tests.harness.organisations import Organisation, Organisations
from tests.harness.waiting import eventually
from tests.rest.server import RestServer

SUBSCRIPTIONS = "/v2/subscriptions"
_LETTERS = """
INSERT INTO dead_letters (org_id, id, subscription_id, delivery, position, event_id, type, subject, attempts, reason, died_at)
SELECT $1, gen_random_uuid(), $2, n, n, gen_random_uuid(), 'agent.updated', 'agents/a', 1, 'rejected', now()
FROM generate_series(1, $3::int) AS n
"""
_OUTSTANDING = """
INSERT INTO deliveries (org_id, subscription_id, position, event_id, subject, due_at)
SELECT $1, $2, n, gen_random_uuid(), 'agents/a', now() FROM generate_series(1, $3::int) AS n
"""
_WAITS_FOR_ROW = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
async def trial(database_url: str, organisation: Organisation) -> AsyncIterator[Trial]:
    """The organisation's log, for tests to write."""
    database = Database(database_url, role="hub_app", size=2)
    yield Trial.of(database_url, database, organisation)
    await database.close()


async def make(rest: RestServer, key: str, **body: Any) -> dict[str, Any]:
    """Make a subscription; returns it."""
    answer = await rest.call("POST", SUBSCRIPTIONS, key, body={"name": str(new_id()), **body})
    assert answer.status == 201, answer
    return answer.json()


async def pull(rest: RestServer, key: str, id: str, **body: Any) -> list[dict[str, Any]]:
    """Take what is due."""
    answer = await rest.call("POST", f"{SUBSCRIPTIONS}/{id}/pull", key, body=body)
    assert answer.status == 200, answer
    return answer.json()["deliveries"]


async def say(rest: RestServer, key: str, id: str, what: str, deliveries: list[dict[str, Any]], **more: Any) -> Any:
    """Answer what was pulled; returns what the hub says of it."""
    body = {"ack_ids": [each["ack_id"] for each in deliveries], **more}
    answer = await rest.call("POST", f"{SUBSCRIPTIONS}/{id}/{what}", key, body=body)
    assert answer.status == 200, answer
    return answer.json()


async def test_life_of_a_subscription(rest: RestServer, key: str):
    """Made, found, listed, changed under its version, paused, resumed, gone."""
    made = await make(rest, key, name="billing", types=["agent.*"], ordered=True)
    path = f"{SUBSCRIPTIONS}/{made['id']}"
    got = await rest.call("GET", path, key)
    figures = {"lag": 0, "outstanding": 0, "in_flight": 0, "oldest_unacknowledged_seconds": None, "dead_letters": 0}
    assert got.json() == {**made, **figures}
    assert (got.headers["ETag"], got.headers["Cache-Control"]) == ('"1"', "no-store")
    again = await rest.call("POST", SUBSCRIPTIONS, key, body={"name": "billing"})
    again.error(409, "RESOURCE_CONFLICT")
    stale = await rest.call("PATCH", path, key, body={"max_in_flight": 5}, headers={"If-Match": '"7"'})
    stale.error(412, "PRECONDITION_FAILED")
    change = {"max_in_flight": 5, "types": ["twin.*"], "backoff": {"first_seconds": 2, "most_seconds": 8}}
    changed = await rest.call("PATCH", path, key, body=change, headers={"If-Match": '"1"'})
    assert changed.json() == {**made, **change, "version": 2, "updated_at": changed.json()["updated_at"]}
    other = await make(rest, key)
    (await rest.call("PATCH", f"{SUBSCRIPTIONS}/{other['id']}", key, body={"name": "billing"})).error(
        409, "RESOURCE_CONFLICT"
    )
    assert (await rest.call("POST", f"{path}/pause", key)).json()["status"] == "paused"
    listed = (await rest.call("GET", f"{SUBSCRIPTIONS}?status=paused", key)).json()
    assert [each["id"] for each in listed["data"]] == [made["id"]]
    assert (await rest.call("POST", f"{path}/resume", key)).json()["version"] == 4
    assert (await rest.call("DELETE", path, key)).status == 204
    (await rest.call("GET", path, key)).error(404, "RESOURCE_NOT_FOUND")


async def test_events_are_pulled_and_answered(rest: RestServer, key: str, trial: Trial):
    """Each is one consumer's until it is acknowledged, refused, or extended; what is lost is told."""
    await trial.append("agents/a", "agents/b", "agents/c")
    made = await make(rest, key, start={"position": "0"}, backoff={"first_seconds": 0.1, "most_seconds": 0.1})
    deliveries = await pull(rest, key, made["id"], max=3)
    assert [(each["position"], each["attempt"], each["replayed"]) for each in deliveries] == [
        (str(position), 1, False) for position in (1, 2, 3)
    ]
    assert set(deliveries[0]["event"]) == {"id", "data"}
    assert await pull(rest, key, made["id"]) == []
    done = await say(rest, key, made["id"], "ack", deliveries[:1])
    assert done == {"done": [deliveries[0]["ack_id"]], "lost": []}
    assert await say(rest, key, made["id"], "ack", deliveries[:1]) == {"done": [], "lost": [deliveries[0]["ack_id"]]}
    await say(rest, key, made["id"], "nack", deliveries[1:2], delay_seconds=0, reason="later")
    assert (await say(rest, key, made["id"], "extend", deliveries[2:], seconds=600))["lost"] == []
    await trial.pass_time(60)
    (again,) = await pull(rest, key, made["id"])
    assert (again["position"], again["attempt"], again["event"]) == ("2", 2, deliveries[1]["event"])
    got = (await rest.call("GET", f"{SUBSCRIPTIONS}/{made['id']}", key)).json()
    assert (got["lag"], got["outstanding"], got["in_flight"], got["position"]) == (0, 2, 2, "3")
    assert got["oldest_unacknowledged_seconds"] >= 0


@pytest.mark.parametrize("what", ["extend", "nack", "ack"])
async def test_stale_lease_is_lost_beside_the_valid_one(rest: RestServer, key: str, trial: Trial, what: str):
    """Of one delivery, in one call."""
    await trial.append("agents/a")
    made = await make(rest, key, start={"position": "0"})
    (stale,) = await pull(rest, key, made["id"])
    await trial.pass_time(60)
    (valid,) = await pull(rest, key, made["id"])
    more: dict[str, Any] = {"seconds": 60} if what == "extend" else {}
    said = await say(rest, key, made["id"], what, [stale, valid], **more)
    assert said == {"done": [valid["ack_id"]], "lost": [stale["ack_id"]]}


async def test_dead_letters_are_looked_at_redriven_and_purged(rest: RestServer, key: str, trial: Trial):
    """With every attempt and its reason."""
    await trial.append("agents/a", "agents/b")
    made = await make(rest, key, start={"position": "0"})
    path = f"{SUBSCRIPTIONS}/{made['id']}/dead-letters"
    deliveries = await pull(rest, key, made["id"])
    await say(rest, key, made["id"], "nack", deliveries, dead_letter=True, reason="no such customer")
    listed = (await rest.call("GET", f"{path}?type=agent.*&per_page=1", key)).json()
    assert listed["pagination"]["total"] == 2
    letter = (await rest.call("GET", f"{path}/{listed['data'][0]['id']}", key)).json()
    assert letter["event"] == deliveries[1]["event"]
    assert [(each["outcome"], each["answer"]) for each in letter["history"]] == [("refused", "no such customer")]
    told = await trial.rows("SELECT envelope FROM outbox ORDER BY seq")
    type = (await rest.call("GET", "/v2/event-types/subscription.dead_lettered", key)).json()
    for event in (orjson.loads(row["envelope"]) for row in told):
        jsonschema.validate(event["data"], type["data_schema"], format_checker=jsonschema.FormatChecker())
        assert (event["type"], event["subject"]) == (type["id"], f"subscriptions/{made['id']}")
    assert (await rest.call("GET", orjson.loads(told[1]["envelope"])["data"]["href"], key)).json() == letter
    redriven = (await rest.call("POST", f"{path}/redrive", key, body={"ids": [letter["id"]]})).json()
    assert redriven == {"ids": [letter["id"]], "has_more": False}
    assert [each["position"] for each in await pull(rest, key, made["id"])] == ["2"]
    assert len((await rest.call("POST", f"{path}/purge", key, body={})).json()["ids"]) == 1
    assert (await rest.call("GET", path, key)).json()["data"] == []
    (await rest.call("GET", f"{path}/{letter['id']}", key)).error(404, "RESOURCE_NOT_FOUND")


async def test_redriving_stops_where_too_many_are_outstanding(rest: RestServer, key: str, trial: Trial):
    """Each lease looks at all of them; when some are acknowledged it goes on."""
    made = await make(rest, key)
    path, id = f"{SUBSCRIPTIONS}/{made['id']}/dead-letters/redrive", UUID(made["id"])
    await trial.rows(_LETTERS, trial.org_id, id, 3)
    await trial.rows(_OUTSTANDING, trial.org_id, id, MOST_OUTSTANDING - 2)
    some = (await rest.call("POST", path, key, body={})).json()
    assert (len(some["ids"]), some["has_more"]) == (2, True)
    (await rest.call("POST", path, key, body={})).error(409, "RESOURCE_CONFLICT")
    await trial.rows("DELETE FROM deliveries WHERE id < 100")
    rest_of_them = (await rest.call("POST", path, key, body={})).json()
    assert (len(rest_of_them["ids"]), rest_of_them["has_more"]) == (1, False)


async def test_replay_is_marked_and_watched(rest: RestServer, key: str, trial: Trial):
    """Beside what is new; with progress; ended by a cancel."""
    await trial.append("agents/a", "agents/b")
    made = await make(rest, key)
    path = f"{SUBSCRIPTIONS}/{made['id']}"
    begun = await rest.call("POST", f"{path}/replay", key, body={"from": {"position": "1"}})
    assert (begun.status, begun.json()["status"], begun.json()["upto"]) == (201, "running", "2")
    replay = f"{path}/replays/{begun.json()['id']}"
    assert [(each["position"], each["replayed"]) for each in await pull(rest, key, made["id"])] == [("2", True)]
    now = (await rest.call("GET", replay, key)).json()
    assert (now["status"], now["position"], now["placed"], now["outstanding"]) == ("done", "2", 1, 1)
    (await rest.call("POST", f"{replay}/cancel", key)).error(409, "RESOURCE_CONFLICT")
    slow = await rest.call("POST", f"{path}/replay", key, body={"from": {"position": "0"}, "rate": 0.01})
    slow_path = f"{path}/replays/{slow.json()['id']}"
    for verb, status in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        assert (await rest.call("POST", f"{slow_path}/{verb}", key)).json()["status"] == status
    assert (await rest.call("GET", f"{path}/replays", key)).json()["pagination"]["total"] == 2
    backwards = {"from": {"position": "2"}, "to": {"position": "1"}}
    (await rest.call("POST", f"{path}/replay", key, body=backwards)).error(422, "VALIDATION_ERROR")


async def test_pace_that_no_interval_holds_is_refused(rest: RestServer, key: str, trial: Trial):
    """One in so many years would break every look for what is due, of other organisations too."""
    await trial.append("agents/a")
    path = f"{SUBSCRIPTIONS}/{(await make(rest, key))['id']}"
    for rate in (1e-300, 0.0009, 0):
        answer = await rest.call("POST", f"{path}/replay", key, body={"from": {"position": "0"}, "rate": rate})
        assert [each["field"] for each in answer.error(422, "VALIDATION_ERROR")["details"]] == ["rate"]
    slowest = await rest.call("POST", f"{path}/replay", key, body={"from": {"position": "0"}, "rate": 0.001})
    assert slowest.status == 201
    assert (await rest.call("POST", f"{path}/pull", key, body={})).status == 200


async def test_replay_of_what_is_being_deleted_does_not_outlive_it(rest: RestServer, key: str, trial: Trial):
    """It waits for the deletion, and is 404: nobody could end a replay that nobody finds."""
    source, target = await make(rest, key), await make(rest, key)
    async with AsyncExitStack() as stack:
        owner, observer = await connect_as(trial.url, "hub_owner"), await connect_as(trial.url, None)
        stack.push_async_callback(owner.close)
        stack.push_async_callback(observer.close)
        await owner.execute("BEGIN")
        await owner.execute("DELETE FROM subscriptions WHERE id = $1", UUID(source["id"]))
        body = {"from": {"position": "0"}, "target": target["id"]}
        replay = asyncio.create_task(rest.call("POST", f"{SUBSCRIPTIONS}/{source['id']}/replay", key, body=body))

        async def waits() -> bool:
            return await observer.fetchval(_WAITS_FOR_ROW) != 0 or replay.done()

        await eventually(waits, what="the replay waits for the row")
        await owner.execute("COMMIT")
    (await replay).error(404, "RESOURCE_NOT_FOUND")
    assert await trial.rows("SELECT FROM replays") == []


async def test_another_organisation_sees_nothing(
    rest: RestServer, key: str, trial: Trial, organisations: Organisations
):
    """Every path is 404 for it, and what it names of others is."""
    await trial.append("agents/a")
    made = await make(rest, key, start={"position": "0"})
    (held,) = await pull(rest, key, made["id"])
    other = await (await organisations.create()).key()
    path, some = f"{SUBSCRIPTIONS}/{made['id']}", str(new_id())
    begun = (await rest.call("POST", f"{path}/replay", key, body={"from": {"position": "0"}})).json()["id"]
    ack = {"ack_ids": [held["ack_id"]]}
    asked: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("PATCH", "", {"name": "x"}),
        ("DELETE", "", None),
        ("POST", "/pause", None),
        ("POST", "/resume", None),
        ("POST", "/pull", {}),
        ("POST", "/ack", ack),
        ("POST", "/nack", ack),
        ("POST", "/extend", {**ack, "seconds": 5}),
        ("GET", "/dead-letters", None),
        ("GET", f"/dead-letters/{some}", None),
        ("POST", "/dead-letters/redrive", {}),
        ("POST", "/dead-letters/purge", {}),
        ("POST", "/replay", {"from": {"position": "0"}}),
        ("GET", "/replays", None),
        ("GET", f"/replays/{begun}", None),
        *(("POST", f"/replays/{begun}/{verb}", None) for verb in ("pause", "resume", "cancel")),
    ]
    for method, rest_of_path, body in asked:
        answer = await rest.call(method, path + rest_of_path, other, body=body)
        answer.error(404, "RESOURCE_NOT_FOUND")
    theirs = await make(rest, other)
    target = {"from": {"position": "0"}, "target": made["id"]}
    (await rest.call("POST", f"{SUBSCRIPTIONS}/{theirs['id']}/replay", other, body=target)).error(
        404, "RESOURCE_NOT_FOUND"
    )
    assert (await say(rest, key, made["id"], "ack", [held]))["lost"] == []


async def test_events_are_for_who_may_read_events(rest: RestServer, organisation: Organisation, key: str):
    """Besides the scope of subscriptions; and a key for some resources has no subscriptions at all."""
    made = await make(rest, key)
    without = await organisation.key(scopes=["read:subscriptions", "write:subscriptions"])
    (await rest.call("POST", f"{SUBSCRIPTIONS}/{made['id']}/pull", without, body={})).error(403, "INSUFFICIENT_SCOPE")
    (await rest.call("POST", SUBSCRIPTIONS, without, body={"name": "x"})).error(403, "INSUFFICIENT_SCOPE")
    assert (await rest.call("POST", f"{SUBSCRIPTIONS}/{made['id']}/pause", without)).status == 200
    restricted = await organisation.key(resource_ids=[new_id()])
    (await rest.call("GET", SUBSCRIPTIONS, restricted)).error(403, "FORBIDDEN")


async def test_webhooks_subscription_is_shown_but_not_changed_here(rest: RestServer, key: str, trial: Trial):
    """It is changed with its webhook; nobody pulls what is pushed."""
    pushed = await trial.subscribe(0, delivery="push")
    path = f"{SUBSCRIPTIONS}/{pushed.id}"
    assert (await rest.call("GET", path, key)).json()["delivery"] == "push"
    for method, more, body in (("PATCH", "", {"name": "x"}), ("DELETE", "", None), ("POST", "/pause", None)):
        (await rest.call(method, path + more, key, body=body)).error(409, "RESOURCE_CONFLICT")
    (await rest.call("POST", f"{path}/pull", key, body={})).error(404, "RESOURCE_NOT_FOUND")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"types": []}, "types"),
        ({"types": ["a\0"]}, "types[0]"),
        ({"delivery": "push"}, "delivery"),
        ({"ack_seconds": 0}, "ack_seconds"),
        ({"max_deliveries": 1.5}, "max_deliveries"),
        ({"backoff": {"first_seconds": 0}}, "backoff.first_seconds"),
    ],
)
async def test_what_is_wrong_is_named(rest: RestServer, key: str, body: dict[str, Any], field: str):
    """Each with its path."""
    answer = await rest.call("POST", SUBSCRIPTIONS, key, body={"name": "x", **body})
    assert [detail["field"] for detail in answer.error(422, "VALIDATION_ERROR")["details"]] == [field]
