"""What can be done in chats beside publishing: messages are changed and removed, and who moderates mutes and bans."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import orjson

from core.auth.caller import MODERATE_SCOPE
from core.clock import rfc3339
from core.errors import HubError
from core.events.event import namespace_of
from core.ids import new_id, parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Deleted, Document, Page
from core.operations.validation import validated
from handlers.chats.keeping import SQL
from handlers.chats.models import (
    Amended,
    DeleteMessage,
    EditMessage,
    LiftSanction,
    ListSanctions,
    NewSanction,
    Said,
    Sanctioned,
    ShownSanction,
)
from rooms.amending import Amending
from rooms.amendments import Amendment
from rooms.live_store import Head
from rooms.live_wire import LiveEntry
from rooms.names import Channel, may_join, may_publish
from rooms.namespaces import Namespaces
from rooms.sanctions import Kind

# Who changes a message at the same moment is met again at most so often.
MOST_TRIES = 5
MOST_SANCTIONS = 1_000


class Chats:
    """The chats of the caller's organisation. `changed` is called after each commit that has changed mutes or bans."""

    def __init__(self, amending: Amending, namespaces: Namespaces, changed: Callable[[], None]) -> None:
        self._amending = amending
        self._namespaces = namespaces
        self._changed = changed

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "chats.edit",
        scope=None,
        transaction="none",
        input=EditMessage,
        result=Document,
        shows=Amended,
        body=Said,
        gives="chat_messages",
    )
    async def edit(self, ctx: Context, wanted: EditMessage) -> Document:
        """Change what an own message says, while the chat's history holds it; members hear `chat.edited`."""
        said = validated(Said, wanted.body)
        assert isinstance(said, Said)  # noqa: S101 - tells the type checker what validated() made
        channel = self._channel(ctx, wanted.id)
        may_join(ctx.caller, channel)
        may_publish(ctx.caller, channel)

        def changed(event: Any, entry: LiveEntry) -> Amendment:
            if event["source"] != ctx.caller.subject:
                raise HubError("FORBIDDEN", "Only who has said it may change it")
            if event.get("deleted"):
                raise _no_message()
            return Amendment("edited", event["id"], entry.position, event.get("revision", 0) + 1, said.data)

        amended = await self._amend(ctx, channel, wanted.message, changed)
        name = f"{wanted.id}/messages/{amended.id}"
        return Document("chats", amended.id, amended.revision, ctx.now, amended.model_dump_json(), name)

    @operation(
        "chats.delete",
        scope=None,
        transaction="none",
        input=DeleteMessage,
        result=Deleted,
        gives="chat_messages",
        repeatable=True,
    )
    async def delete(self, ctx: Context, gone: DeleteMessage) -> Deleted:
        """Remove an own message, or with the scope to moderate any; its place stays, empty, and members hear `chat.deleted`."""
        channel = self._channel(ctx, gone.id)
        is_moderator = ctx.caller.has(MODERATE_SCOPE) and ctx.caller.resource_ids is None
        if not is_moderator:
            may_join(ctx.caller, channel)
            may_publish(ctx.caller, channel)

        def left(event: Any, entry: LiveEntry) -> Amendment:
            is_own = event["source"] == ctx.caller.subject
            if not is_own and not is_moderator:
                raise HubError(
                    "FORBIDDEN", f"Only who has said it may remove it, or who has the scope {MODERATE_SCOPE}"
                )
            revision = event.get("revision", 0) + (not event.get("deleted"))
            by = event.get("deleted_by") if event.get("deleted") else None if is_own else ctx.caller.subject
            return Amendment("deleted", event["id"], entry.position, revision, by=by)

        amended = await self._amend(ctx, channel, gone.message, left)
        return Deleted("chats", amended.id, amended.revision, f"{gone.id}/messages/{amended.id}")

    @operation(
        "chats.mute",
        scope=MODERATE_SCOPE,
        transaction="write",
        input=Sanctioned,
        result=Document,
        shows=ShownSanction,
        body=NewSanction,
        gives="chat_sanctions",
    )
    async def mute(self, ctx: Context, wanted: Sanctioned) -> Document:
        """Have somebody publish nothing in a chat for a while, on every node within 2 s; it takes the place of another mute."""
        return await self._sanction(ctx, wanted, "mute")

    @operation(
        "chats.ban",
        scope=MODERATE_SCOPE,
        transaction="write",
        input=Sanctioned,
        result=Document,
        shows=ShownSanction,
        body=NewSanction,
        gives="chat_sanctions",
    )
    async def ban(self, ctx: Context, wanted: Sanctioned) -> Document:
        """Have somebody leave a chat and not come back for a while, on every node within 2 s; it takes the place of another ban."""
        return await self._sanction(ctx, wanted, "ban")

    @operation(
        "chats.sanctions",
        scope=MODERATE_SCOPE,
        transaction="read",
        input=ListSanctions,
        result=Page,
        shows=ShownSanction,
        gives="chat_sanctions",
    )
    async def sanctions(self, ctx: Context, wanted: ListSanctions) -> Page:
        """List the mutes and bans that hold in a chat, newest first."""
        name = self._moderated(ctx, wanted.id)
        first = (wanted.page - 1) * wanted.per_page
        rows = await ctx.db.fetch(SQL["page"], name, wanted.per_page, first, wanted.kind, wanted.subject)
        items = [_text(row) for row in rows if row["id"] is not None]
        return Page(items, wanted.page, wanted.per_page, rows[0]["total"])

    @operation(
        "chats.lift",
        scope=MODERATE_SCOPE,
        transaction="write",
        input=LiftSanction,
        result=Deleted,
        gives="chat_sanctions",
        repeatable=True,
    )
    async def lift(self, ctx: Context, gone: LiftSanction) -> Deleted:
        """End a mute or a ban before its time, on every node within 2 s."""
        name, id = self._moderated(ctx, gone.id), parse_id(gone.sanction)
        row = None if id is None else await ctx.db.fetchrow(SQL["lift"], name, id)
        if row is None:
            raise HubError("RESOURCE_NOT_FOUND", "Nothing of this id holds in this chat")
        ctx.after_commit(self._changed)
        return Deleted("chats", row["id"], 1, _name_of(name, row))

    async def _amend(
        self, ctx: Context, channel: Channel, message: str, make: Callable[[Any, LiveEntry], Amendment]
    ) -> Amended:
        """Change a message as `make` says, of what it is at that moment, and tell the members."""
        org_id = ctx.caller.org_id
        for _ in range(MOST_TRIES):
            head, entry = await self._found(org_id, channel, message)
            event = orjson.loads(entry.envelope)
            amendment = make(event, entry)
            # What is as it is to be already may not have been told: whoever did it may have died.
            if amendment.revision > event.get("revision", 0):
                kept = await self._amending.keep(org_id, channel.name, head, entry, amendment)
                if kept == "overtaken":
                    continue
                if kept == "gone":
                    raise _no_message()
                if kept == "too_much":
                    raise HubError("RESOURCE_CONFLICT", "So much was changed in this chat that no more is kept")
            told = await self._amending.tell(org_id, channel.name, amendment, ctx.caller.subject)
            return Amended(
                id=UUID(amendment.id),
                offset=str(entry.position),
                revision=amendment.revision,
                told_at=str(told.offset),
            )
        raise HubError("RESOURCE_LOCKED", "Others change the same message")

    async def _found(self, org_id: UUID, channel: Channel, message: str) -> tuple[Head, LiveEntry]:
        id = parse_id(message)
        found = None if id is None else await self._amending.find(org_id, channel.name, id)
        if found is None or not _is_message(found[1]):
            raise _no_message()
        return found

    async def _sanction(self, ctx: Context, wanted: Sanctioned, kind: Kind) -> Document:
        new = validated(NewSanction, wanted.body)
        assert isinstance(new, NewSanction)  # noqa: S101 - tells the type checker what validated() made
        name = self._moderated(ctx, wanted.id)
        await ctx.db.execute(SQL["sweep"])
        await ctx.db.execute(SQL["replace"], name, new.subject, kind)
        if await ctx.db.fetchval(SQL["count"], name) >= MOST_SANCTIONS:
            raise HubError("RESOURCE_CONFLICT", f"A chat has at most {MOST_SANCTIONS} mutes and bans")
        seconds = None if new.seconds is None else float(new.seconds)
        row = await ctx.db.fetchrow(
            SQL["insert"], new_id(), name, new.subject, kind, new.reason, ctx.caller.subject, ctx.now, seconds
        )
        ctx.after_commit(self._changed)
        return Document("chats", row["id"], 1, ctx.now, _text(row), _name_of(name, row))

    def _channel(self, ctx: Context, name: str) -> Channel:
        try:
            return self._namespaces.channel(ctx.caller.org_id, f"chat:{name}")
        except HubError as missing:
            raise HubError("RESOURCE_NOT_FOUND", missing.text) from missing

    def _moderated(self, ctx: Context, name: str) -> str:
        """Return the name of a chat that the caller moderates."""
        if ctx.caller.resource_ids is not None:
            raise HubError("FORBIDDEN", "A credential for some resources only moderates no chats")
        self._channel(ctx, name)
        return name


def _is_message(entry: LiveEntry) -> bool:
    return orjson.loads(entry.envelope)["type"] == f"{namespace_of(entry.channel)}.message"


def _name_of(chat: str, row: Any) -> str:
    """Return what a mute or a ban is called in the audit."""
    return f"{chat}/{row['kind']}s/{row['subject']}"


def _no_message() -> HubError:
    return HubError("RESOURCE_NOT_FOUND", "The chat's history holds no message with this id")


def _text(row: Any) -> str:
    return orjson.dumps(
        {
            "id": str(row["id"]),
            "chat": row["chat"],
            "kind": row["kind"],
            "subject": row["subject"],
            "reason": row["reason"],
            "by": row["by_subject"],
            "created_at": rfc3339(row["created_at"]),
            "ends_at": None if row["ends_at"] is None else rfc3339(row["ends_at"]),
        }
    ).decode()
