"""Windows: what of a list lies between two cursors."""

from collections.abc import Sequence
from typing import Any

from core.operations.results import Window
from handlers.lists.cursors import cursor_of
from handlers.lists.order import Order


def window_of(
    mark: bytes,
    order: Order,
    limit: int,
    ends: Sequence[Sequence[Any]],
    *,
    has_more: bool,
    backward: bool,
    begins: bool,
) -> Window:
    """Return the window whose first and last item have the values `ends` in `order`, as they were found; without ends it is empty.

    `has_more` tells that there are others that way; `begins`, that no cursor was asked for.
    """
    if not ends:
        return Window(limit, None, None, has_more=False, has_next=False, has_previous=False)
    cursors = [cursor_of(mark, order, values) for values in ends]
    first, last = reversed(cursors) if backward else cursors
    has_next, has_previous = (True, has_more) if backward else (has_more, not begins)
    return Window(limit, last, first, has_more=has_more, has_next=has_next, has_previous=has_previous)
