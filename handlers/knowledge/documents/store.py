"""Documents as rows: taken, found, changed, removed. The caller has opened the transaction where one is needed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import orjson

from core.clock import rfc3339
from core.errors import HubError
from core.ids import new_id
from core.store.queries import load_queries
from core.store.statements import Statements
from handlers.knowledge.documents.fetching import Fetched

VERSIONS_KEPT = 10
_SHOWN = (
    "id, knowledge_id, name, version, status, content_type, url, bytes, hash, metadata::text AS metadata, title, language, pages, "
    "chunks, error, created_at, updated_at"
)
SQL = {
    name: text.replace("{shown}", _SHOWN)
    for name, text in load_queries(Path(__file__).with_name("queries.sql")).items()
}


@dataclass(frozen=True, slots=True)
class Content:
    """What a client sent: `data` is its bytes with their SHA-256, None where they are to be fetched from `url`.

    `metadata` None: those that a document of this name has stay.
    """

    name: str
    data: bytes | None
    content_type: str
    metadata: Mapping[str, Any] | None
    url: str | None = None
    hash: bytes = b""


async def put(db: Statements, knowledge_id: UUID, content: Content, now: datetime) -> tuple[Any, bool]:
    """Take a document; return its row, and whether its content is new, which then waits to be read."""
    metadata = None if content.metadata is None else orjson.dumps(content.metadata).decode()
    data = content.data
    head = (new_id(), knowledge_id, content.name, content.content_type)
    if data is None:
        return await db.fetchrow(SQL["put_url"], *head, content.url, metadata, now), True
    row = await db.fetchrow(SQL["put"], *head, content.hash, len(data), metadata, now)
    if row is not None:
        await _keep(db, row["id"], row["version"], content.content_type, content.hash, data, now)
        return row, True
    held = await db.fetchrow(SQL["of_name"], knowledge_id, content.name)
    if content.metadata is not None and orjson.loads(held["metadata"]) != content.metadata:
        held = await db.fetchrow(SQL["describe"], knowledge_id, held["id"], metadata, now)
    return held, False


async def put_fetched(db: Statements, id: UUID, version: int, fetched: Fetched, now: datetime) -> None:
    """Keep what was fetched as this version."""
    data, hash = fetched.data, fetched.hash
    await db.execute(SQL["fetched"], id, version, hash, len(data), fetched.content_type, fetched.validators)
    await _keep(db, id, version, fetched.content_type, hash, data, now)


async def _keep(
    db: Statements, id: UUID, version: int, content_type: str, hash: bytes, data: bytes, now: datetime
) -> None:
    """Keep the content of a version, and forget the oldest."""
    await db.execute(SQL["keep"], id, version, content_type, hash, len(data), data, now, VERSIONS_KEPT)


async def find(db: Statements, knowledge_id: UUID, id: UUID | None, *, hold: bool = False) -> Any:
    """Return a document's row; raises HubError RESOURCE_NOT_FOUND. With `hold` nothing changes it until the transaction ends."""
    row = None if id is None else await db.fetchrow(SQL["hold"] if hold else SQL["find"], knowledge_id, id)
    return missing() if row is None else row


def missing() -> NoReturn:
    """Raise HubError RESOURCE_NOT_FOUND."""
    raise HubError("RESOURCE_NOT_FOUND", "The knowledge base has no such document")


def shown(row: Any) -> dict[str, Any]:
    """Return a document as clients see it."""
    return {
        "id": str(row["id"]),
        "knowledge_id": str(row["knowledge_id"]),
        **{name: row[name] for name in ("name", "version", "status", "content_type", "url", "bytes")},
        "hash": row["hash"].hex(),
        "metadata": orjson.Fragment(row["metadata"]),
        **{name: row[name] for name in ("title", "language", "pages", "chunks")},
        "error": None if row["error"] is None else orjson.Fragment(row["error"]),
        "created_at": rfc3339(row["created_at"]),
        "updated_at": rfc3339(row["updated_at"]),
    }


def text(row: Any) -> str:
    """Return the JSON text of a document as clients see it."""
    return orjson.dumps(shown(row)).decode()
