"""Somebody who publishes into live rooms whatever happens to sockets, nodes and Redis, with books."""

import asyncio
import contextlib
import json
import random
from dataclasses import dataclass, field
from typing import Any, Self

from tests.harness.checker import LiveBooks
from tests.harness.stream_client import LOST, StreamClient, open_stream
from tests.harness.views import ALARM
from tests.harness.waiting import END_SECONDS, cancelled, eventually, let_pass

ANSWER_SECONDS = 4.0


@dataclass
class LiveWriter:
    """Publishes into `channels` at random until it is stopped, over `urls` in turn. What became of a lost one is uncertain.

    Each event's data has a `mark` that is made before it is sent, so that it is known when its answer was lost.
    """

    urls: list[str]
    key: str
    channels: list[str]
    name: str
    random: random.Random
    pause: float = 0.02
    books: LiveBooks = field(default_factory=LiveBooks)
    _sent: int = 0
    _stopping: bool = False
    _task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._write_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            await cancelled(self._task)

    async def stop(self) -> None:
        """Finish the publish under way, then stop. Raises what ended it before."""
        self._stopping = True
        if self._task is not None:
            async with asyncio.timeout(END_SECONDS):
                await self._task

    def check(self) -> int:
        """Return how many were answered. Raises what ended it, if it has ended."""
        if self._task is not None and self._task.done() and not self._stopping:
            self._task.result()
        return len(self.books.placed)

    async def last_of_each(self, *, within: float = 15.0) -> dict[str, tuple[str, int]]:
        """Publish once more into every channel and return where it stands there: the end of each room, once all writers rest.

        It is an alarm: who filters a room waits for it too.
        """

        async def once(channel: str) -> tuple[str, int] | None:
            async with self._socket() as stream:
                return await self._publish(stream, channel, ALARM)

        retry = (*LOST, AssertionError)
        return {
            channel: await eventually(
                lambda c=channel: once(c), within=within, every=0.05, retry_on=retry, what=f"a last event in {channel}"
            )
            for channel in self.channels
        }

    def _socket(self) -> contextlib.AbstractAsyncContextManager[StreamClient]:
        url = self.urls[self._sent % len(self.urls)]
        return open_stream(url, self.key, open_timeout=2, ping_interval=1, ping_timeout=1, close_timeout=0.2)

    async def _write_on(self) -> None:
        while not self._stopping:
            try:
                async with self._socket() as stream:
                    while not self._stopping:
                        await self._publish(
                            stream, self.random.choice(self.channels), self.random.choice((ALARM, "talk"))
                        )
                        await let_pass(self.pause)
            except LOST:
                self._sent += 1  # the next one has another url
                await let_pass(0.02)

    async def _publish(self, stream: StreamClient, channel: str, kind: str) -> tuple[str, int] | None:
        self._sent += 1
        mark = f"{self.name}-{self._sent}"
        self.books.sent[mark] = channel
        self.books.kinds[mark] = kind
        self.books.uncertain += 1
        data = {"mark": mark, "kind": kind, "text": "ü" * self.random.randrange(200)}
        answer = await self._asked(stream, {"type": "publish", "channel": channel, "data": data})
        if answer["type"] == "result":
            self.books.uncertain -= 1
            place = str(answer["result"]["epoch"]), int(answer["result"]["offset"])
            self.books.placed[channel, *place] = mark
            return place
        code = answer["error"]["code"]
        if code == "RATE_LIMIT_EXCEEDED":
            self.books.uncertain -= 1
            self.books.refused += 1
            del self.books.sent[mark]
            await let_pass(0.1)
        elif code != "SERVICE_UNAVAILABLE":
            raise RuntimeError(f"a publish was refused: {answer}")
        return None

    async def _asked(self, stream: StreamClient, frame: dict[str, Any]) -> dict[str, Any]:
        """Send a frame and return its answer; no answer is a lost socket."""
        number = self._sent
        await stream.socket.send(json.dumps({"id": number, **frame}))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while True:
                    answer = json.loads(await stream.socket.recv())
                    if answer.get("id") == number:
                        return answer
        except TimeoutError as late:
            raise ConnectionError("no answer to a publish") from late
