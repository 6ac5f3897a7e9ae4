"""Executions and their steps as rows, and as clients see them."""

from collections.abc import Mapping
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
from handlers.agents.tools.tool import Rights

_SHOWN = """
org_id id agent_id session_id message_id answer_id parent_id parent_step depth status query context options rights attempt sequence
text output places action model citations notes usage error version created_at started_at finished_at deadline_at
""".split()  # noqa: SIM905 - a list of thirty strings is no easier to read
_STEP = """
ordinal, kind, name, status, attempt, sequence, text, calls, call_id, is_approved, input, output, citations, error, usage,
started_at, finished_at
""".strip()
_FORMS = {
    "{shown}": ", ".join(_SHOWN),
    "{e.shown}": ", ".join(f"e.{column}" for column in _SHOWN),
    "{step}": _STEP,
}


def _whole(text: str) -> str:
    for form, columns in _FORMS.items():
        text = text.replace(form, columns)
    return text


SQL: Mapping[str, str] = {
    name: _whole(text) for name, text in load_queries(Path(__file__).with_name("queries.sql")).items()
}


async def find(db: Statements, caller: Caller, text: str, *, hold: bool = False) -> Any:
    """Return an execution's row; raises HubError RESOURCE_NOT_FOUND where it is not there for the caller.

    With `hold` it stays as it is until the transaction ends.
    """
    id = parse_id(text)
    row = None if id is None else await db.fetchrow(SQL["hold"] if hold else SQL["find"], id)
    if row is None or not caller.may_touch(row["agent_id"]):
        missing()
    return row


def missing() -> NoReturn:
    """Raise HubError RESOURCE_NOT_FOUND."""
    raise HubError("RESOURCE_NOT_FOUND", "There is no execution with this id")


def document(row: Any) -> Document:
    """Return an execution as clients see it."""
    body: dict[str, Any] = {name: _text(row[name]) for name in ("id", "agent_id", "session_id", "message_id")}
    body |= {name: _text(row[name]) for name in ("answer_id", "parent_id")}
    body |= {"status": row["status"], "query": row["query"], "context": orjson.Fragment(row["context"])}
    body |= {"text": row["text"], "output": _json(row["output"]), "citations": orjson.Fragment(row["citations"])}
    body |= {
        "action": _json(row["action"]),
        "model": row["model"],
        "usage": usage_of(row),
        "error": _json(row["error"]),
        "notes": orjson.Fragment(row["notes"]),
        "attempt": row["attempt"],
    }
    body |= {"created_at": rfc3339(row["created_at"]), "started_at": _moment(row["started_at"])}
    body |= {"completed_at": _moment(row["finished_at"]), "deadline_at": rfc3339(row["deadline_at"])}
    body["version"] = row["version"]
    updated_at = row["finished_at"] or row["started_at"] or row["created_at"]
    return Document("executions", row["id"], row["version"], updated_at, orjson.dumps(body).decode())


def step(row: Any) -> str:
    """Return the JSON text of a step as clients see it."""
    body: dict[str, Any] = {"id": str(row["ordinal"])}
    body |= {name: row[name] for name in ("ordinal", "kind", "name", "status", "attempt", "text")}
    body |= {"calls": orjson.Fragment(row["calls"]), "call_id": row["call_id"], "input": _json(row["input"])}
    body |= {"output": row["output"], "error": _json(row["error"]), "usage": usage_of(row)}
    body |= {"started_at": rfc3339(row["started_at"]), "completed_at": _moment(row["finished_at"])}
    return orjson.dumps(body).decode()


def usage_of(row: Any) -> dict[str, int]:
    """Return what an execution or a step took."""
    return {"input_tokens": 0, "output_tokens": 0, "steps": 0} | orjson.loads(row["usage"])


def rights_of(row: Any) -> Rights:
    """Return on whose behalf an execution works."""
    kept = orjson.loads(row["rights"])
    ids = kept["resource_ids"]
    return Rights(
        row["org_id"],
        kept["subject"],
        frozenset(kept["scopes"]),
        None if ids is None else frozenset(UUID(each) for each in ids),
    )


def written(rights: Rights) -> str:
    """Return how rights are kept."""
    ids = rights.resource_ids
    kept = {
        "subject": rights.subject,
        "scopes": sorted(rights.scopes),
        "resource_ids": None if ids is None else sorted(str(each) for each in ids),
    }
    return orjson.dumps(kept).decode()


def _text(id: UUID | None) -> str | None:
    return None if id is None else str(id)


def _json(text: str | None) -> Any:
    return None if text is None else orjson.Fragment(text)


def _moment(moment: Any) -> str | None:
    return None if moment is None else rfc3339(moment)
