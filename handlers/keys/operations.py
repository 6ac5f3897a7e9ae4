"""What can be done with API keys. A key's secret is in the answer that made it and in that answer's repeats."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import orjson

from core.auth.keys import HINT, KeyRecord, check_key, create_key, hash_of, make_key, record_of, revoke_key
from core.clock import rfc3339
from core.errors import HubError
from core.ids import parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Deleted, Document, Page
from core.operations.validation import validated
from core.store.queries import load_queries
from handlers.keys.listing import keys_of
from handlers.keys.models import ChangeKey, Key, KeyChange, KeyWithSecret, ListKeys, NewKey, RotateKey
from handlers.keys.powers import check_holds, check_scopes, given_resources
from handlers.resources.etag import matches
from handlers.resources.models import DeleteInput, GetInput

_SQL = load_queries(Path(__file__).with_name("queries.sql"))
_READ, _WRITE = "read:keys", "write:keys"


class Keys:
    """The keys of the caller's organisation; `secret` is what keys are hashed with."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation("keys.list", scope=_READ, transaction="read", input=ListKeys, result=Page, shows=Key)
    async def list(self, ctx: Context, wanted: ListKeys) -> Page:
        """List keys, newest first or as `sort` says, without their secrets."""
        return await keys_of(ctx.db, wanted, ctx.now)

    @operation("keys.get", scope=_READ, transaction="read", input=GetInput, result=Document, shows=Key)
    async def get(self, ctx: Context, wanted: GetInput) -> Document:
        """Get one key, without its secret."""
        id = parse_id(wanted.id)
        row = None if id is None else await ctx.db.fetchrow(_SQL["find"], id)
        return _document(record_of(row) if row else _missing(), ctx.now)

    @operation(
        "keys.create",
        scope=_WRITE,
        transaction="write",
        input=NewKey,
        result=Document,
        shows=KeyWithSecret,
        holds_secret=True,
    )
    async def create(self, ctx: Context, new: NewKey) -> Document:
        """Make a key; its secret is in this answer only."""
        check_scopes(ctx.caller, check_key(new.name, new.scopes))
        _check_end(ctx, new.expires_at)
        record, key = await create_key(
            ctx.db,
            self._secret,
            ctx.caller.org_id,
            new.name,
            new.scopes,
            resource_ids=given_resources(ctx.caller, new.resource_ids),
            expires_at=new.expires_at,
            mode=new.mode,
        )
        return _document(record, ctx.now, key)

    @operation(
        "keys.update", scope=_WRITE, transaction="write", input=ChangeKey, result=Document, shows=Key, body=KeyChange
    )
    async def update(self, ctx: Context, change: ChangeKey) -> Document:
        """Change a key's name, scopes, resources or end; open streams lose what it loses within 2 s."""
        held = await self._hold(ctx, change)
        fields = validated(KeyChange, change.body).model_dump(exclude_unset=True)
        name, scopes = fields.get("name", held.name), fields.get("scopes", held.scopes)
        resource_ids, expires_at = (
            fields.get("resource_ids", held.resource_ids),
            fields.get("expires_at", held.expires_at),
        )
        check_key(name, scopes)
        check_holds(ctx.caller, scopes, resource_ids)
        if "expires_at" in fields:
            _check_end(ctx, expires_at)
        ids = None if resource_ids is None else sorted(set(resource_ids))
        row = await ctx.db.fetchrow(_SQL["change"], held.id, name, sorted(set(scopes)), ids, expires_at, ctx.now)
        return _document(record_of(row), ctx.now)

    @operation(
        "keys.rotate",
        scope=_WRITE,
        transaction="write",
        input=RotateKey,
        result=Document,
        shows=KeyWithSecret,
        holds_secret=True,
    )
    async def rotate(self, ctx: Context, wanted: RotateKey) -> Document:
        """Give a key a new secret, which is in this answer only; the one before is taken for the overlap."""
        held = await self._hold(ctx, wanted)
        # Whoever gets the secret can do all that the key can.
        check_holds(ctx.caller, held.scopes, held.resource_ids)
        if _status(held, ctx.now) != "live":
            raise HubError("RESOURCE_CONFLICT", f"The key is {_status(held, ctx.now)}: make another one")
        key = make_key("test" if held.hint.startswith("aim_test_") else "live")
        old_until = ctx.now + timedelta(seconds=wanted.overlap_seconds)
        key_hash = hash_of(self._secret, key)
        row = await ctx.db.fetchrow(_SQL["rotate"], held.id, key_hash, key[:HINT], old_until, ctx.now)
        return _document(record_of(row), ctx.now, key)

    @operation("keys.delete", scope=_WRITE, transaction="write", input=DeleteInput, result=Deleted, repeatable=True)
    async def delete(self, ctx: Context, gone: DeleteInput) -> Deleted:
        """Revoke a key, on every node and for every open stream within 2 s. It stays in the list."""
        held = await self._hold(ctx, gone)
        revoked = await revoke_key(ctx.db, self._secret, str(held.id))
        return Deleted("keys", revoked.id, revoked.version)

    async def _hold(self, ctx: Context, wanted: DeleteInput) -> KeyRecord:
        id = parse_id(wanted.id)
        row = None if id is None else await ctx.db.fetchrow(_SQL["hold"], id)
        held = record_of(row) if row else _missing()
        if wanted.if_match is not None and not matches(wanted.if_match, held.version):
            raise HubError("PRECONDITION_FAILED", f"The current version is {held.version}")
        return held


def _check_end(ctx: Context, expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= ctx.now:
        raise HubError("VALIDATION_ERROR", "A key's end lies in the future")


def _missing() -> NoReturn:
    raise HubError("RESOURCE_NOT_FOUND", "There is no key with this id")


def _status(record: KeyRecord, now: datetime) -> str:
    if record.revoked_at is not None:
        return "revoked"
    return "expired" if record.expires_at is not None and record.expires_at <= now else "live"


def _document(record: KeyRecord, now: datetime, key: str | None = None) -> Document:
    updated_at = record.updated_at or record.created_at
    return Document("keys", record.id, record.version, updated_at, _text(record, now, key))


def _text(record: KeyRecord, now: datetime, key: str | None = None) -> str:
    has_old = record.old_until is not None and record.old_until > now
    body: dict[str, Any] = {"id": str(record.id)}
    if key is not None:
        body["key"] = key
    body |= {
        "name": record.name,
        "hint": record.hint,
        "status": _status(record, now),
        "scopes": record.scopes,
        "resource_ids": None if record.resource_ids is None else [str(each) for each in record.resource_ids],
        "created_at": rfc3339(record.created_at),
        "updated_at": rfc3339(record.updated_at or record.created_at),
        "expires_at": _moment(record.expires_at),
        "revoked_at": _moment(record.revoked_at),
        "old_secret_until": _moment(record.old_until if has_old else None),
        "version": record.version,
    }
    return orjson.dumps(body).decode()


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)
