"""Subscriptions as rows. Each function is given statements that speak for the organisation, or for all (`hub_system`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import asyncpg

from core.errors import Detail, HubError
from core.events.subscriptions.patterns import like_pattern
from core.events.subscriptions.subscription import NewSubscription, Status, Subscription
from core.store.queries import load_queries
from core.store.statements import Statements

SQL: Mapping[str, str] = load_queries(Path(__file__).with_name("store.sql"))
_DELETIONS = (
    SQL["delete_deliveries"],
    SQL["delete_attempts"],
    SQL["delete_dead_letters"],
    SQL["delete_replays"],
    SQL["delete"],
)


@dataclass(frozen=True, slots=True)
class Figures:
    """How far a subscription is: `lag` positions of the log were not looked at yet, `outstanding` deliveries are not acknowledged,
    `in_flight` of these are with consumers. `oldest_seconds` is the age of the oldest event of either, None where there is none."""

    lag: int
    outstanding: int
    in_flight: int
    dead_letters: int
    oldest_seconds: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """What of a subscription is to be another; None stays. Another filter holds for what was not turned into deliveries yet."""

    name: str | None = None
    types: Sequence[str] | None = None
    subjects: Sequence[str] | None = None
    max_in_flight: int | None = None
    ack_seconds: float | None = None
    delays: Sequence[float] | None = None
    max_deliveries: int | None = None
    status: Status | None = None
    status_reason: str | None = None


async def create(db: Statements, org_id: UUID, new: NewSubscription, now: datetime, cursor: int | None) -> Subscription:
    """Make a subscription that begins behind position `cursor`, or, with None, with what comes from now on.

    Raises HubError RESOURCE_CONFLICT where the organisation has one of this name.
    """
    row = await db.fetchrow(
        SQL["insert"],
        org_id,
        new.id,
        new.name,
        new.delivery,
        list(new.types),
        list(new.subjects),
        [like_pattern(glob) for glob in new.types],
        [like_pattern(glob) for glob in new.subjects],
        new.ordered,
        new.max_in_flight,
        new.ack_seconds,
        list(new.delays),
        new.max_deliveries,
        new.target,
        now,
        cursor,
    )
    return _subscription(row) if row is not None else _name_is_taken(new.name)


async def find(db: Statements, org_id: UUID, id: UUID) -> Subscription | None:
    """Return a subscription, None where there is none."""
    row = await db.fetchrow(SQL["find"], org_id, id)
    return None if row is None else _subscription(row)


async def hold(db: Statements, org_id: UUID, id: UUID) -> Subscription | None:
    """Return a subscription and keep its row for the length of the transaction: nothing is handed out of it meanwhile."""
    row = await db.fetchrow(SQL["hold"], org_id, id)
    return None if row is None else _subscription(row)


async def find_page(
    db: Statements, org_id: UUID, *, limit: int, offset: int, status: str | None, delivery: str | None
) -> tuple[list[Subscription], int]:
    """Return a page of the organisation's subscriptions, newest first, and how many there are."""
    rows = await db.fetch(SQL["list"], org_id, limit, offset, status, delivery)
    return [_subscription(row) for row in rows if row["id"] is not None], rows[0]["total"]


async def figures(db: Statements, org_id: UUID, id: UUID) -> Figures:
    """Return how far a subscription is, at this moment."""
    row = await db.fetchrow(SQL["figures"], org_id, id)
    return Figures(0, 0, 0, 0, None) if row is None else Figures(**row)


async def change(db: Statements, org_id: UUID, id: UUID, wanted: Change, now: datetime) -> Subscription:
    """Write the next version of a subscription whose row is held. Raises HubError RESOURCE_CONFLICT for a name that is taken."""
    values = (
        org_id,
        id,
        now,
        wanted.name,
        _list(wanted.types),
        _patterns(wanted.types),
        _list(wanted.subjects),
        _patterns(wanted.subjects),
        wanted.max_in_flight,
        wanted.ack_seconds,
        _list(wanted.delays),
        wanted.max_deliveries,
        wanted.status,
        wanted.status_reason,
    )
    try:
        return _subscription(await db.fetchrow(SQL["change"], *values))
    except asyncpg.UniqueViolationError:
        _name_is_taken(wanted.name or "")


async def remove(db: Statements, org_id: UUID, id: UUID) -> None:
    """Delete a subscription whose row is held, with its deliveries, attempts, dead letters and replays."""
    for statement in _DELETIONS:
        await db.execute(statement, org_id, id)


def _name_is_taken(name: str) -> NoReturn:
    detail = Detail("name", "INVALID_FORMAT", "another subscription of the organisation has it")
    raise HubError("RESOURCE_CONFLICT", f"There is a subscription called {name}", [detail])


def _list(values: Sequence[Any] | None) -> list[Any] | None:
    return None if values is None else list(values)


def _patterns(globs: Sequence[str] | None) -> list[str] | None:
    return None if globs is None else [like_pattern(glob) for glob in globs]


def _subscription(row: Any) -> Subscription:
    fields: dict[str, Any] = {name: row[name] for name in Subscription.__slots__}
    fields |= {name: tuple(fields[name]) for name in ("types", "subjects", "delays")}
    return Subscription(**fields)
