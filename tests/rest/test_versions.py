"""Versions: v1 is deprecated and whole; unversioned paths are those of the version that API-Version names."""

import re

import pytest

from core.operations.results import Poured
from rest import answers
from rest.door import VERSIONS
from rest.routes import Route
from rest.v1 import V1
from rest.v2 import V2
from tests.harness.clock import ManualClock
from tests.rest.declared import operations, resource_operations
from tests.rest.server import RestServer, is_http_date, serve


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/agents"), ("GET", "/v1/agents/no-id"), ("FETCH", "/v1/twins"), ("GET", "/v1/nothing")],
)
async def test_v1_says_that_it_is_deprecated(rest: RestServer, key: str, method: str, path: str) -> None:
    """Every answer below /v1 has Deprecation (RFC 9745) and Sunset (RFC 8594), those that refuse too."""
    answer = await rest.call(method.replace("FETCH", "LINK"), path, key)
    assert answer.headers["Deprecation"] == "@1719705600"
    assert answer.headers["Sunset"] == "Tue, 31 Dec 2024 00:00:00 GMT"
    assert is_http_date(answer.headers["Sunset"])
    assert 'rel="deprecation"' in answer.headers["Link"]
    assert 'rel="sunset"' in answer.headers["Link"]


async def test_v2_is_not_deprecated(rest: RestServer, key: str) -> None:
    """The stable version says nothing of an end."""
    answer = await rest.call("GET", "/v2/agents", key)
    assert answer.status == 200
    assert not {"Deprecation", "Sunset"} & set(answer.headers)


@pytest.mark.parametrize(("header", "version"), [(None, "v2"), ("v2", "v2"), ("v1", "v1")])
async def test_unversioned_path_is_that_of_the_named_version(
    rest: RestServer, key: str, header: str | None, version: str
) -> None:
    """`API-Version` chooses; without it the stable version is meant. Every method and the query go along."""
    headers = {} if header is None else {"API-Version": header}
    made = await rest.call("POST", "/agents", key, body={"name": "A"}, headers=headers)
    assert made.status == 201
    assert made.headers["Location"] == f"/{version}/agents/{made.json()['id']}"
    assert ("Deprecation" in made.headers) == (version == "v1")
    found = await rest.call("GET", f"/agents/{made.json()['id']}", key, headers=headers)
    assert found.body == made.body
    page = await rest.call("GET", "/agents?per_page=1&page=2", key, headers=headers)
    assert page.json()["pagination"] == {"page": 2, "per_page": 1, "total": 1}
    refused = await rest.call("GET", "/agents?colour=red", key, headers=headers)
    refused.error(400, "UNKNOWN_PARAMETER")


@pytest.mark.parametrize("path", ["/agents", "/agents/1", "/nothing"])
async def test_unknown_version_is_named_with_those_that_there_are(rest: RestServer, key: str, path: str) -> None:
    """A version that does not exist is 400, and the message lists the versions."""
    answer = await rest.call("GET", path, key, headers={"API-Version": "v9"})
    assert answer.error(400, "UNSUPPORTED_VERSION")["message"].endswith("v1, v2, v3")


@pytest.mark.parametrize(
    "path", ["/v3/knowledge", "/v4/agents", "/v2", "/v2/", "/v2/agents/", "/v2/v2/agents", "//v2/agents", "/nothing"]
)
async def test_path_that_is_not_there_is_404(rest: RestServer, key: str, path: str) -> None:
    """The path decides; a version of the path is not looked for twice."""
    (await rest.call("GET", path, key)).error(404, "RESOURCE_NOT_FOUND")


async def test_v3_is_beta_and_answers_as_v2(rest: RestServer, key: str) -> None:
    """By path and by header; it says that it is beta, and its places are its own."""
    made = await rest.call("POST", "/v3/agents", key, body={"name": "A"})
    assert made.headers["Location"] == f"/v3/agents/{made.json()['id']}"
    for path, headers in (("/v3/agents", {}), ("/agents", {"API-Version": "v3"})):
        there = await rest.call("GET", path, key, headers=headers)
        assert there.headers["API-Status"] == "beta"
        assert there.json()["data"] == (await rest.call("GET", "/v2/agents", key)).json()["data"]
    assert "API-Status" not in (await rest.call("GET", "/v2/agents", key)).headers


async def test_versions_tells_the_matrix_and_the_policy(rest: RestServer) -> None:
    """To anyone, without a credential."""
    told = (await rest.call("GET", "/versions")).json()
    assert told["default"] == "v2"
    assert [(each["version"], each["status"], each["support_level"]) for each in told["versions"]] == [
        ("v1", "deprecated", "security_fixes_only"),
        ("v2", "stable", "full_support"),
        ("v3", "beta", "limited_support"),
    ]
    assert told["versions"][0]["sunset_date"] == "2024-12-31"
    assert (told["policy"]["compatibility_months"], told["policy"]["deprecation_notice_months"]) == (12, 6)


async def test_v1_can_be_off(database_url: str, clock: ManualClock, key: str) -> None:
    """Then every path of it is gone, with the link to the guide; the others go on."""
    async with serve(database_url, clock, resource_operations().values(), off=(V1,)) as rest:
        for path, headers in (("/v1/agents", {}), ("/v1/nothing", {}), ("/agents", {"API-Version": "v1"})):
            gone = await rest.call("GET", path, key, headers=headers)
            gone.error(410, "VERSION_GONE")
            assert "/docs/migration-v1-v2.md" in gone.headers["Link"]
        unknown = await rest.call("GET", "/agents", key, headers={"API-Version": "v9"})
        assert unknown.error(400, "UNSUPPORTED_VERSION")["message"].endswith("there are v2, v3")
        # `v1,` is how a signature of Standard Webhooks begins.
        assert not re.search(rb"v1(?!,)", (await rest.call("GET", "/openapi.json")).body)
        assert (await rest.call("GET", "/agents", key)).status == 200
        assert [each["served"] for each in (await rest.call("GET", "/versions")).json()["versions"]] == [
            False,
            True,
            True,
        ]


async def test_path_wins_over_the_header(rest: RestServer, key: str) -> None:
    """API-Version says nothing about a path that has a version."""
    answer = await rest.call("GET", "/v2/agents", key, headers={"API-Version": "v9"})
    assert answer.status == 200


def test_every_operation_has_a_route() -> None:
    """None is left out of the stable version; the deprecated one has what it always had. No route names one that there is not."""
    # What is too long to be held has endpoints of its own (rest/moving/poured.py).
    poured = {name for name, each in operations().items() if each.result is Poured}
    # Waiting and following are a part of other requests (rest/waiting.py); version 1 has a form of its own.
    inside = {f"{kind}.{verb}" for kind in ("executions", "simulations") for verb in ("follow", "wait")}
    inside.add("agents.execute_input")
    assert {route.operation for route in V2.routes} == set(operations()) - poured - inside
    own = {"knowledge.query", "agents.execute", "agents.execute_input", "simulations.begin"}
    verbs = ("list", "create", "get", "replace", "update", "delete")
    always = {f"{kind}.{verb}" for kind in ("agents", "knowledge", "twins") for verb in verbs}
    assert {route.operation for route in V1.routes} == {*always, *own}


def test_query_names_are_those_of_the_operation() -> None:
    """A route takes exactly the query that its operation knows."""
    declared = operations()
    for route in (route for version in VERSIONS for route in version.routes if route.method == "GET"):
        fields = declared[route.operation].input.model_fields
        known = {field.alias or name for name, field in fields.items()} - {
            "id",
            "agent",
            "resource_id",
            "letter",
            "replay",
            "document",
            *(("channel",) if "{channel}" in route.path else ()),
        }
        assert {name.removesuffix("[") for name in route.query} == known


@pytest.mark.parametrize(
    "route",
    [route for version in VERSIONS for route in version.routes],
    ids=lambda route: f"{route.method} {route.path}",
)
def test_every_post_and_patch_takes_an_idempotency_key(route: Route) -> None:
    """And no other method: GET changes nothing, PUT and DELETE nothing more when they are repeated. None can be forgotten.

    A POST that only asks changes nothing either.
    """
    operation = operations()[route.operation]
    assert route.takes_key == (route.method in ("POST", "PATCH"))
    assert operation.takes_key == (route.takes_key and operation.transaction != "read")


def test_what_nobody_may_keep_is_sealed_where_the_hub_keeps_it() -> None:
    """An answer that says no-store to a POST has a secret, and its operation says so."""
    secrets = {answers.created_with_secret, answers.changed_with_secret, answers.made}
    for route in (route for version in VERSIONS for route in version.routes):
        assert operations()[route.operation].holds_secret == (route.render in secrets), route
