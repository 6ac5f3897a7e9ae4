"""Clients that do as docs/protocol.md says when a node stops or refuses them: they wait for their slot, come back, and go on."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Callable
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from core.deadline import end_tasks
from tests.harness.stream_client import LOST
from tests.harness.waiting import eventually, let_pass

# Sockets that one process opens at once, when all begin.
OPENING = 50


class Traveller:
    """One client of one channel. `received` holds (offset, event id) in the order in which they came."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.received: list[tuple[int, str]] = []
        self.start: int | None = None
        self.problems: list[str] = []
        self.announced = 0
        self.handshakes: list[float] = []
        # Those that the hub took, and those that it refused.
        self.welcomed: list[float] = []
        self.refused = 0
        self._failures = 0
        # Seconds that it came after its slot at most: the machine's, not the hub's.
        self.late = 0.0
        self.is_live = False
        self._offset: str | None = None
        self._epoch = ""

    async def travel(self, url: Callable[[], str], key: str, room: asyncio.Semaphore) -> None:
        """Follow the channel until cancelled."""
        wait = 0.0
        while True:
            due = time.monotonic() + wait
            await let_pass(wait)
            came = time.monotonic()
            self.late = max(self.late, came - due if wait else 0.0)
            await room.acquire()  # only at the beginning there is a queue
            release = contextlib.ExitStack()
            release.callback(room.release)
            try:
                with release:
                    self.handshakes.append(came)
                    async with connect(
                        url(),
                        additional_headers={"Authorization": f"Bearer {key}"},
                        compression=None,
                        ping_interval=None,
                    ) as socket:
                        wait = await self._follow(socket, release)
            except InvalidStatus as refused:
                self.refused += 1
                wait = float(refused.response.headers.get("Retry-After", "1"))
            except LOST:
                self._failures += 1
                wait = random.uniform(0, min(5.0, 0.1 * 2**self._failures))

    async def _follow(self, socket: ClientConnection, release: contextlib.ExitStack) -> float:
        """Read until the socket ends; return how long to stay away."""
        item: Any = self.channel
        if self._offset is not None:
            item = {"channel": self.channel, "offset": self._offset, "epoch": self._epoch}
        await socket.send(json.dumps({"id": 1, "type": "subscribe", "channels": [item]}))
        wait = 0.1
        try:
            async for text in socket:
                frame = json.loads(text)
                if frame["type"] == "disconnect":
                    self.announced += 1
                    wait = frame["after_ms"] / 1000
                else:
                    self._take(frame)
                    if self.is_live:
                        release.close()
        finally:
            self.is_live = False
        if socket.close_code != 4000:
            self.problems.append(f"closed with {socket.close_code}")
        return wait

    def _take(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "event":
                self._offset = frame["offset"]
                self.received.append((int(frame["offset"]), frame["event"]["id"]))
            case "subscribed":
                (item,) = frame["channels"]
                if self.start is None:
                    self.start = int(item["offset"])
                elif not item.get("recovered"):
                    self.problems.append(f"not recovered: {item}")
                self._offset, self._epoch, self.is_live = item["offset"], item["epoch"], True
                self._failures = 0
            case "welcome":
                self.welcomed.append(time.monotonic())
            case "reset" | "error":
                self.problems.append(str(frame))
            case _:
                pass


class Travellers:
    """Many of them, in one channel. `url` says where they connect now. Use as an async context manager."""

    def __init__(
        self, count: int, url: Callable[[], str], key: str, channel: str = "agents", *, opening: int = OPENING
    ) -> None:
        self._opening = opening
        self.all = [Traveller(channel) for _ in range(count)]
        self._url = url
        self._key = key
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        room = asyncio.Semaphore(self._opening)
        self._tasks = [asyncio.create_task(each.travel(self._url, self._key, room)) for each in self.all]
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_tasks(self._tasks, again=0.5)

    async def live(self, *, within: float) -> None:
        """Wait until all are subscribed."""
        await eventually(self._are_live, within=within, every=0.05, what="everybody is subscribed")

    async def have(self, event_id: str, *, within: float) -> None:
        """Wait until all have got this event."""
        await eventually(
            lambda: all(each.received and each.received[-1][1] == event_id for each in self.all),
            within=within,
            every=0.05,
            what="everybody has the last event",
        )

    @property
    def late(self) -> float:
        """Return how many seconds somebody came after his slot."""
        return max(each.late for each in self.all)

    def peak(self, since: float) -> int:
        """Return the most handshakes within any one second after `since` (monotonic)."""
        return _peak(sorted(moment for each in self.all for moment in each.handshakes if moment >= since))

    def welcomes(self, since: float) -> int:
        """Return the same of those that the hub took."""
        return _peak(sorted(moment for each in self.all for moment in each.welcomed if moment >= since))

    def _are_live(self) -> bool:
        for task in self._tasks:
            if task.done():
                task.result()
        return all(each.is_live for each in self.all)


def _peak(moments: list[float]) -> int:
    """Return how many of these are within one second at most."""
    most, first = 0, 0
    for index, moment in enumerate(moments):
        while moments[first] <= moment - 1:
            first += 1
        most = max(most, index - first + 1)
    return most
