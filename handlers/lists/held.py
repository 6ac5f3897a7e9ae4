"""Lists of what is held in memory, by several nodes: each picks the first of its own, and who asks merges them.

Choice   which items, in which order, from where on, how many: made of a client's `sort`, filters and cursor (`choice_of`)
Picked   the first of the items that it means, and how many there are

Both go between nodes as JSON, so all values in them are plain (handlers.lists.cursors.plain).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from core.operations.results import Window
from handlers.lists.cursors import mark_of, plain, values_of
from handlers.lists.fields import Fields
from handlers.lists.filters import comparisons_of
from handlers.lists.models import Sorted
from handlers.lists.order import Order, order_of
from handlers.lists.windows import window_of

Item = TypeVar("Item")
# Gives a field of an item, plain; a tuple is several values, of which one is enough for a filter.
Look = Callable[[Item, str], Any]

_HOLDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": lambda held, wanted: held == wanted,
    "in": lambda held, wanted: held in wanted,
    "gt": lambda held, wanted: held > wanted,
    "gte": lambda held, wanted: held >= wanted,
    "lt": lambda held, wanted: held < wanted,
    "lte": lambda held, wanted: held <= wanted,
    "prefix": lambda held, wanted: held.startswith(wanted),
    "contains": lambda held, wanted: wanted in held,
}


@dataclass(frozen=True, slots=True)
class Choice:
    """`filters` are field, operator and value, `order` field and whether it goes down; `beyond` is the place to go on from."""

    filters: Sequence[Sequence[Any]]
    order: Sequence[Sequence[Any]]
    first: int
    beyond: Sequence[Any] | None = None
    backward: bool = False

    def as_object(self) -> dict[str, Any]:
        """Return it for another node."""
        return asdict(self)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Choice":
        """Return what another node has sent; raises TypeError for what is none."""
        return cls(**told)


@dataclass(frozen=True, slots=True)
class Picked:
    """The first items, each with its values in the order: `[values, item]`; and how many match, wherever they stand."""

    first: Sequence[Sequence[Any]]
    total: int


def picked(items: Iterable[Item], choice: Choice, look: Look[Item], show: Callable[[Item], Any]) -> Picked:
    """Return the first of `items` that `choice` means, as `show` has them."""
    matching = [item for item in items if all(_holds(look(item, name), *rest) for name, *rest in choice.filters)]
    rows = [([look(item, name) for name, _ in choice.order], item) for item in matching]
    beyond = [row for row in rows if choice.beyond is None or _is_beyond(row[0], choice)]
    return Picked([[values, show(item)] for values, item in _sorted(beyond, choice)[: choice.first]], len(matching))


def merged(parts: Sequence[Picked], choice: Choice) -> Picked:
    """Return what all nodes together have picked."""
    rows = [row for part in parts for row in part.first]
    return Picked(_sorted(rows, choice)[: choice.first], sum(part.total for part in parts))


class Asking:
    """What a client asks of a list called `name`: its `choice`, and the `window` of what was found.

    `also` are filters that have parameters of their own. Raises HubError as `order_of`, `comparisons_of` and `values_of` do.
    """

    def __init__(self, name: str, fields: Fields, newest: Order, wanted: Sorted, also: Mapping[str, Any]) -> None:
        self._wanted = wanted
        self._order = newest if wanted.sort is None else order_of(wanted.sort, fields)
        filters = [(field, "eq", value) for field, value in also.items()]
        for each in comparisons_of(wanted.filter or {}, fields):
            value = [plain(one) for one in each.value] if each.operator == "in" else plain(each.value)
            filters.append((each.field.name, each.operator, value))
        order = [(key.field.name, key.descending) for key in self._order]
        self._mark = mark_of(name, order, filters)
        self._backward = wanted.before is not None
        self._cursor = wanted.before if self._backward else wanted.after
        first = wanted.limit + 1 if wanted.is_window else wanted.page * wanted.per_page
        self.choice = Choice(filters, order, first, self._place(), self._backward)

    def window(self, found: Sequence[Sequence[Any]]) -> tuple[list[Any], Window | None]:
        """Return what stands on the page or in the window, in the list's order; None is the window of a page."""
        wanted = self._wanted
        if not wanted.is_window:
            return [item for _, item in found[(wanted.page - 1) * wanted.per_page :]], None
        kept = found[: wanted.limit]
        window = window_of(
            self._mark,
            self._order,
            wanted.limit,
            [kept[0][0], kept[-1][0]] if kept else [],
            has_more=len(found) > wanted.limit,
            backward=self._backward,
            begins=self._cursor is None,
        )
        return [item for _, item in (reversed(kept) if self._backward else kept)], window

    def _place(self) -> list[Any] | None:
        if self._cursor is None:
            return None
        field = "before" if self._backward else "after"
        return [plain(value) for value in values_of(self._cursor, self._mark, self._order, field)]


def _holds(held: Any, operator: str, wanted: Any) -> bool:
    if operator == "ne":
        return not _holds(held, "eq", wanted)
    return any(_HOLDS[operator](each, wanted) for each in (held if isinstance(held, tuple) else (held,)))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - of any field


def _is_beyond(values: Sequence[Any], choice: Choice) -> bool:
    for value, place, (_, descending) in zip(values, choice.beyond or (), choice.order, strict=True):
        if value != place:
            return (value > place) != (descending != choice.backward)
    return False


def _sorted(rows: Sequence[Sequence[Any]], choice: Choice) -> list[Sequence[Any]]:
    """Sort by the last field first: sorting keeps equals as they stand, so each field may go its own way."""
    made = list(rows)
    for number in range(len(choice.order) - 1, -1, -1):
        made.sort(key=_value_at(number), reverse=choice.order[number][1] != choice.backward)
    return made


def _value_at(number: int) -> Callable[[Sequence[Any]], Any]:
    return lambda row: row[0][number]
