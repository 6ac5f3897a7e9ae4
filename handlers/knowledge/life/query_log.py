"""The log of queries: what knowledge bases were asked, and what was found. Noted in passing: no query waits for it or fails by it.

By hour it is counted too, which is kept where questions are not.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal
from uuid import UUID

from core.clock import Clock
from core.histogram import Histogram
from core.store.database import Connection
from core.store.noted import Noted
from core.store.queries import load_queries
from handlers.knowledge.life.durations import COUNT, column_of

LONGEST_QUESTION = 1_000
MOST_FOUND = 10
Keep = Literal["on", "off", "without_text"]
_SQL = load_queries(Path(__file__).with_name("query_log.sql"))


@dataclass(frozen=True, slots=True)
class Query:
    """A question that was answered. `knowledge` are the bases that it named; empty: all that its caller may read.

    `found` are the documents of its results, best first; of a record its base.
    """

    id: UUID
    org_id: UUID
    time: datetime
    caller: str
    knowledge: tuple[UUID, ...]
    question: str
    mode: str
    results: int
    found: tuple[UUID, ...]
    best_score: float | None
    took_ms: float


class QueryLog(Noted[Query]):
    """Collects queries and writes them once a second; `keep` says what of them."""

    name = "queries"

    def __init__(self, url: str, clock: Clock, keep: Keep = "on") -> None:
        super().__init__(url, clock)
        self._keep = keep
        # Of this process since its start, for the metrics.
        self.answered: Counter[str] = Counter()
        self.times = Histogram()

    def note(self, entry: Query) -> None:
        """Take a query; when too many wait, the newest is counted as lost."""
        self.answered["found" if entry.results else "without_results"] += 1
        self.times.add(entry.took_ms / 1000)
        super().note(entry)

    async def write(self, db: Connection, batch: Sequence[Query]) -> None:
        """Write the batch; what is of an organisation that is gone meanwhile is left out."""
        async with db.transaction():
            await db.execute(_SQL["count"], *_columns(_usage(batch), 6))
            if self._keep != "off":
                rows = [self._row(query, base) for query in batch for base in query.knowledge or (None,)]
                await db.execute(_SQL["note"], *_columns(rows, 11))

    def _row(self, query: Query, base: UUID | None) -> tuple[object, ...]:
        found = ",".join(str(id) for id in dict.fromkeys(query.found[:MOST_FOUND]))
        return (
            query.org_id,
            query.id,
            base,
            query.time,
            storable_beginning(query.question) if self._keep == "on" else None,
            query.mode,
            query.results,
            found,
            query.best_score if query.best_score is not None and math.isfinite(query.best_score) else None,
            query.took_ms,
            query.caller,
        )


def storable_beginning(question: str) -> str:
    """Return what is kept of a question: its beginning, as PostgreSQL's text can hold it."""
    kept = question[:LONGEST_QUESTION].replace("\x00", "\ufffd")
    return kept if kept.isascii() else kept.encode(errors="replace").decode()


def _usage(batch: Sequence[Query]) -> list[tuple[object, ...]]:
    """Count the batch by base and hour, in one order, so that no two nodes wait for each other."""
    counts: dict[tuple[UUID, UUID | None, datetime], Counter[int]] = {}
    empty: Counter[tuple[UUID, UUID | None, datetime]] = Counter()
    for query in batch:
        hour = query.time.replace(minute=0, second=0, microsecond=0)
        for base in query.knowledge or (None,):
            place = (query.org_id, base, hour)
            counts.setdefault(place, Counter())[column_of(query.took_ms)] += 1
            empty[place] += not query.results
    ordered = sorted(counts.items(), key=lambda item: tuple(map(str, item[0])))
    return [
        (*place, times.total(), empty[place], f"{{{','.join(str(times[column]) for column in range(COUNT))}}}")
        for place, times in ordered
    ]


def _columns(rows: Sequence[tuple[object, ...]], width: int) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[]] * width
