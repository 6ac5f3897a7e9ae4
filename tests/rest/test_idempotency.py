"""Idempotency keys at the REST door: every POST and PATCH, the same answer again."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from core.auth.signing import ensure_signing_key
from core.store.database import connect_as
from rest.door import VERSIONS
from tests.harness.clock import ManualClock
from tests.harness.installation import secret_of
from tests.harness.organisations import Organisation
from tests.rest.declared import operations
from tests.rest.server import Answer, RestServer, serve

NEW_WEBHOOK = {"url": "https://hooks.example.com/", "events": ["agent.*"]}
A_TWIN = {"name": "A", "source": {"kind": "http", "url": "https://data.example.com/"}}
NEW_KEY = {"name": "CI", "scopes": ["read:agents", "write:keys"]}
HOLDS = [f"{number}.01978f3e-5a70-7c3d-9b42-6f0d2c1e8a55" for number in (1, 2)]
# A body of each POST and PATCH, and another one where it takes any; a route that has none here fails its test.
BODIES: Mapping[str, tuple[Any, Any]] = {
    **{f"{kind}.create": ({"name": "A"}, {"name": "B"}) for kind in ("agents", "twins", "knowledge")},
    **{f"{kind}.update": ({"name": "C"}, {"name": "D"}) for kind in ("agents", "twins", "knowledge")},
    "keys.create": (NEW_KEY, {**NEW_KEY, "name": "CD"}),
    "keys.update": ({"name": "C"}, {"name": "D"}),
    "keys.rotate": ({"overlap_seconds": 60}, {"overlap_seconds": 61}),
    "tokens.create": ({"subject": "ada", "scopes": ["read:agents"]}, {"subject": "bob", "scopes": ["read:agents"]}),
    "tickets.create": (None, None),
    "subscriptions.create": ({"name": "A"}, {"name": "B"}),
    "subscriptions.update": ({"name": "C"}, {"name": "D"}),
    "subscriptions.pull": ({"max": 1}, {"max": 2}),
    **{
        f"subscriptions.{verb}": ({"ack_ids": [HOLDS[0]], **more}, {"ack_ids": [HOLDS[1]], **more})
        for verb, more in (("ack", {}), ("nack", {}), ("extend", {"seconds": 5}))
    },
    **{f"subscriptions.{verb}": (None, None) for verb in ("pause", "resume")},
    **{f"dead_letters.{verb}": ({}, {"type": "agent.*"}) for verb in ("redrive", "purge")},
    "replays.create": ({"from": {"position": "0"}}, {"from": {"position": "1"}}),
    **{f"replays.{verb}": (None, None) for verb in ("pause", "resume", "cancel")},
    "jobs.cancel": (None, None),
    "webhooks.create": (NEW_WEBHOOK, {**NEW_WEBHOOK, "events": ["twin.*"]}),
    "webhooks.update": ({"description": "C"}, {"description": "D"}),
    "webhooks.rotate": ({"overlap_seconds": 60}, {"overlap_seconds": 61}),
    **{f"webhooks.{verb}": (None, None) for verb in ("pause", "enable", "test")},
    "webhook_deliveries.resend": (None, None),
    "documents.create": ({"name": "a.md", "content": "A"}, {"name": "a.md", "content": "B"}),
    "documents.manifest": ({"documents": []}, {"documents": [], "delete_missing": True}),
    "documents.update": ({"metadata": {"a": 1}}, {"metadata": {"a": 2}}),
    "documents.refresh": (None, None),
    "sessions.create": ({"title": "A"}, {"title": "B"}),
    "sessions.update": ({"title": "C"}, {"title": "D"}),
    "sessions.send": ({"text": "A"}, {"text": "B"}),
    **{f"sessions.{verb}": (None, None) for verb in ("retry", "cancel")},
    "agents.execute": ({"query": "A"}, {"query": "B"}),
    "executions.cancel": (None, None),
    **{
        name: ({"scenario": "demand_spike"}, {"scenario": "demand_spike", "runs": 5})
        for name in ("branches.simulate", "simulations.begin")
    },
    "simulations.cancel": (None, None),
    "executions.answer": (
        {"results": [{"call_id": "call_1", "output": "A"}]},
        {"results": [{"call_id": "call_1", "output": "B"}]},
    ),
    "telemetry.append": (
        {"points": [{"metric": "heat", "value": 1}]},
        {"points": [{"metric": "heat", "value": 2}]},
    ),
    "telemetry.append_many": (
        {"points": [{"twin_id": "", "metric": "heat", "value": 1}]},
        {"points": [{"twin_id": "", "metric": "heat", "value": 2}]},
    ),
    "namespaces.update": ({"history_entries": 5}, {"history_entries": 6}),
    "chats.edit": ({"data": 1}, {"data": 2}),
    **{f"chats.{verb}": ({"subject": "ada"}, {"subject": "bob"}) for verb in ("mute", "ban")},
    "channels.publish": ({"data": {"text": "A"}}, {"data": {"text": "B"}}),
    "branches.create": ({"name": "A"}, {"name": "B"}),
    "branches.update": ({"name": "C"}, {"name": "D"}),
    "branches.apply": (None, None),
    "sync.run": (None, None),
    "knowledge_queries.judge": ({"helpful": True}, {"helpful": False}),
    "events.append": (
        {"type": "custom.a", "subject": "a", "data": {}},
        {"type": "custom.a", "subject": "b", "data": {}},
    ),
}
BODIES_OF_OTHERS = {"/v2/keys": NEW_KEY, "/v2/webhooks": NEW_WEBHOOK, "/v2/twins": A_TWIN}
A_JOB = """
INSERT INTO jobs (id, org_id, kind, payload, run_at, created_at)
SELECT gen_random_uuid(), id, 'knowledge.ingest', '{}', now(), now() FROM organisations RETURNING id
"""
A_DELIVERY = """
WITH told AS (
    INSERT INTO events (org_id, position, event_id, type, subject, channel, time, recorded_at, envelope)
    SELECT org_id, 1, gen_random_uuid(), 'agent.created', 'agents/1', 'agents:1', now(), now(), '{}' FROM webhooks RETURNING *
)
INSERT INTO deliveries (org_id, subscription_id, position, event_id, subject, due_at)
SELECT told.org_id, w.id, position, event_id, subject, now() FROM told JOIN webhooks w USING (org_id) RETURNING id
"""
A_QUERY = """
INSERT INTO knowledge_queries (org_id, id, knowledge_id, time, mode, results, found, took_ms, caller)
SELECT org_id, gen_random_uuid(), id, now(), 'search', 0, '{}', 1, 'user:ada' FROM knowledge RETURNING id
"""
A_CALL = """
WITH waiting AS (
    UPDATE executions SET status = 'requires_action',
        action = '{"calls":[{"call_id":"call_1","name":"order","arguments":{},"needs":"result"}]}'
    RETURNING org_id, id
)
INSERT INTO execution_steps (org_id, execution_id, ordinal, kind, name, status, attempt, call_id, started_at)
SELECT org_id, id, 1, 'tool', 'order', 'waiting', 1, 'call_1', now() FROM waiting RETURNING execution_id
"""
# Nothing is executed here.
LATER = {"Prefer": "respond-async"}
# What only looks is asked by POST too: there a key means nothing. Version 1's own form of execute has its agent in the body. A
# message is changed in a live room, which the door alone has none of.
ROUTES = [
    (version, route)
    for version in VERSIONS
    for route in version.routes
    if route.method in ("POST", "PATCH")
    and operations()[route.operation].takes_key
    and route.operation not in ("agents.execute_input", "chats.edit")
]
# What is so already, or is not there.
SAYS_THE_SAME = {
    *(f"subscriptions.{verb}" for verb in ("pause", "resume", "pull", "ack", "nack", "extend")),
    *(f"dead_letters.{verb}" for verb in ("redrive", "purge")),
    *(f"replays.{verb}" for verb in ("pause", "resume", "cancel")),
    "executions.cancel",
    "simulations.cancel",
    "sync.run",
    "jobs.cancel",
    "documents.manifest",
    "telemetry.append",
    "telemetry.append_many",
    *(f"webhooks.{verb}" for verb in ("pause", "enable")),
}
# What is of one answer alone, or of its moment.
OWN_HEADERS = {"x-request-id", "date", "idempotent-replayed"}


@pytest.fixture
async def rest(database_url: str, redis_url: str, clock: ManualClock) -> AsyncIterator[RestServer]:
    """The door with all of the hub's operations, and the parts that they need."""
    await ensure_signing_key(database_url, await secret_of(database_url))
    async with serve(database_url, clock, operations().values(), redis_url=redis_url) as served:
        yield served


async def path_of(rest: RestServer, key: str, template: str, database_url: str) -> str:
    """Return the path of a route, of a resource that is made for it."""
    template = template.replace("/namespaces/{id}", "/namespaces/chat").replace("/chats/{id}", "/chats/lobby")
    if "{id}" not in template:
        return template.replace("{channel}", "chat:lobby")
    if "/jobs/" in template:
        return template.replace("{id}", str(await _asked(database_url, A_JOB)))
    if "/executions/" in template:
        return template.replace("{id}", await _execution(rest, key, database_url))
    if "/simulations/" in template:
        return template.replace("{id}", await _simulation(rest, key))
    path = await _of_one(rest, key, template)
    if "{replay}" in path:
        begun = await rest.call(
            "POST", path.partition("/replays/")[0] + "/replay", key, body={"from": {"position": "0"}}
        )
        path = path.replace("{replay}", begun.json()["id"])
    if "{query}" in path:
        path = path.replace("{query}", str(await _asked(database_url, A_QUERY)))
    if "{document}" in path:
        of_base = path.partition("/{document}")[0]
        made = await rest.call("POST", of_base, key, body={"url": "http://localhost:1/"})
        path = path.replace("{document}", made.json()["data"][0]["id"])
    if "{session}" in path:
        path = await _in_session(rest, key, path, database_url)
    if "{delivery}" in path:
        path = path.replace("{delivery}", str(await _asked(database_url, A_DELIVERY)))
    return path


async def _of_one(rest: RestServer, key: str, template: str) -> str:
    """Return the path with the id of something that is made in its collection."""
    collection = template.partition("/{id}")[0]
    body = BODIES_OF_OTHERS.get(collection, {"name": "A"})
    if collection == "/v2/branches":
        twin = (await rest.call("POST", "/v2/twins", key, body={"name": "A"})).headers["Location"]
        collection = f"{twin}/branches"
    made = await rest.call("POST", collection, key, body=body)
    return template.replace("{id}", made.json()["id"])


async def _simulation(rest: RestServer, key: str) -> str:
    """Return the id of a simulation that nobody does."""
    twin = (await rest.call("POST", "/v2/twins", key, body={"name": "A"})).headers["Location"]
    body = {"scenario": "demand_spike"}
    return (await rest.call("POST", f"{twin}/simulate", key, body=body, headers=LATER)).json()["id"]


async def _execution(rest: RestServer, key: str, database_url: str) -> str:
    """Return the id of an execution that waits for its caller."""
    agent = (await rest.call("POST", "/v2/agents", key, body={"name": "A"})).headers["Location"]
    made = await rest.call("POST", f"{agent}/execute", key, body={"query": "A"}, headers=LATER)
    await _asked(database_url, A_CALL)
    return made.json()["id"]


async def _in_session(rest: RestServer, key: str, path: str, database_url: str) -> str:
    """Return the path in a session; where an answer is to be ended one is begun, where a message is needed there is one."""
    of_agent, _, rest_of_path = path.partition("/{session}")
    session = (await rest.call("POST", of_agent, key, body={})).json()["id"]
    path = f"{of_agent}/{session}{rest_of_path}"
    if "{message}" in path or path.endswith("/cancel"):
        await rest.call("POST", f"{of_agent}/{session}/messages", key, body={"text": "Hello"}, headers=LATER)
    if "{message}" in path:
        await _asked(database_url, "UPDATE sessions SET active_id = NULL RETURNING id")
        path = path.replace("{message}", str(await _asked(database_url, "SELECT id FROM messages")))
    return path


async def _of_a_twin(rest: RestServer, key: str, *bodies: Any) -> list[Any]:
    """Return the bodies with the id of a twin that is there."""
    twin = (await rest.call("POST", "/v2/twins", key, body={"name": "A"})).json()["id"]
    return [{"points": [{**point, "twin_id": twin} for point in body["points"]]} for body in bodies]


async def _lengthen(database_url: str) -> None:
    """Let logs be so long that a replay of them is not done at once; nobody reads them here."""
    await _asked(database_url, "UPDATE heads SET position = 1 RETURNING position")


async def _asked(database_url: str, query: str) -> Any:
    connection = await connect_as(database_url, "hub_owner")
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def _said(answer: Answer) -> dict[str, str]:
    named = {name.lower(): value for name, value in answer.headers.items()}
    return {name: value for name, value in named.items() if name not in OWN_HEADERS and "ratelimit" not in name}


@pytest.mark.parametrize(
    ("version", "route"), ROUTES, ids=[f"{version.name} {route.operation}" for version, route in ROUTES]
)
async def test_repeat_has_the_first_answer(
    rest: RestServer, key: str, clock: ManualClock, database_url: str, version: Any, route: Any
):
    """Status, headers and body, with Idempotent-Replayed; another body under the key is 422, another key is another request."""
    body, other = BODIES[route.operation]
    if "{replay}" in route.path:
        await _lengthen(database_url)
    path = await path_of(rest, key, f"{version.prefix}{route.path}", database_url)
    if route.operation == "telemetry.append_many":
        body, other = await _of_a_twin(rest, key, body, other)
    under = {"Idempotency-Key": "order-66", **LATER}
    first = await rest.call(route.method, path, key, body=body, headers=under)
    assert first.status in (200, 201, 202), first
    assert "Idempotent-Replayed" not in first.headers
    again = await rest.call(route.method, path, key, body=body, headers=under)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.status, again.body, _said(again)) == (first.status, first.body, _said(first))
    if other is not None:
        refused = await rest.call(route.method, path, key, body=other, headers=under)
        refused.error(422, "IDEMPOTENCY_KEY_REUSED")
    await clock.advance(2)  # tokens of one second are the same
    anew = await rest.call(route.method, path, key, body=body, headers={"Idempotency-Key": "order-67", **LATER})
    assert "Idempotent-Replayed" not in anew.headers
    assert (anew.body != first.body) == (route.operation not in SAYS_THE_SAME)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_put_and_delete_ignore_a_key(rest: RestServer, key: str, method: str):
    """They are idempotent by themselves: a repeat is done again, and says what it finds."""
    one = (await rest.call("POST", "/v2/agents", key, body={"name": "A"})).headers["Location"]
    body = {"name": "B"} if method == "PUT" else None
    answers = [await rest.call(method, one, key, body=body, headers={"Idempotency-Key": "k k"}) for _ in range(2)]
    assert [answer.status for answer in answers] == ([200, 200] if method == "PUT" else [204, 404])
    assert all("Idempotent-Replayed" not in answer.headers for answer in answers)


async def test_condition_and_id_belong_to_the_input(rest: RestServer, key: str):
    """The same body for another resource, or under another If-Match, is another request."""
    one, two = [(await rest.call("POST", "/v2/agents", key, body={"name": "A"})).headers["Location"] for _ in range(2)]
    under = {"Idempotency-Key": "k", "If-Match": '"1"'}
    assert (await rest.call("PATCH", one, key, body={"name": "B"}, headers=under)).status == 200
    # The first answer, though the condition holds no more.
    assert (await rest.call("PATCH", one, key, body={"name": "B"}, headers=under)).json()["version"] == 2
    for path, headers in ((two, under), (one, {**under, "If-Match": '"2"'}), (one, {"Idempotency-Key": "k"})):
        answer = await rest.call("PATCH", path, key, body={"name": "B"}, headers=headers)
        answer.error(422, "IDEMPOTENCY_KEY_REUSED")


async def test_a_key_of_one_version_is_that_of_the_other(rest: RestServer, key: str):
    """A client that moves to the next version while it repeats makes nothing twice; it is told where it is there."""
    under = {"Idempotency-Key": "k"}
    old = await rest.call("POST", "/v1/agents", key, body={"name": "A"}, headers=under)
    new = await rest.call("POST", "/v2/agents", key, body={"name": "A"}, headers=under)
    assert new.headers["Idempotent-Replayed"] == "true"
    assert new.headers["Location"] == old.headers["Location"].replace("/v1/", "/v2/")


async def test_day_is_counted_by_postgres(rest: RestServer, key: str, clock: ManualClock, organisation: Organisation):
    """A node whose clock is set a month on does nothing twice; when the row is a day old the key is new."""
    under = {"Idempotency-Key": "k"}
    first = await rest.call("POST", "/v2/agents", key, body={"name": "A"}, headers=under)
    clock.jump(31 * 24 * 3600)
    again = await rest.call("POST", "/v2/agents", key, body={"name": "A"}, headers=under)
    assert again.body == first.body
    ((left,),) = await rows_of(organisation, "SELECT expires_at - clock_timestamp() FROM idempotency")
    assert timedelta(hours=23, minutes=58) < left <= timedelta(hours=24)
    await rows_of(organisation, "UPDATE idempotency SET expires_at = expires_at - interval '24 hours' RETURNING 1")
    later = await rest.call("POST", "/v2/agents", key, body={"name": "A"}, headers=under)
    assert "Idempotent-Replayed" not in later.headers
    assert later.body != first.body


async def rows_of(organisation: Organisation, query: str) -> list[Any]:
    connection = await connect_as(organisation.database_url, "hub_owner")
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()
