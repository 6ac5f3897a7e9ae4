"""What can be done with telemetry: points are appended, what they were is asked, alerts are listed."""

from collections.abc import Collection, Sequence
from typing import Any, NoReturn
from uuid import UUID

import orjson

from core.auth.caller import Caller
from core.clock import rfc3339
from core.errors import Detail, HubError
from core.ids import parse_id
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Page, Shown
from core.operations.validation import validated
from handlers.resources.models import GetInput
from handlers.twins.telemetry.intake import MOST_DETAILS, Intake
from handlers.twins.telemetry.keeping import Keeping
from handlers.twins.telemetry.models import (
    MOST_QUERIED,
    Alert,
    AppendMany,
    AppendTelemetry,
    Latest,
    ListAlerts,
    Measurements,
    Point,
    Points,
    QueryTelemetry,
    Stored,
    frame_of,
)
from handlers.twins.telemetry.series import planned, read
from handlers.twins.telemetry.snapshots import newest
from handlers.twins.telemetry.storing import SQL, Measured, NoSuchTwins

_READ, _WRITE = "read:twins", "write:twins"
# A query reads up to some hundred thousand rows.
QUERY_WEIGHT = 2


class Telemetry:
    """Points of the caller's organisation's twins. `append` is what every door calls."""

    def __init__(self, intake: Intake, keeping: Keeping) -> None:
        self._intake = intake
        self._keeping = keeping

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    async def publish(self, caller: Caller, twin_id: UUID, data: bytes) -> int:
        """Store what a client has published for a twin (JSON); return how many points it was.

        The caller has checked whether it may publish. Raises HubError as the operations do.
        """
        given = validated(Points, frame_of(orjson.loads(data)))
        assert isinstance(given, Points)  # noqa: S101 - tells the type checker what validated() made
        return await self._append(caller.org_id, twin_id, given.points)

    @operation(
        "telemetry.append",
        touches="twins",
        scope=_WRITE,
        transaction="none",
        input=AppendTelemetry,
        result=Shown,
        shows=Stored,
    )
    async def append(self, ctx: Context, new: AppendTelemetry) -> Shown:
        """Append points of one twin: all of them or none; of one metric and time the one that comes last counts."""
        stored = await self._append(ctx.caller.org_id, _permitted(ctx, new.id), new.points)
        return Shown(f'{{"stored":{stored}}}')

    @operation("telemetry.append_many", scope=_WRITE, transaction="none", input=AppendMany, result=Shown, shows=Stored)
    async def append_many(self, ctx: Context, new: AppendMany) -> Shown:
        """Append points of many twins: all of them or none."""
        points = new.points
        _check_touched(ctx, [point.twin_id for point in points])
        times = self._intake.dated(points)
        measured = [
            Measured(point.twin_id, point.metric, time, point.value) for point, time in zip(points, times, strict=True)
        ]
        try:
            await self._intake.take(ctx.caller.org_id, measured)
        except NoSuchTwins as missing:
            raise _unknown([point.twin_id for point in points], missing.ids) from None
        return Shown(f'{{"stored":{len(points)}}}')

    @operation(
        "telemetry.query",
        touches="twins",
        scope=_READ,
        transaction="read",
        input=QueryTelemetry,
        result=Shown,
        shows=Measurements,
        weight=QUERY_WEIGHT,
    )
    async def query(self, ctx: Context, wanted: QueryTelemetry) -> Shown:
        """Ask what some metrics were: how many points, their mean, least, greatest and last, step by step."""
        twin_id = _permitted(ctx, wanted.id)
        plan = planned(wanted, ctx.now, self._keeping)
        await _check_there(ctx, twin_id)
        metrics = wanted.metric
        if metrics is None:
            metrics = [row["metric"] for row in await ctx.db.fetch(SQL["first_metrics"], twin_id, MOST_QUERIED)]
        series = await read(ctx.db, twin_id, list(dict.fromkeys(metrics)), plan)
        answer = {
            "twin_id": str(twin_id),
            "from": rfc3339(plan.begins),
            "to": rfc3339(plan.ends),
            "step_seconds": plan.step,
            "series": series,
        }
        return Shown(orjson.dumps(answer).decode())

    @operation(
        "telemetry.latest", touches="twins", scope=_READ, transaction="read", input=GetInput, result=Shown, shows=Latest
    )
    async def latest(self, ctx: Context, wanted: GetInput) -> Shown:
        """Look at the newest point of each metric."""
        twin_id = _permitted(ctx, wanted.id)
        metrics = await newest(ctx.db, twin_id)
        if metrics is None:
            _missing()
        return Shown(orjson.dumps({"twin_id": str(twin_id), "metrics": metrics}).decode())

    @operation(
        "alerts.list", touches="twins", scope=_READ, transaction="read", input=ListAlerts, result=Page, shows=Alert
    )
    async def alerts(self, ctx: Context, wanted: ListAlerts) -> Page:
        """List the rules of a twin and where they stand, by name."""
        twin_id = _permitted(ctx, wanted.id)
        await _check_there(ctx, twin_id)
        rows = await ctx.db.fetch(SQL["alerts"], twin_id, wanted.status)
        start = (wanted.page - 1) * wanted.per_page
        items = [_alert(row) for row in rows[start : start + wanted.per_page]]
        return Page(items, wanted.page, wanted.per_page, len(rows))

    async def _append(self, org_id: UUID, twin_id: UUID, points: Sequence[Point]) -> int:
        times = self._intake.dated(points)
        measured = [
            Measured(twin_id, point.metric, time, point.value) for point, time in zip(points, times, strict=True)
        ]
        try:
            await self._intake.take(org_id, measured)
        except NoSuchTwins:
            _missing()
        return len(points)


def _permitted(ctx: Context, text: str) -> UUID:
    id = parse_id(text)
    # A twin that the caller may not see does not exist for it.
    if id is None or not ctx.caller.may_touch(id):
        _missing()
    return id


def _check_touched(ctx: Context, twins: Sequence[UUID]) -> None:
    hidden = {id for id in set(twins) if not ctx.caller.may_touch(id)}
    if hidden:
        raise _unknown(twins, hidden)


async def _check_there(ctx: Context, twin_id: UUID) -> None:
    if not await ctx.db.fetchval(SQL["has_twin"], twin_id):
        _missing()


def _unknown(twins: Sequence[UUID], missing: Collection[UUID]) -> HubError:
    places = [at for at, id in enumerate(twins) if id in missing]
    message = "There is no twin with this id"
    details = [Detail(f"points[{at}].twin_id", "INVALID_FORMAT", message) for at in places[:MOST_DETAILS]]
    return HubError("VALIDATION_ERROR", details=details)


def _missing() -> NoReturn:
    raise HubError("RESOURCE_NOT_FOUND", "There is no twin with this id")


def _alert(row: Any) -> str:
    rule = orjson.loads(row["definition"])
    since = None if row["since"] is None else rfc3339(row["since"])
    told = {"id": row["rule"], "status": row["state"], **{name: rule[name] for name in _SHOWN_OF_RULE}}
    return orjson.dumps({**told, "since": since, "value": row["value"]}).decode()


_SHOWN_OF_RULE = ("metric", "when", "threshold", "hysteresis", "hold", "severity")
