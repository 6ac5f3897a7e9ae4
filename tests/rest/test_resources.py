"""Resources over REST: what the documentation shows is accepted as it stands, and answered the same in both versions."""

from typing import Any
from uuid import UUID

import pytest

from core.ids import new_id
from tests.harness.organisations import Organisation, Organisations
from tests.rest.server import RestServer

VERSIONS = ["v1", "v2"]
MINIMAL: dict[str, dict[str, Any]] = {
    "agents": {"name": "Agent 1", "type": "assistant"},
    "knowledge": {"name": "Product Documentation", "type": "documentation"},
    "twins": {"name": "Supply Chain Twin", "type": "logistics"},
}
# Bodies of the platform's documentation, as they stand there.
DOCUMENTED: list[tuple[str, dict[str, Any]]] = [
    ("agents", {"name": "Agent 1", "type": "assistant"}),
    ("agents", {"name": "Agent 2", "type": "analyzer"}),
    (
        "agents",
        {
            "name": "Customer Support Agent",
            "type": "assistant",
            "capabilities": ["text_processing", "knowledge_query"],
        },
    ),
    ("knowledge", {"type": "contact", "data": {"Id": "003", "Name": "Ada", "Tags": [1, None]}, "source": "salesforce"}),
    ("knowledge", {"name": "Product Documentation", "type": "documentation", "sources": ["docs/**/*.md"]}),
    (
        "twins",
        {
            "name": "Business Operations Twin",
            "type": "erp_system",
            "data": {"orders": [{"id": 1, "total": 9.5}], "open": True},
            "sync_schedule": "hourly",
        },
    ),
    ("twins", {"name": "Supply Chain Twin", "type": "logistics", "data_source": "erp_system"}),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("kind", "body"), DOCUMENTED)
async def test_documented_body_is_created(
    rest: RestServer, key: str, version: str, kind: str, body: dict[str, Any]
) -> None:
    """POST answers 201 with the bare resource, where it is, its ETag and its event; GET answers the same bytes."""
    made = await rest.call("POST", f"/{version}/{kind}", key, body=body)
    assert made.status == 201, made.body
    document = made.json()
    assert body.items() <= document.items()
    assert UUID(document["id"]).version == 7
    assert made.headers["Location"] == f"/{version}/{kind}/{document['id']}"
    assert made.headers["ETag"] == '"1"'
    assert UUID(made.headers["X-Event-Id"])
    assert "Idempotent-Replayed" not in made.headers
    found = await rest.call("GET", made.headers["Location"], key)
    assert (found.status, found.body, found.headers["ETag"]) == (200, made.body, '"1"')
    assert "X-Event-Id" not in found.headers


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", MINIMAL)
async def test_life_of_a_resource(rest: RestServer, key: str, version: str, kind: str) -> None:
    """PUT replaces, PATCH merges, DELETE ends; each change has a new ETag and an event of its own."""
    path = f"/{version}/{kind}"
    made = await rest.call("POST", path, key, body={**MINIMAL[kind], "metadata": {"a": 1, "b": 2}})
    one = made.headers["Location"]
    patched = await rest.call(
        "PATCH",
        one,
        key,
        data=b'{"metadata": {"a": null, "c": 3}}',
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert patched.json()["metadata"] == {"b": 2, "c": 3}
    assert patched.json()["name"] == MINIMAL[kind]["name"]
    replaced = await rest.call("PUT", one, key, body={"name": "Other"})
    assert (replaced.json()["name"], replaced.json()["metadata"]) == ("Other", {})
    gone = await rest.call("DELETE", one, key)
    assert (gone.status, gone.body) == (204, b"")
    assert "Content-Type" not in gone.headers
    answers = [made, patched, replaced, gone]
    assert [answer.headers.get("ETag") for answer in answers] == ['"1"', '"2"', '"3"', None]
    assert len({answer.headers["X-Event-Id"] for answer in answers}) == 4
    for method in ("GET", "DELETE"):
        (await rest.call(method, one, key)).error(404, "RESOURCE_NOT_FOUND")


async def test_list_is_an_envelope_of_documents(rest: RestServer, key: str) -> None:
    """A page is spliced from the stored documents, newest first, with page, per_page and total."""
    made = [(await rest.call("POST", "/v2/agents", key, body={"name": f"A{i}"})).json() for i in range(3)]
    page = (await rest.call("GET", "/v2/agents?page=1&per_page=2", key)).json()
    assert list(page) == ["data", "pagination", "links"]
    assert (page["data"], page["pagination"]) == ([made[2], made[1]], {"page": 1, "per_page": 2, "total": 3})
    last = (await rest.call("GET", "/v2/agents?page=2&per_page=2", key)).json()
    assert (last["data"], last["pagination"]) == ([made[0]], {"page": 2, "per_page": 2, "total": 3})
    empty = (await rest.call("GET", "/v2/twins", key)).json()
    assert (empty["data"], empty["pagination"]["total"]) == ([], 0)


async def test_list_filters(rest: RestServer, key: str) -> None:
    """`type`, `status` and `q` filter; a `+` and percent-encoding in the query are read as everywhere."""
    await rest.call("POST", "/v1/agents", key, body={"name": "Ä Müller", "type": "assistant"})
    await rest.call("POST", "/v1/agents", key, body={"name": "B", "type": "analyzer", "status": "paused"})
    for query, name in [("type=analyzer", "B"), ("status=paused", "B"), ("q=%C3%A4+m%C3%BCller", "Ä Müller")]:
        found = (await rest.call("GET", f"/v1/agents?{query}", key)).json()
        assert [item["name"] for item in found["data"]] == [name], query


@pytest.mark.parametrize("path", ["/v2/agents", "/v2/agents/{id}"])
async def test_head_is_get_without_the_body(rest: RestServer, key: str, path: str) -> None:
    """HEAD has GET's status and headers."""
    made = (await rest.call("POST", "/v2/agents", key, body={"name": "A"})).json()
    path = path.replace("{id}", made["id"])
    got, headed = await rest.call("GET", path, key), await rest.call("HEAD", path, key)
    assert (headed.status, headed.body) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag"):
        assert headed.headers.get(name) == got.headers.get(name)
    missing = await rest.call("HEAD", f"/v2/agents/{new_id()}", key)
    assert (missing.status, missing.body) == (404, b"")


@pytest.mark.parametrize(
    ("condition", "status"),
    [('"1"', 304), ('W/"1"', 304), ('"7", "1"', 304), ("*", 304), ('"2"', 200), ("1", 200), ('"1', 200)],
)
async def test_get_is_answered_304_where_the_client_has_it(
    rest: RestServer, key: str, condition: str, status: int
) -> None:
    """If-None-Match names what the client has (RFC 9110, section 13.1.2)."""
    made = await rest.call("POST", "/v2/agents", key, body={"name": "A"})
    answer = await rest.call("GET", made.headers["Location"], key, headers={"If-None-Match": condition})
    assert (answer.status, answer.headers["ETag"]) == (status, '"1"')
    assert (answer.body == b"") == (status == 304)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_if_match_must_name_the_current_version(rest: RestServer, key: str, method: str) -> None:
    """Another ETag, well formed or not, is 412 and changes nothing; the current one passes, among others too."""
    made = await rest.call("POST", "/v2/agents", key, body={"name": "A"})
    one = made.headers["Location"]
    body = None if method == "DELETE" else {"name": "B"}
    for wrong in ('"2"', "1", "x" * 500, "\x80"):
        answer = await rest.call(method, one, key, body=body, headers={"If-Match": wrong})
        answer.error(412, "PRECONDITION_FAILED")
    assert (await rest.call("GET", one, key)).body == made.body
    answer = await rest.call(method, one, key, body=body, headers={"If-Match": '"9", "1"'})
    assert answer.status in (200, 204)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_repeat_with_an_idempotency_key_is_replayed(rest: RestServer, key: str, method: str) -> None:
    """The first answer comes again, with Idempotent-Replayed; another body under the key is 422."""
    path = "/v2/agents"
    if method == "PATCH":
        path = (await rest.call("POST", path, key, body={"name": "A"})).headers["Location"]
    headers = {"Idempotency-Key": "k-1"}
    first = await rest.call(method, path, key, body={"name": "B"}, headers=headers)
    again = await rest.call(method, path, key, body={"name": "B"}, headers=headers)
    assert (again.status, again.body) == (first.status, first.body)
    for name in ("ETag", "X-Event-Id", "Location"):
        assert again.headers.get(name) == first.headers.get(name)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["X-Request-Id"] != first.headers["X-Request-Id"]
    other = await rest.call(method, path, key, body={"name": "C"}, headers=headers)
    other.error(422, "IDEMPOTENCY_KEY_REUSED")
    assert (await rest.call("GET", "/v2/agents", key)).json()["pagination"]["total"] == 1


@pytest.mark.parametrize("value", ["", "a b", "k\u00e4", "x" * 256])
async def test_idempotency_key_that_is_none_is_refused(rest: RestServer, key: str, value: str) -> None:
    """1 to 255 visible ASCII characters, so that no key is silently another one."""
    answer = await rest.call("POST", "/v2/agents", key, body={"name": "A"}, headers={"Idempotency-Key": value})
    assert answer.error(422, "VALIDATION_ERROR")["details"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize("kind", MINIMAL)
async def test_resource_of_another_organisation_does_not_exist(
    rest: RestServer, key: str, organisations: Organisations, kind: str
) -> None:
    """Another organisation gets 404 from every method, finds nothing in lists, and changes nothing."""
    made = await rest.call("POST", f"/v2/{kind}", key, body=MINIMAL[kind])
    stranger = await (await organisations.create()).key()
    one = made.headers["Location"]
    for method, body in (("GET", None), ("PUT", MINIMAL[kind]), ("PATCH", {"name": "X"}), ("DELETE", None)):
        (await rest.call(method, one, stranger, body=body)).error(404, "RESOURCE_NOT_FOUND")
    assert (await rest.call("GET", f"/v2/{kind}", stranger)).json()["data"] == []
    assert (await rest.call("GET", one, key)).body == made.body


async def test_key_for_some_resources_sees_only_those(rest: RestServer, key: str, organisation: Organisation) -> None:
    """A restricted key finds no other resource, and makes none."""
    mine, other = [(await rest.call("POST", "/v2/agents", key, body={"name": name})).json() for name in "ab"]
    restricted = await organisation.key(resource_ids=[UUID(mine["id"])])
    assert (await rest.call("GET", f"/v2/agents/{mine['id']}", restricted)).json() == mine
    (await rest.call("GET", f"/v2/agents/{other['id']}", restricted)).error(404, "RESOURCE_NOT_FOUND")
    assert (await rest.call("GET", "/v2/agents", restricted)).json()["data"] == [mine]
    (await rest.call("POST", "/v2/agents", restricted, body={"name": "c"})).error(403, "FORBIDDEN")


async def test_script_in_a_name_stays_inert(rest: RestServer, key: str) -> None:
    """A name is given back as it was, as JSON that no browser sniffs into a page."""
    name = "<script>alert(1)</script>\r\nX-Evil: 1\u2028"
    made = await rest.call("POST", "/v2/agents", key, body={"name": name})
    page = await rest.call("GET", "/v2/agents", key)
    assert made.json()["name"] == page.json()["data"][0]["name"] == name.strip()
    for answer in (made, page):
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "X-Evil" not in answer.headers


async def test_numbers_and_texts_of_data_come_back(rest: RestServer, key: str) -> None:
    """`data` is any JSON, with what text can hold: escapes, astral characters, NUL within."""
    data = {
        "deep": [[[]]],
        "float": 0.1,
        "int": 2**53,
        "text": "\u0000 \ud83d\ude00 \\".encode("utf-16", "surrogatepass").decode("utf-16"),
    }
    made = await rest.call("POST", "/v2/twins", key, body={"name": "T", "data": data})
    assert made.json()["data"] == data
