"""A ring: the latest entries of an organisation in a node's memory."""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Generic, TypeVar

from core.events.event import Entry

MAX_ENTRIES = 4_096
# Of envelopes, counted in characters.
MAX_SIZE = 8 * 1024 * 1024

E = TypeVar("E", bound=Entry)


class Ring(Generic[E]):
    """The entries up to `last`, dense; the oldest go when there are too many or they are too large together."""

    __slots__ = ("_entries", "_max_entries", "_max_size", "_size", "last")

    def __init__(self, last: int, *, max_entries: int = MAX_ENTRIES, max_size: int = MAX_SIZE) -> None:
        self._entries: deque[E] = deque()
        self._size = 0
        self._max_entries = max_entries
        self._max_size = max_size
        self.last = last

    def extend(self, entries: Sequence[E]) -> None:
        """Append entries that go on from `last` without a gap."""
        kept = self._entries
        kept.extend(entries)
        self.last += len(entries)
        for entry in entries:
            self._size += len(entry.envelope)
        while len(kept) > self._max_entries or self._size > self._max_size:
            self._size -= len(kept.popleft().envelope)

    def change(self, number: int, change: Callable[[E], E]) -> None:
        """Keep another entry in place of the one with this number, if it is here."""
        index = len(self._entries) - 1 - (self.last - number)
        if 0 <= index < len(self._entries):
            before = self._entries[index]
            after = self._entries[index] = change(before)
            self._size += len(after.envelope) - len(before.envelope)

    def since(self, after: int) -> list[E] | None:
        """Return the entries after `after`, oldest first; None where one of them is here no more."""
        missing = self.last - after
        if missing <= 0:
            return []
        if missing > len(self._entries):
            return None
        # From the right, where those stand that a client lacks that was away for a moment.
        entries = list(islice(reversed(self._entries), missing))
        entries.reverse()
        return entries
