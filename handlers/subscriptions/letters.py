"""The dead letters of a subscription: listed, looked at, redriven, purged."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from core.clock import rfc3339
from core.errors import HubError
from core.events.subscriptions import dead_letters
from core.events.subscriptions.dead_letters import Attempt, DeadLetter, Which
from core.ids import parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Page, Shown
from handlers.keys.models import Moment
from handlers.lists.lister import MOST_COUNTED, page_of
from handlers.resources.models import GetInput
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME
from handlers.subscriptions.models import Glob
from handlers.subscriptions.rights import check_caller, found, held

_READ, _WRITE = "read:subscriptions", "write:subscriptions"
MOST_TAKEN = 1_000
_EXAMPLE: dict[str, JsonValue] = {
    "id": EXAMPLE_ID,
    "event_id": EXAMPLE_ID,
    "type": "agent.updated",
    "subject": f"agents/{EXAMPLE_ID}",
    "position": "1042",
    "replayed": False,
    "attempts": 1,
    "reason": "rejected",
    "died_at": EXAMPLE_TIME,
}
_ATTEMPT: dict[str, JsonValue] = {
    "number": 1,
    "started_at": EXAMPLE_TIME,
    "ended_at": EXAMPLE_TIME,
    "outcome": "refused",
    "status": None,
    "answer": "no such customer",
}


class Letter(BaseModel):
    """An event that was given up: after `max_deliveries` attempts, or `rejected` by who had it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: UUID
    event_id: UUID
    type: str
    subject: str
    position: str
    replayed: bool
    attempts: int
    reason: Literal["max_deliveries", "rejected"]
    died_at: datetime


class LetterAttempt(BaseModel):
    """How an attempt ended; `answer` is the first 4 KiB of what was answered, or the consumer's reason."""

    number: int
    started_at: datetime
    ended_at: datetime
    outcome: Literal["refused", "expired", "acknowledged"]
    status: int | None
    answer: str | None


class WholeLetter(Letter):
    """A dead letter with every attempt, and the event."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{**_EXAMPLE, "history": [_ATTEMPT], "event": {"id": EXAMPLE_ID, "type": "agent.updated"}}]
        }
    )

    history: list[LetterAttempt]
    event: dict[str, Any]


class LetterFilter(GetInput):
    """Dead letters of a subscription: of types that a glob matches, of a subject, that died in a time."""

    type: Glob | None = None
    subject: Glob | None = None
    since: Moment | None = None
    until: Moment | None = None

    def which(self) -> Which:
        """Return the filter."""
        return Which(None, self.type, self.subject, self.since, self.until)


class ListLetters(LetterFilter):
    """A page of a subscription's dead letters, newest first."""

    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(20, ge=1, le=100)


class GetLetter(GetInput):
    """One dead letter of a subscription."""

    letter: str


class TakeLetters(LetterFilter):
    """Which dead letters: all, or those with these ids that the filter means."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"type": "agent.*"}]})

    ids: Annotated[list[Annotated[UUID, Field(strict=False)]], Field(max_length=MOST_TAKEN)] | None = None

    def which(self) -> Which:
        """Return the filter."""
        return replace(super().which(), ids=self.ids)


class Taken(BaseModel):
    """Which were taken, oldest first, up to 1,000; `has_more` tells that there may be others: ask again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": [EXAMPLE_ID], "has_more": False}]})

    ids: list[UUID]
    has_more: bool


class Letters:
    """The dead letters of the caller's organisation."""

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "dead_letters.list",
        touches="subscriptions",
        scope=_READ,
        transaction="read",
        input=ListLetters,
        result=Page,
        shows=Letter,
    )
    async def list(self, ctx: Context, wanted: ListLetters) -> Page:
        """List a subscription's dead letters, newest first."""
        check_caller(ctx.caller)
        subscription = await found(ctx, wanted.id)
        page, total = await dead_letters.find_page(
            ctx.db,
            ctx.caller.org_id,
            subscription.id,
            wanted.which(),
            limit=wanted.per_page,
            offset=(wanted.page - 1) * wanted.per_page,
            count=MOST_COUNTED + 1,
        )
        items = [orjson.dumps(_shown(each)).decode() for each in page]
        return page_of(items, wanted.page, wanted.per_page, total)

    @operation(
        "dead_letters.get",
        touches="subscriptions",
        scope=_READ,
        transaction="read",
        input=GetLetter,
        result=Shown,
        shows=WholeLetter,
    )
    async def get(self, ctx: Context, wanted: GetLetter) -> Shown:
        """Get a dead letter with every attempt and the event."""
        check_caller(ctx.caller, sees_events=True)
        subscription, letter = await found(ctx, wanted.id), parse_id(wanted.letter)
        whole = None if letter is None else await dead_letters.find(ctx.db, ctx.caller.org_id, subscription.id, letter)
        if whole is None:
            raise HubError("RESOURCE_NOT_FOUND", "The subscription has no dead letter with this id")
        one, attempts, envelope = whole
        body = {**_shown(one), "history": [_attempt(each) for each in attempts], "event": orjson.Fragment(envelope)}
        return Shown(orjson.dumps(body).decode())

    @operation(
        "dead_letters.redrive",
        touches="subscriptions",
        scope=_WRITE,
        transaction="write",
        input=TakeLetters,
        result=Shown,
        shows=Taken,
    )
    async def redrive(self, ctx: Context, wanted: TakeLetters) -> Shown:
        """Deliver dead letters once more, as if for the first time."""
        check_caller(ctx.caller)
        subscription = await held(ctx, wanted.id)
        most = min(MOST_TAKEN, await dead_letters.room(ctx.db, ctx.caller.org_id, subscription.id))
        if most < 1:
            raise HubError("RESOURCE_CONFLICT", "Too many events are outstanding: redrive when some are acknowledged")
        ids = await dead_letters.redrive(ctx.db, ctx.caller.org_id, subscription.id, wanted.which(), most)
        return _taken(ids, most)

    @operation(
        "dead_letters.purge",
        touches="subscriptions",
        scope=_WRITE,
        transaction="write",
        input=TakeLetters,
        result=Shown,
        shows=Taken,
    )
    async def purge(self, ctx: Context, wanted: TakeLetters) -> Shown:
        """Forget dead letters and their attempts; the events stay in the log."""
        check_caller(ctx.caller)
        subscription = await held(ctx, wanted.id)
        ids = await dead_letters.purge(ctx.db, ctx.caller.org_id, subscription.id, wanted.which(), MOST_TAKEN)
        return _taken(ids, MOST_TAKEN)


def _taken(ids: Sequence[UUID], most: int) -> Shown:
    return Shown(orjson.dumps({"ids": [str(id) for id in ids], "has_more": len(ids) == most}).decode())


def _shown(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": str(letter.id),
        "event_id": str(letter.event_id),
        "type": letter.type,
        "subject": letter.subject,
        "position": str(letter.position),
        "replayed": letter.replay_id is not None,
        "attempts": letter.attempts,
        "reason": letter.reason,
        "died_at": rfc3339(letter.died_at),
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "started_at": rfc3339(attempt.started_at),
        "ended_at": rfc3339(attempt.ended_at),
        "outcome": attempt.outcome,
        "status": attempt.status,
        "answer": attempt.answer,
    }
