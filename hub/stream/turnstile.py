"""So many go on in a turn of the loop, and what else the loop has to do comes between two. Who waits goes by owners in turn."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from core.fair import FairQueue

Owner = TypeVar("Owner", bound=Hashable)


class Turnstile(Generic[Owner]):
    """`per_turn` of them. `may_go` is asked for each, and may count it.

    Where it says no, `stopped` is called, and nothing turns until somebody calls `go_on`.
    """

    def __init__(
        self,
        per_turn: int,
        may_go: Callable[[], bool] = lambda: True,
        stopped: Callable[[], None] = lambda: None,
    ) -> None:
        self._per_turn = per_turn
        self._may_go = may_go
        self._stopped = stopped
        self._left = per_turn
        self._is_turning = False
        self._waiting = FairQueue[Owner, asyncio.Future[None]]()

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def size_of(self, owner: Owner) -> int:
        """Return how many wait of one owner."""
        return self._waiting.size_of(owner)

    def try_enter(self) -> bool:
        """Go on at once, where nobody waits and the turn has room; tell whether that was so."""
        if self._waiting:
            return False
        self.go_on()
        if self._left <= 0 or not self._may_go():
            return False
        self._left -= 1
        return True

    async def wait(self, owner: Owner) -> None:
        """Return when it is the turn of one that could not go on at once."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.push(owner, turn)
        self.go_on()
        await turn

    async def enter(self, owner: Owner) -> None:
        """Go on, at once or by turns."""
        if not self.try_enter():
            await self.wait(owner)

    def go_on(self) -> None:
        """Turn, from the next turn of the loop on."""
        if not self._is_turning:
            self._is_turning = True
            self._left = self._per_turn
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._left = self._per_turn
        while self._waiting and self._left > 0:
            if not self._may_go():
                self._is_turning = False
                self._stopped()
                return
            self._pass_one()
        if self._waiting or self._left < self._per_turn:
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._is_turning = False

    def _pass_one(self) -> None:
        """Let the next one go on that has not gone away; where all have, what `may_go` has counted is lost, which is little."""
        while self._waiting:
            turn = self._waiting.pop()
            if not turn.done():
                turn.set_result(None)
                self._left -= 1
                return
