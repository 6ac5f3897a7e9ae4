"""What organisations have set, kept on this node: rooms/namespaces.py is brought up to date with every change."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from core.clock import Clock
from core.store.database import Database
from core.store.followed import Followed
from core.store.queries import load_queries
from rooms.namespace_rules import tables_of
from rooms.namespaces import Namespaces

SQL = load_queries(Path(__file__).with_name("queries.sql"))
_Known = dict[str, tuple[int, Mapping[str, Any] | None]]


class NamespaceKeeping(Followed):
    """Keeps `namespaces`: an organisation's part is replaced as a whole, where it has changed."""

    name = "namespaces"
    query = SQL["since"]

    def __init__(self, namespaces: Namespaces, database: Database, clock: Clock) -> None:
        super().__init__(database, clock)
        self._namespaces = namespaces
        self._known: dict[UUID, _Known] = {}

    def take(self, rows: Sequence[Any], *, is_whole: bool) -> None:
        """As Followed.take."""
        read: dict[UUID, _Known] = {}
        for row in rows:
            settings = None if row["settings"] is None else orjson.loads(row["settings"])
            read.setdefault(row["org_id"], {})[row["name"]] = row["version"], settings
        for org_id in self._known.keys() - read.keys() if is_whole else ():
            del self._known[org_id]
            self._namespaces.settle(org_id, None)
        for org_id, some in read.items():
            self._take(org_id, some)

    def _take(self, org_id: UUID, some: _Known) -> None:
        known = self._known.setdefault(org_id, {})
        # Reads may overtake each other in no way that matters: the higher version is the later one.
        news = {name: each for name, each in some.items() if name not in known or known[name][0] < each[0]}
        if not news:
            return
        known |= news
        set_ = {name: settings for name, (_, settings) in known.items() if settings is not None}
        if set_:
            self._namespaces.settle(org_id, *tables_of(self._namespaces.base, self._namespaces.log, set_))
        else:
            self._namespaces.settle(org_id, None)
