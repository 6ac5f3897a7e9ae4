"""The parent's part in metrics of all workers: it asks each, hands on what they answer, and remembers it. It reads none of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from hub.workers.children import Child, Place
from hub.workers.messages import Head

# Who does not answer by then is down as far as metrics go. A scrape has ten seconds.
PATIENCE_SECONDS = 1.0


@dataclass(eq=False, slots=True)
class _Call:
    asker: Child
    id: int
    waiting: set[Child]
    fresh: set[Child]
    alarm: asyncio.TimerHandle | None = None


class RollCall:
    """Answers the workers that ask; `places` are all there are."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places
        self._calls: set[_Call] = set()
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    def begin(self, asker: Child, id: int) -> None:
        """Ask every other worker for its counts."""
        others = [each for place in self._places for each in place.children if each is not asker]
        call = _Call(asker, id, waiting=set(), fresh={asker})
        ask: Head = {"do": "ask", "id": id, "to": asker.pid}
        call.waiting = {each for each in others if each.ready_at is not None and each.tell(ask)}
        self._calls.add(call)
        self._is_idle.clear()
        call.alarm = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._finish, call)
        self._look(call)

    def take(self, child: Child, head: Head, body: bytes) -> None:
        """Keep what a worker counted, and pass it to the one that asked."""
        child.take(int(head["absorbed"]), body)
        for call in tuple(self._calls):
            if (call.id, call.asker.pid) == (head["id"], head["to"]) and child in call.waiting:
                call.waiting.remove(child)
                call.fresh.add(child)
                self._pass(call, child.place, body, leaving=child.is_leaving, fresh=True)
                for counts in child.carried:
                    self._pass(call, child.place, counts)
                self._look(call)

    def forget(self, child: Child) -> None:
        """Wait no longer for a worker that has ended."""
        for call in tuple(self._calls):
            if call.asker is child:
                self._drop(call)
            elif child in call.waiting:
                call.waiting.remove(child)
                self._look(call)

    async def all_over(self) -> None:
        """Wait until no call is under way: what changes hands during one is counted twice, or not at all."""
        while self._calls:
            await self._is_idle.wait()

    def _look(self, call: _Call) -> None:
        if not call.waiting:
            self._finish(call)

    def _finish(self, call: _Call) -> None:
        """Add what is known of those that did not answer, and say that this is all."""
        self._drop(call)
        workers: list[Head] = []
        for place in self._places:
            silent = [each for each in place.children if each not in call.fresh]
            for counts in [*place.left, *(one for each in silent for one in each.counted())]:
                self._pass(call, place.number, counts)
            up = place.current is not None and place.current in call.fresh
            workers.append({"worker": place.number, "up": up, "starts": place.starts})
        asker = call.asker
        asker.tell(
            {
                "do": "all",
                "id": call.id,
                "worker": asker.place,
                "leaving": asker.is_leaving,
                "workers": workers,
            }
        )

    def _drop(self, call: _Call) -> None:
        self._calls.discard(call)
        if not self._calls:
            self._is_idle.set()
        if call.alarm is not None:
            call.alarm.cancel()

    def _pass(self, call: _Call, place: int, body: bytes, *, leaving: bool = False, fresh: bool = False) -> None:
        head = {"do": "part", "id": call.id, "worker": place, "leaving": leaving, "fresh": fresh}
        call.asker.tell(head, body)
