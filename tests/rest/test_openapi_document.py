"""The OpenAPI documents: standard, whole, stable, and what `/openapi.json` and the command give."""

import asyncio
import os
from dataclasses import replace
from typing import Any

import orjson
import pytest
from openapi_spec_validator import validate

from core.errors import CATALOGUE
from core.operations.operation import Registry
from rest.door import VERSIONS
from rest.openapi.door import documents
from rest.v2 import V2
from tests.harness.command_line import run_command
from tests.rest.declared import operations
from tests.rest.server import RestServer
from tests.rest.test_openapi import referred


@pytest.fixture(scope="module")
def both() -> dict[str, dict[str, Any]]:
    """The documents, by OpenAPI's version."""
    return documents(Registry.of(operations().values()), VERSIONS)


@pytest.mark.parametrize("version", ["3.1", "3.0"])
def test_document_is_openapi(both: dict[str, dict[str, Any]], version: str) -> None:
    """The validator finds nothing."""
    assert both[version]["openapi"].startswith(version)
    validate(both[version])


def test_every_route_is_described(both: dict[str, dict[str, Any]]) -> None:
    """With its operation's name, in the order of the versions; what is described beside them, as batches, has no operation."""
    declared = {
        (f"{version.prefix}{route.path}", route.method.lower()): route.operation
        for version in VERSIONS
        for route in version.routes
    }
    described = {
        (path, method): operation["operationId"]
        for path, methods in both["3.1"]["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/v")
        if not {"hub", "batch"} & set(operation["tags"])
    }
    assert list(described) == list(declared)
    for place, name in described.items():
        assert name.removeprefix("v1.").removeprefix("v3.") == declared[place]
    assert both["3.0"]["paths"].keys() == both["3.1"]["paths"].keys()


def test_batches_are_described(both: dict[str, dict[str, Any]]) -> None:
    """Of the versions that have them."""
    described = {path for path in both["3.1"]["paths"] if path.endswith("/batch")}
    assert (
        described
        == {f"{version.prefix}/batch" for version in VERSIONS if version.has_batch}
        == {"/v1/batch", "/v2/batch"}
    )


def test_deprecated_is_what_has_a_sunset(both: dict[str, dict[str, Any]]) -> None:
    """Version 1, and only that; its answers are described with the headers that say so."""
    for path, methods in both["3.1"]["paths"].items():
        for operation in methods.values():
            assert operation.get("deprecated", False) == path.startswith("/v1/"), path
    listed = both["3.1"]["paths"]["/v1/agents"]["get"]["responses"]["200"]["headers"]
    assert {"Deprecation", "Sunset", "Link"} <= listed.keys()


def test_every_code_of_the_catalogue_stands_at_its_status(both: dict[str, dict[str, Any]]) -> None:
    """Answers name the codes of their status; an operation refers to those that it can have."""
    components = both["3.1"]["components"]["responses"].items()
    responses = [each for name, each in components if "." not in name]  # the others are answers that operations share
    named = {
        code
        for response in responses
        for code in response["content"]["application/json"]["schema"]["allOf"][1]["properties"]["error"]["properties"][
            "code"
        ]["enum"]
    }
    assert named == {code for code, kind in CATALOGUE.items() if kind.place == "answer"}
    create = both["3.1"]["paths"]["/v2/agents"]["post"]["responses"]
    assert {"201", "400", "401", "403", "409", "413", "415", "422", "429", "500", "503", "504"} <= create.keys()


def test_operation_that_nobody_has_looked_at_is_not_described() -> None:
    """What it refuses by would be a guess."""
    (known,) = (route for route in V2.routes if route.operation == "agents.create")
    route = replace(known, operation="agents.paint")
    there = [*operations().values(), replace(operations()["agents.create"], name="agents.paint")]
    with pytest.raises(LookupError, match=r"agents\.paint"):
        documents(Registry.of(there), [replace(V2, routes=(route,))])


def test_documents_are_the_same_each_time(both: dict[str, dict[str, Any]]) -> None:
    """To the byte: a diff shows what has changed."""
    assert orjson.dumps(documents(Registry.of(operations().values()), VERSIONS)) == orjson.dumps(both)


@pytest.mark.parametrize("version", ["3.1", "3.0"])
def test_what_is_said_more_than_once_is_a_component(both: dict[str, dict[str, Any]], version: str) -> None:
    """Versions share what is equal in them; JSON:API's documents are schemas with names."""
    document = both[version]
    bodies = [document["paths"][f"/{name}/agents"]["post"]["requestBody"] for name in (each.name for each in VERSIONS)]
    assert bodies == [{"$ref": "#/components/requestBodies/agents.create"}] * len(VERSIONS)
    content = referred(document, bodies[0])["content"]["application/vnd.api+json"]
    assert content["schema"]["$ref"].startswith("#/components/schemas/")
    for methods in document["paths"].values():
        for operation in methods.values():
            for answer in operation["responses"].values():
                content = referred(document, answer).get("content", {})
                for each in (said for media, said in content.items() if media != "text/event-stream"):
                    assert set(each["schema"]) & {"$ref", "anyOf", "allOf", "type"}
                    assert "attributes" not in str(each["schema"])
    parameters = [str(each) for each in document["components"]["parameters"].values()]
    assert len(parameters) == len(set(parameters))
    for each in document["paths"]["/v2/agents"]["get"]["parameters"]:
        assert "$ref" in each
    assert len(orjson.dumps(document)) < 1_100_000


async def test_document_that_is_made_holds_nobody(rest: RestServer) -> None:
    """Who asks at once gets the same, and the loop runs on while a thread makes it."""
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    turning = asyncio.create_task(turn())
    answers = await asyncio.gather(*(rest.call("GET", "/openapi.json") for _ in range(3)))
    turning.cancel()
    assert len({answer.body for answer in answers}) == 1
    assert turns > 100


async def test_documents_are_served_to_anybody(rest: RestServer, both: dict[str, dict[str, Any]]) -> None:
    """3.1 unless 3.0 is asked for; kept by the ETag; another version or name is refused."""
    for query, version in (("", "3.1"), ("?version=3.1", "3.1"), ("?version=3.0", "3.0")):
        answer = await rest.call("GET", f"/openapi.json{query}")
        assert answer.json() == orjson.loads(orjson.dumps(both[version]))
        again = await rest.call("GET", f"/openapi.json{query}", headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status == 304
    error = (await rest.call("GET", "/openapi.json?version=2.0")).error(422, "VALIDATION_ERROR")
    assert error["details"][0]["field"] == "version"
    (await rest.call("GET", "/openapi.json?format=yaml")).error(400, "UNKNOWN_PARAMETER")


@pytest.mark.parametrize("version", ["3.1", "3.0"])
async def test_command_prints_the_document(both: dict[str, dict[str, Any]], version: str) -> None:
    """Without any engine."""
    done = await run_command("openapi", "--version", version, environment=os.environ)
    assert done.code == 0, done.err
    assert orjson.loads(done.out) == orjson.loads(orjson.dumps(both[version]))
