"""Agents, knowledge bases and twins as documents: what is stored, what is emitted, what history keeps."""

from typing import Any
from uuid import UUID

import orjson
import pytest

from core.clock import rfc3339
from core.ids import new_id
from core.operations.results import Deleted, Document, Page
from handlers.resources.listing import PER_PAGE_ALWAYS
from tests.handlers.house import House, refused
from tests.harness.organisations import Organisation, Organisations

KINDS = ("agents", "knowledge", "twins")
SEED_BODIES = [
    ("agents", {"name": "Agent 1", "type": "assistant"}),
    ("agents", {"name": "Customer Support Agent", "type": "assistant", "capabilities": ["text_processing"]}),
    ("knowledge", {"type": "contact", "data": {"FirstName": "Grace", "id": 7}, "source": "salesforce"}),
    ("knowledge", {"name": "Product Documentation", "type": "documentation", "sources": ["docs/**/*.md"]}),
    (
        "twins",
        {"name": "Business Operations Twin", "type": "erp_system", "data": {"orders": [1]}, "sync_schedule": "hourly"},
    ),
    ("twins", {"name": "Supply Chain Twin", "type": "logistics", "data_source": "erp_system"}),
]


@pytest.mark.parametrize(("kind", "body"), SEED_BODIES)
async def test_bodies_of_the_seed_are_accepted_as_they_stand(house: House, kind: str, body: dict[str, Any]):
    """What was sent comes back, with id, times and version beside it."""
    made = await house.create(kind, **body)
    document = orjson.loads(made.body)
    assert {name: document[name] for name in body} == body
    assert (document["id"], document["version"]) == (str(made.id), 1)
    assert document["created_at"] == document["updated_at"] == rfc3339(house.clock.now())
    assert document["name"]
    assert (await house.run(f"{kind}.get", id=str(made.id))) == made


@pytest.mark.parametrize("kind", KINDS)
async def test_each_change_is_a_version_an_event_and_a_line_of_history(house: House, kind: str):
    """created, updated, updated, deleted: the events carry the whole resource, history the times between."""
    made = await house.create(kind, name="one", metadata={"team": "x", "kept": 1})
    house.clock.jump(60)
    body = {"name": "two", "metadata": {"team": None}}
    patched: Document = await house.run(f"{kind}.update", id=str(made.id), body=body)
    replaced: Document = await house.run(f"{kind}.replace", id=str(made.id), body={"name": "three"})
    gone: Deleted = await house.run(f"{kind}.delete", id=str(made.id))
    assert (patched.version, replaced.version, gone.version) == (2, 3, 3)
    assert orjson.loads(patched.body)["metadata"] == {"kept": 1}
    assert orjson.loads(replaced.body)["metadata"] == {}
    assert orjson.loads(replaced.body)["created_at"] == orjson.loads(made.body)["created_at"]

    event = {"agents": "agent", "knowledge": "knowledge", "twins": "twin"}[kind]
    rows = await house.rows("SELECT event_id, type, subject, envelope FROM outbox ORDER BY seq")
    assert [row["type"] for row in rows] == [f"{event}.{what}" for what in ("created", "updated", "updated", "deleted")]
    assert {row["subject"] for row in rows} == {f"{kind}/{made.id}"}
    data = [orjson.loads(row["envelope"])["data"] for row in rows]
    assert data[:3] == [orjson.loads(document.body) for document in (made, patched, replaced)]
    assert data[3] == {"id": str(made.id), "version": 3}

    history = await house.rows(f"TABLE {kind}_history ORDER BY version")
    assert [row["document"] for row in history] == [made.body, patched.body, replaced.body]
    assert [row["from_event"] for row in history] == [row["event_id"] for row in rows[:3]]
    assert [row["to_event"] for row in history] == [row["event_id"] for row in rows[1:]]


@pytest.mark.parametrize("kind", KINDS)
async def test_resource_sent_back_as_it_was_got_is_accepted(house: House, kind: str):
    """What the hub writes itself may stand in a replacement, and has no effect."""
    made = await house.create(kind, name="one")
    body = {**orjson.loads(made.body), "version": 99, "id": str(new_id()), "name": "two"}
    replaced = await house.run(f"{kind}.replace", id=str(made.id), body=body)
    assert (replaced.id, replaced.version) == (made.id, 2)


@pytest.mark.parametrize(
    ("kind", "body", "field", "code"),
    [
        ("agents", {}, "name", "MISSING_REQUIRED_FIELD"),
        ("agents", {"name": ""}, "name", "VALUE_OUT_OF_RANGE"),
        ("agents", {"name": 7}, "name", "INVALID_FORMAT"),
        ("agents", {"name": "a\0b"}, "name", "INVALID_FORMAT"),
        ("agents", {"name": "a", "capabilities": ["ok", 5]}, "capabilities[1]", "INVALID_FORMAT"),
        ("agents", {"name": "a", "knowledge": ["no-uuid"]}, "knowledge[0]", "INVALID_FORMAT"),
        ("agents", {"name": "a", "colour": "red"}, "colour", "INVALID_FORMAT"),
        ("agents", {"name": "a", "id": "mine"}, "id", "INVALID_FORMAT"),
        ("knowledge", {"type": "contact"}, "name", "MISSING_REQUIRED_FIELD"),
        ("knowledge", {"type": "contact", "data": "x"}, "data", "INVALID_FORMAT"),
        ("knowledge", {"type": "contact", "data": 3}, "data", "INVALID_FORMAT"),
        ("twins", {"name": "t", "metadata": []}, "metadata", "INVALID_FORMAT"),
    ],
)
async def test_wrong_body_is_refused_with_the_field(house: House, kind: str, body: Any, field: str, code: str):
    """422, the field, and the finer code."""
    error = await refused(house.create(kind, **body))
    assert error.code == "VALIDATION_ERROR"
    assert [(detail.field, detail.code) for detail in error.details] == [(field, code)]


async def test_record_with_a_nul_in_its_name_is_kept_under_a_name_without(house: House):
    """A record's strings are its own matter; the name that is taken from it can be stored and found."""
    made = orjson.loads((await house.create("knowledge", data={"name": " a\x00b "})).body)
    assert (made["name"], made["data"]) == ("ab", {"name": " a\x00b "})
    nameless = orjson.loads((await house.create("knowledge", type="contact", data={"Name": "\x00"})).body)
    assert nameless["name"] == "contact"


async def test_patch_that_breaks_the_resource_changes_nothing(house: House):
    """A required field cannot be removed by null."""
    made = await house.create("agents", name="one")
    error = await refused(house.run("agents.update", id=str(made.id), body={"name": None}))
    assert [(detail.field, detail.code) for detail in error.details] == [("name", "MISSING_REQUIRED_FIELD")]
    assert (await house.run("agents.get", id=str(made.id))) == made


@pytest.mark.parametrize(
    ("if_match", "passes"),
    [
        ('"1"', True),
        ('"1.gzip"', True),
        ('"7", "1"', True),
        ("*", True),
        ('"2"', False),
        ('W/"1"', False),
        ("1", False),
        ("", False),
    ],
)
async def test_if_match_compares_the_version(house: House, if_match: str, passes: bool):
    """412 unless one of the tags is the current version; a malformed one is none."""
    made = await house.create("twins", name="one")
    work = house.run("twins.update", id=str(made.id), if_match=if_match, body={"name": "two"})
    if passes:
        assert (await work).version == 2
    else:
        assert (await refused(work)).code == "PRECONDITION_FAILED"


@pytest.mark.parametrize("operation", ["get", "replace", "update", "delete"])
async def test_what_is_not_there_and_what_is_anothers_is_not_found(
    house: House, organisations: Organisations, operation: str
):
    """A foreign id, an unknown id and no id at all look the same."""
    made = await house.create("agents", name="one")
    foreign = (await organisations.create()).caller()
    body = {"body": {"name": "x"}} if operation in ("replace", "update") else {}
    for caller, id in ((foreign, str(made.id)), (None, str(new_id())), (None, "no-uuid"), (None, "")):
        error = await refused(house.run(f"agents.{operation}", caller, id=id, **body))
        assert error.code == "RESOURCE_NOT_FOUND"


async def test_caller_of_some_resources_sees_and_touches_only_those(house: House, organisation: Organisation):
    """A restricted key lists its own, finds nothing else, and makes nothing."""
    mine, other = await house.create("agents", name="mine"), await house.create("agents", name="other")
    caller = organisation.caller(resource_ids=[mine.id])
    page: Page = await house.run("agents.list", caller)
    assert (page.items, page.total) == ([mine.body], 1)
    assert (await refused(house.run("agents.get", caller, id=str(other.id)))).code == "RESOURCE_NOT_FOUND"
    assert (await refused(house.run("agents.create", caller, name="new"))).code == "FORBIDDEN"


async def test_list_has_pages_newest_first_and_counts_all(house: House):
    """Every resource is on one page, once; a page behind the last is empty."""
    made: list[UUID] = []
    for index in range(7):
        house.clock.jump(1)
        made.append((await house.create("twins", name=f"twin {index}")).id)
    ids: list[str] = []
    for number in (1, 2, 3, 4):
        page: Page = await house.run("twins.list", page=number, per_page=3)
        assert page.total == 7
        ids += [orjson.loads(item)["id"] for item in page.items]
    assert ids == [str(id) for id in reversed(made)]


async def test_page_that_would_be_too_large_is_refused_unread(house: House):
    """A hundred resources of a megabyte would be an answer of a hundred; the refusal says how many always fit."""
    for index in range(9):
        await house.create("twins", name=f"twin {index}", data="ä" * (512 * 1024 - 200))
    error = await refused(house.run("twins.list", per_page=100))
    (detail,) = error.details
    assert (error.code, detail.field, detail.code) == ("VALIDATION_ERROR", "per_page", "VALUE_OUT_OF_RANGE")
    assert f"{PER_PAGE_ALWAYS} always fit" in detail.message
    page: Page = await house.run("twins.list", per_page=PER_PAGE_ALWAYS)
    assert (len(page.items), page.total) == (PER_PAGE_ALWAYS, 9)
    last: Page = await house.run("twins.list", per_page=PER_PAGE_ALWAYS, page=2)
    assert len(last.items) == 9 - PER_PAGE_ALWAYS


async def test_resource_does_not_grow_for_ever(house: House):
    """Each PATCH is small enough; what they make together is not."""
    made = await house.create("twins", name="twin", metadata={"a": "x" * 600_000})
    error = await refused(house.run("twins.update", id=str(made.id), body={"metadata": {"b": "x" * 600_000}}))
    assert error.code == "PAYLOAD_TOO_LARGE"
    assert orjson.loads((await house.run("twins.get", id=str(made.id))).body)["version"] == 1


async def test_filters_of_lists(house: House):
    """Type and status are exact; both at once is both."""
    await house.create("agents", name="a", type="analyzer")
    await house.create("agents", name="b", type="assistant", status="inactive")
    await house.create("agents", name="c", type="assistant")

    async def names(**wanted: str) -> list[str]:
        page: Page = await house.run("agents.list", **wanted)
        return sorted(orjson.loads(item)["name"] for item in page.items)

    assert await names(type="assistant") == ["b", "c"]
    assert await names(type="assistant", status="active") == ["c"]
    assert await names(type="none") == []


async def test_text_search_ignores_case_and_finds_every_word_anywhere(house: House):
    """Name, type, and strings deep in data and metadata; every word must be there."""
    contact = {"Name": "Grace Hopper", "company": {"title": "Rear Admiral, NAVY"}, "tags": ["COBOL", "straße"]}
    await house.create("knowledge", type="contact", data=contact, source="salesforce")
    await house.create("knowledge", name="Handbook", metadata={"team": "grace period"})
    assert await house.found("knowledge", "hOPPer") == ["Grace Hopper"]
    assert await house.found("knowledge", "navy grace") == ["Grace Hopper"]
    assert await house.found("knowledge", "STRASSE") == ["Grace Hopper"]
    assert await house.found("knowledge", "contact") == ["Grace Hopper"]
    assert sorted(await house.found("knowledge", "grace")) == ["Grace Hopper", "Handbook"]
    assert await house.found("knowledge", "grace nobody") == []
    assert await house.found("knowledge", "salesforce") == []


async def test_text_search_takes_wildcards_and_quotes_as_they_are(house: House):
    """Nothing in a query is syntax."""
    await house.create("agents", name="100% sure_thing \\ 'quoted'")
    await house.create("agents", name="1000 sureXthing")
    for q in ("100%", "sure_thing", "\\", "'quoted'"):
        assert await house.found("agents", q) == ["100% sure_thing \\ 'quoted'"], q
    assert await house.found("agents", "%") == ["100% sure_thing \\ 'quoted'"]


async def test_text_search_ranks_the_name_first(house: House):
    """The whole name, its beginning, within it, elsewhere; newest first among equals."""
    for name, metadata in (
        ("pump", {}),
        ("pump station", {}),
        ("main pump", {}),
        ("valve", {"near": "pump"}),
    ):
        house.clock.jump(1)
        await house.create("agents", name=name, metadata=metadata)
    assert await house.found("agents", "pump") == ["pump", "pump station", "main pump", "valve"]


async def test_large_resource_travels_short_and_is_kept_whole(house: House):
    """Over 32 KiB an event carries id, version and href; the log keeps all."""
    made = await house.create("twins", name="large", data={"text": "x" * 40_000})
    (row,) = await house.rows("SELECT envelope, short FROM outbox")
    assert orjson.loads(row["envelope"])["data"] == orjson.loads(made.body)
    assert orjson.loads(row["short"])["data"] == {
        "id": str(made.id),
        "version": 1,
        "href": f"/v2/twins/{made.id}",
        "truncated": True,
    }
