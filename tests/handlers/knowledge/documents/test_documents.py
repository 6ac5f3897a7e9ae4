"""Documents are kept by name and version, and found once they are read."""

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from core.errors import HubError
from tests.handlers.house import refused
from tests.handlers.knowledge.documents.shelf import Shelf
from tests.handlers.knowledge.documents.shelf import shelf as opened
from tests.harness.organisations import Organisation, Organisations

INSTALL = {"name": "docs/install.md", "content": "# Installation\n\nPut the sprocket into the flange."}


async def ready(shelf: Shelf, base: str, *documents: dict[str, Any]) -> list[dict[str, Any]]:
    """Put documents, and return them once they are read."""
    return await shelf.put(base, *documents, wait=20)


async def test_what_is_put_is_found(shelf: Shelf):
    """With what its content tells; its content is given back as it came."""
    base = await shelf.base()
    async with shelf.working():
        (made,) = await ready(shelf, base, {**INSTALL, "metadata": {"team": "docs"}})
    assert (made["status"], made["version"], made["unchanged"]) == ("ready", 1, False)
    assert (made["title"], made["language"], made["content_type"]) == ("Installation", "english", "text/markdown")
    assert made["chunks"] == 1
    assert made["metadata"] == {"team": "docs"}
    assert await shelf.found("sprocket", base) == ["Put the sprocket into the flange."]
    assert await shelf.content(base, made["id"]) == INSTALL["content"].encode()


async def test_same_again_costs_nothing(shelf: Shelf):
    """No version, no job; other metadata alone are no new content."""
    base = await shelf.base()
    async with shelf.working():
        (made,) = await ready(shelf, base, {**INSTALL, "metadata": {"team": "docs"}})
        await shelf.settled()
        jobs = await shelf.rows("SELECT FROM jobs")
        (again,) = await shelf.put(base, INSTALL)
        assert again["unchanged"]
        assert len(await shelf.rows("SELECT FROM jobs")) == len(jobs)
        (other,) = await shelf.put(base, {**INSTALL, "metadata": {"team": "ops"}})
    assert (other["id"], other["version"], other["unchanged"], other["status"]) == (made["id"], 1, True, "ready")
    assert other["metadata"] == {"team": "ops"}
    assert shelf.reader.names == ["docs/install.md"]


async def test_new_content_is_a_version(shelf: Shelf):
    """The one before can be had still; of very many the last ten."""
    base = await shelf.base()
    put = [await shelf.put(base, {**INSTALL, "content": f"It is number {number}."}) for number in range(12)]
    ((made,),) = put[-1:]
    assert made["version"] == 12
    page = await shelf.run("documents.versions", id=base, document=made["id"])
    assert [orjson.loads(each)["version"] for each in page.items] == list(range(12, 2, -1))
    assert await shelf.content(base, made["id"], version=3) == b"It is number 2."
    assert (await refused(shelf.content(base, made["id"], version=2))).code == "RESOURCE_NOT_FOUND"


async def test_version_before_is_found_until_the_new_one_is_read(shelf: Shelf):
    base = await shelf.base()
    async with shelf.working():
        await ready(shelf, base, INSTALL)
    await shelf.put(base, {**INSTALL, "content": "Put the widget there."})
    assert await shelf.found("sprocket", base)
    async with shelf.working():
        await shelf.settled()
    assert await shelf.found("widget", base)
    assert not await shelf.found("sprocket", base)


async def test_error_is_of_its_document(shelf: Shelf):
    """The others go on, and what failed may do better the next time."""
    base = await shelf.base()
    broken = {"name": "a.pdf", "content_base64": base64.b64encode(b"%PDF-1.7 and nothing").decode()}
    async with shelf.working():
        failed, made = await ready(shelf, base, broken, INSTALL)
        assert (failed["status"], made["status"]) == ("failed", "ready")
        assert failed["error"]["code"] != "INTERNAL_ERROR"
        (again,) = await ready(shelf, base, broken)
    assert (again["status"], again["version"], again["unchanged"]) == ("failed", 1, False)
    assert shelf.reader.names.count("a.pdf") == 2


async def test_deleted_document_is_not_found(shelf: Shelf):
    base = await shelf.base()
    async with shelf.working():
        (made,) = await ready(shelf, base, INSTALL)
    await shelf.run("documents.delete", id=base, document=made["id"])
    assert not await shelf.found("sprocket", base)
    assert (await refused(shelf.get(base, made["id"]))).code == "RESOURCE_NOT_FOUND"
    assert not await shelf.rows("SELECT FROM document_versions")


async def test_metadata_are_patched(shelf: Shelf):
    base = await shelf.base()
    (made,) = await shelf.put(base, {**INSTALL, "metadata": {"team": "docs", "tier": 1}})
    body = {"metadata": {"tier": None, "year": 2026}}
    shown = await shelf.run("documents.update", id=base, document=made["id"], body=body)
    assert orjson.loads(shown.body)["metadata"] == {"team": "docs", "year": 2026}


async def test_list_by_status_name_and_cursor(shelf: Shelf):
    base = await shelf.base()
    await shelf.put(base, *({"name": f"docs/{number}.md", "content": f"Page {number}"} for number in range(5)))
    page = await shelf.run("documents.list", id=base, q="DOCS/3")
    assert [orjson.loads(each)["name"] for each in page.items] == ["docs/3.md"]
    assert (await shelf.run("documents.list", id=base, status="ready")).total == 0
    window = await shelf.run("documents.list", id=base, sort="name", limit=2)
    assert [orjson.loads(each)["name"] for each in window.items] == ["docs/0.md", "docs/1.md"]
    window = await shelf.run("documents.list", id=base, sort="name", limit=2, after=window.window.after)
    assert [orjson.loads(each)["name"] for each in window.items] == ["docs/2.md", "docs/3.md"]
    assert orjson.loads(page.items[0]) == await shelf.get(base, orjson.loads(page.items[0])["id"])


async def test_manifest_tells_what_to_upload(shelf: Shelf):
    """And removes what the client has no more, where it says so."""
    base = await shelf.base()
    names = ("a.md", "b.md", "c.md")
    async with shelf.working():
        made = await ready(shelf, base, *({"name": name, "content": f"This is {name}"} for name in names))
    entries = [{"name": each["name"], "hash": each["hash"]} for each in made[:2]]
    entries[1]["hash"] = "0" * 64
    entries.append({"name": "d.md", "hash": "0" * 64})
    asked = {"id": base, "documents": entries}
    told = orjson.loads((await shelf.run("documents.manifest", **asked)).body)
    assert told == {"upload": ["b.md", "d.md"], "unchanged": 1, "missing": ["c.md"], "deleted": 0}
    told = orjson.loads((await shelf.run("documents.manifest", **asked, delete_missing=True)).body)
    assert told["deleted"] == 1
    assert await shelf.found("This", base) == ["This is a.md", "This is b.md"]


async def test_key_repeats_no_upload(shelf: Shelf):
    """Bytes are part of what a key stands for."""
    base = await shelf.base()
    first = {"id": base, "documents": [{"name": "a.md", "content": b"one"}]}
    other = {"id": base, "documents": [{"name": "a.md", "content": b"two"}]}
    made = await shelf.outcome("documents.create", None, "k", **first)
    again = await shelf.outcome("documents.create", None, "k", **first)
    assert (again.replayed, again.result) == (True, made.result)
    assert (await refused(shelf.outcome("documents.create", None, "k", **other))).code == "IDEMPOTENCY_KEY_REUSED"


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"name": "../etc/passwd", "content": "x"}, "name"),
        ({"name": "a\x00b", "content": "x"}, "name"),
        ({"name": "n" * 501, "content": "x"}, "name"),
        ({"name": "", "content": "x"}, "name"),
        ({"content": "x"}, "name"),
        ({"name": "a.md"}, "content"),
        ({"name": "a.md", "content": "x", "url": "https://far.example/"}, "url"),
        ({"name": "a.md", "content_base64": "!!!"}, "content_base64"),
        ({"name": "a.md", "content": "x", "content_type": "nothing"}, "content_type"),
        ({"name": "a.md", "url": "ftp://far.example/"}, "url"),
        ({"name": "a.md", "url": "https://far.example/"}, "url"),
        ({"name": "a.md", "content": "x", "colour": "red"}, "colour"),
    ],
)
async def test_wrong_document_is_refused(shelf: Shelf, document: Mapping[str, Any], field: str):
    """And named, alone or among others; nothing of the request is taken."""
    base = await shelf.base()
    alone = await refused(shelf.put(base, **document))
    assert (alone.code, alone.details[0].field) == ("VALIDATION_ERROR", field)
    among = await refused(shelf.put(base, INSTALL, dict(document)))
    assert among.details[0].field == f"documents[1].{field}"
    assert not await shelf.rows("SELECT FROM documents")


@pytest.mark.parametrize("metadata", [{"a": "x\0y"}, {"a": {"b\0": [1]}}, {"a": "\\\0"}])
async def test_nul_in_metadata_is_refused(shelf: Shelf, metadata: dict[str, Any]):
    """PostgreSQL's jsonb cannot hold it; what only looks like one is kept."""
    base = await shelf.base()
    kept = {"a": "\\u0000", "b": "\\\\u0000"}
    (made,) = await shelf.put(base, {**INSTALL, "metadata": kept})
    assert made["metadata"] == kept
    one = {"id": base, "document": made["id"]}
    for attempt in (
        shelf.put(base, {**INSTALL, "metadata": metadata}),
        shelf.run("documents.update", **one, body={"metadata": metadata}),
    ):
        assert (await refused(attempt)).code == "VALIDATION_ERROR"
    assert (await shelf.get(base, made["id"]))["metadata"] == kept


async def test_two_of_one_name_are_refused(shelf: Shelf):
    base = await shelf.base()
    assert (await refused(shelf.put(base, INSTALL, INSTALL))).details[0].field == "documents"


async def test_base_of_others_is_not_there(shelf: Shelf, organisations: Organisations):
    """Nor one that is nowhere, nor one that the caller may not touch."""
    base = await shelf.base()
    (made,) = await shelf.put(base, INSTALL)
    foreign = (await organisations.create()).caller()
    other = await shelf.base()
    narrow = replace(shelf.caller, resource_ids=frozenset({UUID(other)}))
    for caller, id in ((foreign, base), (narrow, base), (shelf.caller, str(uuid4())), (shelf.caller, "x")):
        one = {"id": id, "document": made["id"]}
        for name, data in (
            ("documents.create", {"id": id, **INSTALL}),
            ("documents.list", {"id": id}),
            ("documents.get", one),
            ("documents.content", one),
            ("documents.versions", one),
            ("documents.delete", one),
            ("documents.refresh", one),
            ("documents.update", {**one, "body": {}}),
            ("documents.manifest", {"id": id, "documents": []}),
        ):
            assert (await refused(shelf.run(name, caller, **data))).code == "RESOURCE_NOT_FOUND", name
    assert not await shelf.rows("SELECT FROM jobs WHERE key = $1", "x")


async def test_content_is_read_while_it_is_sent(shelf: Shelf):
    """Not all of it before: and who gets it does not take a part for the whole where it is removed meanwhile."""
    base = await shelf.base()
    data = bytes(range(256)) * 6 * 1024
    (made,) = await shelf.put(base, {"name": "a.bin", "content": data})
    assert await shelf.content(base, made["id"]) == data
    poured = await shelf.run("documents.content", id=base, document=made["id"])
    first = await anext(poured.parts)
    assert 0 < len(first) < len(data)
    await shelf.run("documents.delete", id=base, document=made["id"])
    with pytest.raises(HubError, match="removed"):
        await anext(poured.parts)


async def test_documents_of_a_deleted_base_are_not_there(shelf: Shelf):
    """Also before the job has removed them, here for want of a worker: the same upload is refused, not `unchanged`."""
    base = await shelf.base()
    async with shelf.working():
        (made,) = await ready(shelf, base, INSTALL)
    await shelf.run("knowledge.delete", id=base)
    one = {"id": base, "document": made["id"]}
    for name, data in (
        ("documents.create", {"id": base, "documents": [INSTALL]}),
        ("documents.get", one),
        ("documents.versions", one),
        ("documents.content", one),
        ("documents.update", {**one, "body": {}}),
        ("documents.delete", one),
    ):
        assert (await refused(shelf.run(name, **data))).code == "RESOURCE_NOT_FOUND", name


async def test_organisation_has_room_for_so_much(database_url: str, organisation: Organisation):
    async with opened(database_url, organisation.caller(), most_bytes=100) as shelf:
        base = await shelf.base()
        await shelf.put(base, {"name": "a.md", "content": "x" * 60})
        with pytest.raises(HubError) as caught:
            await shelf.put(base, {"name": "b.md", "content": "x" * 60})
        assert caught.value.code == "PAYLOAD_TOO_LARGE"
        assert len(await shelf.rows("SELECT FROM documents")) == 1
