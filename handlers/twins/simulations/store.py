"""Simulations as rows, and as clients see them."""

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

_SHOWN = """
org_id, id, twin_id, branch_id, twin_version, status, scenario, parameters, notes, has_baseline, horizon, time_unit, runs, seed,
attempt, done, total, tenths, summary, error, is_announced, version, created_by, created_at, started_at, finished_at, deadline_at
""".strip()
SQL: Mapping[str, str] = {
    name: text.replace("{shown}", _SHOWN)
    for name, text in load_queries(Path(__file__).with_name("queries.sql")).items()
}
# Of what a simulation came to, what only the whole of it has.
NO_OUTCOME: Mapping[str, Any] = {"series": None, "baseline": None, "notable": None}


async def find(db: Statements, caller: Caller, text: str) -> Any:
    """Return a simulation's row; raises HubError RESOURCE_NOT_FOUND where it is not there for the caller."""
    return await _found(db, caller, text, SQL["find"])


async def find_whole(db: Statements, caller: Caller, text: str) -> Any:
    """Return its row with what it came to; raises as `find`."""
    return await _found(db, caller, text, SQL["whole"])


async def _found(db: Statements, caller: Caller, text: str, query: str) -> Any:
    id = parse_id(text)
    row = None if id is None else await db.fetchrow(query, id)
    if row is None or not caller.may_touch(row["twin_id"]):
        missing()
    return row


def missing() -> NoReturn:
    """Raise HubError RESOURCE_NOT_FOUND."""
    raise HubError("RESOURCE_NOT_FOUND", "There is no simulation with this id")


def document(row: Any) -> Document:
    """Return a simulation as clients see it, with what it came to where the row has that."""
    outcome = row["outcome"] if "outcome" in row else None  # noqa: SIM401 - a row has no such get
    more = NO_OUTCOME if outcome is None else orjson.loads(outcome)
    return _document(row, more)


def head(row: Any) -> Document:
    """Return a simulation as events have it."""
    return _document(row, {})


def _document(row: Any, more: Mapping[str, Any]) -> Document:
    # `status` is the first behind the ids: rest/answers.py.
    body: dict[str, Any] = {"id": str(row["id"]), "twin_id": str(row["twin_id"]), "branch_id": _id(row["branch_id"])}
    body |= {name: row[name] for name in ("status", "twin_version", "scenario")}
    body |= {"parameters": orjson.Fragment(row["parameters"])}
    body |= {name: row[name] for name in ("horizon", "time_unit", "runs", "seed")}
    body |= {"progress": {"done": row["done"], "total": row["total"]}, "summary": _json(row["summary"]), **more}
    body |= {"notes": orjson.Fragment(row["notes"]), "error": _json(row["error"]), "attempt": row["attempt"]}
    body |= {"created_by": row["created_by"], "created_at": rfc3339(row["created_at"])}
    body |= {"started_at": _moment(row["started_at"]), "completed_at": _moment(row["finished_at"])}
    body |= {"deadline_at": rfc3339(row["deadline_at"]), "version": row["version"]}
    updated_at = row["finished_at"] or row["started_at"] or row["created_at"]
    return Document("simulations", row["id"], row["version"], updated_at, orjson.dumps(body).decode())


def _id(id: UUID | None) -> str | None:
    return None if id is None else str(id)


def _json(text: str | None) -> Any:
    return None if text is None else orjson.Fragment(text)


def _moment(moment: Any) -> str | None:
    return None if moment is None else rfc3339(moment)
