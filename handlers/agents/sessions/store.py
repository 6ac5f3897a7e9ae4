"""Sessions and messages as rows. The caller has opened the transaction where one is needed."""

from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import orjson

from core.auth.caller import Caller
from core.clock import rfc3339
from core.errors import HubError
from core.ids import parse_id
from core.operations.results import Document
from core.store.queries import load_queries
from core.store.statements import Statements

_SHOWN = "id, agent_id, title, metadata, head_id, active_id, version, created_by, created_at, updated_at"
SQL = {
    name: text.replace("{shown}", _SHOWN)
    for name, text in load_queries(Path(__file__).with_name("queries.sql")).items()
}


async def find(db: Statements, caller: Caller, session: str, agent: str | None = None, *, hold: bool = False) -> Any:
    """Return a session's row; raises HubError RESOURCE_NOT_FOUND where it is not there for the caller, or of another `agent`.

    With `hold` nobody sends into it, nor ends its run, until the transaction ends.
    """
    id, agent_id = parse_id(session), None if agent is None else parse_id(agent)
    if id is None or (agent is not None and agent_id is None):
        missing()
    row = await db.fetchrow(SQL["hold"] if hold else SQL["find"], id)
    if row is None or row["agent_id"] != (agent_id or row["agent_id"]) or not caller.may_touch(row["agent_id"]):
        missing()
    return row


def missing() -> NoReturn:
    """Raise HubError RESOURCE_NOT_FOUND."""
    raise HubError("RESOURCE_NOT_FOUND", "There is no session with this id")


def document(row: Any) -> Document:
    """Return a session as clients see it."""
    body = orjson.dumps(
        {
            "id": str(row["id"]),
            "agent_id": str(row["agent_id"]),
            "title": row["title"] or None,
            "metadata": orjson.Fragment(row["metadata"]),
            "head_id": _text(row["head_id"]),
            "active_id": _text(row["active_id"]),
            "created_by": row["created_by"],
            "created_at": rfc3339(row["created_at"]),
            "updated_at": rfc3339(row["updated_at"]),
            "version": row["version"],
        }
    )
    return Document("sessions", row["id"], row["version"], row["updated_at"], body.decode())


def message(row: Any) -> str:
    """Return the JSON text of a message as clients see it; `siblings` of the row is an array of ids."""
    return orjson.dumps(
        {
            "id": str(row["id"]),
            "session_id": str(row["session_id"]),
            "parent_id": _text(row["parent_id"]),
            "role": row["role"],
            "text": row["text"],
            "attachments": orjson.Fragment(row["attachments"]),
            "citations": orjson.Fragment(row["citations"]),
            "execution_id": _text(row["execution_id"]),
            "created_by": row["created_by"],
            "created_at": rfc3339(row["created_at"]),
            "siblings": [str(each) for each in row["siblings"]],
        }
    ).decode()


def _text(id: UUID | None) -> str | None:
    return None if id is None else str(id)
