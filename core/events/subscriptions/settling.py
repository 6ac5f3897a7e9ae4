"""Taking the answers to many deliveries in one statement: what one subscription after the other would each cost a commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from core.events.subscriptions.subscription import Answer, Hold
from core.store.queries import load_queries
from core.store.statements import Statements

_SQL: Mapping[str, str] = load_queries(Path(__file__).with_name("settling.sql"))


@dataclass(frozen=True, slots=True)
class Settled:
    """The answer to one delivery, and how many `seconds` the attempt took.

    What was not acknowledged comes again after the subscription's delay, and not before `pause` seconds; after its last attempt it
    becomes a dead letter, when the subscription is leased from next.
    """

    org_id: UUID
    subscription_id: UUID
    hold: Hold
    is_acknowledged: bool
    seconds: float
    answer: Answer
    pause: float = 0.0


async def settle(db: Statements, settled: Sequence[Settled]) -> set[tuple[UUID, int]]:
    """Take the answers, each attempt kept; returns subscription and delivery of those whose lease still held. For `hub_system`."""
    rows = await db.fetch(
        _SQL["settle"],
        [each.org_id for each in settled],
        [each.subscription_id for each in settled],
        [each.hold.delivery for each in settled],
        [each.hold.lease for each in settled],
        [each.is_acknowledged for each in settled],
        [each.seconds for each in settled],
        [each.answer.status for each in settled],
        [each.answer.kept() for each in settled],
        [each.pause for each in settled],
    )
    return {(row["subscription_id"], row["id"]) for row in rows}
