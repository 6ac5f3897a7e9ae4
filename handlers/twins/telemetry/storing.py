"""One write of points: raw, summed up, newest, and what they make of rules, in one transaction of one organisation."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from core.errors import HubError
from core.events import outbox
from core.events.event import NewEvent
from core.store.queries import load_queries
from core.store.statements import Statements
from handlers.twins.telemetry.happenings import cleared, raised
from handlers.twins.telemetry.rules import Rule
from handlers.twins.telemetry.watching import Edge, Standing, watched

SQL = load_queries(Path(__file__).with_name("queries.sql"))
# Of a twin: what is newest of it is one answer, and one event for whoever joins its room.
MOST_METRICS = 1_000


class Measured(NamedTuple):
    """A point of a twin."""

    twin_id: UUID
    metric: str
    time: datetime
    value: float


class NoSuchTwins(Exception):
    """Points are of twins that the organisation does not have: nothing is stored."""

    def __init__(self, ids: Iterable[UUID]) -> None:
        super().__init__("There are no such twins")
        self.ids = frozenset(ids)


class Written(NamedTuple):
    """What a write has done: the points that are the newest of their metric now, and whether there are events for the relay."""

    newest: list[Measured]
    has_events: bool


@dataclass(frozen=True, slots=True)
class _Columns:
    """Points as arrays, each key once, in the order of the key."""

    twins: list[UUID]
    metrics: list[str]
    times: list[datetime]
    values: list[float]

    @classmethod
    def of(cls, points: Iterable[Measured]) -> "_Columns":
        rows = sorted(points)
        return cls([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], [r[3] for r in rows])


def deduplicated(points: Iterable[Measured]) -> list[Measured]:
    """Return the points without those that a later one of the same twin, metric and time replaces."""
    return list({point[:3]: point for point in points}.values())


async def store(db: Statements, org_id: UUID, points: Sequence[Measured], now: datetime) -> Written:
    """Store points, no two of one key, in the transaction that `db` has open.

    Raises NoSuchTwins, and HubError VALIDATION_ERROR where a twin would have more than MOST_METRICS metrics; then the transaction
    must not be committed.
    """
    await db.execute(SQL["lock"])
    twins = {point.twin_id for point in points}
    rows = await db.fetch(SQL["look"], list(twins), list({point.metric for point in points}))
    missing = twins.difference(row["id"] for row in rows)
    if missing:
        raise NoSuchTwins(missing)
    standings, events = _watched([_standing_of(row) for row in rows if row["rule"] is not None], points, now)
    if events:
        await db.execute(SQL["hold"], list({twin_id for twin_id, _ in events}))
    newest = await _put(db, points)
    return Written(newest, await _stand(db, org_id, standings, events))


async def _put(db: Statements, points: Sequence[Measured]) -> list[Measured]:
    """Keep points and what they sum up to; return those that are the newest of their metric now."""
    columns = _Columns.of(points)
    found = await db.fetch(SQL["store"], columns.twins, columns.metrics, columns.times, columns.values)
    by_what: dict[str, list[Measured]] = defaultdict(list)
    for row in found:
        by_what[row["what"]].append(Measured(row["twin_id"], row["metric"], row["time"], row["value"]))
    growing = {point.twin_id for point in by_what["new"]}
    if growing and await db.fetch(SQL["has_too_many"], list(growing), MOST_METRICS):
        raise HubError("VALIDATION_ERROR", f"A twin has at most {MOST_METRICS} metrics")
    if by_what["repeated"]:
        await _correct(db, by_what["repeated"])
    return by_what["newest"]


async def _correct(db: Statements, repeated: Sequence[Measured]) -> None:
    """Put other values in the place of those that are there, and sum up anew what these belong to."""
    old = _Columns.of(repeated)
    first, last = min(old.times), max(old.times)
    changed = await db.fetch(SQL["correct"], old.twins, old.metrics, old.times, old.values, first, last)
    if not changed:
        return
    keys = [[row[name] for row in changed] for name in ("twin_id", "metric", "time")]
    # Each from the finer one, which is kept no shorter than points are.
    for level in (SQL["sum_seconds"], SQL["sum_minutes"], SQL["sum_hours"]):
        await db.execute(level, *keys)


_Events = dict[tuple[UUID, str], list[NewEvent]]


def _watched(
    standings: Sequence[Standing], points: Sequence[Measured], now: datetime
) -> tuple[list[Standing], _Events]:
    """Return where rules stand after the points, those that have seen some, and the events of each by twin and rule."""
    if not standings:
        return [], {}
    wanted = {(each.twin_id, each.rule.metric) for each in standings}
    series: dict[tuple[UUID, str], list[tuple[datetime, float]]] = defaultdict(list)
    for point in points:
        if point[:2] in wanted:
            series[point[:2]].append(point[2:])
    for each in series.values():
        each.sort()
    moved: list[Standing] = []
    events: _Events = {}
    for before in standings:
        after, edges = watched(before, series[before.twin_id, before.rule.metric])
        if after.seen_to > before.seen_to:
            moved.append(after)
        if edges:
            events[before.twin_id, before.rule.name] = [_event(before, edge, now) for edge in edges]
    return moved, events


async def _stand(
    db: Statements, org_id: UUID, moved: Sequence[Standing], events: Mapping[tuple[UUID, str], Sequence[NewEvent]]
) -> bool:
    """Keep where rules stand now, and tell of those that have not been changed meanwhile."""
    if not moved:
        return False
    rows = await db.fetch(
        SQL["stand"],
        [each.twin_id for each in moved],
        [each.rule.name for each in moved],
        [each.definition for each in moved],
        [each.state for each in moved],
        [each.since for each in moved],
        [each.value for each in moved],
        [each.seen_to for each in moved],
    )
    kept = {(row["twin_id"], row["rule"]) for row in rows}
    told = [event for key, some in events.items() if key in kept for event in some]
    await outbox.put(db, org_id, told)
    return bool(told)


def _standing_of(row: Any) -> Standing:
    rule = Rule.model_validate(orjson.loads(row["definition"]))
    return Standing(row["id"], rule, row["definition"], row["state"], row["since"], row["value"], row["seen_to"])


def _event(standing: Standing, edge: Edge, now: datetime) -> NewEvent:
    tell = raised if edge.is_raised else cleared
    return tell(standing.twin_id, standing.rule, edge.time, edge.value, now)
