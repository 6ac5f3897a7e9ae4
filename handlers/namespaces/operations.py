"""What an organisation's administrators can do with namespaces: look at them, set them, and give them back to the default."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import orjson

from core.auth.caller import ADMIN_SCOPE
from core.clock import rfc3339
from core.errors import HubError
from core.ids import new_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Deleted, Document, Page
from core.operations.validation import validated
from handlers.namespaces.checking import check
from handlers.namespaces.keeping import SQL
from handlers.namespaces.models import ListNamespaces, Namespace, NamespaceSettings, PutNamespace
from handlers.resources.etag import matches
from handlers.resources.models import DeleteInput, GetInput
from rooms.live_rules import LIVE
from rooms.namespace_rules import (
    OF_THE_LOG,
    fixed_of,
    namespace_named,
    new_rules,
    ruled,
    settings_of,
    shown_name,
)
from rooms.namespaces import Namespaces as Table

# Of an organisation, those that it has made and those that it has only set something for.
MOST = 100
_NOTHING_SET = UUID("6f1d3f0e-0a53-4d5e-9c1c-3f7f0f6f2a11")
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Own:
    """What an organisation has set of one namespace; None: nothing, or nothing any more."""

    id: UUID
    version: int
    settings: Mapping[str, Any] | None
    created_at: datetime | None
    updated_at: datetime | None


class Namespaces:
    """The namespaces of the caller's organisation. `changed` is called after each commit that has changed one."""

    def __init__(self, table: Table, changed: Callable[[], None]) -> None:
        self._table = table
        self._changed = changed

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "namespaces.list", scope=ADMIN_SCOPE, transaction="read", input=ListNamespaces, result=Page, shows=Namespace
    )
    async def list(self, ctx: Context, wanted: ListNamespaces) -> Page:
        """List namespaces in the order of their names: the hub's, those of the operator's file, the organisation's own."""
        _check_caller(ctx)
        own = await _all(ctx)
        held = {name for name, each in own.items() if each.settings is not None}
        names = sorted({*self._table.base, *self._table.log, *held}, key=shown_name)
        first = (wanted.page - 1) * wanted.per_page
        some = names[first : first + wanted.per_page]
        return Page([self._text(name, own.get(name)) for name in some], wanted.page, wanted.per_page, len(names))

    @operation(
        "namespaces.get", scope=ADMIN_SCOPE, transaction="read", input=GetInput, result=Document, shows=Namespace
    )
    async def get(self, ctx: Context, wanted: GetInput) -> Document:
        """Get one namespace by its name."""
        _check_caller(ctx)
        name = namespace_named(wanted.id)
        own = (await _all(ctx)).get(name)
        if not self._exists(name, own):
            raise _missing()
        return self._document(name, own)

    @operation(
        "namespaces.replace",
        scope=ADMIN_SCOPE,
        transaction="write",
        input=PutNamespace,
        result=Document,
        shows=Namespace,
        body=NamespaceSettings,
        repeatable=True,
    )
    async def replace(self, ctx: Context, wanted: PutNamespace) -> Document:
        """Set all that the organisation sets of a namespace, which is made where there is none; every node has it within 2 s."""
        return await self._set(ctx, wanted, {})

    @operation(
        "namespaces.update",
        scope=ADMIN_SCOPE,
        transaction="write",
        input=PutNamespace,
        result=Document,
        shows=Namespace,
        body=NamespaceSettings,
    )
    async def update(self, ctx: Context, wanted: PutNamespace) -> Document:
        """Set something of a namespace that there is; null gives it back to the default. Every node has it within 2 s."""
        return await self._set(ctx, wanted, None)

    @operation(
        "namespaces.delete", scope=ADMIN_SCOPE, transaction="write", input=DeleteInput, result=Deleted, repeatable=True
    )
    async def delete(self, ctx: Context, gone: DeleteInput) -> Deleted:
        """Forget what the organisation has set: the namespace is as by default; one of its own is gone, and its channels are left.

        What their histories hold is seen again where the namespace is made again in time.
        """
        name, own = await self._held(ctx, gone)
        if own is None or own.settings is None:
            raise _missing()
        after = await self._put(ctx, name, None)
        return Deleted("namespaces", after.id, after.version, shown_name(name))

    async def _set(self, ctx: Context, wanted: PutNamespace, before: Mapping[str, Any] | None) -> Document:
        """Set what `wanted` says, over `before`; None: over what is set."""
        given = validated(NamespaceSettings, wanted.body)
        assert isinstance(given, NamespaceSettings)  # noqa: S101 - tells the type checker what validated() made
        name, own = await self._held(ctx, wanted)
        if before is None:
            if not self._exists(name, own):
                raise _missing()
            kept = (own.settings if own is not None else None) or {}
            before = {key: value for key, value in kept.items() if key not in given.model_fields_set}
        settings = {**before, **given.given()}
        check(name, self._table.base.get(name), settings)
        return self._document(name, await self._put(ctx, name, settings))

    async def _held(self, ctx: Context, wanted: DeleteInput) -> tuple[str, _Own | None]:
        _check_caller(ctx)
        await ctx.db.fetchrow(SQL["hold"])
        name = namespace_named(wanted.id)
        rows = await _all(ctx)
        own = rows.get(name)
        version = 0 if own is None else own.version
        if wanted.if_match is not None and not matches(wanted.if_match, version):
            raise HubError("PRECONDITION_FAILED", f"The current version is {version}")
        if own is None and len(rows) >= MOST:
            raise HubError("RESOURCE_CONFLICT", f"An organisation sets at most {MOST} namespaces")
        return name, own

    async def _put(self, ctx: Context, name: str, settings: Mapping[str, Any] | None) -> _Own:
        written = None if settings is None else orjson.dumps(settings).decode()
        row = await ctx.db.fetchrow(SQL["put"], name, new_id(), written, ctx.now)
        ctx.after_commit(self._changed)
        return _own(row)

    def _exists(self, name: str, own: _Own | None) -> bool:
        return name in self._table.base or name in self._table.log or (own is not None and own.settings is not None)

    def _document(self, name: str, own: _Own | None) -> Document:
        id = uuid5(_NOTHING_SET, name) if own is None else own.id
        version = 0 if own is None else own.version
        updated_at = (own.updated_at if own is not None else None) or _LONG_AGO
        return Document("namespaces", id, version, updated_at, self._text(name, own), shown_name(name))

    def _text(self, name: str, own: _Own | None) -> str:
        set_ = (own.settings if own is not None else None) or {}
        is_log = name in self._table.log
        effective: dict[str, Any]
        if is_log:
            effective = {each: set_.get(each, self._table.log[name]) for each in OF_THE_LOG}
        else:
            effective = settings_of(ruled(self._table.base.get(name) or new_rules(name), set_))
        is_of_file = name in self._table.base
        shown = {
            "id": shown_name(name),
            "kind": "log" if is_log else "live",
            "origin": "built_in" if is_log or name in LIVE else "file" if is_of_file else "organisation",
            "settings": effective,
            "own": set_,
            "fixed": sorted(fixed_of(name)),
            "created_at": _moment(own and own.created_at),
            "updated_at": _moment(own and own.updated_at),
            "version": 0 if own is None else own.version,
        }
        return orjson.dumps(shown).decode()


async def _all(ctx: Context) -> dict[str, _Own]:
    return {row["name"]: _own(row) for row in await ctx.db.fetch(SQL["all"])}


def _own(row: Any) -> _Own:
    settings = None if row["settings"] is None else orjson.loads(row["settings"])
    return _Own(row["id"], row["version"], settings, row["created_at"], row["updated_at"])


def _check_caller(ctx: Context) -> None:
    if ctx.caller.resource_ids is not None:
        raise HubError(
            "FORBIDDEN", "This credential is for some resources only; namespaces are of the whole organisation"
        )


def _missing() -> HubError:
    return HubError("RESOURCE_NOT_FOUND", "There is no namespace with this name, or nothing is set for it")


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
