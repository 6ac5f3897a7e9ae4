"""The past over HTTP: `as_of` a position or a time, of one and of lists, as JSON and as JSON:API, and what of it is refused."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from core.store.database import connect_as
from tests.harness.organisations import Organisation, Organisations
from tests.harness.relaying import Relaying, relaying
from tests.rest.jsonapi.documents import ask, document, errors
from tests.rest.server import RestServer

KINDS = ("agents", "knowledge", "twins")
AFTER_ALL = "2999-01-01T00:00:00Z"


@dataclass
class Past:
    """Writes and notes when: each `do` answers position and time of what it did, as a query has them."""

    rest: RestServer
    key: str
    relay: Relaying
    organisation: Organisation
    url: str

    async def do(self, method: str, path: str, body: Any = None) -> tuple[Any, list[str]]:
        answer = await self.rest.call(method, f"/v2/{path}", self.key, body=body)
        assert answer.status in (200, 201, 204), answer
        return answer.json() if answer.body else None, await self.now()

    async def now(self) -> list[str]:
        await self.relay.settled()
        connection: Any = await connect_as(self.url, "hub_owner")
        try:
            query = "SELECT position, recorded_at FROM heads WHERE org_id = $1"
            position, moment = await connection.fetchrow(query, self.organisation.id)
        finally:
            await connection.close()
        return [str(position), quote(moment.isoformat())]

    async def get(self, path: str, key: str | None = None) -> Any:
        answer = await self.rest.call("GET", f"/v2/{path}", key or self.key)
        assert answer.status == 200, answer
        return answer.json()

    async def names(self, path: str, key: str | None = None) -> list[str]:
        body = await self.get(path, key)
        return [each["name"] for each in body["data"]]


@pytest.fixture
async def past(rest: RestServer, key: str, organisation: Organisation, database_url: str) -> AsyncIterator[Past]:
    """A door with a relay beside it."""
    async with relaying(database_url) as relay:
        yield Past(rest, key, relay, organisation, database_url)


@pytest.mark.parametrize("kind", KINDS)
async def test_one_and_lists_are_as_they_were(past: Past, kind: str):
    """At every step of a life, by its position and by its time; also when it has been deleted since."""
    born, made = await past.do("POST", kind, {"name": "Ada", "type": "a", "metadata": {"n": 1}})
    grown, changed = await past.do("PATCH", f"{kind}/{born['id']}", {"name": "Bea", "metadata": {"n": 2}})
    _, joined = await past.do("POST", kind, {"name": "Cyd", "type": "b"})
    _, gone = await past.do("DELETE", f"{kind}/{born['id']}")
    (await past.rest.call("GET", f"/v2/{kind}/{born['id']}", past.key)).error(404, "RESOURCE_NOT_FOUND")
    for moments, then, there in (
        (made, born, ["Ada"]),
        (changed, grown, ["Bea"]),
        (joined, grown, ["Cyd", "Bea"]),
        (gone, None, ["Cyd"]),
    ):
        for as_of in moments:
            answer = await past.rest.call("GET", f"/v2/{kind}/{born['id']}?as_of={as_of}", past.key)
            if then is None:
                answer.error(404, "RESOURCE_NOT_FOUND")
            else:
                assert answer.json() == then, as_of
                assert answer.headers["ETag"] == f'"{then["version"]}"'
            listed = await past.get(f"{kind}?as_of={as_of}")
            assert [each["name"] for each in listed["data"]] == there, as_of
            assert listed["pagination"]["total"] == len(there)
            if then is not None:
                assert then in listed["data"]


async def test_before_the_first_version_and_after_the_last(past: Past):
    """Position 0 and a time before are empty, and 404 for one; a time to come is now."""
    made, (position, _) = await past.do("POST", "twins", {"name": "Pump"})
    _, (later, _) = await past.do("POST", "twins", {"name": "Fan"})
    for before in ("0", "1999-12-31T23:59:59Z", "2000-01-01"):
        assert await past.names(f"twins?as_of={before}") == []
        (await past.rest.call("GET", f"/v2/twins/{made['id']}?as_of={before}", past.key)).error(
            404, "RESOURCE_NOT_FOUND"
        )
    assert (int(position), int(later)) == (1, 2)
    assert await past.names(f"twins?as_of={AFTER_ALL}") == ["Fan", "Pump"]
    assert await past.get(f"twins/{made['id']}?as_of={AFTER_ALL}") == made


async def test_time_is_that_of_the_position_that_was_given_last_by_then(past: Past):
    """A moment before a change has the state before it; zones are of no matter."""
    _, (_, made) = await past.do("POST", "agents", {"name": "Ada"})
    agent, (_, joined) = await past.do("POST", "agents", {"name": "Bea"})
    moment = datetime.fromisoformat(joined.replace("%3A", ":").replace("%2B", "+"))
    before = quote((moment - timedelta(microseconds=1)).isoformat())
    assert made != joined
    assert await past.names(f"agents?as_of={before}") == ["Ada"]
    (await past.rest.call("GET", f"/v2/agents/{agent['id']}?as_of={before}", past.key)).error(404, "RESOURCE_NOT_FOUND")
    elsewhere = moment.astimezone(datetime.fromisoformat("2020-01-01T00:00:00+05:30").tzinfo)
    assert await past.names(f"agents?as_of={quote(elsewhere.isoformat())}") == ["Bea", "Ada"]


async def test_filter_order_fields_and_cursor_are_of_then(past: Past):
    """Links keep `as_of`, and lead through the list of then, whatever becomes of it meanwhile."""
    agents = [
        (await past.do("POST", "agents", {"name": f"n{n}", "status": "on", "metadata": {"odd": n % 2}}))[0]
        for n in range(5)
    ]
    position, _ = await past.now()
    target, seen = f"agents?limit=2&sort=name&as_of={position}&fields=name", list[Any]()
    while target:
        page = await past.get(target.removeprefix("/v2/"))
        seen += page["data"]
        target = page["links"].get("next", "")
        assert not target or f"as_of={position}" in target
        number = len(seen) - 1
        await past.do("DELETE", f"agents/{agents[number]['id']}")
        await past.do("POST", "agents", {"name": "n0", "status": "on"})
    assert seen == [{"id": each["id"], "name": each["name"]} for each in agents]
    filtered = f"agents?filter[metadata.odd]=1&sort=-name&as_of={position}"
    assert await past.names(filtered) == ["n3", "n1"]
    assert await past.names(f"agents?status=off&as_of={position}") == []


async def test_cursor_of_one_moment_is_not_one_of_another(past: Past):
    """It would skip or repeat."""
    for name in ("a", "b", "c"):
        await past.do("POST", "agents", {"name": name})
    page = await past.get("agents?limit=1&as_of=3")
    link = page["links"]["next"].removeprefix("/v2/")
    assert await past.names(link) == ["b"]
    other = await past.rest.call("GET", "/v2/" + link.replace("as_of=3", "as_of=2"), past.key)
    other.error(422, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("as_of", "code"),
    [
        ("soon", "INVALID_FORMAT"),
        ("", "INVALID_FORMAT"),
        ("-1", "INVALID_FORMAT"),
        ("1.5", "INVALID_FORMAT"),
        ("2024-02-30T00:00:00Z", "INVALID_FORMAT"),
        ("2024-01-01T00:00:00", "INVALID_FORMAT"),
        ("9" * 19, "INVALID_FORMAT"),
        ("%D9%A1", "INVALID_FORMAT"),
        ("9" * 65, "VALUE_OUT_OF_RANGE"),
        ("2", "VALUE_OUT_OF_RANGE"),
        ("9" * 18, "VALUE_OUT_OF_RANGE"),
    ],
)
async def test_moment_that_is_none_is_refused(past: Past, as_of: str, code: str):
    """By one and by lists, in JSON and JSON:API; so is a position that the log does not have yet."""
    made, _ = await past.do("POST", "knowledge", {"name": "Docs"})
    for path in ("/v2/knowledge", f"/v2/knowledge/{made['id']}"):
        target = f"{path}?as_of={as_of}"
        error = (await past.rest.call("GET", target, past.key)).error(422, "VALIDATION_ERROR")
        assert [(each["field"], each["code"]) for each in error["details"]] == [("as_of", code)]
        assert errors(await ask(past.rest, "GET", target, past.key), 422) == [(code, {"parameter": "as_of"})]


async def test_as_of_is_where_it_means_something(past: Past):
    """No text search of the past; twice, or where nothing has a past, it is an unknown or a wrong parameter."""
    made, _ = await past.do("POST", "agents", {"name": "Ada"})
    error = (await past.rest.call("GET", "/v2/agents?as_of=1&q=ada", past.key)).error(422, "VALIDATION_ERROR")
    assert [each["field"] for each in error["details"]] == ["q"]
    for target in ("/v2/subscriptions?as_of=1", "/v2/events?as_of=1"):
        (await past.rest.call("GET", target, past.key)).error(400, "UNKNOWN_PARAMETER")
        assert errors(await ask(past.rest, "GET", target, past.key), 400)[0][0] == "UNKNOWN_PARAMETER"
    answer = await past.rest.call("DELETE", f"/v2/agents/{made['id']}?as_of=1", past.key)
    answer.error(400, "UNKNOWN_PARAMETER")
    twice = await past.rest.call("GET", "/v2/agents?as_of=1&as_of=0", past.key)
    assert twice.status in (400, 422), twice
    assert await past.names("agents") == ["Ada"]


async def test_foreign_organisation_finds_nothing(past: Past, organisations: Organisations):
    """Neither by id nor in lists; and positions are its own log's."""
    made, (position, moment) = await past.do("POST", "twins", {"name": "Pump"})
    other = await (await organisations.create()).key()
    for as_of in (moment, AFTER_ALL):
        assert await past.names(f"twins?as_of={as_of}", other) == []
        answer = await past.rest.call("GET", f"/v2/twins/{made['id']}?as_of={as_of}", other)
        answer.error(404, "RESOURCE_NOT_FOUND")
    for path in ("twins", f"twins/{made['id']}"):
        error = (await past.rest.call("GET", f"/v2/{path}?as_of={position}", other)).error(422, "VALIDATION_ERROR")
        assert [each["code"] for each in error["details"]] == ["VALUE_OUT_OF_RANGE"]


@pytest.mark.parametrize("kind", KINDS)
async def test_past_as_jsonapi(past: Past, kind: str):
    """The documents of then, with page links that keep `as_of`."""
    made, (position, moment) = await past.do("POST", kind, {"name": "Ada", "metadata": {"n": 1}})
    await past.do("PATCH", f"{kind}/{made['id']}", {"name": "Bea"})
    await past.do("POST", kind, {"name": "Cyd"})
    await past.do("DELETE", f"{kind}/{made['id']}")
    for as_of in (position, moment):
        one = document(await ask(past.rest, "GET", f"/v2/{kind}/{made['id']}?as_of={as_of}", past.key), 200)
        assert (one["data"]["id"], one["data"]["attributes"]["name"]) == (made["id"], "Ada")
        listed = document(await ask(past.rest, "GET", f"/v2/{kind}?as_of={as_of}", past.key), 200)
        assert listed["data"] == [one["data"]]
    walked, target = list[str](), f"/v2/{kind}?as_of=3&page[size]=1&sort=-name"
    while target:
        page = document(await ask(past.rest, "GET", target, past.key), 200)
        walked += [each["attributes"]["name"] for each in page["data"]]
        target = page["links"].get("next")
    assert walked == ["Cyd", "Bea"]
    gone = await ask(past.rest, "GET", f"/v2/{kind}/{made['id']}?as_of=4", past.key)
    assert [code for code, _ in errors(gone, 404)] == ["RESOURCE_NOT_FOUND"]


async def test_what_is_included_is_of_then(past: Past):
    """Also where it is gone by now."""
    docs, _ = await past.do("POST", "knowledge", {"name": "Docs"})
    agent, (position, _) = await past.do("POST", "agents", {"name": "Ada", "knowledge": [docs["id"]]})
    await past.do("PATCH", f"knowledge/{docs['id']}", {"name": "Papers"})
    await past.do("DELETE", f"knowledge/{docs['id']}")
    for path in ("agents", f"agents/{agent['id']}"):
        target = f"/v2/{path}?include=knowledge&as_of={position}"
        then = document(await ask(past.rest, "GET", target, past.key), 200)
        assert [each["attributes"]["name"] for each in then["included"]] == ["Docs"]
        now = document(await ask(past.rest, "GET", f"/v2/{path}?include=knowledge", past.key), 200)
        assert now["included"] == []


async def test_tag_of_the_past_answers_304(past: Past):
    """What was cannot change: the same question has the same tag, whatever has happened since."""
    made, (position, _) = await past.do("POST", "agents", {"name": "Ada"})
    targets = (f"/v2/agents/{made['id']}?as_of={position}", f"/v2/agents?as_of={position}")
    tags = [(await past.rest.call("GET", target, past.key)).headers["ETag"] for target in targets]
    await past.do("PATCH", f"agents/{made['id']}", {"name": "Bea"})
    for target, tag in zip(targets, tags, strict=True):
        headers = {"If-None-Match": tag}
        assert (await past.rest.call("GET", target, past.key, headers=headers)).status == 304
    now = await past.rest.call("GET", f"/v2/agents/{made['id']}", past.key, headers={"If-None-Match": tags[0]})
    assert (now.status, now.json()["name"]) == (200, "Bea")
