"""Resources as JSON:API documents: what is written and read, related, included, selected, and where what is wrong is said to be."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from tests.harness.organisations import Organisation
from tests.rest.jsonapi.documents import ask, document, errors
from tests.rest.one_door import ONE_DOOR, clock, key, organisation, rest
from tests.rest.server import RestServer

__all__ = ["clock", "key", "organisation", "rest"]  # fixtures

pytestmark = ONE_DOOR

_AGENT = {"type": "agents", "attributes": {"name": "Ada", "subtype": "helper", "metadata": {"team": {"size": 3}}}}


async def _make(rest: RestServer, key: str, data: dict[str, Any]) -> dict[str, Any]:
    return document(await ask(rest, "POST", f"/v2/{data['type']}", key, data), 201)["data"]


async def _bases(rest: RestServer, key: str, *names: str) -> list[str]:
    data = ({"type": "knowledge", "attributes": {"name": name}} for name in names)
    return [(await _make(rest, key, each))["id"] for each in data]


def _linked(ids: Sequence[str]) -> dict[str, Any]:
    return {"knowledge": {"data": [{"type": "knowledge", "id": id} for id in ids]}}


class TestResources:
    """One resource."""

    async def test_both_forms_are_one_resource(self, rest: RestServer, key: str):
        """Attributes are the plain fields, `type` is `subtype`, and ids of others are a relationship."""
        ids = await _bases(rest, key, "b")
        made = await _make(rest, key, {**_AGENT, "relationships": _linked(ids)})
        path = f"/v2/agents/{made['id']}"
        plain = (await rest.call("GET", path, key)).json()
        assert (plain["name"], plain["type"], plain["knowledge"]) == ("Ada", "helper", ids)
        shown = document(await ask(rest, "GET", path, key), 200)
        assert shown["data"] == made
        assert shown["links"] == {"self": path}
        assert made["links"] == {"self": path}
        assert made["relationships"] == _linked(ids)
        own = {name: value for name, value in plain.items() if name not in ("id", "type", "knowledge")}
        assert made["attributes"] == {**own, "subtype": "helper"}

    async def test_patch_changes_what_is_sent(self, rest: RestServer, key: str):
        """Members of objects too, one by one; relationships as a whole; what is unknown to JSON:API is not looked at."""
        first, second = await _bases(rest, key, "a", "b")
        made = await _make(rest, key, {**_AGENT, "relationships": _linked([first])})
        change = {
            "type": "agents",
            "id": made["id"],
            "attributes": {"metadata": {"team": {"lead": "Bo"}}, "@context": "ignored"},
            "relationships": _linked([second]),
            "colour": "ignored",
        }
        changed = document(await ask(rest, "PATCH", f"/v2/agents/{made['id'].upper()}", key, change), 200)["data"]
        assert changed["attributes"]["metadata"] == {"team": {"size": 3, "lead": "Bo"}}
        assert changed["attributes"]["name"] == "Ada"
        assert changed["relationships"] == _linked([second])
        assert changed["attributes"]["version"] == 2

    async def test_a_key_is_for_one_input_in_any_form(self, rest: RestServer, key: str):
        """A repeat in the other form gets the first result, in its own form."""
        made = await ask(rest, "POST", "/v2/agents", key, _AGENT, Idempotency_Key="k")
        body = {"name": "Ada", "type": "helper", "metadata": {"team": {"size": 3}}}
        again = await rest.call("POST", "/v2/agents", key, body=body, headers={"Idempotency-Key": "k"})
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.json()["id"] == document(made, 201)["data"]["id"]

    async def test_tag_tells_the_form(self, rest: RestServer, key: str):
        """No other form is 304 for it, and either names the version to change."""
        made = await ask(rest, "POST", "/v2/agents", key, _AGENT)
        path, tag = made.headers["Location"], made.headers["ETag"]
        assert tag == '"1.jsonapi"'
        assert (await ask(rest, "GET", path, key, If_None_Match=tag)).status == 304
        assert (await ask(rest, "GET", path, key, If_None_Match='"1"')).status == 200
        assert (await rest.call("GET", path, key, headers={"If-None-Match": tag})).status == 200
        change = {"type": "agents", "id": path.rpartition("/")[2], "attributes": {"name": "Bo"}}
        document(await ask(rest, "PATCH", path, key, change, If_Match=tag), 200)
        assert errors(await ask(rest, "PATCH", path, key, change, If_Match=tag), 412) == [("PRECONDITION_FAILED", None)]

    async def test_head_has_no_body(self, rest: RestServer, key: str):
        """And the headers of GET."""
        made = await _make(rest, key, _AGENT)
        answer = await ask(rest, "HEAD", f"/v2/agents/{made['id']}", key)
        assert (answer.status, answer.body, answer.headers["ETag"]) == (200, b"", '"1.jsonapi"')


class TestInclude:
    """Related resources in one answer."""

    async def test_related_are_included_once(self, rest: RestServer, key: str):
        """Of one resource and of a list; each with a relationship that names it."""
        first, second = await _bases(rest, key, "a", "b")
        one = await _make(rest, key, {**_AGENT, "relationships": _linked([first, second])})
        await _make(rest, key, {**_AGENT, "relationships": _linked([second])})
        shown = document(await ask(rest, "GET", f"/v2/agents/{one['id']}?include=knowledge", key), 200)
        assert {each["id"] for each in shown["included"]} == {first, second}
        assert shown["included"][0]["links"] == {"self": f"/v2/knowledge/{shown['included'][0]['id']}"}
        listed = document(await ask(rest, "GET", "/v2/agents?include=knowledge", key), 200)
        assert len(listed["data"]) == len(listed["included"]) == 2
        assert listed["links"]["self"] == "/v2/agents?include=knowledge"
        assert "include=knowledge" in listed["links"]["last"]

    async def test_tag_is_of_what_is_included_too(self, rest: RestServer, key: str):
        """When a base changes, so does the tag of its agents with it; and it still names the agent's version."""
        ids = await _bases(rest, key, "a")
        made = await _make(rest, key, {**_AGENT, "relationships": _linked(ids)})
        path = f"/v2/agents/{made['id']}?include=knowledge"
        tag = (await ask(rest, "GET", path, key)).headers["ETag"]
        assert (await ask(rest, "GET", path, key, If_None_Match=tag)).status == 304
        await rest.call("PATCH", f"/v2/knowledge/{ids[0]}", key, body={"name": "c"})
        again = await ask(rest, "GET", path, key, If_None_Match=tag)
        assert document(again, 200)["included"][0]["attributes"]["name"] == "c"
        change = {"type": "agents", "id": made["id"], "attributes": {"name": "Bo"}}
        document(await ask(rest, "PATCH", made["links"]["self"], key, change, If_Match=tag), 200)

    async def test_nothing_related_is_an_empty_array(self, rest: RestServer, key: str):
        """Also where what is named is gone."""
        ids = await _bases(rest, key, "a")
        made = await _make(rest, key, {**_AGENT, "relationships": _linked(ids)})
        await rest.call("DELETE", f"/v2/knowledge/{ids[0]}", key)
        shown = document(await ask(rest, "GET", f"/v2/agents/{made['id']}?include=knowledge", key), 200)
        assert shown["included"] == []
        assert shown["data"]["relationships"] == _linked(ids)

    async def test_scope_of_what_is_included_is_needed(self, rest: RestServer, organisation: Organisation):
        """A key for agents alone sees no bases by this way."""
        key = await organisation.key()
        made = await _make(rest, key, {**_AGENT, "relationships": _linked(await _bases(rest, key, "a"))})
        poor = await organisation.key(["read:agents"])
        path = f"/v2/agents/{made['id']}"
        assert "included" not in document(await ask(rest, "GET", path, poor), 200)
        refused = await ask(rest, "GET", f"{path}?include=knowledge", poor)
        assert errors(refused, 403) == [("INSUFFICIENT_SCOPE", None)]

    async def test_it_counts_in_the_limit(self, rest: RestServer, key: str):
        """As the second request that it is; the headers tell what holds after it."""
        made = await _make(rest, key, {**_AGENT, "relationships": _linked(await _bases(rest, key, "a"))})
        before = int((await ask(rest, "GET", f"/v2/agents/{made['id']}", key)).headers["X-RateLimit-Remaining"])
        answer = await ask(rest, "GET", f"/v2/agents/{made['id']}?include=knowledge", key)
        assert int(answer.headers["X-RateLimit-Remaining"]) == before - 2

    @pytest.mark.parametrize("path", ["colour", "knowledge.agents", "knowledge,colour"])
    async def test_unknown_path_is_400(self, rest: RestServer, key: str, path: str):
        """JSON:API, "Inclusion of Related Resources"; so is `include` where nothing is related."""
        refused = await ask(rest, "GET", f"/v2/agents?include={path}", key)
        assert errors(refused, 400) == [("UNKNOWN_PARAMETER", {"parameter": "include"})]
        refused = await ask(rest, "GET", "/v2/twins?include=knowledge", key)
        assert errors(refused, 400) == [("UNKNOWN_PARAMETER", {"parameter": "include"})]

    async def test_over_a_hundred_are_refused(self, rest: RestServer, key: str):
        """Before any of them is read."""
        made = await _make(rest, key, _AGENT)
        for start in (0, 60):
            ids = [f"{made['id'][:-3]}{number:03x}" for number in range(start, start + 60)]
            await _make(rest, key, {**_AGENT, "relationships": _linked(ids)})
        refused = await ask(rest, "GET", "/v2/agents?include=knowledge", key)
        assert errors(refused, 422) == [("VALUE_OUT_OF_RANGE", {"parameter": "include"})]
        document(await ask(rest, "GET", "/v2/agents?include=knowledge&page[size]=1", key), 200)


class TestQueries:
    """The families of JSON:API's parameters."""

    async def test_pages_lead_on(self, rest: RestServer, key: str):
        """By number: through all, and the rest of the query stays."""
        ids = (await _bases(rest, key, "a", "b", "c"))[::-1]
        seen: list[str] = []
        page: dict[str, Any] = {}
        next_page: str | None = "/v2/knowledge?page[size]=2&filter[type]=documentation"
        while next_page:
            answer = await ask(rest, "GET", next_page, key)
            page = document(answer, 200)
            seen += [each["id"] for each in page["data"]]
            next_page = page["links"].get("next")
            assert f'<{page["links"]["first"]}>; rel="first"' in answer.headers["Link"]
        assert seen == ids
        base = "/v2/knowledge?filter%5Btype%5D=documentation&page%5B"
        assert page["links"]["last"] == f"{base}number%5D=2&page%5Bsize%5D=2"
        assert page["meta"]["pagination"] == {"page": 2, "per_page": 2, "total": 3}

    async def test_cursors_lead_on_and_back(self, rest: RestServer, key: str):
        """page[limit] begins; page[after] and page[before] go on, with page[size] as well."""
        ids = (await _bases(rest, key, "a", "b", "c"))[::-1]
        first = document(await ask(rest, "GET", "/v2/knowledge?page[limit]=2", key), 200)
        after = first["meta"]["pagination"]["after"]
        second = document(await ask(rest, "GET", f"/v2/knowledge?page[after]={after}&page[size]=2", key), 200)
        assert [each["id"] for each in (*first["data"], *second["data"])] == ids
        assert document(await ask(rest, "GET", first["links"]["next"], key), 200)["data"] == second["data"]
        assert document(await ask(rest, "GET", second["links"]["prev"], key), 200)["data"] == first["data"]

    async def test_filters_and_sorts_are_the_plain_ones(self, rest: RestServer, key: str):
        """The parameters that plain lists have beside are filters here, and `subtype` is what is `type` there."""
        for name, subtype in (("Ada", "b"), ("Bo", "a"), ("Cy", "b")):
            await _make(rest, key, {"type": "agents", "attributes": {"name": name, "subtype": subtype}})

        async def names(query: str) -> list[str]:
            page = document(await ask(rest, "GET", f"/v2/agents?{query}", key), 200)
            return [each["attributes"]["name"] for each in page["data"]]

        assert await names("sort=subtype,-name") == ["Bo", "Cy", "Ada"]
        assert await names("sort=name&filter[subtype]=b") == ["Ada", "Cy"]
        assert await names("sort=name&filter[subtype][in]=a,b&filter[name][gt]=B") == ["Bo", "Cy"]
        assert await names("filter[q]=bo") == ["Bo"]
        keys = document(await ask(rest, "GET", "/v2/keys?filter[status]=revoked&page[size]=5", key), 200)
        assert keys["meta"]["pagination"] == {"page": 1, "per_page": 5, "total": 0}

    async def test_sparse_fieldsets(self, rest: RestServer, key: str):
        """Of a list, of one, of what is included; relationships are fields as well, and none at all may be wanted."""
        ids = await _bases(rest, key, "a")
        made = await _make(rest, key, {**_AGENT, "relationships": _linked(ids)})
        for path in ("/v2/agents", made["links"]["self"]):
            query = "fields[agents]=name,subtype&include=knowledge&fields[knowledge]=name"
            shown = document(await ask(rest, "GET", f"{path}?{query}", key), 200)
            one = shown["data"] if isinstance(shown["data"], dict) else shown["data"][0]
            assert one["attributes"] == {"name": "Ada", "subtype": "helper"}
            assert "relationships" not in one
            assert shown["included"][0]["attributes"] == {"name": "a"}
        bare = document(await ask(rest, "GET", f"{made['links']['self']}?fields[agents]=", key), 200)["data"]
        assert bare == {"type": "agents", "id": made["id"], "attributes": {}, "links": made["links"]}
        linked = document(await ask(rest, "GET", f"{made['links']['self']}?fields[agents]=knowledge", key), 200)
        assert linked["data"]["relationships"] == _linked(ids)

    @pytest.mark.parametrize(
        ("query", "status", "code", "parameter"),
        [
            ("page=2", 400, "UNKNOWN_PARAMETER", "page"),
            ("q=x", 400, "UNKNOWN_PARAMETER", "q"),
            ("page[colour]=1", 400, "UNKNOWN_PARAMETER", "page[colour]"),
            ("fields[agents]=colour", 400, "UNKNOWN_PARAMETER", "fields[agents]"),
            ("fields[rivers]=name", 400, "UNKNOWN_PARAMETER", "fields[rivers]"),
            ("sort=colour", 400, "UNKNOWN_PARAMETER", "sort"),
            ("filter[colour]=red", 400, "UNKNOWN_PARAMETER", "filter[colour]"),
            ("filter[subtype][near]=x", 400, "UNKNOWN_PARAMETER", "filter[subtype][near]"),
            ("filter[q][eq]=x", 400, "UNKNOWN_PARAMETER", "filter[q][eq]"),
            ("page[size]=0", 422, "VALUE_OUT_OF_RANGE", "page[size]"),
            ("page[number]=x", 422, "INVALID_FORMAT", "page[number]"),
            ("page[after]=x", 422, "INVALID_FORMAT", "page[after]"),
            ("page[number]=1&page[after]=x", 422, "INVALID_FORMAT", "page[number]"),
            ("filter[created_at][gte]=soon", 422, "INVALID_FORMAT", "filter[created_at][gte]"),
        ],
    )
    async def test_wrong_parameter_is_named(
        self, rest: RestServer, key: str, query: str, status: int, code: str, parameter: str
    ):
        """As the client wrote it."""
        refused = await ask(rest, "GET", f"/v2/agents?{query}", key)
        assert errors(refused, status) == [(code, {"parameter": parameter})]

    async def test_two_names_of_one_thing_are_refused(self, rest: RestServer, key: str):
        """Neither would be more right."""
        refused = await ask(rest, "GET", "/v2/agents?page[limit]=2&page[size]=3", key)
        assert errors(refused, 400) == [("BAD_REQUEST", None)]


class TestBodies:
    """Documents that are no input."""

    @pytest.mark.parametrize(
        ("data", "status", "code", "pointer"),
        [
            (None, 422, "MISSING_REQUIRED_FIELD", ""),
            ({"data": []}, 422, "INVALID_FORMAT", "/data"),
            ({"data": None}, 422, "INVALID_FORMAT", "/data"),
            ({"data": {"attributes": {"name": "a"}}}, 422, "MISSING_REQUIRED_FIELD", "/data"),
            ({"data": {"type": 1, "attributes": {"name": "a"}}}, 422, "INVALID_FORMAT", "/data/type"),
            ({"data": {"type": "twins", "attributes": {"name": "a"}}}, 409, "RESOURCE_CONFLICT", "/data/type"),
            ({"data": {**_AGENT, "id": "mine"}}, 403, "FORBIDDEN", "/data/id"),
            ({"data": {"type": "agents"}}, 422, "MISSING_REQUIRED_FIELD", "/data"),
            ({"data": {"type": "agents", "attributes": {}}}, 422, "MISSING_REQUIRED_FIELD", "/data/attributes"),
            ({"data": {"type": "agents", "attributes": 1}}, 422, "INVALID_FORMAT", "/data/attributes"),
        ],
    )
    async def test_what_is_no_new_resource(
        self, rest: RestServer, key: str, data: Any, status: int, code: str, pointer: str
    ):
        """A pointer leads to what is there (JSON:API, "Error Objects")."""
        headers = {"Content-Type": "application/vnd.api+json"}
        sent = orjson.dumps(data or {"meta": {}})
        refused = await rest.call("POST", "/v2/agents", key, data=sent, headers=headers)
        assert errors(refused, status) == [(code, {"pointer": pointer})]

    async def test_all_that_is_wrong_is_told(self, rest: RestServer, key: str):
        """Fields, by where they stand in the document."""
        attributes = {"name": "a", "subtype": "!", "capabilities": ["a", 1], "colour": 1}
        data = {"type": "agents", "attributes": attributes, "relationships": _linked(["no-uuid"])}
        assert set(_pointers(await ask(rest, "POST", "/v2/agents", key, data))) == {
            "/data/attributes/subtype",
            "/data/attributes/capabilities/1",
            "/data/attributes/colour",
            "/data/relationships/knowledge/data/0/id",
        }

    async def test_fields_stand_where_they_belong(self, rest: RestServer, key: str):
        """No attribute is called id or type, or as a relationship; no relationship as an attribute."""
        data = {
            "type": "agents",
            "attributes": {"name": "a", "type": "helper", "id": "x", "knowledge": []},
            "relationships": {"name": {"data": []}, "knowledge": {"data": [{"type": "twins", "id": "x"}, 1]}},
        }
        assert _pointers(await ask(rest, "POST", "/v2/agents", key, data)) == [
            "/data/attributes/type",
            "/data/attributes/id",
            "/data/attributes/knowledge",
            "/data/relationships/name",
            "/data/relationships/knowledge/data/0",
            "/data/relationships/knowledge/data/1",
        ]

    async def test_change_names_its_resource(self, rest: RestServer, key: str):
        """409 for another id or type, 422 for none; also in a PUT."""
        made = await _make(rest, key, _AGENT)
        other = {"type": "agents", "id": "another", "attributes": {"name": "b"}}
        for method in ("PATCH", "PUT"):
            for data, status, code, pointer in (
                (other, 409, "RESOURCE_CONFLICT", "/data/id"),
                ({**other, "id": made["id"], "type": "twins"}, 409, "RESOURCE_CONFLICT", "/data/type"),
                ({"type": "agents", "attributes": {}}, 422, "MISSING_REQUIRED_FIELD", "/data"),
                ({**other, "id": 1}, 422, "INVALID_FORMAT", "/data/id"),
            ):
                refused = await ask(rest, method, made["links"]["self"], key, data)
                assert errors(refused, status) == [(code, {"pointer": pointer})]

    async def test_wrong_header_is_named(self, rest: RestServer, key: str):
        """By `source.header`."""
        refused = await ask(rest, "POST", "/v2/agents", key, _AGENT, Idempotency_Key="ä" * 3)
        assert errors(refused, 422) == [("INVALID_FORMAT", {"header": "Idempotency-Key"})]
        refused = await ask(rest, "GET", "/v2/agents", key, X_Request_Timeout="soon")
        assert errors(refused, 422) == [("INVALID_FORMAT", {"header": "X-Request-Timeout"})]

    async def test_plain_bodies_get_pointers_of_their_own(self, rest: RestServer, key: str):
        """A client may send plain JSON and read documents, and the other way round."""
        body = {"name": "a", "capabilities": [1]}
        refused = await rest.call("POST", "/v2/agents", key, body=body, headers={"Accept": "application/vnd.api+json"})
        assert errors(refused, 422) == [("INVALID_FORMAT", {"pointer": "/capabilities/0"})]
        made = await ask(rest, "POST", "/v2/agents", key, _AGENT, Accept="application/json")
        assert made.json()["type"] == "helper"


def _pointers(answer: Any) -> list[str]:
    return [source["pointer"] for _, source in errors(answer, 422) if source is not None]
