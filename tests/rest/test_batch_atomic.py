"""Atomic batches: all of it or nothing."""

import pytest

from tests.harness.organisations import Organisation
from tests.rest.batches import BATCH, code, count, create, send, statuses
from tests.rest.server import RestServer


class TestAtomic:
    """All or nothing."""

    @pytest.mark.parametrize("place", [0, 1, 2])
    async def test_one_refusal_undoes_all(self, rest: RestServer, key: str, organisation: Organisation, place: int):
        """It keeps its status, the others are 424; no resource, no event, no result under a key is left."""
        several = [create("A"), create("B", "twins"), create("C")]
        several[place] = create("", "agents")
        results = await send(rest, key, *several, atomic=True, headers={"Idempotency-Key": "k"})
        assert statuses(results) == [422 if n == place else 424 for n in range(3)]
        assert {code(each) for each in results} == {"VALIDATION_ERROR", "FAILED_DEPENDENCY"}
        assert (
            f"Operation {place} " in next(each for each in results if each["status"] == 424)["body"]["error"]["message"]
        )
        for table in ("agents", "twins", "outbox", "events", "idempotency"):
            assert await organisation.rows(f"SELECT 1 FROM {table} WHERE org_id = $1", organisation.id) == [], table  # noqa: S608 - a name of above

    async def test_condition_that_does_not_hold_undoes_what_was_before(self, rest: RestServer, key: str):
        """Resources are as they were, to the version."""
        made = await rest.call("POST", "/v2/agents", key, body={"name": "A"})
        one = made.headers["Location"]
        results = await send(
            rest,
            key,
            {"method": "PATCH", "path": one, "body": {"name": "B"}},
            {"method": "DELETE", "path": one, "headers": {"If-Match": '"1"'}},
            atomic=True,
        )
        assert statuses(results) == [424, 412]
        assert (await rest.call("GET", one, key)).body == made.body

    async def test_operation_that_cannot_be_undone_is_refused_at_once(self, rest: RestServer, key: str):
        """Wherever it stands, also behind a reference; one by one it is done."""
        token = {"method": "POST", "path": "/v2/tokens", "body": {"subject": "ada", "scopes": ["read:agents"]}}
        body = {"operations": [create("A"), token], "atomic": True}
        error = (await rest.call("POST", BATCH, key, body=body)).error(422, "VALIDATION_ERROR")
        assert [each["field"] for each in error["details"]] == ["operations[1].path"]
        named = [create("A", metadata={"path": "/v2/tokens"}), {**token, "path": {"$ref": "0.body.metadata.path"}}]
        assert statuses(await send(rest, key, *named, atomic=True)) == [424, 422]
        assert await count(rest, key) == 0

    async def test_reads_see_the_writes_before_them(self, rest: RestServer, key: str):
        """And nobody else does, until all are done."""
        results = await send(rest, key, create("A"), {"method": "GET", "path": "/v2/agents"}, atomic=True)
        assert results[1]["body"]["pagination"]["total"] == 1

    async def test_events_of_all_are_there(self, rest: RestServer, key: str, organisation: Organisation):
        """In their order, each once; audit too, of every operation by itself."""
        results = await send(rest, key, *(create(f"{n}") for n in range(20)), atomic=True)
        rows = await organisation.rows("SELECT event_id FROM outbox WHERE org_id = $1 ORDER BY seq", organisation.id)
        assert [str(event_id) for (event_id,) in rows] == [each["headers"]["X-Event-Id"] for each in results]
        audited = await organisation.rows("SELECT target FROM audit WHERE org_id = $1 ORDER BY id", organisation.id)
        assert [target for (target,) in audited] == [f"agents/{each['body']['id']}" for each in results]

    async def test_time_that_is_over_undoes_all(self, rest: RestServer, key: str, organisation: Organisation):
        """A batch that waits for a row for longer than its client is 504 there, and 424 elsewhere."""
        one = (await rest.call("POST", "/v2/agents", key, body={"name": "A"})).headers["Location"]
        async with organisation.holding("agents"):
            several = create("B"), {"method": "DELETE", "path": one}
            results = await send(rest, key, *several, atomic=True, headers={"X-Request-Timeout": "0.2"})
        assert statuses(results) == [424, 504]
        assert await count(rest, key) == 1
        assert statuses(await send(rest, key, create("B"), atomic=True)) == [201]
