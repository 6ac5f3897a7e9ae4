"""Talking in a session: a message and the execution that answers it are made in one transaction, one run at a time."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson

from core.errors import Detail, HubError
from core.ids import new_id, parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Document
from core.store.statements import Statements
from handlers.agents.executions.models import Execution
from handlers.agents.sessions import store
from handlers.agents.sessions.models import Attachment, GetSession, RetryMessage, SendMessage
from handlers.agents.sessions.running import Executing
from handlers.agents.sessions.store import SQL
from handlers.agents.sessions.telling import Telling

_WRITE = "write:agents"
# Finding the way through so many takes PostgreSQL some tens of milliseconds.
MOST_MESSAGES = 4_000
LONGEST_TITLE = 80


class Talking:
    """What is said in sessions, and who answers."""

    def __init__(self, executing: Executing, telling: Telling) -> None:
        self._executing = executing
        self._telling = telling

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "sessions.send",
        gives="executions",
        scope=_WRITE,
        transaction="write",
        input=SendMessage,
        result=Document,
        shows=Execution,
    )
    async def send(self, ctx: Context, new: SendMessage) -> Document:
        """Send a message, which the agent answers; refused while it answers another of the session."""
        held = await self._free(ctx, new.id, new.agent)
        parent_id = await self._parent(ctx.db, held, new)
        if await ctx.db.fetchval(SQL["count"], held["id"]) >= MOST_MESSAGES:
            raise HubError("RESOURCE_CONFLICT", f"A session has at most {MOST_MESSAGES} messages; begin another")
        said = (new_id(), held["id"], parent_id, new.text, _written(new.attachments), ctx.caller.subject, ctx.now)
        row = await ctx.db.fetchrow(SQL["say"], *said)
        self._telling.said(ctx, held["id"], row["id"], store.message(row))
        return await self._answer(ctx, held, row["id"], new.text)

    @operation(
        "sessions.retry",
        gives="executions",
        scope=_WRITE,
        transaction="write",
        input=RetryMessage,
        result=Document,
        shows=Execution,
    )
    async def retry(self, ctx: Context, again: RetryMessage) -> Document:
        """Have a message of a person answered once more; the answers are branches."""
        held = await self._free(ctx, again.id, again.agent)
        message_id = parse_id(again.message)
        row = None if message_id is None else await ctx.db.fetchrow(SQL["message"], held["id"], message_id)
        if row is None:
            raise HubError("RESOURCE_NOT_FOUND", "The session has no such message")
        if row["role"] != "user":
            raise HubError("RESOURCE_CONFLICT", "This is an answer; name the message that it answers, its parent_id")
        return await self._answer(ctx, held, row["id"], row["text"])

    @operation(
        "sessions.cancel",
        gives="executions",
        scope=_WRITE,
        transaction="write",
        input=GetSession,
        result=Document,
        shows=Execution,
    )
    async def cancel(self, ctx: Context, wanted: GetSession) -> Document:
        """End the answer that is being written."""
        found = await store.find(ctx.db, ctx.caller, wanted.id, wanted.agent)
        if found["active_id"] is None:
            raise HubError("RESOURCE_CONFLICT", "No answer is being written")
        return await self._executing.cancel(ctx, found["active_id"])

    async def _free(self, ctx: Context, session: str, agent: str | None) -> Any:
        """Hold a session in which nothing is being written."""
        held = await store.find(ctx.db, ctx.caller, session, agent, hold=True)
        if held["active_id"] is not None:
            raise HubError("RESOURCE_LOCKED", "An answer is being written; wait for its end, or cancel it")
        return held

    async def _parent(self, db: Statements, held: Any, new: SendMessage) -> UUID | None:
        if "parent_id" not in new.model_fields_set:
            return held["head_id"]
        if new.parent_id is not None and await db.fetchrow(SQL["message"], held["id"], new.parent_id) is None:
            wrong = Detail("parent_id", "INVALID_FORMAT", "Must be the id of a message of this session, or null")
            raise HubError("VALIDATION_ERROR", details=[wrong])
        return new.parent_id

    async def _answer(self, ctx: Context, held: Any, message_id: UUID, text: str) -> Document:
        begun = await self._executing.begin(
            ctx, held["agent_id"], query=text, context={}, session_id=held["id"], message_id=message_id
        )
        title = held["title"] or title_of(text)
        row = await ctx.db.fetchrow(SQL["begin"], held["id"], title, message_id, begun.id, ctx.now)
        self._telling.updated(ctx, store.document(row))
        return begun


def title_of(text: str) -> str:
    """Return the beginning of a text, as a title: whole words where there is room for any."""
    words = " ".join(text.split())
    if len(words) <= LONGEST_TITLE:
        return words
    cut = words[: LONGEST_TITLE - 1]
    return f"{cut.rpartition(' ')[0] or cut}…"


def _written(attachments: Sequence[Attachment]) -> str:
    return orjson.dumps([each.model_dump() for each in attachments]).decode()
