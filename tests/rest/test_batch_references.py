"""Batches whose operations name results of earlier ones."""

from typing import Any

import pytest

from core.errors import HubError
from rest.asked import Answer
from rest.batch.operations import BatchOperation
from rest.batch.references import Results
from tests.rest.batches import code, create, send, statuses
from tests.rest.server import RestServer


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


def test_what_was_undone_is_not_named() -> None:
    """An answer of a trial that did not happen is as that of a refused operation, until there is another."""
    naming = BatchOperation("GET", {"$ref": "0.headers.Location"}, {}, None)
    results = Results({0})
    results.keep(0, Answer(201, {"Location": "/v2/agents/1"}))
    assert results.resolved(naming).path == "/v2/agents/1"
    results.forget(0)
    with pytest.raises(HubError) as refused:
        results.resolved(naming)
    assert refused.value.code == "FAILED_DEPENDENCY"
    results.keep(0, Answer(201, {"Location": "/v2/agents/2"}))
    assert results.resolved(naming).path == "/v2/agents/2"
