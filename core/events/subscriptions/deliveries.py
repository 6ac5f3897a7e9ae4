"""Handing out the events of a subscription, and taking the answers.

All methods are given statements that speak for the organisation (`hub_app`) or for all (`hub_system`). `lease`, `refuse` and `bury`
are several statements: they are given a transaction, which the caller commits. Time is PostgreSQL's: a test that wants time to pass
makes rows older.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any
from uuid import UUID

from core.events.subscriptions.subscription import WINDOW, Answer, Buried, Delivery, Hold, Outlook
from core.ids import new_id
from core.store.queries import load_queries
from core.store.statements import Statements

SQL: Mapping[str, str] = load_queries(Path(__file__).with_name("deliveries.sql"))
# So many positions are looked at in one statement: some milliseconds, whatever matches.
LOOK = 5_000
# And in so many statements until something is found, before others get their turn.
LOOKS = 10
BURIED_AT_ONCE = 100
# Characters of events that are handed out together.
MOST_TOGETHER = 8 * 1024 * 1024
_NO_ANSWER = Answer()


async def lease(db: Statements, org_id: UUID, id: UUID, most: int) -> tuple[list[Delivery], list[Buried]]:
    """Hand out up to `most` deliveries that are due, oldest first; the transaction holds the subscription's row meanwhile.

    Also returned: what became a dead letter, since nobody answered its last attempt; the caller announces it. Nothing is handed
    out of a subscription that is paused, disabled or not there.
    """
    held = await db.fetchrow(SQL["hold"], org_id, id)
    if held is None or held["status"] != "active":
        return [], []
    buried = await _bury_exhausted(db, org_id, id, held)
    if held["ordered"]:
        if held["has_replays"]:
            await _fill_replays(db, org_id, id)
        await _fill(db, org_id, id, held)
        rows = await _due(db, org_id, id, held, most)
    else:
        rows = await _taken(db, org_id, id, held, most)
    leased = [_delivery(row) for row in sorted(rows, key=itemgetter("id"))]
    fits = _fitting(leased)
    if fits < len(leased):
        await give_back(db, org_id, id, [each.hold for each in leased[fits:]])
    return leased[:fits], buried


async def exhausted(db: Statements) -> list[tuple[UUID, UUID]]:
    """Return organisation and id of subscriptions whose last attempts nobody answered; for `hub_system`."""
    return [(row["org_id"], row["id"]) for row in await db.fetch(SQL["exhausted_anywhere"])]


async def bury_exhausted(db: Statements, org_id: UUID, id: UUID) -> list[Buried]:
    """Make dead letters of what nobody answered when it was handed out for the last time, up to BURIED_AT_ONCE.

    Also of a subscription that is paused or disabled: no attempt is left. The transaction holds the subscription's row meanwhile,
    and its caller announces what is returned.
    """
    held = await db.fetchrow(SQL["hold"], org_id, id)
    return [] if held is None else await _bury_exhausted(db, org_id, id, held)


async def next_due(db: Statements, org_id: UUID, id: UUID) -> float | None:
    """Return in how many seconds there may be something to lease, 0 or less for now; None while only a new event can bring it.

    One cheap statement, for who waits.
    """
    return await db.fetchval(SQL["next_due"], org_id, id, WINDOW)


async def outlook(db: Statements, org_id: UUID, id: UUID) -> Outlook | None:
    """Return how a subscription stands, and the same as `next_due`; None where there is none."""
    row = await db.fetchrow(SQL["next_due"], org_id, id, WINDOW)
    return None if row is None else Outlook(**row)


async def ready(db: Statements) -> list[tuple[UUID, UUID]]:
    """Return organisation and id of the push subscriptions that may have something to lease; for `hub_system`."""
    return [(row["org_id"], row["id"]) for row in await db.fetch(SQL["ready"], WINDOW)]


async def ack(db: Statements, org_id: UUID, id: UUID, holds: Sequence[Hold], answer: Answer | None = None) -> set[Hold]:
    """End deliveries; returns those whose lease still held. With an `answer` the attempt is kept."""
    said = answer or _NO_ANSWER
    given = (*_split(holds), answer is not None, said.status, said.kept())
    rows = await db.fetch(SQL["ack"], org_id, id, *given)
    return {_hold(row) for row in rows}


async def refuse(
    db: Statements,
    org_id: UUID,
    id: UUID,
    holds: Sequence[Hold],
    *,
    answer: Answer = _NO_ANSWER,
    delay_seconds: float | None = None,
    for_good: bool = False,
) -> tuple[set[Hold], list[Buried]]:
    """Have deliveries come again after `delay_seconds`, or the subscription's own delay with jitter; returns those that still held.

    After the last attempt, or `for_good`, they become dead letters, which are returned too, for the caller to announce.
    """
    rows = await db.fetch(SQL["refuse"], org_id, id, *_split(holds), delay_seconds, answer.status, answer.kept())
    dead = [row["id"] for row in rows if for_good or row["is_last"]]
    reason = "rejected" if for_good else "max_deliveries"
    return {_hold(row) for row in rows}, await bury(db, org_id, id, dead, reason)


async def extend(db: Statements, org_id: UUID, id: UUID, holds: Sequence[Hold], seconds: float) -> dict[Hold, datetime]:
    """Let leases end `seconds` from now; returns the new end of those that still held."""
    rows = await db.fetch(SQL["extend"], org_id, id, *_split(holds), seconds)
    return {_hold(row): row["lease_until"] for row in rows}


async def give_back(db: Statements, org_id: UUID, id: UUID, holds: Sequence[Hold]) -> None:
    """Undo the lease of deliveries that no consumer has seen: it was no attempt."""
    await db.execute(SQL["give_back"], org_id, id, *_split(holds))


async def bury(db: Statements, org_id: UUID, id: UUID, deliveries: Sequence[int], reason: str) -> list[Buried]:
    """Make dead letters of deliveries, with their attempts; the caller announces what is returned."""
    if not deliveries:
        return []
    rows = await db.fetch(SQL["bury"], org_id, id, deliveries, [new_id() for _ in deliveries], reason)
    return [Buried(**row) for row in rows]


async def _bury_exhausted(db: Statements, org_id: UUID, id: UUID, held: Any) -> list[Buried]:
    if not held["has_exhausted"]:
        return []
    rows = await db.fetch(SQL["exhausted"], org_id, id, held["max_deliveries"], BURIED_AT_ONCE)
    return await bury(db, org_id, id, [row["id"] for row in rows], "max_deliveries")


async def _due(db: Statements, org_id: UUID, id: UUID, held: Any, most: int, *, only_live: bool = False) -> list[Any]:
    """Lease what stands among the deliveries and is due."""
    rules = (held["max_in_flight"], held["max_deliveries"], held["ack_seconds"], held["ordered"])
    return await db.fetch(SQL["lease"], org_id, id, most, *rules, only_live)


async def _taken(db: Statements, org_id: UUID, id: UUID, held: Any, most: int) -> list[Any]:
    """Lease what came back, and then of the log itself; each time live events before replayed ones."""
    rows = await _due(db, org_id, id, held, most, only_live=True) if held["has_due"] else []
    if len(rows) < most:
        rows += await _take(db, org_id, id, held, most - len(rows))
    if held["has_due"] and len(rows) < most:
        rows += await _due(db, org_id, id, held, most - len(rows))
    if held["has_replays"] and len(rows) < most:
        rows += await _take_replays(db, org_id, id, held, most - len(rows))
    return rows


async def _take(db: Statements, org_id: UUID, id: UUID, held: Any, most: int) -> list[Any]:
    """Lease what the log has behind the cursor, until some is found, the window is full or the log at its end."""
    cursor: int = held["cursor"]
    for _ in range(LOOKS):
        if cursor >= held["head"]:
            break
        patterns = (held["type_patterns"], held["subject_patterns"])
        rules = (WINDOW, LOOK, most, held["max_in_flight"], held["ack_seconds"])
        rows = await db.fetch(SQL["take"], org_id, id, cursor, *patterns, *rules)
        if not rows:
            break
        if rows[0]["id"] is not None:
            return rows
        cursor = rows[0]["cursor"]
    return []


async def _fill(db: Statements, org_id: UUID, id: UUID, held: Any) -> None:
    """Make deliveries of what the log has behind the cursor, until some are found, the window is full or the log at its end."""
    cursor: int = held["cursor"]
    for _ in range(LOOKS):
        if cursor >= held["head"]:
            return
        filled = await db.fetchrow(
            SQL["fill"],
            org_id,
            id,
            cursor,
            held["type_patterns"],
            held["subject_patterns"],
            WINDOW,
            LOOK,
        )
        if filled is None or filled["placed"]:
            return
        cursor = filled["cursor"]


async def _fill_replays(db: Statements, org_id: UUID, id: UUID) -> None:
    """Make deliveries of each running replay's next events, as many as its pace allows."""
    for replay in await db.fetch(SQL["running_replays"], org_id, id):
        if pace := _pace(replay):
            await db.fetchrow(SQL["fill_replay"], org_id, id, *_part(replay), WINDOW, LOOK, pace)


async def _take_replays(db: Statements, org_id: UUID, id: UUID, held: Any, most: int) -> list[Any]:
    """Lease each running replay's next events, as many as its pace allows."""
    taken: list[Any] = []
    for replay in await db.fetch(SQL["running_replays"], org_id, id):
        pace, left = _pace(replay), most - len(taken)
        if pace and left:
            rules = (WINDOW, LOOK, pace, left, held["max_in_flight"], held["ack_seconds"])
            rows = await db.fetch(SQL["take_replay"], org_id, id, *_part(replay), *rules)
            taken += [row for row in rows if row["id"] is not None]
    return taken


def _pace(replay: Any) -> int:
    """Return how many events are due; what a float or a microsecond leaves out of a whole one is one too."""
    return WINDOW if replay["rate"] is None else min(WINDOW, int(replay["rate"] * replay["paced_seconds"] + 1e-5))


def _part(replay: Any) -> tuple[Any, ...]:
    return tuple(replay[name] for name in ("id", "cursor", "upto", "type_patterns", "subject_patterns"))


def _fitting(leased: Sequence[Delivery]) -> int:
    """Return how many of the first are handed out together: at least one, however large it is."""
    size = 0
    for index, each in enumerate(leased):
        size += len(each.envelope)
        if size > MOST_TOGETHER and index:
            return index
    return len(leased)


def _split(holds: Iterable[Hold]) -> tuple[list[int], list[UUID]]:
    held = list(holds)
    return [each.delivery for each in held], [each.lease for each in held]


def _hold(row: Any) -> Hold:
    return Hold(row["id"], row["lease"])


def _delivery(row: Any) -> Delivery:
    return Delivery(
        _hold(row),
        row["attempt"],
        row["lease_until"],
        row["position"],
        row["event_id"],
        row["type"],
        row["subject"],
        row["time"],
        row["replayed"],
        row["envelope"],
        row["expired"],
    )
