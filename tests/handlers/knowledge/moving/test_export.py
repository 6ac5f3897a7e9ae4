"""Exports are made while they are read: whole, in parts of a bounded size, of the caller's own."""

import base64
import csv
import io
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson
import pytest

from core.errors import HubError
from core.ids import new_id
from core.operations.results import Poured
from handlers.knowledge.moving.export import PAGE, PART_BYTES
from handlers.knowledge.moving.form import Reading
from tests.handlers.house import House, refused

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def add(
    house: House, base: UUID, name: str, content: bytes, content_type: str = "text/markdown", metadata: str = "{}"
) -> UUID:
    id, org = new_id(), house.caller.org_id
    await house.rows(
        "INSERT INTO documents (org_id, id, knowledge_id, name, version, status, content_type, hash, bytes, metadata, created_at,"
        " updated_at) VALUES ($1, $2, $3, $4, 1, 'ready', $5, $6, $7, $8, $9, $9)",
        org,
        id,
        base,
        name,
        content_type,
        sha256(content).digest(),
        len(content),
        metadata,
        NOON,
    )
    await house.rows(
        "INSERT INTO document_versions SELECT org_id, id, version, content_type, hash, bytes, $2, created_at FROM documents"
        " WHERE id = $1",
        id,
        content,
    )
    return id


async def exported(house: House, base: UUID, **wanted: Any) -> list[bytes]:
    """Return the parts of an export."""
    poured: Poured = await house.run("knowledge.export", id=str(base), **wanted)
    return [part async for part in poured.parts]


async def test_base_comes_back_as_it_was_made(house: House):
    """With every document and its metadata: texts as they read, all else in base64, large ones in parts."""
    fields = {"name": "Docs", "sources": ["docs/**/*.md"], "metadata": {"team": "docs"}}
    base = (await house.create("knowledge", **fields)).id
    contents = {
        "b.md": b'# Two\n\n\xc3\xa4 "quoted"',
        "a.pdf": b"%PDF\xff\x00",
        "empty.md": b"",
        "latin.txt": b"\xe4",
        "large.md": b"word " * (PART_BYTES // 2),
        "c.json": b'{"a": 1}',
    }
    for name, content in contents.items():
        await add(house, base, name, content, "application/pdf" if "pdf" in name else "text/plain", '{"page":1}')
    parts = await exported(house, base)
    assert max(map(len, parts)) <= PART_BYTES * 4 // 3 + 1024
    reading = Reading()
    asked = [reading.line(line) for line in b"".join(parts).splitlines()]
    reading.end()
    assert asked[0] is not None
    assert {name: asked[0][1][name] for name in fields} == fields
    documents = [each[1] for each in asked[1:-1] if each is not None]
    assert [each["name"] for each in documents] == sorted(contents)
    for each in documents:
        sent = each["content"].encode() if "content" in each else base64.b64decode(each["content_base64"])
        assert sent == contents[each["name"]]
        assert each["metadata"] == {"page": 1}
    assert "content" in documents[1]
    assert "content_base64" in documents[0]


async def test_pages_follow_each_other_without_gaps(house: House):
    base = (await house.create("knowledge", name="Docs")).id
    org = house.caller.org_id
    await house.rows(
        "INSERT INTO documents (org_id, id, knowledge_id, name, version, status, content_type, hash, bytes, created_at, updated_at)"
        " SELECT $1, gen_random_uuid(), $2, 'n' || n, 1, 'ready', 'text/plain', '', 1, now(), now() FROM generate_series(1, $3) n",
        org,
        base,
        2 * PAGE + 5,
    )
    await house.rows(
        "INSERT INTO document_versions SELECT org_id, id, 1, 'text/plain', '', 1, 'x', now() FROM documents WHERE org_id = $1",
        org,
    )
    lines = [orjson.loads(line) for line in b"".join(await exported(house, base)).splitlines()]
    names = [line["document"]["name"] for line in lines[1:-1]]
    assert names == sorted(f"n{number}" for number in range(1, 2 * PAGE + 6))
    assert lines[-1] == {"end": {"documents": 2 * PAGE + 5}}


async def test_document_that_goes_meanwhile_is_left_out_or_ends_the_export(house: House):
    """Never a part of it that looks whole."""
    base = (await house.create("knowledge", name="Docs")).id
    await add(house, base, "a.md", b"a")
    gone = await add(house, base, "b.md", b"b" * (2 * PART_BYTES))
    poured: Poured = await house.run("knowledge.export", id=str(base))
    assert b"knowledge" in await anext(poured.parts)
    assert b"a.md" in await anext(poured.parts)
    assert b"b.md" in await anext(poured.parts)
    await house.rows("DELETE FROM documents WHERE id = $1", gone)
    with pytest.raises(HubError):
        [part async for part in poured.parts]
    poured = await house.run("knowledge.export", id=str(base))
    assert b"".join([part async for part in poured.parts]).endswith(b'{"end":{"documents":1}}\n')


async def test_table_of_documents(house: House):
    base = (await house.create("knowledge", name="=Docs")).id
    await add(house, base, "=cmd|' /C calc'!A0", b"a", metadata='{"team": "docs"}')
    text = b"".join(await exported(house, base, format="csv")).decode()
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row["name"] == "'=cmd|' /C calc'!A0"
    assert (row["status"], row["bytes"], row["pages"]) == ("ready", "1", "")
    assert orjson.loads(row["metadata"]) == {"team": "docs"}


async def test_table_of_records(house: House):
    base = (await house.create("knowledge", type="contact", data={"name": "Ada", "phone": "+49 30 1"})).id
    text = b"".join(await exported(house, base, format="csv")).decode()
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["name", "phone"], ["Ada", "'+49 30 1"]]


async def test_base_of_others_does_not_exist(house: House):
    base = (await house.create("knowledge", name="Docs")).id
    for caller, id in ((house.caller_for(new_id()), base), (house.caller, new_id())):
        assert (await refused(house.run("knowledge.export", caller, id=str(id)))).code == "RESOURCE_NOT_FOUND"
