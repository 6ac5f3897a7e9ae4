"""List, create, get, replace, update and delete, the same for every kind of resource.

A change holds the resource's row, writes the next version with its history, and emits the event with the whole resource as GET
answers it. The document's text is made once: it is stored, put into the event, and sent.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Generic, NoReturn, TypeVar
from uuid import UUID

import orjson
from pydantic import BaseModel

from core.clock import rfc3339
from core.errors import HubError
from core.events.catalogue import EventType
from core.ids import new_id, parse_id
from core.operations.context import Context
from core.operations.operation import Operation
from core.operations.results import Deleted, Document, Page
from core.operations.validation import validated
from handlers.lists.selection import selected, selection_of
from handlers.lists.turns import Turns
from handlers.resources.etag import matches
from handlers.resources.happenings import event_types
from handlers.resources.json_patch import patched
from handlers.resources.listing import Listing
from handlers.resources.merge import merge_patch
from handlers.resources.models import Body, ChangeInput, DeleteInput, ListInput, LookInput, UpdateInput
from handlers.resources.past import find_past, position_of
from handlers.resources.search import searchable
from handlers.resources.shown import change, shown
from handlers.resources.store import MOST_DOCUMENT_BYTES, Beside, ResourceStore, Row, short_of

# What the hub writes itself: a client that sends a resource back as it got it may leave them in.
OWN_FIELDS = frozenset({"id", "created_at", "updated_at", "version"})

BodyType = TypeVar("BodyType", bound=Body)


class Resource(ABC, Generic[BodyType]):
    """One kind of resource; `kind` is the plural of paths and channels, `event` the singular of event types."""

    kind: str
    event: str
    body: type[BodyType]
    changed: Mapping[str, Any] = {"status": "paused"}  # an example of a change

    def __init__(self) -> None:
        self._store = ResourceStore(self.kind)
        self._names = OWN_FIELDS | self.body.model_fields.keys()
        self._listing = Listing(self.kind, self._names)
        self._searches = Turns()

    def operations(self) -> list[Operation]:
        """Return the operations that every kind has, described; a kind with more adds its own."""
        name = self.event.capitalize()
        one = shown(name, self.body)
        bodies = {"replace": self.body, "update": change(f"{name}Change", self.body, self.changed)}
        return [
            replace(
                each,
                summary=(each.handler.__doc__ or "").partition("\n")[0],
                shows=None if each.result is Deleted else one,
                body=bodies.get(each.name.partition(".")[2]),
            )
            for each in self._declared()
        ]

    def event_types(self) -> list[EventType]:
        """Return the types of the events that a resource of this kind has."""
        return event_types(self.kind, self.event, shown(self.event.capitalize(), self.body))

    def _declared(self) -> list[Operation]:
        read, write = f"read:{self.kind}", f"write:{self.kind}"
        kind, body = self.kind, self.body
        return [
            Operation(f"{kind}.list", read, "read", ListInput, Page, self.list),
            Operation(f"{kind}.create", write, "write", body, Document, self.create),
            Operation(f"{kind}.get", read, "read", LookInput, Document, self.get),
            Operation(f"{kind}.replace", write, "write", ChangeInput, Document, self.replace, repeatable=True),
            Operation(f"{kind}.update", write, "write", UpdateInput, Document, self.update),
            Operation(f"{kind}.delete", write, "write", DeleteInput, Deleted, self.delete, repeatable=True),
        ]

    @abstractmethod
    def describe(self, body: BodyType) -> tuple[str, str, str]:
        """Return name, type and status of a body, as lists filter and sort by."""

    def searched(self, fields: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the values whose strings `q=` searches beside name and type."""
        return fields.get("data"), fields.get("metadata")

    def beside(self, id: UUID, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Beside | None:
        """Return what else is written when a resource becomes `after` (as GET answers it); None in either: it is not there."""
        _ = id, before, after
        return None

    def allow(self, ctx: Context, before: Mapping[str, Any] | None, body: BodyType) -> None:
        """Raise HubError where the caller may not make of `before` (as GET answers it; None: nothing) what `body` says."""
        _ = ctx, before, body

    def conceal(
        self, ctx: Context, id: UUID, before: Mapping[str, Any] | None, body: BodyType
    ) -> tuple[BodyType, Beside | None]:
        """Return a body without what nobody is shown again, and the statement, run after the resource's own, that keeps it.

        `before` is as in `allow`; raises HubError where what is to be kept cannot be.
        """
        _ = ctx, id, before
        return body, None

    async def verify(self, ctx: Context, before: Mapping[str, Any] | None, body: BodyType) -> None:
        """Raise HubError where what `body` names is not there; `before` as for `allow`. It may ask PostgreSQL."""
        _ = ctx, before, body

    async def follow(
        self, ctx: Context, id: UUID, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
    ) -> None:
        """Do what else follows when a resource has become `after`, in the transaction that holds its row; None: it is not there."""
        _ = ctx, id, before, after

    async def list(self, ctx: Context, wanted: ListInput) -> Page:
        """List resources, newest first, or best match first, or as `sort` says."""
        if not wanted.q and wanted.as_of is None:
            return await self._listing.list(ctx.db, wanted, ctx.caller.resource_ids)
        position = None if wanted.as_of is None else await position_of(ctx, wanted.as_of)
        async with self._searches.taken(ctx.caller.org_id):
            return await self._listing.list(ctx.db, wanted, ctx.caller.resource_ids, position)

    async def get(self, ctx: Context, wanted: LookInput) -> Document:
        """Get one resource, or some fields of it."""
        tree = None if wanted.fields is None else selection_of(wanted.fields, self._names)
        id = self._permitted(ctx, wanted.id)
        if wanted.as_of is None:
            found = await self._store.find(ctx, id)
        else:
            found = await find_past(ctx, self.kind, id, wanted.as_of)
        if found is None:
            self._missing()
        if tree is None:
            return found
        (body,) = await selected([found.body], tree)
        return replace(found, body=body)

    async def create(self, ctx: Context, new: BodyType) -> Document:
        """Create a resource."""
        if ctx.caller.resource_ids is not None:
            raise HubError("FORBIDDEN", "This credential is for existing resources only")
        self.allow(ctx, None, new)
        await self.verify(ctx, None, new)
        id = new_id()
        shown, keeping = self.conceal(ctx, id, None, new)
        document, row, fields = self._write(id, 1, shown, rfc3339(ctx.now), ctx)
        await self._store.insert(ctx, row, self._emit(ctx, "created", document), self.beside(id, None, fields))
        await _kept(ctx, keeping)
        await self.follow(ctx, id, None, fields)
        return document

    async def replace(self, ctx: Context, change: ChangeInput) -> Document:
        """Replace a resource: what the body leaves out goes back to its default."""
        return await self._change(ctx, change, keep=False)

    async def update(self, ctx: Context, change: ChangeInput) -> Document:
        """Change some fields of a resource by JSON Merge Patch (RFC 7396), or by JSON Patch (RFC 6902)."""
        return await self._change(ctx, change, keep=True)

    async def delete(self, ctx: Context, gone: DeleteInput) -> Deleted:
        """Delete a resource; its history and its events stay."""
        id = self._permitted(ctx, gone.id)
        held = await self._hold(ctx, id, gone.if_match)
        data = orjson.dumps({"id": str(id), "version": held["version"]}).decode()
        event_id = ctx.emit(f"{self.event}.deleted", f"{self.kind}/{id}", data)
        before = orjson.loads(held["document"])
        await self._store.remove(ctx, id, event_id, ctx.now, self.beside(id, before, None))
        await self.follow(ctx, id, before, None)
        return Deleted(self.kind, id, held["version"])

    async def _change(self, ctx: Context, change: ChangeInput, *, keep: bool) -> Document:
        id = self._permitted(ctx, change.id)
        held = await self._hold(ctx, id, change.if_match)
        before = orjson.loads(held["document"])
        if isinstance(change, UpdateInput) and change.patch is not None:
            fields = _sendable(patched(held["document"], change.patch, OWN_FIELDS))
        elif keep:
            fields = merge_patch(_sendable(before), _sendable(change.body))
        else:
            fields = _sendable(change.body)
        body = self._validated(fields)
        self.allow(ctx, before, body)
        await self.verify(ctx, before, body)
        body, keeping = self.conceal(ctx, id, before, body)
        document, row, after = self._write(id, held["version"] + 1, body, before["created_at"], ctx)
        await self._store.change(ctx, row, self._emit(ctx, "updated", document), self.beside(id, before, after))
        await _kept(ctx, keeping)
        await self.follow(ctx, id, before, after)
        return document

    async def _hold(self, ctx: Context, id: UUID, if_match: str | None) -> Any:
        held = await self._store.hold(ctx.db, id)
        if held is None:
            self._missing()
        if if_match is not None and not matches(if_match, held["version"]):
            raise HubError("PRECONDITION_FAILED", f"The current version is {held['version']}")
        return held

    def _validated(self, fields: Mapping[str, Any]) -> BodyType:
        body: BaseModel = validated(self.body, fields)
        assert isinstance(body, self.body)  # noqa: S101 - tells the type checker what validated() made
        return body

    def _write(
        self, id: UUID, version: int, body: BodyType, created_at: str, ctx: Context
    ) -> tuple[Document, Row, Mapping[str, Any]]:
        name, type, status = self.describe(body)
        fields = body.model_dump(mode="json")
        fields |= {"name": name}
        written = orjson.dumps(
            {"id": str(id), **fields, "created_at": created_at, "updated_at": rfc3339(ctx.now), "version": version}
        )
        if len(written) > MOST_DOCUMENT_BYTES:
            most = MOST_DOCUMENT_BYTES >> 10
            raise HubError("PAYLOAD_TOO_LARGE", f"A {self.event} has at most {most} KiB; with this it would have more")
        document = written.decode()
        search = searchable(name, type, *self.searched(fields))
        row = Row(id, version, name, type, status, ctx.now, document, search)
        return Document(self.kind, id, version, ctx.now, document), row, fields

    def _emit(self, ctx: Context, what: str, document: Document) -> UUID:
        subject = f"{self.kind}/{document.id}"
        short = short_of(subject, document.id, document.version)
        return ctx.emit(f"{self.event}.{what}", subject, document.body, short=short)

    def _permitted(self, ctx: Context, text: str) -> UUID:
        id = parse_id(text)
        # A resource that the caller may not see does not exist for it.
        if id is None or not ctx.caller.may_touch(id):
            self._missing()
        return id

    def _missing(self) -> NoReturn:
        raise HubError("RESOURCE_NOT_FOUND", f"There is no {self.event} with this id")


async def _kept(ctx: Context, keeping: Beside | None) -> None:
    if keeping is not None:
        await ctx.write(keeping.query, *keeping.args)


def _sendable(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that a client writes."""
    return {name: value for name, value in fields.items() if name not in OWN_FIELDS}
