"""What can be done with the organisation's open streams, whichever node holds them: listed, looked at, closed.

They are no rows: the nodes are asked, and answer from memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import orjson

from core.errors import Detail, HubError
from core.ids import parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Deleted, Page, Shown
from handlers.connections.models import DEEPEST, Connection, ConnectionWithChannels, ListConnections
from handlers.lists.fields import Field, Fields, Kind
from handlers.lists.held import Asking, Choice, Picked
from handlers.lists.order import Key, complete
from handlers.lists.selection import selected, selection_of
from handlers.resources.models import DeleteInput, GetInput

# `channel` is each channel that a stream has subscribed to.
FIELDS = Fields(
    {
        field.name: field
        for field in (
            Field("id", "id", Kind.ID),
            Field("node", "node", Kind.ID),
            Field("subject", "subject", Kind.TEXT),
            Field("since", "since", Kind.MOMENT),
            Field("channels", "channels", Kind.NUMBER),
            Field("waiting_bytes", "waiting_bytes", Kind.NUMBER),
            Field("channel", "channel", Kind.TEXT, sortable=False),
        )
    }
)
# Ids rise with time.
NEWEST = complete([Key(FIELDS.by_name["id"], descending=True)], FIELDS)


@dataclass(frozen=True, slots=True)
class Found:
    """The first of the connections that match, as all nodes together have them; `is_whole`: every node has answered."""

    picked: Picked
    is_whole: bool


class Directory(Protocol):
    """The open streams of all nodes."""

    async def list(self, org_id: UUID, choice: Choice) -> Found:
        """Return those of the organisation's connections that are chosen."""
        ...

    async def find(self, org_id: UUID, id: str) -> Mapping[str, Any] | None:
        """Return one; raise HubError SERVICE_UNAVAILABLE where it may be on a node that does not answer."""
        ...

    async def end(self, org_id: UUID, id: str) -> bool:
        """Close one; tell whether there was one. Raises as `find`."""
        ...


class Connections:
    """The organisation's open streams."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "connections.list",
        scope="read:connections",
        transaction="none",
        input=ListConnections,
        result=Page,
        shows=Connection,
        repeatable=True,
    )
    async def list(self, ctx: Context, wanted: ListConnections) -> Page:
        """List open streams, newest first or as `sort` says."""
        if not wanted.is_window and wanted.page * wanted.per_page > DEEPEST:
            message = f"Only the first {DEEPEST} stand on pages: use cursors or filters"
            raise HubError("VALIDATION_ERROR", details=[Detail("page", "VALUE_OUT_OF_RANGE", message)])
        tree = None if wanted.fields is None else selection_of(wanted.fields, Connection.model_fields)
        asking = Asking("connections", FIELDS, NEWEST, wanted, wanted.named)
        found = await self._directory.list(ctx.caller.org_id, asking.choice)
        shown, window = asking.window(found.picked.first)
        items = [orjson.dumps(each).decode() for each in shown]
        if tree is not None:
            items = await selected(items, tree)
        return Page(items, wanted.page, wanted.per_page, found.picked.total, found.is_whole, window=window)

    @operation(
        "connections.get",
        scope="read:connections",
        transaction="none",
        input=GetInput,
        result=Shown,
        shows=ConnectionWithChannels,
        repeatable=True,
    )
    async def get(self, ctx: Context, wanted: GetInput) -> Shown:
        """Look at one open stream."""
        id = parse_id(wanted.id)
        found = None if id is None else await self._directory.find(ctx.caller.org_id, str(id))
        if found is None:
            raise _missing()
        return Shown(orjson.dumps(found).decode())

    @operation(
        "connections.delete",
        scope="write:connections",
        transaction="none",
        input=DeleteInput,
        result=Deleted,
        repeatable=True,
    )
    async def delete(self, ctx: Context, gone: DeleteInput) -> Deleted:
        """Close an open stream; its client is told not to come back by itself."""
        id = parse_id(gone.id)
        if id is None or not await self._directory.end(ctx.caller.org_id, str(id)):
            raise _missing()
        return Deleted("connections", id, 0)


def _missing() -> HubError:
    return HubError("RESOURCE_NOT_FOUND", "There is no open stream with this id")
