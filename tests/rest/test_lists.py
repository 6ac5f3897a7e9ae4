"""Lists over HTTP: links to the neighbours of a page, in the head and in the body, and what of a query is refused."""

import re
from typing import Any

import pytest

from tests.rest.one_door import ONE_DOOR, clock, key, organisation, rest
from tests.rest.server import RestServer

__all__ = ["clock", "key", "organisation", "rest"]  # fixtures

pytestmark = ONE_DOOR

_LINK = re.compile(r'<([^>]*)>; rel="([a-z]+)"')


def links(header: str) -> dict[str, str]:
    """Return the targets of a Link header by relation."""
    return {relation: target for target, relation in _LINK.findall(header)}


async def made(rest: RestServer, key: str, count: int) -> list[str]:
    """Make agents; returns their ids, the newest first."""
    bodies = ({"name": f"A {i}", "type": "a" if i % 2 else "b"} for i in range(count))
    return [(await rest.call("POST", "/v2/agents", key, body=body)).json()["id"] for body in bodies][::-1]


async def test_links_lead_through_all_pages_and_back(rest: RestServer, key: str):
    """first, prev, next and last stand in the Link header and, the same, in the body."""
    ids = await made(rest, key, 5)
    seen: list[list[str]] = []
    body: dict[str, Any] = {"links": {"next": "/v2/agents?per_page=2"}}
    while target := body["links"].get("next"):
        answer = await rest.call("GET", target, key)
        body = answer.json()
        assert links(answer.headers["Link"]) == body["links"]
        seen.append([item["id"] for item in body["data"]])
    assert seen == [ids[:2], ids[2:4], ids[4:]]
    assert body["links"] == {
        "first": "/v2/agents?page=1&per_page=2",
        "prev": "/v2/agents?page=2&per_page=2",
        "last": "/v2/agents?page=3&per_page=2",
    }


async def test_links_keep_the_rest_of_the_query(rest: RestServer, key: str):
    """Filters go with the links, escaped, and nothing of them can end a link early."""
    await made(rest, key, 3)
    answer = await rest.call("GET", "/v2/agents?q=A+%3E%22%0D%0A%26&type=a&per_page=1&page=9", key)
    assert answer.json()["links"] == {
        "first": "/v2/agents?q=A+%3E%22%0D%0A%26&type=a&page=1&per_page=1",
        "prev": "/v2/agents?q=A+%3E%22%0D%0A%26&type=a&page=1&per_page=1",
        "last": "/v2/agents?q=A+%3E%22%0D%0A%26&type=a&page=1&per_page=1",
    }
    assert links(answer.headers["Link"]) == answer.json()["links"]


async def test_links_are_of_the_path_that_was_asked(rest: RestServer, key: str):
    """Of a path without a version the links have none, and of an empty list there is a first page."""
    answer = await rest.call("GET", "/twins", key)
    target = "/twins?page=1&per_page=20"
    assert answer.json()["links"] == {"first": target, "last": target}
    for path in ("/v2/keys", "/v2/connections", "/v1/knowledge"):
        assert (await rest.call("GET", path, key)).json()["links"]["first"] == f"{path}?page=1&per_page=20"


async def test_query_of_filters_reaches_the_operation(rest: RestServer, key: str):
    """Brackets, escaped or not, operators, paths with dots, and JSON:API's spelling of fields."""
    for name, team in (("a", "x"), ("b", "y"), ("c", "x")):
        await rest.call("POST", "/v2/agents", key, body={"name": name, "metadata": {"team": team}})
    for query, names in (
        ("filter[metadata.team]=x&sort=name", ["a", "c"]),
        ("filter%5Bmetadata.team%5D=x&sort=-name", ["c", "a"]),
        ("filter[name][in]=a,b&filter[metadata.team][ne]=x", ["b"]),
        ("filter[created_at][gte]=2000-01-01&filter[status]=active&status=active&sort=name&limit=2", ["a", "b"]),
        ("filter[created_at][lt]=2000-01-01", []),
    ):
        body = (await rest.call("GET", f"/v2/agents?{query}", key)).json()
        assert [item["name"] for item in body["data"]] == names, query
    for query in ("fields=name", "fields[agents]=name", "fields%5Bagents%5D=id,name"):
        body = (await rest.call("GET", f"/v2/agents?{query}&filter[name]=a", key)).json()
        assert [set(item) for item in body["data"]] == [{"id", "name"}]


async def test_links_lead_from_cursor_to_cursor_and_back(rest: RestServer, key: str):
    """Next to the end, prev to the beginning; first is always there, last never."""
    ids = await made(rest, key, 5)
    seen: list[str] = []
    body: dict[str, Any] = {"links": {"next": "/v2/agents?limit=2&filter[name][prefix]=A"}}
    while target := body["links"].get("next"):
        answer = await rest.call("GET", target, key)
        body = answer.json()
        assert links(answer.headers["Link"]) == body["links"]
        assert "last" not in body["links"]
        assert set(body["pagination"]) == {"limit", "total", "after", "before", "has_more"}
        seen += [item["id"] for item in body["data"]]
    assert seen == ids
    back = [body["data"][0]["id"]]
    while target := body["links"].get("prev"):
        body = (await rest.call("GET", target, key)).json()
        back = [*(item["id"] for item in body["data"]), *back]
    assert back == ids
    assert body["links"]["first"] == "/v2/agents?filter%5Bname%5D%5Bprefix%5D=A&limit=2"


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ("limit=1000", 422, "VALIDATION_ERROR", "limit"),
        ("per_page=101", 422, "VALIDATION_ERROR", "per_page"),
        ("page=1&after=x", 422, "VALIDATION_ERROR", "page"),
        ("after=x", 422, "VALIDATION_ERROR", "after"),
        ("after=%00", 422, "VALIDATION_ERROR", "after"),
        ("before=", 422, "VALIDATION_ERROR", "before"),
        ("filter[created_at][gte]=soon", 422, "VALIDATION_ERROR", "filter[created_at][gte]"),
        ("filter[name]=%00", 422, "VALIDATION_ERROR", "filter[name]"),
        ("filter[colour]=red", 400, "UNKNOWN_PARAMETER", "filter[colour]"),
        ("filter[name][like]=red", 400, "UNKNOWN_PARAMETER", "filter[name][like]"),
        ("filter[name][eq][eq]=red", 400, "UNKNOWN_PARAMETER", "filter[name][eq][eq]"),
        ("filter[]=red", 400, "UNKNOWN_PARAMETER", "filter[]"),
        ("filter[name=red", 400, "UNKNOWN_PARAMETER", "filter[name"),
        ("filter=red", 400, "UNKNOWN_PARAMETER", "filter"),
        ("Filter[name]=red", 400, "UNKNOWN_PARAMETER", "Filter[name]"),
        ("sort[name]=1", 400, "UNKNOWN_PARAMETER", "sort[name]"),
        ("sort=colour", 400, "UNKNOWN_PARAMETER", "sort"),
        ("fields=colour", 400, "UNKNOWN_PARAMETER", "fields"),
        ("fields[twins]=id", 400, "UNKNOWN_PARAMETER", "fields[twins]"),
        ("filter[name]=a&filter[name]=b", 400, "BAD_REQUEST", None),
        ("filter[name]=a&filter[name][eq]=b", 400, "BAD_REQUEST", None),
        ("fields=id&fields[agents]=id", 400, "BAD_REQUEST", None),
        ("sort=name&sort=type", 400, "BAD_REQUEST", None),
        ("&".join(f"filter[metadata.a{number}]=" for number in range(21)), 422, "VALIDATION_ERROR", "filter"),
        ("&".join(f"q{number}=" for number in range(200)), 400, "BAD_REQUEST", None),
        ("filter[name]=%ff", 400, "BAD_REQUEST", None),
    ],
)
async def test_query_that_is_none_is_refused_with_its_name(
    rest: RestServer, key: str, query: str, status: int, code: str, field: str | None
):
    """The parameter stands in details as it was sent."""
    error = (await rest.call("GET", f"/v2/agents?{query}", key)).error(status, code)
    assert [detail["field"] for detail in error["details"]] == ([] if field is None else [field])
