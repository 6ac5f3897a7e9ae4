"""Branches as rows, and as clients see them."""

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
from handlers.resources.crud import OWN_FIELDS
from handlers.twins.models import TwinBody

_SHOWN = """
id, twin_id, name, status, base_version, document, version, created_by, created_at, updated_at, applied_version, applied_at
""".strip()
SQL: Mapping[str, str] = {
    name: text.replace("{shown}", _SHOWN)
    for name, text in load_queries(Path(__file__).with_name("queries.sql")).items()
}


async def find(db: Statements, caller: Caller, text: str, *, hold: bool = False) -> Any:
    """Return a branch's row; raises HubError RESOURCE_NOT_FOUND where it is not there for the caller.

    With `hold` it stays as it is until the transaction ends.
    """
    id = parse_id(text)
    row = None if id is None else await db.fetchrow(SQL["hold"] if hold else SQL["find"], id)
    if row is None or not caller.may_touch(row["twin_id"]):
        missing()
    return row


def missing() -> NoReturn:
    """Raise HubError RESOURCE_NOT_FOUND."""
    raise HubError("RESOURCE_NOT_FOUND", "There is no branch with this id")


async def base_of(db: Statements, row: Any) -> dict[str, Any]:
    """Return the fields of the twin that a branch began with."""
    return fields_of(await db.fetchval(SQL["base"], row["twin_id"], row["base_version"]))


async def fields_in(db: Statements, row: Any) -> dict[str, Any]:
    """Return the fields of the twin as a branch would have them."""
    return await base_of(db, row) if row["document"] is None else fields_of(row["document"])


def fields_of(document: str) -> dict[str, Any]:
    """Return the fields that clients write of a twin; what an older release did not have yet has its default."""
    held = orjson.loads(document)
    fields = {
        name: held[name] if name in held else info.get_default(call_default_factory=True)
        for name, info in TwinBody.model_fields.items()
    }
    return {**fields, **{name: value for name, value in held.items() if name not in fields and name not in OWN_FIELDS}}


def shown(row: Any, fields: Mapping[str, Any]) -> Document:
    """Return a branch as clients see it, with the fields of the twin as they would be."""
    body: dict[str, Any] = {"id": str(row["id"]), "twin_id": str(row["twin_id"])}
    body |= {name: row[name] for name in ("name", "status", "base_version")}
    body |= {"is_changed": row["document"] is not None, "created_by": row["created_by"]}
    body |= {"created_at": rfc3339(row["created_at"]), "updated_at": rfc3339(row["updated_at"])}
    applied_at = row["applied_at"]
    body |= {"applied_version": row["applied_version"], "applied_at": applied_at and rfc3339(applied_at)}
    body |= {"version": row["version"], "document": fields}
    id: UUID = row["id"]
    return Document("branches", id, row["version"], row["updated_at"], orjson.dumps(body).decode())
