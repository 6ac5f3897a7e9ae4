"""Taking turns: what waits for one thing is served by owners (organisations, mostly) in turn, however much one of them has.

FairQueue     what waits, without I/O
FairSlots     so many at a time, of whom one owner has not all
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Hashable, Iterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

Owner = TypeVar("Owner", bound=Hashable)
Item = TypeVar("Item")


class FairQueue(Generic[Owner, Item]):
    """First in, first out for each owner; one owner after the other."""

    __slots__ = ("_by_owner", "_size")

    def __init__(self) -> None:
        # The owner whose turn it is comes first. Whoever has nothing is not in it.
        self._by_owner: dict[Owner, deque[Item]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Item]:
        return (item for items in self._by_owner.values() for item in items)

    def size_of(self, owner: Owner) -> int:
        """Return how much waits of one owner."""
        return len(self._by_owner.get(owner, ()))

    def push(self, owner: Owner, item: Item) -> None:
        """Put an item behind its owner's others."""
        items = self._by_owner.get(owner)
        if items is None:
            self._by_owner[owner] = deque((item,))
        else:
            items.append(item)
        self._size += 1

    def pop(self, may: Callable[[Owner], bool] | None = None) -> Item:
        """Take the first item of the owner whose turn it is, of those who `may`; raises IndexError where there is none."""
        owner = self._next(may)
        items = self._by_owner.pop(owner)
        item = items.popleft()
        if items:
            self._by_owner[owner] = items
        self._size -= 1
        return item

    def _next(self, may: Callable[[Owner], bool] | None) -> Owner:
        for owner in self._by_owner:
            if may is None or may(owner):
                return owner
        raise IndexError("nobody's turn")


class FairSlots(Generic[Owner]):
    """`most` at a time, at most `each` of them of one owner; who waits is served by turns."""

    def __init__(self, most: int, each: int) -> None:
        self._free = most
        self._each = each
        self._held = Counter[Owner]()
        self._waiting = FairQueue[Owner, tuple[Owner, asyncio.Future[None]]]()

    @asynccontextmanager
    async def of(self, owner: Owner) -> AsyncGenerator[None]:
        """Hold one for `owner`."""
        if self._free and self._has_room(owner):
            self._take(owner)
        else:
            await self._turn(owner)
        try:
            yield
        finally:
            self._give_back(owner)

    async def _turn(self, owner: Owner) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.push(owner, (owner, turn))
        try:
            await turn
        except asyncio.CancelledError:
            # Cancelled just after its turn had come: it was taken for it.
            if turn.done() and not turn.cancelled():
                self._give_back(owner)
            raise

    def _has_room(self, owner: Owner) -> bool:
        return self._held[owner] < self._each

    def _take(self, owner: Owner) -> None:
        self._free -= 1
        self._held[owner] += 1

    def _give_back(self, owner: Owner) -> None:
        self._free += 1
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        while self._free and self._waiting:
            try:
                next_one, turn = self._waiting.pop(self._has_room)
            except IndexError:
                return
            if not turn.done():
                self._take(next_one)
                turn.set_result(None)
