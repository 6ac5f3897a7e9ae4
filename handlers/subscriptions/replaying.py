"""Replays of subscriptions: begun, watched, paused, cancelled."""

from datetime import datetime
from typing import Annotated, Any, Literal, NoReturn
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from core.clock import rfc3339
from core.errors import Detail, HubError
from core.events.log import LogReader
from core.events.subscriptions import replays
from core.events.subscriptions.replays import NewReplay
from core.events.subscriptions.subscription import Subscription
from core.ids import new_id, parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Page, Shown
from handlers.resources.models import GetInput
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME
from handlers.subscriptions.models import BehindPosition, BehindTime
from handlers.subscriptions.rights import check_caller, found, held

_READ, _WRITE = "read:subscriptions", "write:subscriptions"
# Events a second; the slowest is one in about a quarter of an hour.
FASTEST, SLOWEST = 100_000, 0.001
_EXAMPLE: dict[str, JsonValue] = {
    "id": EXAMPLE_ID,
    "subscription_id": EXAMPLE_ID,
    "target": EXAMPLE_ID,
    "status": "done",
    "after": "0",
    "position": "1042",
    "upto": "1042",
    "rate": None,
    "placed": 77,
    "created_at": EXAMPLE_TIME,
    "updated_at": EXAMPLE_TIME,
}
Place = BehindPosition | BehindTime


class StartReplay(GetInput):
    """From where the log is delivered again, and to where (to its present end, where that is left out).

    `target` is another subscription that gets it; `rate` is in events a second, else it is as fast as they are taken.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"from": {"position": "0"}, "rate": 500}]})

    start: Place = Field(alias="from")
    end: Place | None = Field(default_factory=lambda: None, alias="to")
    rate: float | None = Field(None, ge=SLOWEST, le=FASTEST, strict=True)
    target: Annotated[str, StringConstraints(max_length=64)] | None = None


class Replay(BaseModel):
    """A replay: it has looked at the log up to `position` of `upto`, and `placed` so many events for delivery."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: UUID
    subscription_id: UUID
    target: UUID
    status: Literal["running", "paused", "cancelled", "done"]
    after: str
    position: str
    upto: str
    rate: float | None
    placed: int
    created_at: datetime
    updated_at: datetime


class ReplayNow(Replay):
    """A replay, and how many of its events are placed and not acknowledged."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_EXAMPLE, "outstanding": 0}]})

    outstanding: int


class ListReplays(GetInput):
    """A page of a subscription's replays, newest first."""

    page: int = Field(1, ge=1, le=1_000_000)
    per_page: int = Field(20, ge=1, le=100)


class GetReplay(GetInput):
    """One replay of a subscription."""

    replay: str


class Replays:
    """The replays of the caller's organisation; `log` tells which position a time has."""

    def __init__(self, log: LogReader) -> None:
        self._log = log

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "replays.create",
        touches="subscriptions",
        scope=_WRITE,
        transaction="write",
        input=StartReplay,
        result=Shown,
        shows=ReplayNow,
    )
    async def create(self, ctx: Context, wanted: StartReplay) -> Shown:
        """Deliver a part of the log once more, marked `replayed`, beside what is new."""
        check_caller(ctx.caller, sees_events=True)
        source, target = await _both(ctx, wanted.id, wanted.target or wanted.id)
        if target.delivery == "push" and target.id != source.id:
            raise HubError("RESOURCE_CONFLICT", "The target is a webhook's, which gets what it subscribed to only")
        after, upto = await self._position(ctx, wanted.start), None
        if wanted.end is not None:
            upto = await self._position(ctx, wanted.end)
            if upto < after:
                raise HubError(
                    "VALIDATION_ERROR", details=[Detail("to", "VALUE_OUT_OF_RANGE", "It ends before it begins")]
                )
        new = NewReplay(new_id(), source.id, target.id, after, upto, wanted.rate)
        return _shown(await replays.create(ctx.db, ctx.caller.org_id, new, ctx.now), 0)

    @operation(
        "replays.list",
        touches="subscriptions",
        scope=_READ,
        transaction="read",
        input=ListReplays,
        result=Page,
        shows=Replay,
    )
    async def list(self, ctx: Context, wanted: ListReplays) -> Page:
        """List a subscription's replays, newest first."""
        check_caller(ctx.caller)
        subscription = await found(ctx, wanted.id)
        offset = (wanted.page - 1) * wanted.per_page
        page, total = await replays.find_page(
            ctx.db, ctx.caller.org_id, subscription.id, limit=wanted.per_page, offset=offset
        )
        items = [orjson.dumps(_fields(each)).decode() for each in page]
        return Page(items, wanted.page, wanted.per_page, total)

    @operation(
        "replays.get",
        touches="subscriptions",
        scope=_READ,
        transaction="read",
        input=GetReplay,
        result=Shown,
        shows=ReplayNow,
    )
    async def get(self, ctx: Context, wanted: GetReplay) -> Shown:
        """Get a replay and how far it is."""
        check_caller(ctx.caller)
        return await self._now(ctx, *await self._ids(ctx, wanted))

    @operation(
        "replays.pause",
        touches="subscriptions",
        scope=_WRITE,
        transaction="write",
        input=GetReplay,
        result=Shown,
        shows=ReplayNow,
    )
    async def pause(self, ctx: Context, wanted: GetReplay) -> Shown:
        """Place no more of a replay until it is resumed."""
        return await self._set_status(ctx, wanted, "paused")

    @operation(
        "replays.resume",
        touches="subscriptions",
        scope=_WRITE,
        transaction="write",
        input=GetReplay,
        result=Shown,
        shows=ReplayNow,
    )
    async def resume(self, ctx: Context, wanted: GetReplay) -> Shown:
        """Go on where it was paused."""
        return await self._set_status(ctx, wanted, "running")

    @operation(
        "replays.cancel",
        touches="subscriptions",
        scope=_WRITE,
        transaction="write",
        input=GetReplay,
        result=Shown,
        shows=ReplayNow,
    )
    async def cancel(self, ctx: Context, wanted: GetReplay) -> Shown:
        """End a replay; what of it nobody has is withdrawn."""
        return await self._set_status(ctx, wanted, "cancelled")

    async def _set_status(self, ctx: Context, wanted: GetReplay, status: replays.Status) -> Shown:
        check_caller(ctx.caller)
        subscription, replay = await self._ids(ctx, wanted)
        if not await replays.set_status(ctx.db, ctx.caller.org_id, subscription, replay, status, ctx.now):
            _no_replay()
        return await self._now(ctx, subscription, replay)

    async def _ids(self, ctx: Context, wanted: GetReplay) -> tuple[UUID, UUID]:
        subscription = await found(ctx, wanted.id)
        return subscription.id, parse_id(wanted.replay) or _no_replay()

    async def _now(self, ctx: Context, subscription: UUID, replay: UUID) -> Shown:
        one = await replays.find(ctx.db, ctx.caller.org_id, subscription, replay)
        return _shown(*(one or _no_replay()))

    async def _position(self, ctx: Context, place: Place) -> int:
        if isinstance(place, BehindPosition):
            return int(place.position)
        return await self._log.position_at(ctx.caller.org_id, place.time)


async def _both(ctx: Context, source: str, target: str) -> tuple[Subscription, Subscription]:
    """Hold source and target: neither is deleted meanwhile. In one order, so that two that cross do not wait for each other."""
    rows = {id: await held(ctx, id) for id in sorted({source, target}, key=str.lower)}
    return rows[source], rows[target]


def _no_replay() -> NoReturn:
    raise HubError("RESOURCE_NOT_FOUND", "The subscription has no replay with this id")


def _shown(replay: replays.Replay, outstanding: int) -> Shown:
    return Shown(orjson.dumps({**_fields(replay), "outstanding": outstanding}).decode())


def _fields(replay: replays.Replay) -> dict[str, Any]:
    return {
        "id": str(replay.id),
        "subscription_id": str(replay.subscription_id),
        "target": str(replay.target_id),
        "status": replay.status,
        "after": str(replay.after),
        "position": str(replay.cursor),
        "upto": str(replay.upto),
        "rate": replay.rate,
        "placed": replay.placed,
        "created_at": rfc3339(replay.created_at),
        "updated_at": rfc3339(replay.updated_at),
    }
