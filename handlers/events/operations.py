"""What can be done with the log: its events are read, all or those of one resource; applications append theirs (appending.py).

A caller that is restricted to some resources sees the events of their channels, and no others.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import orjson

from core.errors import HubError
from core.ids import parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Document, Page
from core.store.queries import load_queries
from handlers.events.appending import Appending
from handlers.events.listing import channels_of, events_of
from handlers.events.models import Event, ListEvents, ListEventsOf
from handlers.lists.turns import Turns
from handlers.resources.models import GetInput

_SQL = load_queries(Path(__file__).with_name("queries.sql"))
_READ = "read:events"
_KINDS = {"agents": "agent", "knowledge": "knowledge", "twins": "twin"}


class Events:
    """The log of the caller's organisation. Its lists are asked in turns: a filter that no index has looks at the whole log."""

    def __init__(self) -> None:
        self._turns = Turns()

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return [*operations_of(self), *(self._of(kind) for kind in _KINDS), *Appending().operations()]

    def _of(self, kind: str) -> Operation:
        handler: Callable[[Context, ListEventsOf], Awaitable[Page]] = partial(self.of_resource, kind)
        summary = f"List the events of one {_KINDS[kind]}, newest first, also when it is deleted"
        name = f"events.of_{kind}"
        return Operation(name, _READ, "read", ListEventsOf, Page, handler, summary=summary, shows=Event)

    @operation("events.list", scope=_READ, transaction="read", input=ListEvents, result=Page, shows=Event)
    async def list(self, ctx: Context, wanted: ListEvents) -> Page:
        """List events of the log, newest first, or as `sort=position` says as they were written."""
        ids = ctx.caller.resource_ids
        channels = None if ids is None else channels_of(ids)
        async with self._turns.taken(ctx.caller.org_id):
            return await events_of(ctx.db, wanted, subject=wanted.subject, channels=channels)

    @operation("events.get", scope=_READ, transaction="read", input=GetInput, result=Document, shows=Event)
    async def get(self, ctx: Context, wanted: GetInput) -> Document:
        """Get one event, whole."""
        id = parse_id(wanted.id)
        row = None if id is None else await ctx.db.fetchrow(_SQL["find"], id)
        ids = ctx.caller.resource_ids
        if row is None or (ids is not None and row["channel"] not in channels_of(ids)):
            raise HubError("RESOURCE_NOT_FOUND", "There is no event with this id")
        position = orjson.dumps({"position": str(row["position"])}).decode()
        # It never changes: there is one version of it.
        return Document("events", row["event_id"], 1, row["time"], f"{row['envelope'][:-1]},{position[1:]}")

    async def of_resource(self, kind: str, ctx: Context, wanted: ListEventsOf) -> Page:
        """List the events of one resource's channel."""
        id = parse_id(wanted.resource_id)
        if id is None or not ctx.caller.may_touch(id):
            _missing(kind)
        async with self._turns.taken(ctx.caller.org_id):
            page = await events_of(ctx.db, wanted, channels=[f"{kind}:{id}"])
        # A resource that is new may be there before its first event has a position.
        if not page.total and not await ctx.db.fetchval(_SQL["has_been"].replace("{table}", kind), id):
            _missing(kind)
        return page


def _missing(kind: str) -> NoReturn:
    raise HubError("RESOURCE_NOT_FOUND", f"There is no {_KINDS[kind]} with this id, and has been none")
