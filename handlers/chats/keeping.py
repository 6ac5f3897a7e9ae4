"""Mutes and bans, kept on this node: rooms/sanctions.py is brought up to date with every change."""

from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any
from uuid import UUID

from core.clock import Clock
from core.store.database import Database
from core.store.followed import Followed
from core.store.queries import load_queries
from rooms.sanctions import Sanction, Sanctions

SQL = load_queries(Path(__file__).with_name("queries.sql"))


class SanctionKeeping(Followed):
    """Keeps `sanctions`; those that have ended go within a second.

    PostgreSQL's clock says how long each still holds, and time that passes here is counted from then: no wall clock of a node
    that is wrong, or is set, ends one early.
    """

    name = "chat_sanctions"
    query = SQL["since"]

    def __init__(self, sanctions: Sanctions, database: Database, clock: Clock) -> None:
        super().__init__(database, clock)
        self._sanctions = sanctions
        # When they end, in monotonic seconds.
        self._ends: dict[UUID, float] = {}

    def take(self, rows: Sequence[Any], *, is_whole: bool) -> None:
        """As Followed.take."""
        left = {row["id"]: _seconds_left(row) for row in rows}
        for id in (id for id, seconds in left.items() if seconds <= 0):
            self._drop(id)
        for row in rows:
            if (seconds := left[row["id"]]) > 0:
                self._sanctions.put(_sanction(row))
                self._ends[row["id"]] = self._clock.monotonic() + seconds
        if is_whole:
            for id in self._ends.keys() - left.keys():
                self._drop(id)

    def tick(self) -> None:
        """As Followed.tick."""
        now = self._clock.monotonic()
        for id in [id for id, end in self._ends.items() if end <= now]:
            self._drop(id)

    def _drop(self, id: UUID) -> None:
        self._ends.pop(id, None)
        self._sanctions.drop(id)


def _seconds_left(row: Any) -> float:
    if row["is_lifted"]:
        return 0.0
    return inf if row["ends_at"] is None else (row["ends_at"] - row["asked_at"]).total_seconds()


def _sanction(row: Any) -> Sanction:
    return Sanction(row["id"], row["org_id"], f"chat:{row['chat']}", row["subject"], row["kind"], row["ends_at"])
