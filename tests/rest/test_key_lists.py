"""The list of keys over HTTP: cursors, sort, filters and fields as every list has them; and by which indexes it is read."""

import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from core.clock import rfc3339
from core.ids import new_id
from core.store.database import connect_as
from handlers.keys.listing import keys_of
from handlers.keys.models import ListKeys
from tests.handlers.test_list_plans import Explained
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisations
from tests.rest.server import RestServer
from tests.rest.test_lists import links


async def made(rest: RestServer, key: str, name: str, **body: Any) -> Mapping[str, Any]:
    """Make a key; returns it without its secret."""
    answer = await rest.call("POST", "/v2/keys", key, body={"name": name, "scopes": ["read:agents"], **body})
    assert answer.status == 201, answer
    return {field: value for field, value in answer.json().items() if field != "key"}


async def revoked(rest: RestServer, key: str, id: str) -> None:
    assert (await rest.call("DELETE", f"/v2/keys/{id}", key)).status == 204


async def names(rest: RestServer, key: str, query: str) -> list[str]:
    """Return the names of the keys that are listed."""
    answer = await rest.call("GET", f"/v2/keys?{query}", key)
    assert answer.status == 200, answer
    return [each["name"] for each in answer.json()["data"]]


async def test_list_shows_a_key_as_a_look_at_it_does(rest: RestServer, key: str, clock: ManualClock):
    """Whatever state it is in: restricted, ending, rotated with an overlap, revoked."""
    later = rfc3339(clock.now() + timedelta(hours=1))
    keys = [await made(rest, key, "plain"), await made(rest, key, 'é "\\', resource_ids=[str(new_id())])]
    keys += [await made(rest, key, "ending", expires_at=later), await made(rest, key, "gone")]
    await rest.call("POST", f"/v2/keys/{keys[0]['id']}/rotate", key, body={"overlap_seconds": 60})
    await revoked(rest, key, keys[3]["id"])
    for statuses in (["live", "live", "live", "revoked"], ["live", "live", "expired", "revoked"]):
        shown = [(await rest.call("GET", f"/v2/keys/{each['id']}", key)).json() for each in keys]
        listed = (await rest.call("GET", "/v2/keys?sort=created_at&filter[name][ne]=of a test", key)).json()["data"]
        assert listed == shown
        assert [each["status"] for each in listed] == statuses
        await clock.advance(3600)


async def test_filters_and_sorts(rest: RestServer, key: str, clock: ManualClock):
    """By each field; what may have no value can be asked for that, and `ne` is the opposite of `eq`."""
    now = clock.now()
    a = await made(rest, key, "a", expires_at=rfc3339(now + timedelta(hours=1)))
    b = await made(rest, key, "b", expires_at=rfc3339(now + timedelta(hours=3)))
    c = await made(rest, key, "c")
    await revoked(rest, key, c["id"])
    await rest.call("PATCH", f"/v2/keys/{b['id']}", key, body={"scopes": ["read:twins"]})
    await clock.advance(7200)
    middle = rfc3339(now + timedelta(hours=2)).replace("+", "%2B")
    for query, expected in (
        ("sort=name", ["a", "b", "c", "of a test"]),
        ("sort=-name&limit=3", ["of a test", "c", "b"]),
        ("sort=status,-name", ["a", "of a test", "b", "c"]),
        ("sort=status", ["a", "of a test", "b", "c"]),
        ("sort=-status", ["c", "b", "of a test", "a"]),
        ("sort=created_at&filter[status]=live", ["of a test", "b"]),
        ("sort=name&filter[status][in]=expired,revoked", ["a", "c"]),
        ("sort=name&filter[status][ne]=live&status=revoked", ["c"]),
        (f"filter[expires_at][lt]={middle}", ["a"]),
        (f"filter[expires_at][ne]={a['expires_at']}&sort=name", ["b", "c", "of a test"]),
        (f"filter[expires_at]={a['expires_at']}", ["a"]),
        ("filter[expires_at][exists]=false&sort=name", ["c", "of a test"]),
        ("filter[revoked_at][exists]=true", ["c"]),
        ("filter[old_secret_until][exists]=true", []),
        (f"filter[id][in]={a['id']},{c['id']}&sort=name", ["a", "c"]),
        (f"filter[hint]={b['hint']}", ["b"]),
        ("filter[hint][prefix]=aim_live_&sort=name&per_page=1&page=2", ["b"]),
        (f"filter[created_at][gte]={b['created_at']}&sort=created_at", ["b", "c"]),
        ("filter[name][contains]=test", ["of a test"]),
    ):
        assert await names(rest, key, query) == expected, query


async def test_fields_leave_the_rest_out(rest: RestServer, key: str):
    """But for the id; JSON:API's spelling is the same."""
    for query in ("fields=name,status", "fields[keys]=name,status"):
        (only,) = (await rest.call("GET", f"/v2/keys?{query}&limit=1", key)).json()["data"]
        assert set(only) == {"id", "name", "status"}


@pytest.mark.parametrize("sort", ["-created_at", "name", "-status,name", "updated_at", "id"])
async def test_what_stays_is_seen_once_while_others_come_and_go(rest: RestServer, key: str, sort: str):
    """There and back by the links, while keys are made and revoked."""
    dice = random.Random(sort)
    staying = [(await made(rest, key, dice.choice("abAB")))["id"] for _ in range(6)]
    passing = [(await made(rest, key, dice.choice("abAB")))["id"] for _ in range(4)]
    target = f"/v2/keys?filter[status]=live&filter[name][ne]=of a test&sort={sort}".replace(" ", "%20")
    whole = [each["id"] for each in (await rest.call("GET", f"{target}&per_page=100", key)).json()["data"]]
    ordered = [id for id in whole if id in staying]

    async def travelled(target: str, way: str) -> list[str]:
        seen: list[str] = []
        body: dict[str, Any] = {"links": {way: target}}
        while target := body["links"].get(way, ""):
            answer = await rest.call("GET", target, key)
            body = answer.json()
            assert links(answer.headers["Link"]) == body["links"]
            assert set(body["pagination"]) == {"limit", "total", "after", "before", "has_more"}
            ids = [each["id"] for each in body["data"]]
            seen = [*seen, *ids] if way == "next" else [*ids, *seen]
            passing.append((await made(rest, key, dice.choice("abAB")))["id"])
            await revoked(rest, key, passing.pop(dice.randrange(len(passing))))
        return seen

    forth = await travelled(f"{target}&limit=2", "next")
    end = (await rest.call("GET", f"{target}&limit=100", key)).json()
    back = await travelled(f"{target}&limit=2&before={end['pagination']['after']}", "prev")
    for seen in (forth, back):
        assert len(seen) == len(set(seen))
    assert [id for id in forth if id in staying] == ordered
    assert [id for id in back if id in staying] == [id for id in ordered if id != end["data"][-1]["id"]]


async def test_cursor_is_for_its_own_list_and_shows_others_nothing(
    rest: RestServer, key: str, organisations: Organisations
):
    """With another sort, status or filter it is refused; in another organisation there is only its own."""
    await made(rest, key, "a")
    after = (await rest.call("GET", "/v2/keys?limit=1&sort=name", key)).json()["pagination"]["after"]
    assert await names(rest, key, f"sort=name&limit=5&after={after}") == ["of a test"]
    for query in ("sort=-name", "sort=name&status=live", "sort=name&filter[status]=live", "limit=1"):
        error = (await rest.call("GET", f"/v2/keys?{query}&after={after}", key)).error(422, "VALIDATION_ERROR")
        assert [detail["field"] for detail in error["details"]] == ["after"]
    foreign = await (await organisations.create()).key()
    assert await names(rest, foreign, f"sort=name&after={after}") == ["of a test"]
    assert await names(rest, foreign, "filter[name]=a") == []


_REFUSED = [
    ("limit=1000", 422, "VALIDATION_ERROR", "limit"),
    ("per_page=101", 422, "VALIDATION_ERROR", "per_page"),
    ("page=1&after=x", 422, "VALIDATION_ERROR", "page"),
    ("after=x", 422, "VALIDATION_ERROR", "after"),
    ("filter[id]=x", 422, "VALIDATION_ERROR", "filter[id]"),
    ("filter[colour]=red", 400, "UNKNOWN_PARAMETER", "filter[colour]"),
    ("filter[id][like]=red", 400, "UNKNOWN_PARAMETER", "filter[id][like]"),
    ("filter[id][exists]=true", 400, "UNKNOWN_PARAMETER", "filter[id][exists]"),
    ("filter[metadata.team]=x", 400, "UNKNOWN_PARAMETER", "filter[metadata.team]"),
    ("sort=colour", 400, "UNKNOWN_PARAMETER", "sort"),
    ("sort=id,id", 422, "VALIDATION_ERROR", "sort"),
    ("fields=colour", 400, "UNKNOWN_PARAMETER", "fields"),
    ("fields[agents]=id", 400, "UNKNOWN_PARAMETER", "fields[agents]"),
    ("q=a", 400, "UNKNOWN_PARAMETER", "q"),
]


@pytest.mark.parametrize("path", ["/v2/keys", "/v2/connections"])
@pytest.mark.parametrize(("query", "status", "code", "field"), _REFUSED)
async def test_query_that_is_none_is_refused_with_its_name(
    rest: RestServer, key: str, path: str, query: str, status: int, code: str, field: str
):
    """As every list refuses it."""
    error = (await rest.call("GET", f"{path}?{query}", key)).error(status, code)
    assert [detail["field"] for detail in error["details"]] == [field]


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ("/v2/keys?filter[expires_at][exists]=perhaps", 422, "VALIDATION_ERROR", "filter[expires_at][exists]"),
        ("/v2/keys?sort=expires_at", 400, "UNKNOWN_PARAMETER", "sort"),
        ("/v2/connections?filter[since][gte]=soon", 422, "VALIDATION_ERROR", "filter[since][gte]"),
        ("/v2/connections?filter[waiting_bytes][gt]=-1", 422, "VALIDATION_ERROR", "filter[waiting_bytes][gt]"),
        ("/v2/connections?sort=channel", 400, "UNKNOWN_PARAMETER", "sort"),
    ],
)
async def test_values_are_of_their_fields(rest: RestServer, key: str, query: str, status: int, code: str, field: str):
    """What may have no value, or has several, cannot be sorted by."""
    error = (await rest.call("GET", query, key)).error(status, code)
    assert [detail["field"] for detail in error["details"]] == [field]


_FILL = """
INSERT INTO keys (id, org_id, name, hint, hash, scopes, created_at, expires_at)
SELECT gen_random_uuid(), $1::uuid, 'Key ' || n, 'aim_live_abcd', sha256(($1::uuid::text || n)::bytea),
    ARRAY['read:agents', 'read:twins', 'read:knowledge'],
    '2026-01-01Z'::timestamptz + n * '1 s'::interval, CASE n % 10 WHEN 0 THEN '2026-02-01Z'::timestamptz END
FROM generate_series(1, $2) AS n
"""
_READS: list[dict[str, Any]] = [
    {},
    {"limit": 20},
    {"status": "expired"},
    {"sort": "-name", "limit": 20},
    {"sort": "status,-updated_at"},
    {"filter": {"expires_at": {"lt": "2026-03-01"}}},
    {"filter": {"created_at": {"gte": "2026-01-01T00:00:50Z"}}},
]


async def test_list_reads_the_organisations_own_keys(
    database_url: str, organisations: Organisations, clock: ManualClock
):
    """A list of a hundred reads what a hundred take, beside twelve thousand of another."""
    large, small = (await organisations.create()).id, (await organisations.create()).id
    owner = await connect_as(database_url, "hub_owner")
    connection = await connect_as(database_url, "hub_app")
    try:
        for org_id, count in ((large, 12_000), (small, 100)):
            await owner.execute(_FILL, org_id, count)
        await owner.execute("VACUUM ANALYZE keys")
        table: Any = await owner.fetchval("SELECT pg_relation_size('keys') / 8192")
        await connection.execute("SELECT set_config('hub.org_id', $1::text, false)", str(small))
        for wanted in _READS:
            explained = Explained(connection)
            await keys_of(explained, ListKeys.model_validate(wanted), clock.now())  # pyright: ignore[reportArgumentType] - what a list asks
            assert not [node for node in explained.nodes if node.startswith("Seq Scan")], wanted
            assert explained.pages < table / 10, (wanted, explained.pages, table)
    finally:
        await connection.close()
        await owner.close()
