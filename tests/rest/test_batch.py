"""Batches: each operation as by itself, in order."""

from typing import Any

import orjson
import pytest

from rest.batch.endpoint import wants_lines
from rest.v1 import V1
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.rest.batches import BATCH, LINES, code, count, create, send, statuses
from tests.rest.declared import resource_operations
from tests.rest.server import RestServer, serve


class TestResults:
    """What comes back."""

    async def test_batch_of_the_first_documentation(self, rest: RestServer, key: str):
        """As its clients send it: v1, two creates."""
        wanted = [
            {"method": "POST", "path": "/v1/agents", "body": {"name": "Agent 1", "type": "assistant"}},
            {"method": "POST", "path": "/v1/agents", "body": {"name": "Agent 2", "type": "analyzer"}},
        ]
        answer = await rest.call("POST", "/v1/batch", key, body={"operations": wanted})
        assert answer.status == 200
        assert answer.headers["Deprecation"]
        results = answer.json()["results"]
        assert statuses(results) == [201, 201]
        assert [each["body"]["name"] for each in results] == ["Agent 1", "Agent 2"]
        assert results[0]["headers"]["Location"] == f"/v1/agents/{results[0]['body']['id']}"

    async def test_every_method_as_on_its_own(self, rest: RestServer, key: str, atomic: bool):
        """Status, headers and body; those that say something of the whole stand at the whole."""
        made = await rest.call("POST", "/v2/agents", key, body={"name": "A"})
        one = made.headers["Location"]
        results = await send(
            rest,
            key,
            {"method": "GET", "path": one},
            {"method": "GET", "path": one, "headers": {"If-None-Match": '"1"'}},
            {"method": "PUT", "path": one, "body": {"name": "B"}, "headers": {"if-match": '"1"'}},
            {"method": "PATCH", "path": one, "body": {"status": "paused"}},
            {"method": "GET", "path": "/v2/agents?per_page=1"},
            {"method": "DELETE", "path": one},
            atomic=atomic,
        )
        assert statuses(results) == [200, 304, 200, 200, 200, 204]
        got, unchanged, replaced, changed, listed, gone = results
        assert got["body"] == made.json()
        assert got["headers"]["ETag"] == '"1"'
        assert unchanged["body"] is None
        assert (replaced["body"]["version"], changed["body"]["version"]) == (2, 3)
        assert changed["headers"]["X-Event-Id"]
        assert listed["body"]["data"] == [changed["body"]]
        assert 'rel="first"' in listed["headers"]["Link"]
        assert gone["body"] is None
        assert not {"X-Request-Id", "X-RateLimit-Limit", "RateLimit", "Vary"} & got["headers"].keys()

    @pytest.mark.parametrize(
        ("path", "headers", "version"),
        [
            ("/v2/batch", {}, "v2"),
            ("/batch", {}, "v2"),
            ("/batch", {"API-Version": "v1"}, "v1"),
            ("/v1/batch", {}, "v1"),
        ],
    )
    async def test_paths_without_a_version_are_of_the_batchs(
        self, rest: RestServer, key: str, path: str, headers: dict[str, str], version: str
    ):
        """Unless the operation names one; and a batch may be of several versions."""
        bare = {"method": "POST", "path": "/agents", "body": {"name": "A"}}
        other = {**bare, "headers": {"API-Version": "v3"}}
        results = await send(rest, key, bare, other, {**bare, "path": "/v1/agents"}, path=path, headers=headers)
        places = [each["headers"]["Location"].split("/")[1] for each in results]
        assert places == [version, "v3", "v1"]
        assert "Deprecation" in results[2]["headers"]

    async def test_refusals_stand_at_their_place_and_the_others_happen(self, rest: RestServer, key: str):
        """Each is what the request is answered on its own."""
        results = await send(
            rest,
            key,
            create("A"),
            create(""),
            create("C", colour="red"),
            {"method": "POST", "path": "/v2/agents"},
            {"method": "POST", "path": "/v2/agents", "body": [1]},
            {"method": "GET", "path": "/v2/agents?colour=red"},
            {"method": "GET", "path": "/v2/agents/00000000-0000-7000-8000-000000000000"},
            {"method": "GET", "path": "/v2/agents/%ff"},
            {"method": "GET", "path": "/v2/nothing"},
            {"method": "GET", "path": "/agents/batch"},
            {"method": "GET", "path": "/v9/agents"},
            {"method": "GET", "path": "/agents", "headers": {"API-Version": "v9"}},
            {"method": "BREW", "path": "/v2/agents"},
            {"method": "GET", "path": "/errors"},
            {"method": "GET", "path": "/v2/agents", "headers": {"X-Request-Timeout": "soon"}},
            create("B"),
        )
        wanted = [201, 422, 422, 400, 422, 400, 404, 404, 404, 404, 404, 400, 405, 404, 422, 201]
        assert statuses(results) == wanted
        assert results[12]["headers"]["Allow"] == "GET, POST"
        assert results[1]["body"]["error"]["details"][0]["field"] == "name"
        assert await count(rest, key) == 2

    async def test_version_that_is_off_is_gone(self, database_url: str, clock: ManualClock, key: str):
        """Within a batch too."""
        async with serve(database_url, clock, resource_operations().values(), off=(V1,)) as rest:
            (result,) = await send(rest, key, {"method": "GET", "path": "/v1/agents"})
            assert code(result) == "VERSION_GONE"
            (await rest.call("POST", "/v1/batch", key, body={})).error(410, "VERSION_GONE")

    async def test_writes_in_a_row_share_a_transaction(self, rest: RestServer, key: str, organisation: Organisation):
        """A hundred commits take longer than one."""
        assert statuses(await send(rest, key, *(create(f"Nr. {n}") for n in range(5)))) == [201] * 5
        assert len(await organisation.rows("SELECT DISTINCT xmin FROM agents")) == 1

    async def test_refused_write_leaves_no_trace_in_the_others(
        self, rest: RestServer, key: str, organisation: Organisation
    ):
        """What was tried together and undone is in audit and events once, in the order of the batch."""
        several = [create("first"), create(""), create("third"), {"method": "DELETE", "path": "/v2/agents/none"}]
        assert statuses(await send(rest, key, *several)) == [201, 422, 201, 404]
        events = await organisation.rows("SELECT envelope FROM outbox UNION ALL SELECT envelope FROM events")
        assert [orjson.loads(row[0])["data"]["name"] for row in events] == ["first", "third"]
        await rest.trail.flush()
        noted = await organisation.rows("SELECT outcome FROM audit ORDER BY outcome")
        assert [row[0] for row in noted] == ["RESOURCE_NOT_FOUND", "VALIDATION_ERROR", "ok", "ok"]

    async def test_lines_are_the_same_results(self, rest: RestServer, key: str, atomic: bool):
        """One JSON object a line, in order."""
        body = {"operations": [create(f"{n}") for n in range(5)], "atomic": atomic}
        answer = await rest.call("POST", BATCH, key, body=body, headers=LINES)
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/x-ndjson"
        assert answer.headers["X-RateLimit-Limit"]
        lines = [orjson.loads(line) for line in answer.body.splitlines()]
        assert answer.body.endswith(b"\n")
        assert [(each["status"], each["body"]["name"]) for each in lines] == [(201, f"{n}") for n in range(5)]

    def test_lines_are_for_who_asks(self):
        """By Accept, whatever else stands there."""
        for accept in ("application/x-ndjson", "text/html, Application/X-NDJSON;q=0.5", "application/x-ndjson; q=1"):
            assert wants_lines(accept)
        for accept in (
            None,
            "",
            "*/*",
            "application/json",
            "application/x-ndjson;q=0",
            "application/x-ndjson; q=0.000",
        ):
            assert not wants_lines(accept)

    async def test_each_line_comes_when_it_is_known(self, rest: RestServer, key: str, organisation: Organisation):
        """The first can be read while the second still waits for a row that somebody else holds."""
        one = (await rest.call("POST", "/v2/agents", key, body={"name": "A"})).headers["Location"]
        wanted = [create("B"), {"method": "DELETE", "path": one}]
        body = orjson.dumps({"operations": wanted})
        async with organisation.holding("agents"), rest.connection() as (reader, writer):
            head = (
                f"POST {BATCH} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {key}\r\nAccept: application/x-ndjson\r\n"
            )
            writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            await reader.readuntil(b"\r\n\r\n")
            first = await reader.readuntil(b"}\n")
            assert b'{"status":201' in first
            assert await count(rest, key) == 2
        # The row is free: the second comes.


class TestWhole:
    """What is refused before anything is done."""

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "operations"),
            ({"operations": []}, "operations"),
            ({"operations": [create("A")] * 101}, "operations"),
            ({"operations": [create("A")], "atomic": 1}, "atomic"),
            ({"operations": [create("A")], "parallel": True}, "parallel"),
            ({"operations": [create("A"), {"path": "/v2/agents"}]}, "operations[1].method"),
            ({"operations": [create("A"), {"method": "GET", "path": "v2/agents"}]}, "operations[1].path"),
            ({"operations": [create("A"), {"method": "GET", "path": 1}]}, "operations[1].path"),
            ({"operations": [create("A"), {"method": "POST", "path": "/v2/batch"}]}, "operations[1].path"),
            ({"operations": [create("A"), {"method": "POST", "path": "/batch?x=1"}]}, "operations[1].path"),
            ({"operations": [create("A"), {**create("B"), "headers": {"Accept": 1}}]}, "operations[1].headers.Accept"),
            ({"operations": [create("A", metadata={"$ref": "0.body"})]}, "operations[0]"),
            ({"operations": [create("A"), {"method": "GET", "path": "/v2/agents/{1.body.id}"}]}, "operations[1]"),
        ],
    )
    async def test_what_is_no_batch_is_422_with_the_place(self, rest: RestServer, key: str, body: Any, field: str):
        """And nothing of it happens."""
        error = (await rest.call("POST", BATCH, key, body=body)).error(422, "VALIDATION_ERROR")
        assert [each["field"] for each in error["details"]] == [field]
        assert await count(rest, key) == 0

    async def test_operations_have_the_credential_of_the_batch(self, rest: RestServer, key: str):
        """One of their own is refused rather than not looked at."""
        body = {"operations": [{**create("A"), "headers": {"authorization": f"Bearer {key}"}}]}
        error = (await rest.call("POST", BATCH, key, body=body)).error(422, "VALIDATION_ERROR")
        assert error["details"][0]["field"].startswith("operations[0].headers.authorization")

    async def test_batch_is_a_request_like_others(self, rest: RestServer, key: str):
        """Credential, method, media type, query, key and time are looked at; OPTIONS tells what there is."""
        body = {"operations": [create("A")]}
        (await rest.call("POST", BATCH, body=body)).error(401, "AUTHENTICATION_REQUIRED")
        refused = await rest.call("GET", BATCH, key)
        refused.error(405, "METHOD_NOT_ALLOWED")
        assert refused.headers["Allow"] == "OPTIONS, POST"
        assert (await rest.call("OPTIONS", BATCH)).headers["Allow"] == "OPTIONS, POST"
        text = {"Content-Type": "text/plain"}
        (await rest.call("POST", BATCH, key, body=body, headers=text)).error(415, "UNSUPPORTED_MEDIA_TYPE")
        for media in ("application/vnd.api+json", 'Application/vnd.api+json; ext="https://jsonapi.org/ext/atomic"'):
            refused = await rest.call("POST", BATCH, key, body=body, headers={"Content-Type": media})
            assert (refused.status, orjson.loads(refused.body)["errors"][0]["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
        (await rest.call("POST", f"{BATCH}?atomic=true", key, body=body)).error(400, "UNKNOWN_PARAMETER")
        for name, value in (("Idempotency-Key", "a b"), ("X-Request-Timeout", "0")):
            answer = await rest.call("POST", BATCH, key, body=body, headers={name: value})
            assert answer.error(422, "VALIDATION_ERROR")["details"][0]["field"] == name
        (await rest.call("POST", "/v3/batch", key, body=body)).error(404, "RESOURCE_NOT_FOUND")
        assert await count(rest, key) == 0
