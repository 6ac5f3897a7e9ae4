"""What was measured in a time, from the rollup that has it in the fewest rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any
from uuid import UUID

from core.clock import rfc3339
from core.errors import Detail, HubError
from core.store.statements import Statements
from handlers.twins.telemetry.keeping import Keeping
from handlers.twins.telemetry.models import QueryTelemetry
from handlers.twins.telemetry.storing import SQL

HOUR = timedelta(hours=1)
# The longest a query may be about.
LONGEST = timedelta(days=36_600)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Level:
    seconds: int
    query: str


_LEVELS = {"1s": _Level(1, SQL["seconds"]), "1m": _Level(60, SQL["minutes"]), "1h": _Level(3600, SQL["hours"])}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of PostgreSQL: `step` seconds make a bucket; the first begins at `begins`, the last ends at `ends`."""

    query: str
    step: int
    begins: datetime
    ends: datetime


def planned(wanted: QueryTelemetry, now: datetime, keeping: Keeping) -> Plan:
    """Decide what is read. Raises HubError VALIDATION_ERROR for a time that ends before it begins, or has too many buckets."""
    ends = wanted.to or now
    begins = wanted.from_ or ends - HOUR
    if not timedelta(0) < ends - begins <= LONGEST:
        raise _refused("from", f"Before `to`, and at most {LONGEST.days} days")
    if wanted.step == "auto":
        return _automatic(wanted.points, begins, ends, now, keeping)
    level = _LEVELS[wanted.step]
    plan = _plan(level, level.seconds, begins, ends)
    asked = (plan.ends - plan.begins).total_seconds() / plan.step
    if asked > wanted.points:
        raise _refused(
            "step", f"These are {asked:.0f} points, more than `points`, {wanted.points}: `auto` takes longer steps"
        )
    return plan


def _automatic(points: int, begins: datetime, ends: datetime, now: datetime, keeping: Keeping) -> Plan:
    """Plan steps that make at most so many points, of the coarsest rollup that is as fine and goes as far back."""
    least = (ends - begins).total_seconds() / points
    reach = list(keeping.by_table.values())[1:]
    there = [level for level, age in zip(_LEVELS.values(), reach, strict=True) if begins >= now - age]
    fine = [level for level in there if level.seconds <= max(least, 1)]
    # Of what is older than all of them the coarsest may have something left.
    level = fine[-1] if fine else (there or list(_LEVELS.values())[-1:])[0]
    step = level.seconds * max(1, ceil(least / level.seconds))
    plan = _plan(level, step, begins, ends)
    while (plan.ends - plan.begins).total_seconds() / plan.step > points:
        step += level.seconds
        plan = _plan(level, step, begins, ends)
    return plan


def _plan(level: _Level, step: int, begins: datetime, ends: datetime) -> Plan:
    """Put the ends of the time at multiples of `step`."""
    width = timedelta(seconds=step)
    first = (begins - _EPOCH) // width
    last = -((_EPOCH - ends) // width)
    return Plan(level.query, step, _EPOCH + first * width, _EPOCH + last * width)


async def read(db: Statements, twin_id: UUID, metrics: Sequence[str], plan: Plan) -> Mapping[str, list[dict[str, Any]]]:
    """Return the buckets of each metric, oldest first."""
    step = timedelta(seconds=plan.step)
    rows = await db.fetch(plan.query, twin_id, list(metrics), plan.begins, plan.ends, step)
    series: dict[str, list[dict[str, Any]]] = {metric: [] for metric in metrics}
    for row in rows:
        series[row["metric"]].append(_shown(row))
    return series


def _shown(row: Any) -> dict[str, Any]:
    return {
        "time": rfc3339(row["time"]),
        "count": row["count"],
        "avg": row["sum"] / row["count"],
        "min": row["min"],
        "max": row["max"],
        "last": row["last"],
    }


def _refused(field: str, message: str) -> HubError:
    return HubError("VALIDATION_ERROR", details=[Detail(field, "VALUE_OUT_OF_RANGE", message)])
