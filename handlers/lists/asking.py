"""What a list asks of PostgreSQL: which rows of what, in which order, with the arguments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from handlers.lists.cursors import mark_of
from handlers.lists.fields import Fields
from handlers.lists.filters import Condition, conditions_of
from handlers.lists.models import Sorted
from handlers.lists.order import Order, order_of


@dataclass(frozen=True, slots=True)
class Listed:
    """A kind of rows that can be listed.

    `columns` are selected of `table`: `document`, which has a row's size, and what `item`, the JSON text that is answered, needs
    beside it. `newest` is the order where none is asked for; `always` so many rows fit into a page, however large they are.
    `population` gives how many rows there are without counting them, or NULL.
    """

    name: str
    table: str
    fields: Fields
    newest: Order
    always: int
    columns: str = "document"
    item: str = "document"
    population: str | None = None


class Asking:
    """One question: what `wanted` says, to which its list adds conditions of its own; `parts` name those in cursors."""

    def __init__(self, listed: Listed, wanted: Sorted, parts: Sequence[Any] = ()) -> None:
        self.args: list[Any] = []
        # A page's statement has two parameters of its own, a window's one.
        self._first = 2 if wanted.is_window else 3
        self._where: list[str] = []
        self._found: list[str] = []
        self._listed = listed
        self._parts = parts
        self._conditions = () if not wanted.filter else conditions_of(wanted.filter, listed.fields)
        self.table = listed.table
        # What gives the number of all that is asked for without counting, in place of `population` where not all rows are.
        self.total: str | None = None
        self.order: Order = listed.newest if wanted.sort is None else order_of(wanted.sort, listed.fields)
        self._filter()

    @property
    def where(self) -> str:
        """What follows WHERE."""
        return " AND ".join(self._where) or "true"

    @property
    def is_of_all(self) -> bool:
        """Whether all rows of the list's own table are asked for."""
        return not self._where and self.table == self._listed.table

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
        order = [(key.field.name, key.descending) for key in self.order]
        conditions = [(each.sql, each.value) for each in self._conditions]
        return mark_of(self._listed.name, order, *self._parts, conditions)

    def require(self, condition: str) -> None:
        """Add a condition: fixed text with placeholders of `bind`."""
        self._where.append(condition)

    def require_equal(self, name: str, value: Any) -> None:
        """Add that a field has a value; None asks for nothing."""
        if value is not None:
            self.require(f"{self._listed.fields.by_name[name].sql} = {self.bind(value)}")

    def find(self, name: str, function: str) -> None:
        """Add that a row's id is among those that a function of PostgreSQL returns, asked once."""
        self._found.append(f"{name} AS MATERIALIZED (SELECT {function} AS id), ")
        self.require(f"id IN (SELECT id FROM {name})")  # noqa: S608 - a list's own fixed text

    def matching(self, predicate: str) -> None:
        """Add what an index over attributes finds; only lists whose fields have parts know such."""
        raise NotImplementedError

    def _filter(self) -> None:
        indexed: list[Condition] = []
        for condition in self._conditions:
            if condition.found:
                indexed.append(condition)
            else:
                self.require(condition.sql.replace("?", self.bind(condition.value)))
        if indexed:
            self.matching(" && ".join(f"({each.value})" for each in indexed))
