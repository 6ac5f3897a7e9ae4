"""What failed too often, or can never succeed: kept with every attempt until somebody redrives or purges it, and announced.

What dies while it announces a death is not announced again: two subscriptions that fail could else tell each other for ever.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from core.events import outbox
from core.events.event import new_event
from core.events.subscriptions.patterns import like_pattern
from core.events.subscriptions.subscription import WINDOW, Buried
from core.ids import new_id
from core.store.queries import load_queries
from core.store.statements import Statements

SQL: Mapping[str, str] = load_queries(Path(__file__).with_name("dead_letters.sql"))
# With so many deliveries outstanding nothing is redriven: each lease looks at all of them.
MOST_OUTSTANDING = 10 * WINDOW
DEAD_LETTERED = "subscription.dead_lettered"


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt ended: `refused`, `expired`, or of push `acknowledged`; `answer` has at most 4 KiB."""

    number: int
    started_at: datetime
    ended_at: datetime
    outcome: str
    status: int | None
    answer: str | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was given up for one subscription."""

    id: UUID
    position: int
    event_id: UUID
    type: str
    subject: str
    replay_id: UUID | None
    attempts: int
    reason: str
    died_at: datetime


@dataclass(frozen=True, slots=True)
class Which:
    """Which dead letters: with these ids, of types that a glob matches, of a subject, that died in a time; None: any."""

    ids: Sequence[UUID] | None = None
    type: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def values(self) -> tuple[object, ...]:
        """Return what statements take, but for the ids."""
        return None if self.type is None else like_pattern(self.type), self.subject, self.since, self.until


@dataclass(frozen=True, slots=True)
class Announcement:
    """An event that tells of a dead letter."""

    type: str
    subject: str
    data: str


def announcements(subscription_id: UUID, buried: Sequence[Buried]) -> list[Announcement]:
    """Return what to tell of dead letters."""
    return [
        Announcement(DEAD_LETTERED, f"subscriptions/{subscription_id}", _told(subscription_id, each))
        for each in buried
        if each.type != DEAD_LETTERED
    ]


async def announce(db: Statements, org_id: UUID, told: Sequence[Announcement], now: datetime) -> None:
    """Write announcements into the outbox, for who has no operation's context; poke the relay after the commit."""
    events = [
        new_event(event_id=new_id(), type=t.type, subject=t.subject, time=now, data=t.data, short=None) for t in told
    ]
    await outbox.put(db, org_id, events)


async def find_page(
    db: Statements, org_id: UUID, id: UUID, which: Which, *, limit: int, offset: int, count: int
) -> tuple[list[DeadLetter], int]:
    """Return a page of a subscription's dead letters, newest first, and how many there are, of which `count` are counted."""
    rows = await db.fetch(SQL["list"], org_id, id, limit, offset, *which.values(), count)
    return [_letter(row) for row in rows if row["id"] is not None], rows[0]["total"]


async def find(db: Statements, org_id: UUID, id: UUID, letter: UUID) -> tuple[DeadLetter, list[Attempt], str] | None:
    """Return a dead letter with its attempts and the event as JSON, None where there is none."""
    row = await db.fetchrow(SQL["find"], org_id, id, letter)
    if row is None:
        return None
    return _letter(row), await attempts(db, org_id, id, row["delivery"]), row["envelope"]


async def attempts(db: Statements, org_id: UUID, id: UUID, delivery: int) -> list[Attempt]:
    """Return the attempts of a delivery that are kept."""
    return [Attempt(**row) for row in await db.fetch(SQL["attempts"], org_id, id, delivery)]


async def room(db: Statements, org_id: UUID, id: UUID) -> int:
    """Return how many may be redriven now; the caller holds the subscription's row."""
    return MOST_OUTSTANDING - await db.fetchval(SQL["outstanding"], org_id, id, MOST_OUTSTANDING)


async def redrive(db: Statements, org_id: UUID, id: UUID, which: Which, most: int) -> list[UUID]:
    """Deliver dead letters once more, oldest first, at most so many; the caller holds the subscription's row. Returns which."""
    return await _take(SQL["redrive"], db, org_id, id, which, most)


async def purge(db: Statements, org_id: UUID, id: UUID, which: Which, most: int) -> list[UUID]:
    """Forget dead letters and their attempts, oldest first, at most so many; returns which."""
    return await _take(SQL["purge"], db, org_id, id, which, most)


async def _take(statement: str, db: Statements, org_id: UUID, id: UUID, which: Which, most: int) -> list[UUID]:
    ids = None if which.ids is None else list(which.ids)
    rows = await db.fetch(statement, org_id, id, ids, most, *which.values())
    return [row["id"] for row in rows]


def _letter(row: Any) -> DeadLetter:
    return DeadLetter(**{name: row[name] for name in DeadLetter.__slots__})


def _told(subscription_id: UUID, buried: Buried) -> str:
    told = {
        "subscription_id": str(subscription_id),
        "dead_letter_id": str(buried.id),
        "event_id": str(buried.event_id),
        "event_type": buried.type,
        "event_subject": buried.subject,
        "position": str(buried.position),
        "attempts": buried.attempts,
        "reason": buried.reason,
        "href": f"/v2/subscriptions/{subscription_id}/dead-letters/{buried.id}",
    }
    return orjson.dumps(told).decode()
