"""What can be done with the organisation's open streams, whichever node holds them: listed, looked at, closed.

They are no rows: the nodes are asked, and answer from memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Protocol
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from core.errors import Detail, HubError
from core.ids import parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Deleted, Page, Shown
from handlers.resources.models import DeleteInput, GetInput
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME

# The nodes send all up to the page that is wanted; farther down, filters find what is looked for.
DEEPEST = 5_000
_Filter = Annotated[str, StringConstraints(max_length=300)] | None


class ListConnections(BaseModel):
    """A page of the open streams, newest first; each filter that is given must match."""

    model_config = ConfigDict(extra="forbid")

    page: int = Field(1, ge=1, le=DEEPEST)
    per_page: int = Field(20, ge=1, le=100)
    subject: _Filter = None
    channel: _Filter = None
    node: _Filter = None

    @property
    def filters(self) -> dict[str, str]:
        """The filters that are given."""
        named = {"subject": self.subject, "channel": self.channel, "node": self.node}
        return {name: value for name, value in named.items() if value is not None}


_EXAMPLE: dict[str, JsonValue] = {
    "id": EXAMPLE_ID,
    "node": "01978f3e-0000-7c3d-9b42-6f0d2c1e8a55",
    "subject": "user:ada",
    "since": EXAMPLE_TIME,
    "channels": 1,
    "waiting_bytes": 0,
}


class Connection(BaseModel):
    """An open stream: who opened it, when, on which node, and what waits for its client."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: UUID
    node: UUID
    subject: str | None
    since: datetime
    channels: int
    waiting_bytes: int


class ConnectionWithChannels(Connection):
    """An open stream, with the names of its channels."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_EXAMPLE, "subscriptions": ["agents"]}]})

    subscriptions: list[str]


@dataclass(frozen=True, slots=True)
class Found:
    """The first of the connections that match, newest first, and how many there are; `is_whole`: every node has answered."""

    first: list[Mapping[str, Any]]
    total: int
    is_whole: bool


class Directory(Protocol):
    """The open streams of all nodes."""

    async def list(self, org_id: UUID, filters: Mapping[str, str], first: int) -> Found:
        """Return the first of the organisation's connections."""
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
        """List open streams, newest first."""
        last = wanted.page * wanted.per_page
        if last > DEEPEST:
            detail = Detail("page", "VALUE_OUT_OF_RANGE", f"Only the first {DEEPEST} can be listed: use filters")
            raise HubError("VALIDATION_ERROR", details=[detail])
        found = await self._directory.list(ctx.caller.org_id, wanted.filters, last)
        items = [orjson.dumps(each).decode() for each in found.first[last - wanted.per_page : last]]
        return Page(items, wanted.page, wanted.per_page, found.total, found.is_whole)

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
