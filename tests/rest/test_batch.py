"""Batches: each operation as by itself, in order; or all of them in one transaction."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from core.auth.caller import ALL_SCOPES
from rest.batch.endpoint import wants_lines
from rest.v1 import V1
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations
from tests.rest.server import RestServer, resource_operations, serve

BATCH = "/v2/batch"
LINES = {"Accept": "application/x-ndjson"}


def create(name: str, kind: str = "agents", **body: Any) -> dict[str, Any]:
    """Return the operation that makes a resource."""
    return {"method": "POST", "path": f"/v2/{kind}", "body": {"name": name, **body}}


async def send(
    rest: RestServer, key: str, *several: Any, path: str = BATCH, headers: Any = None, **more: Any
) -> Sequence[dict[str, Any]]:
    """Send a batch that is answered 200, and return its results."""
    answer = await rest.call("POST", path, key, body={"operations": several, **more}, headers=headers)
    assert answer.status == 200, answer
    results = answer.json()["results"]
    assert len(results) == len(several)
    for result in results:
        assert list(result) == ["status", "headers", "body"]
    return results


def statuses(results: Sequence[dict[str, Any]]) -> list[int]:
    return [result["status"] for result in results]


def code(result: dict[str, Any]) -> str:
    return result["body"]["error"]["code"]


async def count(rest: RestServer, key: str, kind: str = "agents") -> int:
    return (await rest.call("GET", f"/v2/{kind}", key)).json()["pagination"]["total"]


@pytest.fixture(params=[False, True], ids=["one by one", "atomic"])
def atomic(request: pytest.FixtureRequest) -> bool:
    """Whether the batch is atomic: what is asked of both."""
    return request.param


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
        (await rest.call("POST", f"{BATCH}?atomic=true", key, body=body)).error(400, "UNKNOWN_PARAMETER")
        for name, value in (("Idempotency-Key", "a b"), ("X-Request-Timeout", "0")):
            answer = await rest.call("POST", BATCH, key, body=body, headers={name: value})
            assert answer.error(422, "VALIDATION_ERROR")["details"][0]["field"] == name
        (await rest.call("POST", "/v3/batch", key, body=body)).error(404, "RESOURCE_NOT_FOUND")
        assert await count(rest, key) == 0


class TestReferences:
    """What an earlier operation answered, in a later one."""

    async def test_bodies_paths_and_headers_name_earlier_results(self, rest: RestServer, key: str, atomic: bool):
        """By index, status, headers and body; a header's name in any case."""
        results = await send(
            rest,
            key,
            create("Base", "knowledge"),
            create(
                "A", knowledge=[{"$ref": "0.body.id"}], metadata={"of": {"$ref": "0.body"}, "was": {"$ref": "0.status"}}
            ),
            {
                "method": "PATCH",
                "path": "/v2/agents/{1.body.id}",
                "body": {"name": "B"},
                "headers": {"If-Match": {"$ref": "1.headers.etag"}},
            },
            {"method": "GET", "path": {"$ref": "1.headers.Location"}},
            {"method": "GET", "path": "/v2/knowledge?filter[id]={1.body.knowledge.0}"},
            atomic=atomic,
        )
        assert statuses(results) == [201, 201, 200, 200, 200]
        base, agent, changed, got, listed = (each["body"] for each in results)
        assert agent["knowledge"] == [base["id"]]
        assert agent["metadata"] == {"of": base, "was": 201}
        assert (changed["name"], changed["version"]) == ("B", 2)
        assert got == changed
        assert listed["data"] == [base]

    async def test_what_is_no_reference_is_kept_as_it_is(self, rest: RestServer, key: str):
        """JSON Schema's own `$ref` among it."""
        config = {"a": {"$ref": "#/$defs/x"}, "b": {"$ref": "0.body.id", "c": 1}, "d": "{0.body.id}", "e": {"$ref": 1}}
        results = await send(rest, key, create("A"), create("B", config=config))
        assert results[1]["body"]["config"] == config

    async def test_text_is_escaped_in_a_path(self, rest: RestServer, key: str):
        """A name cannot lead elsewhere."""
        results = await send(
            rest,
            key,
            create("../twins?q=1&x=/"),
            {"method": "GET", "path": "/v2/agents?filter[name]={0.body.name}"},
            {"method": "GET", "path": "/v2/agents/{0.body.name}"},
        )
        assert statuses(results) == [201, 200, 404]
        assert results[1]["body"]["data"] == [results[0]["body"]]

    async def test_operation_that_names_a_refused_one_is_424(self, rest: RestServer, key: str):
        """And who names that one; the others happen."""
        on = {"method": "GET", "path": "/v2/agents/{0.body.id}"}
        results = await send(rest, key, create(""), on, create("B", metadata={"x": {"$ref": "1.status"}}), create("C"))
        assert statuses(results) == [422, 424, 424, 201]
        assert code(results[1]) == "FAILED_DEPENDENCY"

    @pytest.mark.parametrize(
        "reference", ["0.body.nothing", "0.headers.X-Nothing", "0.body.capabilities.0", "0.body.id.x", "0.headers"]
    )
    async def test_result_without_what_is_named_is_422(self, rest: RestServer, key: str, reference: str):
        """The reference stands in the message."""
        results = await send(rest, key, create("A"), create("B", metadata={"x": {"$ref": reference}}))
        assert statuses(results) == [201, 422]
        assert reference in results[1]["body"]["error"]["details"][0]["message"]

    async def test_few_bytes_cannot_name_megabytes(self, rest: RestServer, key: str):
        """What references put into one body is bounded as a body is."""
        large = create("A", metadata={"text": "x" * 400_000})
        several = create("B", metadata={f"{n}": {"$ref": "0.body"} for n in range(1000)})
        results = await send(rest, key, large, several)
        assert [each["status"] for each in results] == [201, 413]

    async def test_deep_bodies_are_refused_as_on_their_own(self, rest: RestServer, key: str):
        """However deep JSON may be."""
        deep: Any = {}
        for _ in range(200):
            deep = {"x": deep}
        results = await send(rest, key, create("A"), create("B", metadata=deep))
        assert statuses(results) == [201, 422]


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


class TestOnceEach:
    """Idempotency keys."""

    async def test_repeat_has_the_first_results(self, rest: RestServer, key: str, atomic: bool):
        """Every POST and PATCH under `<key>#<index>`; references lead to the same."""
        several = [
            create("A"),
            {"method": "PATCH", "path": "/v2/agents/{0.body.id}", "body": {"name": "B"}},
            create("C"),
        ]
        under = {"Idempotency-Key": "order"}
        first = await send(rest, key, *several, atomic=atomic, headers=under)
        again = await send(rest, key, *several, atomic=atomic, headers=under)
        assert [each["body"] for each in again] == [each["body"] for each in first]
        assert all(each["headers"]["Idempotent-Replayed"] == "true" for each in again)
        assert await count(rest, key) == 2
        alone = await rest.call("POST", "/v2/agents", key, body={"name": "C"}, headers={"Idempotency-Key": "order#2"})
        assert alone.json() == first[2]["body"]

    async def test_batch_that_is_mended_does_only_what_was_refused(self, rest: RestServer, key: str):
        """Refusals are not kept."""
        under = {"Idempotency-Key": "order"}
        assert statuses(await send(rest, key, create("A"), create(""), create("C"), headers=under)) == [201, 422, 201]
        again = await send(rest, key, create("A"), create("B"), create("C"), headers=under)
        assert ["Idempotent-Replayed" in each["headers"] for each in again] == [True, False, True]
        assert await count(rest, key) == 3

    async def test_other_input_under_the_key_is_refused_there(self, rest: RestServer, key: str):
        """As for a request of its own."""
        under = {"Idempotency-Key": "order"}
        await send(rest, key, create("A"), create("B"), headers=under)
        again = await send(rest, key, create("A"), create("X"), headers=under)
        assert statuses(again) == [201, 422]
        assert code(again[1]) == "IDEMPOTENCY_KEY_REUSED"

    async def test_longest_key_has_room_for_the_index(self, rest: RestServer, key: str, atomic: bool):
        """255 characters, which with the index were too many."""
        under = {"Idempotency-Key": "k" * 255}
        several = [create(f"{n}") for n in range(12)]
        first = await send(rest, key, *several, atomic=atomic, headers=under)
        assert statuses(first) == [201] * 12
        assert [each["body"] for each in await send(rest, key, *several, atomic=atomic, headers=under)] == [
            each["body"] for each in first
        ]

    async def test_operation_may_have_its_own_key(self, rest: RestServer, key: str):
        """Then the batch's says nothing of it."""
        own = {**create("A"), "headers": {"idempotency-key": "mine"}}
        (made,) = await send(rest, key, own, headers={"Idempotency-Key": "order"})
        alone = await rest.call("POST", "/v2/agents", key, body={"name": "A"}, headers={"Idempotency-Key": "mine"})
        assert alone.json() == made["body"]

    async def test_same_batch_at_once_happens_once(self, rest: RestServer, key: str, atomic: bool):
        """Whatever the interleaving: what is under way is 409."""
        several = [create(f"{n}") for n in range(5)]
        under = {"Idempotency-Key": "order"}
        sent = (send(rest, key, *several, atomic=atomic, headers=under) for _ in range(6))
        for results in await asyncio.gather(*sent):
            assert set(statuses(results)) <= {201, 409, 424}
        assert statuses(await send(rest, key, *several, atomic=atomic, headers=under)) == [201] * 5
        assert await count(rest, key) == 5


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
