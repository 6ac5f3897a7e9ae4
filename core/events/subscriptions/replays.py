"""Replays: a part of the log delivered once more, while live delivery goes on.

A replay fills its target's deliveries from a cursor of its own, each marked; `lease` does it (deliveries.py). Live events go first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from core.errors import HubError
from core.store.queries import load_queries
from core.store.statements import Statements

SQL: Mapping[str, str] = load_queries(Path(__file__).with_name("replays.sql"))
Status = Literal["running", "paused", "cancelled", "done"]
# Each has a window of rows outstanding.
MOST_AT_ONCE = 5


@dataclass(frozen=True, slots=True)
class NewReplay:
    """What of a subscription's log to deliver again: behind `after`, up to `upto` (None: to where the log ends now).

    `target_id` gets it: the subscription itself, or another; `rate` is in events a second, None: as fast as they are taken.
    """

    id: UUID
    subscription_id: UUID
    target_id: UUID
    after: int
    upto: int | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay: looked at up to `cursor`, with `placed` events so far; `done` when the cursor is at `upto`."""

    id: UUID
    subscription_id: UUID
    target_id: UUID
    after: int
    cursor: int
    upto: int
    rate: float | None
    placed: int
    status: Status
    created_at: datetime
    updated_at: datetime


async def create(db: Statements, org_id: UUID, new: NewReplay, now: datetime) -> Replay:
    """Begin a replay; the caller holds the target's row. Raises HubError RESOURCE_CONFLICT where the target has enough of them."""
    if await db.fetchval(SQL["unfinished"], org_id, new.target_id) >= MOST_AT_ONCE:
        raise HubError("RESOURCE_CONFLICT", f"A subscription has at most {MOST_AT_ONCE} replays that are not done")
    row = await db.fetchrow(
        SQL["insert"], org_id, new.id, new.subscription_id, new.target_id, new.after, new.upto, new.rate, now
    )
    return _replay(row)


async def find(db: Statements, org_id: UUID, id: UUID, replay: UUID) -> tuple[Replay, int] | None:
    """Return a replay of a subscription, and how many of its deliveries are outstanding; None where there is none."""
    row = await db.fetchrow(SQL["find"], org_id, id, replay)
    return None if row is None else (_replay(row), row["outstanding"])


async def find_page(db: Statements, org_id: UUID, id: UUID, *, limit: int, offset: int) -> tuple[list[Replay], int]:
    """Return a page of a subscription's replays, newest first, and how many there are."""
    rows = await db.fetch(SQL["list"], org_id, id, limit, offset)
    return [_replay(row) for row in rows if row["id"] is not None], rows[0]["total"]


async def set_status(db: Statements, org_id: UUID, id: UUID, replay: UUID, status: Status, now: datetime) -> bool:
    """Let a replay run, pause or be cancelled; False where there is none.

    Cancelled, what nobody has of it is withdrawn; who has one may still answer it. Raises HubError RESOURCE_CONFLICT for one that
    has ended otherwise; once more changes nothing.
    """
    held = await db.fetchrow(SQL["hold"], org_id, id, replay)
    if held is None:
        return False
    if held["status"] == status:
        return True
    if held["status"] in ("cancelled", "done"):
        raise HubError("RESOURCE_CONFLICT", f"The replay is {held['status']}")
    await db.execute(SQL["set_status"], org_id, replay, status, now)
    if status == "cancelled":
        gone = await db.fetch(SQL["withdraw"], org_id, held["target_id"], replay)
        await db.execute(SQL["end_attempts"], org_id, held["target_id"], [row["id"] for row in gone])
    return True


def _replay(row: Any) -> Replay:
    return Replay(**{name: row[name] for name in Replay.__slots__})
