"""Lists of one kind of resource: its fields, and the text search."""

from collections.abc import Collection
from uuid import UUID

from core.errors import Detail, HubError
from core.operations.results import Page
from core.store.statements import Statements
from handlers.lists.asking import Asking, Listed
from handlers.lists.fields import Field, Fields, Kind
from handlers.lists.lister import MOST_PAGE_BYTES, Lister
from handlers.lists.order import Key, complete
from handlers.lists.selection import selection_of
from handlers.resources.models import ListInput
from handlers.resources.past import alive_at, found_at, total_as_of
from handlers.resources.search import MOST_INDEXED, index_patterns, patterns, phrase
from handlers.resources.store import MOST_DOCUMENT_BYTES

# So many of the largest resources are a page.
PER_PAGE_ALWAYS = MOST_PAGE_BYTES // MOST_DOCUMENT_BYTES

# Texts are compared by code points, so that their order does not depend on how the database was made, nor on its locale's version.
FIELDS = Fields(
    {
        field.name: field
        for field in (
            Field("id", "id", Kind.ID),
            Field("name", 'name COLLATE "C"', Kind.TEXT),
            Field("type", 'type COLLATE "C"', Kind.TEXT, then="created_at"),
            Field("status", 'status COLLATE "C"', Kind.TEXT, then="created_at"),
            Field("created_at", "created_at", Kind.MOMENT),
            Field("updated_at", "updated_at", Kind.MOMENT),
        )
    },
    parts=frozenset({"metadata", "data"}),
)
NEWEST = complete([Key(FIELDS.by_name["created_at"], descending=True)], FIELDS)

_PLAIN = frozenset({"page", "per_page"})
_AGE = frozenset({"id", "created_at"})


class Listing:
    """Lists the resources of one kind; `names` are the fields that one has."""

    def __init__(self, kind: str, names: Collection[str]) -> None:
        self._listed = Listed(kind, kind, FIELDS, NEWEST, PER_PAGE_ALWAYS, population=f"population('{kind}')")
        self._lister = Lister(self._listed)
        self._names = frozenset(names)

    async def list(
        self, db: Statements, wanted: ListInput, ids: frozenset[UUID] | None, position: int | None = None
    ) -> Page:
        """Return a page of documents; `ids` limits what may be seen; `position` is when they were so.

        Raises HubError UNKNOWN_PARAMETER for names that the list does not have, VALIDATION_ERROR for values.
        """
        if ids is None and wanted.model_fields_set <= _PLAIN:
            return await self._lister.plain(db, wanted)
        tree = None if wanted.fields is None else selection_of(wanted.fields, self._names)
        return await self._lister.asked(db, wanted, _Asking(self._listed, wanted, ids, position), tree)


class _Asking(Asking):
    """What is asked of resources."""

    def __init__(
        self, listed: Listed, wanted: ListInput, ids: frozenset[UUID] | None, position: int | None = None
    ) -> None:
        self._kind = listed.name
        self._is_past = position is not None
        self._then: str | None = None
        past = () if wanted.as_of is None else (wanted.as_of,)
        super().__init__(listed, wanted, (wanted.type, wanted.status, wanted.q, *past))
        if position is not None:
            by_age = not (wanted.filter or wanted.type or wanted.status) and _AGE.issuperset(
                key.field.name for key in self.order
            )
            place = f"{self.bind(position)}::bigint"
            self.table = alive_at(self._kind, place)
            if by_age and ids is None:
                self.total = total_as_of(self._kind, place)
            if not by_age:
                self._then = place
            if wanted.q:
                message = "There is no text search of the past: use filters"
                raise HubError("VALIDATION_ERROR", details=[Detail("q", "INVALID_FORMAT", message)])
        self.require_equal("type", wanted.type)
        self.require_equal("status", wanted.status)
        if ids is not None:
            self.require(f"id = ANY ({self.bind(list(ids))})")
        if self._then is not None:
            # Found once, for the page and its total.
            found, self.table = found_at(self._kind, self._then, self.where)
            self._where, self._found = [], [found]
        if wanted.q:
            self._search(wanted.q)
            if wanted.sort is None:
                ranked = Field("q", _rank(self.bind(phrase(wanted.q))), Kind.RANK)
                self.order = (Key(ranked, descending=False), *NEWEST)

    def matching(self, predicate: str) -> None:
        """Add what the index over attributes finds; of the past there is none."""
        if self._is_past:
            self.require(f"attributes @@ {self.bind(predicate)}::text::jsonpath")
            return
        self.find("matching", f"{self._kind}_matching({self.bind(predicate)}::text::jsonpath)")

    def _search(self, q: str) -> None:
        words = patterns(q)
        indexed = index_patterns(words)
        for pattern in words:
            if pattern not in indexed:
                self.require(f"search LIKE {self.bind(pattern)}")
        if indexed:
            # % is in every text.
            three = [*indexed, *["%"] * (MOST_INDEXED - len(indexed))]
            self.find("holding", f"{self._kind}_holding({', '.join(f'{self.bind(each)}::text' for each in three)})")


def _rank(place: str) -> str:
    """Order by where the query stands: the whole name, its beginning, within it, elsewhere."""
    name = "split_part(search, E'\\n', 1)"
    return (
        f"CASE WHEN {name} LIKE {place} THEN 0 WHEN {name} LIKE {place} || '%' THEN 1 "
        f"WHEN {name} LIKE '%' || {place} || '%' THEN 2 ELSE 3 END"
    )
