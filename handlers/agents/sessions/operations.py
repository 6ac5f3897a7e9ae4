"""What can be done with sessions but for talking (sending.py)."""

from typing import Any, NoReturn
from uuid import UUID

import orjson

from core.errors import Detail, HubError
from core.ids import new_id, parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Deleted, Document, Page
from core.operations.validation import validated
from core.store.statements import Statements
from handlers.agents.leaving import Leaving
from handlers.agents.sessions import store
from handlers.agents.sessions.listing import sessions_of
from handlers.agents.sessions.models import (
    ChangeSession,
    DeleteSession,
    GetSession,
    ListMessages,
    ListSessions,
    Message,
    NewSession,
    Session,
    SessionChange,
)
from handlers.agents.sessions.running import Executing
from handlers.agents.sessions.store import SQL
from handlers.agents.sessions.telling import Telling
from handlers.lists.lister import MOST_PAGE_BYTES
from handlers.resources.etag import matches
from handlers.resources.merge import merge_patch

_READ, _WRITE = "read:agents", "write:agents"


class Sessions:
    """The sessions of the caller's organisation's agents. What a deleted one has left is removed by `leaving`."""

    def __init__(self, executing: Executing, telling: Telling, leaving: Leaving) -> None:
        self._executing = executing
        self._leaving = leaving
        self._telling = telling

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "sessions.create",
        touches="agents",
        scope=_WRITE,
        transaction="write",
        input=NewSession,
        result=Document,
        shows=Session,
    )
    async def create(self, ctx: Context, new: NewSession) -> Document:
        """Begin a session with an agent."""
        agent_id = _permitted(ctx, new.id)
        if await ctx.db.fetchval(SQL["agent"], agent_id) is None:
            _no_agent()
        metadata = orjson.dumps(new.metadata).decode()
        made = (new_id(), agent_id, new.title or "", metadata, ctx.caller.subject, ctx.now)
        return store.document(await ctx.db.fetchrow(SQL["insert"], *made))

    @operation(
        "sessions.list",
        touches="agents",
        scope=_READ,
        transaction="read",
        input=ListSessions,
        result=Page,
        shows=Session,
    )
    async def list(self, ctx: Context, wanted: ListSessions) -> Page:
        """List the sessions of an agent, the one that was used last first."""
        agent_id = _permitted(ctx, wanted.id)
        if await ctx.db.fetchval(SQL["has_agent"], agent_id) is None:
            _no_agent()
        return await sessions_of(ctx.db, agent_id, wanted)

    @operation("sessions.get", scope=_READ, transaction="read", input=GetSession, result=Document, shows=Session)
    async def get(self, ctx: Context, wanted: GetSession) -> Document:
        """Get one session."""
        return store.document(await store.find(ctx.db, ctx.caller, wanted.id, wanted.agent))

    @operation(
        "sessions.update",
        scope=_WRITE,
        transaction="write",
        input=ChangeSession,
        result=Document,
        shows=Session,
        body=SessionChange,
    )
    async def update(self, ctx: Context, change: ChangeSession) -> Document:
        """Change a session's title or metadata by JSON Merge Patch, or choose the branch that is shown."""
        asked = validated(SessionChange, change.body)
        patch = asked.model_dump(mode="json", exclude_unset=True)
        held = await self._hold(ctx, change)
        head_id = held["head_id"]
        if "head_id" in patch:
            head_id = await self._branch(ctx.db, held, patch["head_id"])
        before = {"title": held["title"], "metadata": orjson.loads(held["metadata"])}
        after: dict[str, Any] = merge_patch(before, patch)
        metadata = orjson.dumps(after.get("metadata") or {}).decode()
        changed = (held["id"], after.get("title") or "", metadata, head_id, ctx.now)
        document = store.document(await ctx.db.fetchrow(SQL["change"], *changed))
        self._telling.updated(ctx, document)
        return document

    @operation(
        "sessions.delete", scope=_WRITE, transaction="write", input=DeleteSession, result=Deleted, repeatable=True
    )
    async def delete(self, ctx: Context, gone: DeleteSession) -> Deleted:
        """Delete a session with its messages and executions; an answer that is being written is cancelled."""
        # An end holds its execution, then the session; so this does too.
        found = await store.find(ctx.db, ctx.caller, gone.id, gone.agent)
        if found["active_id"] is not None and (gone.if_match is None or matches(gone.if_match, found["version"])):
            await self._executing.cancel(ctx, found["active_id"])
        held = await self._hold(ctx, gone)
        if held["active_id"] is not None:
            raise HubError("RESOURCE_LOCKED", "An answer has just been begun")
        await ctx.db.execute(SQL["remove"], held["id"])
        await self._leaving.session_gone(ctx, held["id"])
        return Deleted("sessions", held["id"], held["version"])

    @operation("sessions.messages", scope=_READ, transaction="read", input=ListMessages, result=Page, shows=Message)
    async def messages(self, ctx: Context, wanted: ListMessages) -> Page:
        """List the messages of the branch that is shown, or of another, from the first on."""
        found = await store.find(ctx.db, ctx.caller, wanted.id, wanted.agent)
        end = found["head_id"]
        if wanted.branch is not None:
            end = await _newest_end(ctx.db, found["id"], parse_id(wanted.branch))
            if end is None:
                raise HubError("RESOURCE_NOT_FOUND", "The session has no such message")
        first = (wanted.page - 1) * wanted.per_page
        rows = await ctx.db.fetch(SQL["way"], found["id"], end, wanted.per_page, first)
        if (rows[0]["bytes"] or 0) > MOST_PAGE_BYTES:
            most = f"A page has at most {MOST_PAGE_BYTES >> 20} MiB; ask for fewer: 20 always fit"
            raise HubError("VALIDATION_ERROR", details=[Detail("per_page", "VALUE_OUT_OF_RANGE", most)])
        items = [store.message(row) for row in rows if row["id"] is not None]
        return Page(items, wanted.page, wanted.per_page, rows[0]["total"])

    async def _hold(self, ctx: Context, wanted: DeleteSession) -> Any:
        held = await store.find(ctx.db, ctx.caller, wanted.id, wanted.agent, hold=True)
        if wanted.if_match is not None and not matches(wanted.if_match, held["version"]):
            raise HubError("PRECONDITION_FAILED", f"The current version is {held['version']}")
        return held

    async def _branch(self, db: Statements, held: Any, message: str | None) -> UUID:
        """Return the newest end of the branch that a message is of."""
        if held["active_id"] is not None:
            raise HubError("RESOURCE_LOCKED", "An answer is being written; it is of the branch that is shown")
        end = await _newest_end(db, held["id"], parse_id(message or ""))
        if end is None:
            wrong = Detail("head_id", "INVALID_FORMAT", "Must be the id of a message of this session")
            raise HubError("VALIDATION_ERROR", details=[wrong])
        return end


async def _newest_end(db: Statements, session_id: UUID, message_id: UUID | None) -> UUID | None:
    return None if message_id is None else await db.fetchval(SQL["newest_end"], session_id, message_id)


def _permitted(ctx: Context, text: str) -> UUID:
    id = parse_id(text)
    if id is None or not ctx.caller.may_touch(id):
        _no_agent()
    return id


def _no_agent() -> NoReturn:
    raise HubError("RESOURCE_NOT_FOUND", "There is no agent with this id")
