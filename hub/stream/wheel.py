"""When to look at what: a tick touches only what is due, however much there is.

No I/O, no clock: moments come in, what is due comes out.
"""

from math import ceil
from typing import Generic, Protocol, TypeVar

NEVER = -1


class Timed(Protocol):
    """What can be on a wheel; hashed by identity. `due` is the wheel's own, NEVER at first."""

    due: int


Item = TypeVar("Item", bound=Timed)


class Wheel(Generic[Item]):
    """Items by the tick at which they are due, each at most once; `tick` is in seconds."""

    def __init__(self, tick: float) -> None:
        self._tick = tick
        self._at: dict[int, dict[Item, None]] = {}

    def set(self, item: Item, moment: float) -> None:
        """Let `item` be due at the first tick that is not before `moment`, and at no other."""
        due = max(0, ceil(moment / self._tick))
        if due != item.due:
            self.drop(item)
            item.due = due
            self._at.setdefault(due, {})[item] = None

    def set_earlier(self, item: Item, moment: float) -> None:
        """Do as `set`, unless it is due before that anyway."""
        if item.due == NEVER or moment < item.due * self._tick:
            self.set(item, moment)

    def drop(self, item: Item) -> None:
        """Forget `item`, if it is here."""
        items = self._at.get(item.due)
        if items is not None:
            items.pop(item, None)
            if not items:
                del self._at[item.due]
        item.due = NEVER

    def take(self, now: float) -> list[Item]:
        """Take off and return what is due at `now`, the earliest first."""
        # Few are looked through: nothing is set further ahead than connections are pinged.
        due = sorted(number for number in self._at if number * self._tick <= now)
        taken = [item for number in due for item in self._at.pop(number)]
        for item in taken:
            item.due = NEVER
        return taken
