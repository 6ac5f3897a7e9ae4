"""Pages of a list: one statement for a page and its total, stored documents as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.errors import Detail, HubError
from core.operations.results import Page
from core.store.queries import load_queries
from core.store.statements import Statements
from handlers.lists.asking import Asking, Listed
from handlers.lists.cursors import values_of
from handlers.lists.models import Sorted
from handlers.lists.order import Order, beyond, order_by
from handlers.lists.selection import Tree, selected
from handlers.lists.windows import window_of

# A page is joined, encoded and sent by the one loop that everybody waits for.
MOST_PAGE_BYTES = 8 * 1024 * 1024
# Counting so many entries of an index takes PostgreSQL about 10 ms; a list that is longer says that its total is not exact.
MOST_COUNTED = 100_000

_SQL = load_queries(Path(__file__).with_name("queries.sql"))


class Lister:
    """Lists rows of one kind."""

    def __init__(self, listed: Listed) -> None:
        self._always = listed.always
        fixed = {
            "{columns}": listed.columns,
            "{item}": listed.item,
            "{most}": str(MOST_PAGE_BYTES),
            "{counted}": str(MOST_COUNTED),
        }
        self._list, self._window = _filled(_SQL["list"], fixed), _filled(_SQL["window"], fixed)
        self._count = _filled(_SQL["count"], fixed)
        self._all = self._count if listed.population is None else f"coalesce({listed.population}, {self._count})"
        # What most ask for: nothing but a page.
        holes = {
            "{total}": self._all,
            "{table}": listed.table,
            "{found}": "",
            "{where}": "true",
            "{order}": order_by(listed.newest),
        }
        self._plain = _filled(self._list, holes)

    async def plain(self, db: Statements, wanted: Sorted) -> Page:
        """Return a page of all rows, in the order of a list that asks for none."""
        return await self._page(db, wanted, None, self._plain, ())

    async def asked(self, db: Statements, wanted: Sorted, asking: Asking, tree: Tree | None = None) -> Page:
        """Return what `asking` says, as `wanted` by pages or between cursors; `tree` is what of each document is kept.

        Raises HubError VALIDATION_ERROR for a cursor that is none, or a page that would be too large.
        """
        if wanted.is_window:
            return await self._between(db, wanted, asking, tree)
        holes = {
            "{total}": self._total(asking),
            "{table}": asking.table,
            "{found}": asking.found,
            "{where}": asking.where,
            "{order}": order_by(asking.order),
        }
        return await self._page(db, wanted, tree, _filled(self._list, holes), asking.args)

    def _total(self, asking: Asking) -> str:
        return asking.total or (self._all if asking.is_of_all else self._count)

    async def _page(
        self, db: Statements, wanted: Sorted, tree: Tree | None, statement: str, args: Sequence[Any]
    ) -> Page:
        row: Any = await db.fetchrow(statement, wanted.per_page, (wanted.page - 1) * wanted.per_page, *args)
        items = await self._items(row, "per_page", wanted.per_page, tree)
        return page_of(items, wanted.page, wanted.per_page, row["total"])

    async def _between(self, db: Statements, wanted: Sorted, asking: Asking, tree: Tree | None) -> Page:
        order, backward = asking.order, wanted.before is not None
        mark = asking.mark()
        cursor = wanted.before if backward else wanted.after
        place = ""
        if cursor is not None:
            values = values_of(cursor, mark, order, "before" if backward else "after")
            place = f" AND {beyond(order, values, asking.bind, backward=backward)}"
        holes = {
            "{total}": self._total(asking),
            "{table}": asking.table,
            "{found}": asking.found,
            "{where}": asking.where,
            "{beyond}": place,
            "{order}": order_by(order, backward=backward),
            "{keys}": "".join(f", {key.field.sql} AS key{number}" for number, key in enumerate(order)),
            "{ends}": "".join(f", (SELECT array_agg(key{n}) FROM kept) AS key{n}" for n in range(len(order))),  # noqa: S608 - a number
        }
        row: Any = await db.fetchrow(_filled(self._window, holes), wanted.limit, *asking.args)
        items = await self._items(row, "limit", wanted.limit, tree)
        has_more = row["found"] > wanted.limit
        ends = _ends(row, order)
        window = window_of(mark, order, wanted.limit, ends, has_more=has_more, backward=backward, begins=cursor is None)
        return replace(page_of(items[::-1] if backward else items, 1, wanted.limit, row["total"]), window=window)

    async def _items(self, row: Any, field: str, count: int, tree: Tree | None) -> list[str]:
        if row["bytes"] > MOST_PAGE_BYTES:
            message = (
                f"A page has at most {MOST_PAGE_BYTES >> 20} MiB; {count} of these are {row['bytes'] / 2**20:.1f}. "
                f"Ask for fewer; {self._always} always fit"
            )
            raise HubError("VALIDATION_ERROR", details=[Detail(field, "VALUE_OUT_OF_RANGE", message)])
        items: list[str] = row["items"] or []
        return items if tree is None else await selected(items, tree)


def page_of(items: list[str], page: int, per_page: int, total: int) -> Page:
    """Return a page; a `total` over MOST_COUNTED, where counting ended, is told as not exact."""
    return Page(items, page, per_page, min(total, MOST_COUNTED), is_exact=total <= MOST_COUNTED)


def _filled(text: str, holes: Mapping[str, str]) -> str:
    for hole, fragment in holes.items():
        text = text.replace(hole, fragment)
    return text


def _ends(row: Any, order: Order) -> list[list[Any]]:
    """Return what the first and the last row found have in `order`."""
    return [[row[f"key{number}"][place] for number in range(len(order))] for place in (0, -1)] if row["found"] else []
