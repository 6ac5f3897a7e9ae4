"""Refusals: each has the error object, a documented code, and a status that says the same."""

from dataclasses import replace
from typing import Any

import pytest

from core.errors import HubError
from core.ids import new_id
from core.operations.context import Context
from core.store.engines import EngineUrls
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.rest.declared import operations
from tests.rest.one_door import ONE_DOOR, clock, key, organisation, rest
from tests.rest.server import RestServer, head, read_answer, serve

__all__ = ["clock", "key", "organisation", "rest"]  # fixtures

pytestmark = ONE_DOOR

ONE = f"/v2/agents/{new_id()}"


@pytest.mark.parametrize("path", ["/nothing", "/v2/nothing", "/v9/agents", "/v2/agents/1/2", "/%ff", "/%00", "/v2/%"])
async def test_unknown_path_is_404(rest: RestServer, path: str) -> None:
    """A path that is not there needs no credential to be told so."""
    (await rest.send(head("GET", path, "none"))).error(404, "RESOURCE_NOT_FOUND")


@pytest.mark.parametrize("id", ["1", "%ff", "%00", "%C3%A4", "..%2f..", "'--", "%0d%0aX-Evil:1", "x" * 3000, "{id}"])
async def test_id_that_is_no_uuid_is_404(rest: RestServer, key: str, id: str) -> None:
    """Nothing has such an id; what cannot even be read is no other case."""
    for method, lines in (("GET", ()), ("DELETE", ()), ("PUT", ("Content-Length: 12",))):
        body = b'{"name":"A"}' if lines else b""
        answer = await rest.send(head(method, f"/v2/agents/{id}", key, *lines) + body)
        answer.error(404, "RESOURCE_NOT_FOUND")
        assert "X-Evil" not in answer.headers


@pytest.mark.parametrize(
    ("path", "allow"),
    [("/v2/agents", "GET, HEAD, OPTIONS, POST"), (ONE, "DELETE, GET, HEAD, OPTIONS, PATCH, PUT")],
    ids=["all", "one"],  # the same in every worker of a run
)
async def test_method_that_a_resource_lacks_is_405_with_those_it_has(
    rest: RestServer, key: str, path: str, allow: str
) -> None:
    """Allow names the methods (RFC 9110, section 15.5.6); OPTIONS answers the same without a credential."""
    answer = await rest.call("LINK", path, key)
    answer.error(405, "METHOD_NOT_ALLOWED")
    assert answer.headers["Allow"] == allow
    options = await rest.call("OPTIONS", path)
    assert (options.status, options.headers["Allow"]) == (204, allow)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "AUTHENTICATION_REQUIRED"),
        ("", "AUTHENTICATION_REQUIRED"),
        ("Bearer", "AUTHENTICATION_REQUIRED"),
        ("Basic YTpi", "AUTHENTICATION_REQUIRED"),
        ("Bearer aim_live_nothing", "INVALID_API_KEY"),
        ("Bearer \u00e4\u00f6", "INVALID_API_KEY"),
        ("Bearer e30.e30.e30", "INVALID_TOKEN"),
    ],
)
async def test_request_without_a_valid_credential_is_401(rest: RestServer, header: str | None, code: str) -> None:
    """401 with a challenge (RFC 9110, section 15.5.2), before the query or the body are looked at."""
    headers = {} if header is None else {"Authorization": header}
    for method, path in (("GET", "/v2/agents?colour=red"), ("POST", "/v2/agents")):
        answer = await rest.call(method, path, headers=headers, data=b"{" if method == "POST" else None)
        answer.error(401, code)
        challenge = 'Bearer realm="aimatrix"'
        if code.startswith("INVALID"):
            challenge += ', error="invalid_token"'  # RFC 6750, section 3.1
        assert answer.headers["WWW-Authenticate"] == challenge


async def test_scheme_is_read_in_any_case(rest: RestServer, key: str) -> None:
    """`bearer` is `Bearer` (RFC 9110, section 11.1)."""
    assert (await rest.call("GET", "/v2/agents", headers={"Authorization": f"bEARER {key}"})).status == 200


async def test_scope_that_the_key_lacks_is_named(rest: RestServer, organisation: Organisation) -> None:
    """403 says which scope it takes; a key that reads does not write, nor read other kinds."""
    reader = await organisation.key(["read:agents"])
    assert (await rest.call("GET", "/v2/agents", reader)).status == 200
    refused = (await rest.call("POST", "/v2/agents", reader, body={"name": "A"})).error(403, "INSUFFICIENT_SCOPE")
    assert "write:agents" in refused["message"]
    (await rest.call("GET", "/v1/twins", reader)).error(403, "INSUFFICIENT_SCOPE")


@pytest.mark.parametrize(
    ("query", "status", "code", "named"),
    [
        ("colour=red", 400, "UNKNOWN_PARAMETER", "'colour'"),
        ("page=1&Page=2", 400, "UNKNOWN_PARAMETER", "'Page'"),
        ("=", 400, "UNKNOWN_PARAMETER", "''"),
        ("%3Cscript%3E=1", 400, "UNKNOWN_PARAMETER", "'<script>'"),
        ("page=1&page=1", 400, "BAD_REQUEST", "'page'"),
        ("q=%ff", 400, "BAD_REQUEST", "UTF-8"),
        ("q=%ed%a0%80", 400, "BAD_REQUEST", "UTF-8"),
    ],
)
async def test_query_that_is_not_understood_is_400(
    rest: RestServer, key: str, query: str, status: int, code: str, named: str
) -> None:
    """Names that a path does not have, names given twice, and what is no UTF-8."""
    answer = await rest.send(head("GET", f"/v2/agents?{query}", key))
    assert named in answer.error(status, code)["message"]


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("page=x", "page", "INVALID_FORMAT"),
        ("page=", "page", "INVALID_FORMAT"),
        ("page=0", "page", "VALUE_OUT_OF_RANGE"),
        ("page=1.5", "page", "INVALID_FORMAT"),
        ("per_page=101", "per_page", "VALUE_OUT_OF_RANGE"),
        ("per_page=-1", "per_page", "VALUE_OUT_OF_RANGE"),
        ("page=99999999999999999999999", "page", "VALUE_OUT_OF_RANGE"),
        ("q=%00", "q", "INVALID_FORMAT"),
        ("type=%00", "type", "INVALID_FORMAT"),
        ("status=a%00", "status", "INVALID_FORMAT"),
    ],
)
async def test_query_value_of_wrong_type_or_range_is_422(
    rest: RestServer, key: str, query: str, field: str, code: str
) -> None:
    """The details name the parameter."""
    error = (await rest.call("GET", f"/v2/agents?{query}", key)).error(422, "VALIDATION_ERROR")
    assert [(item["field"], item["code"]) for item in error["details"]] == [(field, code)]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_path_of_one_resource_has_no_query(rest: RestServer, key: str, method: str) -> None:
    """A parameter that does nothing is refused rather than ignored, before anything is changed."""
    body = {"name": "A"} if method in ("PUT", "PATCH") else None
    answer = await rest.call(method, f"{ONE}?dry_run=true", key, body=body)
    assert "'dry_run'" in answer.error(400, "UNKNOWN_PARAMETER")["message"]


async def test_all_that_is_wrong_with_a_body_is_told_at_once(rest: RestServer, key: str) -> None:
    """422 with the field, a finer code and a message each."""
    body = {"type": 5, "capabilities": ["ok", 7], "colour": "red"}
    error = (await rest.call("POST", "/v2/agents", key, body=body)).error(422, "VALIDATION_ERROR")
    found = {item["field"]: item["code"] for item in error["details"]}
    assert found == {
        "name": "MISSING_REQUIRED_FIELD",
        "type": "INVALID_FORMAT",
        "capabilities[1]": "INVALID_FORMAT",
        "colour": "INVALID_FORMAT",
    }


@pytest.mark.parametrize("given", ["a", "req_1234567890", "A.b-c_9" * 18 + "xx"])
async def test_request_id_of_the_client_is_kept(rest: RestServer, key: str, given: str) -> None:
    """Up to 128 characters of A-Z a-z 0-9 . _ - come back, on success and in the error object."""
    for path in ("/v2/agents", "/v2/agents/1", "/nothing", "/livez"):
        answer = await rest.call("GET", path, key, headers={"X-Request-Id": given})
        assert answer.headers["X-Request-Id"] == given
        assert answer.status == 200 or answer.json()["error"]["request_id"] == given


@pytest.mark.parametrize("given", ["", "a b", "a" * 129, "ä", "a\tb", "<script>", "a,b"])
async def test_request_id_that_is_not_well_formed_is_replaced(rest: RestServer, key: str, given: str) -> None:
    """Then the hub's own stands there, which is never given twice."""
    answers = [await rest.call("GET", "/v2/agents", key, headers={"X-Request-Id": given}) for _ in range(2)]
    made = {answer.headers["X-Request-Id"] for answer in answers}
    assert len(made) == 2
    assert all(id.startswith("req_") for id in made)


async def test_header_cannot_be_smuggled_in_by_a_value(rest: RestServer, key: str) -> None:
    """A line break within a header ends the request before the door sees it; encoded ones stay encoded."""
    answer = await rest.send(head("GET", "/v2/agents", key, "X-Request-Id: a\rX-Evil: 1"))
    answer.error(400, "BAD_REQUEST")
    assert "X-Evil" not in answer.headers
    answer = await rest.send(head("GET", "/v2/agents?%0d%0aX-Evil:1=1", key))
    answer.error(400, "UNKNOWN_PARAMETER")
    assert "X-Evil" not in answer.headers


async def _bug(_ctx: Context, _wanted: Any) -> Any:
    raise RuntimeError("password=hunter2")


async def _slow(_ctx: Context, _wanted: Any) -> Any:
    raise TimeoutError


async def _away(_ctx: Context, _wanted: Any) -> Any:
    raise HubError("SERVICE_UNAVAILABLE", retry_after=7, headers={"X-Part": "store"})


async def test_failure_of_an_operation(
    urls: EngineUrls, organisation: Organisation, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bug is 500 without detail, logged with the request id; a timeout is 504; Retry-After and headers of a refusal go along."""
    declared = operations()
    declared["agents.list"] = replace(declared["agents.list"], handler=_bug)
    declared["knowledge.list"] = replace(declared["knowledge.list"], transaction="none", handler=_slow)
    declared["twins.list"] = replace(declared["twins.list"], handler=_away)
    key = await organisation.key()
    async with serve(urls.database_url, ManualClock(), declared.values()) as rest:
        answer = await rest.call("GET", "/v2/agents", key)
        answer.error(500, "INTERNAL_ERROR")
        assert b"hunter2" not in answer.body
        logged = capsys.readouterr().out
        assert answer.headers["X-Request-Id"] in logged
        assert "RuntimeError" in logged
        (await rest.call("GET", "/v2/knowledge", key)).error(504, "TIMEOUT")
        away = await rest.call("GET", "/v1/twins", key)
        away.error(503, "SERVICE_UNAVAILABLE")
        assert (away.headers["Retry-After"], away.headers["X-Part"]) == ("7", "store")
        assert "Deprecation" in away.headers


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_body_that_nobody_asked_for_is_ignored(rest: RestServer, key: str, method: str) -> None:
    """A body of GET or DELETE has no meaning (RFC 9110, sections 9.3.1 and 9.3.5), and the connection goes on."""
    async with rest.connection() as (reader, writer):
        for _ in range(2):
            writer.write(head(method, ONE, key, "Content-Length: 5") + b"GET /")
            (await read_answer(reader)).error(404, "RESOURCE_NOT_FOUND")
