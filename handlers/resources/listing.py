"""Lists of one kind of resource: one statement for a page and its total, stored documents as they are."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from core.errors import Detail, HubError
from core.operations.results import Page, Window
from core.store.statements import Statements
from handlers.lists.cursors import cursor_of, mark_of, values_of
from handlers.lists.fields import Field, Fields, Kind
from handlers.lists.filters import Condition, conditions_of
from handlers.lists.order import Key, Order, beyond, complete, order_by, order_of
from handlers.lists.selection import Tree, selected, selection_of
from handlers.resources.models import ListInput
from handlers.resources.search import MOST_INDEXED, index_patterns, patterns, phrase
from handlers.resources.store import MOST_DOCUMENT_BYTES, SQL

# A page is joined, encoded and sent by the one loop that everybody waits for. Of the largest resources it holds PER_PAGE_ALWAYS.
MOST_PAGE_BYTES = 8 * 1024 * 1024
PER_PAGE_ALWAYS = MOST_PAGE_BYTES // MOST_DOCUMENT_BYTES
# Counting so many entries of an index takes PostgreSQL about 10 ms; a list that is longer says that its total is not exact.
MOST_COUNTED = 100_000

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


class Listing:
    """Lists the resources of one kind; `names` are the fields that one has."""

    def __init__(self, kind: str, names: Collection[str]) -> None:
        self._kind = kind
        self._names = frozenset(names)
        fixed = {"{table}": kind, "{most}": str(MOST_PAGE_BYTES), "{counted}": str(MOST_COUNTED)}
        self._list, self._window = _filled(SQL["list"], fixed), _filled(SQL["window"], fixed)
        # What most ask for: nothing but a page.
        self._plain = _filled(self._list, {"{found}": "", "{where}": "true", "{order}": order_by(NEWEST)})

    async def list(self, db: Statements, wanted: ListInput, ids: frozenset[UUID] | None) -> Page:
        """Return a page of documents; `ids` limits what may be seen.

        Raises HubError UNKNOWN_PARAMETER for names that the list does not have, VALIDATION_ERROR for values.
        """
        if ids is None and wanted.model_fields_set <= _PLAIN:
            return await self._page(db, wanted, None, self._plain, ())
        tree = None if wanted.fields is None else selection_of(wanted.fields, self._names)
        asking = _Asking(self._kind, wanted, ids)
        if wanted.is_window:
            return await self._between(db, wanted, asking, tree)
        holes = {"{found}": asking.found, "{where}": asking.where, "{order}": order_by(asking.order)}
        return await self._page(db, wanted, tree, _filled(self._list, holes), asking.args)

    async def _page(
        self, db: Statements, wanted: ListInput, tree: Tree | None, statement: str, args: Sequence[Any]
    ) -> Page:
        row: Any = await db.fetchrow(statement, wanted.per_page, (wanted.page - 1) * wanted.per_page, *args)
        items = await _items(row, "per_page", wanted.per_page, tree)
        return Page(items, wanted.page, wanted.per_page, _total(row), is_exact=row["total"] <= MOST_COUNTED)

    async def _between(self, db: Statements, wanted: ListInput, asking: "_Asking", tree: Tree | None) -> Page:
        order, backward = asking.order, wanted.before is not None
        mark = asking.mark()
        cursor = wanted.before if backward else wanted.after
        place = ""
        if cursor is not None:
            values = values_of(cursor, mark, order, "before" if backward else "after")
            place = f" AND {beyond(order, values, asking.bind, backward=backward)}"
        holes = {
            "{found}": asking.found,
            "{where}": asking.where,
            "{beyond}": place,
            "{order}": order_by(order, backward=backward),
            "{keys}": "".join(f", {key.field.sql} AS key{number}" for number, key in enumerate(order)),
            "{ends}": "".join(f", (SELECT array_agg(key{n}) FROM kept) AS key{n}" for n in range(len(order))),  # noqa: S608 - a number
        }
        row: Any = await db.fetchrow(_filled(self._window, holes), wanted.limit, *asking.args)
        items = await _items(row, "limit", wanted.limit, tree)
        window = _window(row, wanted.limit, mark, order, backward=backward, begins=cursor is None)
        return Page(
            items[::-1] if backward else items,
            1,
            wanted.limit,
            _total(row),
            is_exact=row["total"] <= MOST_COUNTED,
            window=window,
        )


class _Asking:
    """What is asked of PostgreSQL: conditions and order, with their arguments."""

    def __init__(self, kind: str, wanted: ListInput, ids: frozenset[UUID] | None) -> None:
        self.args: list[Any] = []
        # A page's statement has two parameters of its own, a window's one.
        self._first = 2 if wanted.is_window else 3
        self._where: list[str] = []
        self._found: list[str] = []
        self._kind = kind
        self._wanted = wanted
        self._conditions = () if not wanted.filter else conditions_of(wanted.filter, FIELDS)
        self._filter()
        if ids is not None:
            self._where.append(f"id = ANY ({self.bind(list(ids))})")
        if wanted.q:
            self._search(wanted.q)
        self.order = self._ordered()

    @property
    def where(self) -> str:
        """What follows WHERE."""
        return " AND ".join(self._where) or "true"

    @property
    def found(self) -> str:
        """The ids that indexes find, as what precedes the page in WITH."""
        return "".join(self._found)

    def bind(self, value: Any) -> str:
        """Take an argument; returns its placeholder."""
        self.args.append(value)
        return f"${self._first + len(self.args) - 1}"

    def mark(self) -> bytes:
        """Return what names this sort and these filters in cursors."""
        wanted = self._wanted
        order = [(key.field.name, key.descending) for key in self.order]
        conditions = [(each.sql, each.value) for each in self._conditions]
        return mark_of(self._kind, order, wanted.type, wanted.status, wanted.q, conditions)

    def _filter(self) -> None:
        wanted = self._wanted
        for name, value in (("type", wanted.type), ("status", wanted.status)):
            if value is not None:
                self._where.append(f"{FIELDS.by_name[name].sql} = {self.bind(value)}")
        indexed: list[Condition] = []
        for condition in self._conditions:
            if condition.found:
                indexed.append(condition)
            else:
                self._where.append(condition.sql.replace("?", self.bind(condition.value)))
        if indexed:
            predicate = " && ".join(f"({each.value})" for each in indexed)
            self._find("matching", f"{self.bind(predicate)}::text::jsonpath")

    def _search(self, q: str) -> None:
        words = patterns(q)
        indexed = index_patterns(words)
        for pattern in words:
            if pattern not in indexed:
                self._where.append(f"search LIKE {self.bind(pattern)}")
        if indexed:
            # % is in every text.
            three = [*indexed, *["%"] * (MOST_INDEXED - len(indexed))]
            self._find("holding", ", ".join(f"{self.bind(pattern)}::text" for pattern in three))

    def _find(self, by: str, arguments: str) -> None:
        self._found.append(f"{by} AS MATERIALIZED (SELECT {self._kind}_{by}({arguments}) AS id), ")
        self._where.append(f"id IN (SELECT id FROM {by})")  # noqa: S608 - `by` is a name of this file

    def _ordered(self) -> Order:
        wanted = self._wanted
        if wanted.sort is not None:
            return order_of(wanted.sort, FIELDS)
        if not wanted.q:
            return NEWEST
        ranked = Field("q", _rank(self.bind(phrase(wanted.q))), Kind.RANK)
        return (Key(ranked, descending=False), *NEWEST)


def _filled(text: str, holes: dict[str, str]) -> str:
    for hole, fragment in holes.items():
        text = text.replace(hole, fragment)
    return text


def _total(row: Any) -> int:
    return min(row["total"], MOST_COUNTED)


async def _items(row: Any, field: str, count: int, tree: Tree | None) -> list[str]:
    if row["bytes"] > MOST_PAGE_BYTES:
        raise HubError("VALIDATION_ERROR", details=[_too_large(field, count, row["bytes"])])
    items: list[str] = row["items"] or []
    return items if tree is None else await selected(items, tree)


def _window(row: Any, limit: int, mark: bytes, order: Order, *, backward: bool, begins: bool) -> Window:
    has_more = row["found"] > limit
    if row["found"] == 0:
        return Window(limit, None, None, has_more=False, has_next=False, has_previous=False)
    ends = [cursor_of(mark, order, [row[f"key{number}"][place] for number in range(len(order))]) for place in (0, -1)]
    first, last = reversed(ends) if backward else ends
    has_next, has_previous = (True, has_more) if backward else (has_more, not begins)
    return Window(limit, last, first, has_more=has_more, has_next=has_next, has_previous=has_previous)


def _too_large(field: str, count: int, size: int) -> Detail:
    message = (
        f"A page has at most {MOST_PAGE_BYTES >> 20} MiB; {count} of these resources are {size / 2**20:.1f}. "
        f"Ask for fewer; {PER_PAGE_ALWAYS} always fit"
    )
    return Detail(field, "VALUE_OUT_OF_RANGE", message)


def _rank(place: str) -> str:
    """Order by where the query stands: the whole name, its beginning, within it, elsewhere."""
    name = "split_part(search, E'\\n', 1)"
    return (
        f"CASE WHEN {name} LIKE {place} THEN 0 WHEN {name} LIKE {place} || '%' THEN 1 "
        f"WHEN {name} LIKE '%' || {place} || '%' THEN 2 ELSE 3 END"
    )
