"""The audit as clients read it: filters, order, who may, and by which indexes."""

from typing import Any

import orjson

from core.auth.caller import Caller
from core.operations.results import Page
from core.store.database import connect_as
from handlers.audit.models import ListAudit
from handlers.audit.operations import audit_of
from tests.handlers.house import House, refused
from tests.handlers.test_list_plans import Explained
from tests.harness.organisations import Organisation, Organisations


async def entries(house: House, caller: Caller | None = None, /, **wanted: Any) -> list[dict[str, Any]]:
    page: Page = await house.run("audit.list", caller, per_page=100, **wanted)
    return [orjson.loads(item) for item in page.items]


async def test_writes_are_read_and_found_by_what_they_were(house: House, organisation: Organisation):
    """Who, what, on what and when; newest first; each filter alone and all together."""
    ada, bob = organisation.caller(subject="user:ada"), organisation.caller(subject="user:bob")
    made = await house.run("agents.create", ada, name="A")
    house.clock.jump(10)
    await house.run("agents.update", bob, id=str(made.id), body={"status": "off"})
    house.clock.jump(10)
    twin = await house.run("twins.create", bob, name="T")
    told = await entries(house)
    assert [(each["subject"], each["operation"], each["target"], each["outcome"]) for each in told] == [
        ("user:bob", "twins.create", f"twins/{twin.id}", "ok"),
        ("user:bob", "agents.update", f"agents/{made.id}", "ok"),
        ("user:ada", "agents.create", f"agents/{made.id}", "ok"),
    ]
    assert told[2]["time"] == orjson.loads(made.body)["created_at"]
    assert {each["request_id"] for each in told} == {"req_1"}
    assert await entries(house, sort="time") == told[::-1]
    for wanted, expected in (
        ({"subject": "user:bob"}, told[:2]),
        ({"operation": "agents.create"}, told[2:]),
        ({"target": f"agents/{made.id}"}, told[1:]),
        ({"outcome": "ok"}, told),
        ({"outcome": "TIMEOUT"}, []),
        ({"filter": {"operation": {"prefix": "agents."}}}, told[1:]),
        ({"filter": {"time": {"gte": told[1]["time"]}}}, told[:2]),
        (
            {"subject": "user:bob", "target": f"agents/{made.id}", "filter": {"time": {"lt": told[0]["time"]}}},
            told[1:2],
        ),
    ):
        assert await entries(house, **wanted) == expected, wanted


async def test_audit_is_of_the_organisation_and_for_those_who_see_all(
    house: House, organisation: Organisation, organisations: Organisations
):
    """Another organisation sees none of it; a caller without the scope, or for some resources only, is refused."""
    made = await house.create("agents", name="A")
    assert await entries(house, (await organisations.create()).caller()) == []
    assert (await refused(entries(house, organisation.caller(["read:events"])))).code == "INSUFFICIENT_SCOPE"
    assert (await refused(entries(house, organisation.caller(resource_ids=[made.id])))).code == "FORBIDDEN"


_FILL = """
INSERT INTO audit (id, org_id, time, caller, operation, target, request_id, outcome)
SELECT gen_random_uuid(), $1, '2026-01-01Z'::timestamptz + n * '1 s'::interval, 'key:' || n % 400,
    CASE n % 700 WHEN 0 THEN 'agents.delete' ELSE 'agents.list' END, 'agents/' || n % 300, 'req_' || repeat('0', 60), 'ok'
FROM generate_series(1, $2) AS n
"""
_READS: list[dict[str, Any]] = [
    {},
    {"sort": "time", "limit": 20},
    {"subject": "key:7"},
    {"operation": "agents.delete"},
    {"target": "agents/7"},
    {"filter": {"time": {"gte": "2026-01-01T01:00:00Z", "lt": "2026-01-01T01:01:00Z"}}},
]


async def test_audit_is_read_by_its_indexes(database_url: str, organisations: Organisations):
    """Twelve thousand entries, and another organisation's: what few match is a small part of the table's pages."""
    large, small = (await organisations.create()).id, (await organisations.create()).id
    owner = await connect_as(database_url, "hub_owner")
    connection = await connect_as(database_url, "hub_app")
    try:
        for org_id, count in ((large, 12_000), (small, 50)):
            await owner.execute(_FILL, org_id, count)
        await owner.execute("VACUUM ANALYZE audit")
        table: Any = await owner.fetchval("SELECT pg_relation_size('audit') / 8192")
        for org_id in (large, small):
            await connection.execute("SELECT set_config('hub.org_id', $1::text, false)", str(org_id))
            # All that a large organisation has is counted in one go through the table, where nobody else has much in it.
            for wanted in _READS if org_id == small else _READS[2:]:
                explained = Explained(connection)
                await audit_of(explained, ListAudit.model_validate(wanted))  # pyright: ignore[reportArgumentType] - what a list asks
                assert not [node for node in explained.nodes if node.startswith("Seq Scan")], wanted
                assert explained.pages < table / 2, (wanted, explained.pages, table)
    finally:
        await connection.close()
        await owner.close()
