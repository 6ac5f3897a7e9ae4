"""Batches and who sends them: scopes, limits, audit."""

import orjson
import pytest

from core.auth.caller import ALL_SCOPES
from tests.harness.organisations import Organisation, Organisations
from tests.rest.batches import BATCH, LINES, count, create, send, statuses
from tests.rest.server import RestServer


class TestAccess:
    """Scope, limit and audit are each operation's own."""

    async def test_scope_is_of_each_operation(self, rest: RestServer, organisation: Organisation, atomic: bool):
        """A batch has none of its own."""
        weak = await organisation.key(ALL_SCOPES - {"write:twins"})
        results = await send(rest, weak, create("A"), create("B", "twins"), atomic=atomic)
        assert statuses(results) == [424 if atomic else 201, 403]
        assert await count(rest, weak) == (0 if atomic else 1)

    @pytest.fixture
    async def limited(self, organisations: Organisations) -> Organisation:
        """An organisation with three requests in an hour."""
        return await organisations.create(limits={"requests_per_hour": 3, "burst": 1000})

    async def test_each_operation_counts(self, rest: RestServer, limited: Organisation):
        """Over the limit the results are 429, and then the whole batch."""
        key = await limited.key()
        answer = await rest.call("POST", BATCH, key, body={"operations": [create(f"{n}") for n in range(5)]})
        results = answer.json()["results"]
        assert statuses(results) == [201, 201, 201, 429, 429]
        assert results[3]["headers"]["Retry-After"]
        assert answer.headers["X-RateLimit-Remaining"] == "0"
        (await rest.call("POST", BATCH, key, body={"operations": [create("A")]})).error(429, "RATE_LIMIT_EXCEEDED")

    async def test_atomic_batch_over_the_limit_does_nothing(self, rest: RestServer, limited: Organisation):
        """The first that is over is 429."""
        key = await limited.key()
        results = await send(rest, key, *(create(f"{n}") for n in range(5)), atomic=True)
        assert statuses(results) == [424, 424, 424, 429, 424]
        assert await limited.rows("SELECT 1 FROM agents WHERE org_id = $1", limited.id) == []

    async def test_what_is_no_batch_counts_once(self, rest: RestServer, limited: Organisation):
        """As any request does; a batch of one does too."""
        key = await limited.key()
        refused = await rest.call("POST", BATCH, key, body={})
        assert (refused.status, refused.headers["X-RateLimit-Remaining"]) == (422, "2")
        one = await rest.call("POST", BATCH, key, body={"operations": [create("A")]})
        assert one.headers["X-RateLimit-Remaining"] == "1"

    async def test_audit_tells_what_became_of_each(self, rest: RestServer, key: str, organisation: Organisation):
        """Under the request id of the batch; what was undone is told so."""
        under = {"X-Request-Id": "batch-1"}
        await send(rest, key, create("A"), create(""), headers=under)
        await send(rest, key, create("A"), create(""), create("C"), atomic=True, headers={"X-Request-Id": "batch-2"})
        await rest.trail.flush()
        rows = await organisation.rows(
            "SELECT request_id, outcome FROM audit WHERE org_id = $1 ORDER BY request_id, outcome", organisation.id
        )
        assert [tuple(row) for row in rows] == [
            ("batch-1", "VALIDATION_ERROR"),
            ("batch-1", "ok"),
            ("batch-2", "FAILED_DEPENDENCY"),
            ("batch-2", "VALIDATION_ERROR"),
        ]

    async def test_results_that_are_held_together_are_bounded(self, rest: RestServer, key: str):
        """A hundred lists of megabytes are no answer; as lines they are."""
        for _ in range(5):
            await rest.call("POST", "/v2/agents", key, body={"name": "A", "metadata": {"x": "y" * 900_000}})
        lists = [{"method": "GET", "path": "/v2/agents"}] * 4
        assert statuses(await send(rest, key, *lists)) == [200, 200, 413, 413]
        answer = await rest.call("POST", BATCH, key, body={"operations": lists}, headers=LINES)
        assert [orjson.loads(line)["status"] for line in answer.body.splitlines()] == [200] * 4
