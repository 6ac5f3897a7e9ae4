"""What points make of a rule: pure, by the times of the points.

clear --beyond--> pending --beyond for `hold` seconds--> raised --back by `hysteresis`--> clear
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from handlers.twins.telemetry.rules import Rule

State = Literal["clear", "pending", "raised"]
# Of one rule in one write: a metric that swings about a threshold without hysteresis could tell thousands.
MOST_EDGES = 20


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a rule of a twin stands; see the table `alerts`."""

    twin_id: UUID
    rule: Rule
    definition: str
    state: State
    since: datetime | None
    value: float | None
    seen_to: datetime


@dataclass(frozen=True, slots=True)
class Edge:
    """An alert that was raised or cleared by a point."""

    is_raised: bool
    time: datetime
    value: float


def watched(standing: Standing, points: Iterable[tuple[datetime, float]]) -> tuple[Standing, list[Edge]]:
    """Return where the rule stands after `points`, which are in the order of their times, and what is to be told on the way.

    Points that are no newer than what the rule has seen are passed over. Of more than MOST_EDGES the first ones and the last ones
    are told, always by turns raised and cleared.
    """
    edges: list[Edge] = []
    for time, value in points:
        if time > standing.seen_to:
            standing, edge = _after(standing, time, value)
            if edge is not None:
                edges.append(edge)
    return standing, _bounded(edges)


def _after(standing: Standing, time: datetime, value: float) -> tuple[Standing, Edge | None]:
    rule = standing.rule
    seen = replace(standing, seen_to=time)
    if standing.state == "raised":
        if not _is_back(rule, value):
            return seen, None
        return replace(seen, state="clear", since=time, value=value), Edge(is_raised=False, time=time, value=value)
    if not _is_beyond(rule, value):
        return (replace(seen, state="clear", since=None) if standing.state == "pending" else seen), None
    since = standing.since if standing.state == "pending" and standing.since is not None else time
    if (time - since).total_seconds() < rule.hold:
        return replace(seen, state="pending", since=since), None
    return replace(seen, state="raised", since=time, value=value), Edge(is_raised=True, time=time, value=value)


def _is_beyond(rule: Rule, value: float) -> bool:
    return value > rule.threshold if rule.when == "above" else value < rule.threshold


def _is_back(rule: Rule, value: float) -> bool:
    if rule.when == "above":
        return value <= rule.threshold - rule.hysteresis
    return value >= rule.threshold + rule.hysteresis


def _bounded(edges: list[Edge]) -> list[Edge]:
    excess = len(edges) - MOST_EDGES
    if excess <= 0:
        return edges
    # An even number, so that what is told goes on by turns.
    excess += excess % 2
    first = MOST_EDGES // 2
    return edges[:first] + edges[first + excess :]
