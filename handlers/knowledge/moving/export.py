"""A knowledge base as it leaves: its lines are made while they are sent, and as many bytes are held as one part has.

Documents are read page by page by their names, each as it is when its turn comes: what is added behind the place, or removed before
it, while an export runs is in it, or is not.
"""

import base64
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from core.clock import rfc3339
from core.errors import HubError
from core.store.queries import load_queries
from core.store.statements import Statements
from handlers.knowledge.moving import form, tables

PAGE = 100
# Of a content, at a time; base64 has no gaps where it is a multiple of three.
PART_BYTES = 3 * 256 * 1024
_SQL = load_queries(Path(__file__).with_name("export.sql"))
_COLUMNS = ("name", "status", "version", "content_type", "url", "bytes", "hash", "title", "language", "pages", "chunks")


async def lines(db: Statements, org_id: UUID, base: UUID, document: str) -> AsyncGenerator[bytes]:
    """Give a base, whose JSON document this is, as NDJSON (form.py), in parts of up to about a megabyte."""
    yield form.first_line(document)
    count = 0
    async for row in _documents(db, base):
        first = await _part(db, org_id, row, 0)
        if first is None:
            continue  # it was removed, or replaced more often than versions are kept
        async for part in _document(db, org_id, row, first):
            yield part
        count += 1
    yield form.last_line(count)


async def table(db: Statements, base: UUID, document: str) -> AsyncGenerator[bytes]:
    """Give the records of a base as CSV, or where it has none what is known of its documents."""
    data = orjson.loads(document).get("data")
    if data is not None:
        for line in tables.records(data):
            yield line
        return
    yield tables.line_of([*_COLUMNS, "created_at", "updated_at", "metadata"])
    async for row in _documents(db, base):
        times = [rfc3339(row[name]) for name in ("created_at", "updated_at")]
        yield tables.line_of([*(row[name] for name in _COLUMNS), *times, row["metadata"]])


async def _documents(db: Statements, base: UUID) -> AsyncGenerator[Any]:
    after = None
    while True:
        rows = await db.fetch(_SQL["page"], base, after, PAGE)
        for row in rows:
            yield row
        if len(rows) < PAGE:
            return
        after = rows[-1]["name"]


async def _document(db: Statements, org_id: UUID, row: Any, first: bytes) -> AsyncGenerator[bytes]:
    fields: dict[str, Any] = {name: row[name] for name in ("name", "content_type", "url", "hash")}
    fields["metadata"] = orjson.Fragment(row["metadata"])
    text = _text_of(row, first)
    if text is not None:
        yield orjson.dumps({"document": {**fields, "content": text}}) + b"\n"
        return
    yield orjson.dumps({"document": fields})[:-2] + b',"content_base64":"'
    part, sent = first, 0
    while part:
        yield base64.b64encode(part)
        sent += len(part)
        part = (await _part(db, org_id, row, sent) or b"") if len(part) == PART_BYTES else b""
    if sent != row["bytes"]:
        # Its versions went while it was sent: what is missing must not look like an end.
        raise HubError("RESOURCE_CONFLICT", f"A document was removed while it was sent, after {sent} bytes")
    yield b'"}}\n'


def _text_of(row: Any, content: bytes) -> str | None:
    """Return a short text as it reads, None of what is no text in UTF-8, or goes on."""
    if len(content) == PART_BYTES or b"\x00" in content or content.startswith(b"\xef\xbb\xbf"):
        return None
    if not row["content_type"].startswith("text/") and "json" not in row["content_type"]:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


async def _part(db: Statements, org_id: UUID, row: Any, begin: int) -> bytes | None:
    """Return a part of a document's content; None where that version is not there any more."""
    found = await db.fetchrow(_SQL["content"], org_id, row["id"], row["version"], begin + 1, PART_BYTES)
    return None if found is None else found["content"]
