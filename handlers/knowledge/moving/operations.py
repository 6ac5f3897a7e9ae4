"""A knowledge base leaves the hub as a whole. How it comes in again is a door's matter: it is made of other operations."""

import re
from typing import Literal, NoReturn

import orjson

from core.errors import HubError
from core.ids import parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Poured
from handlers.knowledge.moving import export, form, tables
from handlers.resources.models import GetInput
from handlers.resources.store import ResourceStore

# Of an export in the organisation's limit: it may read for minutes.
WEIGHT = 10
_LONGEST_NAME = 80


class ExportInput(GetInput):
    """One base, whole (`ndjson`), or what is in it as a table (`csv`)."""

    format: Literal["ndjson", "csv"] = "ndjson"


class KnowledgeMoves:
    """Exports of the caller's knowledge bases."""

    def __init__(self) -> None:
        self._bases = ResourceStore("knowledge")

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "knowledge.export",
        scope="read:knowledge",
        transaction="read",
        input=ExportInput,
        result=Poured,
        weight=WEIGHT,
    )
    async def export(self, ctx: Context, wanted: ExportInput) -> Poured:
        """Export a knowledge base with its documents as lines of JSON, or its records or documents as CSV."""
        id = parse_id(wanted.id)
        if id is None or not ctx.caller.may_touch(id):
            _missing()
        base = await self._bases.find(ctx, id)
        if base is None:
            _missing()
        name = _file_name(orjson.loads(base.body)["name"])
        if wanted.format == "csv":
            return Poured(tables.MEDIA_TYPE, f"{name}.csv", export.table(ctx.db, id, base.body))
        return Poured(form.MEDIA_TYPE, f"{name}.ndjson", export.lines(ctx.db, ctx.caller.org_id, id, base.body))


def _file_name(name: str) -> str:
    """Return a base's name as a file may be called anywhere."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name)[:_LONGEST_NAME].strip("-").lower() or "knowledge"


def _missing() -> NoReturn:
    raise HubError("RESOURCE_NOT_FOUND", "There is no knowledge with this id")
