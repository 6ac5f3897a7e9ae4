"""A client that keeps who is in a room, by the rules of docs/presence.md, over whatever ends its sockets."""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.harness.stream_client import Frame, StreamClient, open_stream
from tests.harness.waiting import PATIENCE_SECONDS, cancelled, eventually, let_pass

_LOST = (ConnectionClosed, InvalidHandshake, OSError, TimeoutError, EOFError)
RETRY_SECONDS = 0.05


class PresenceReader:
    """Use as an async context manager. `told` has every join and leave with its moment; `lists` how often a list was read."""

    def __init__(self, urls: Sequence[str], key: str, channel: str = "chat:lobby") -> None:
        self._urls = urls
        self._key = key
        self._channel = channel
        self._task: asyncio.Task[None] | None = None
        self._version: str | None = None
        self.epoch = ""
        self.members: dict[str, Mapping[str, Any]] = {}
        self.count: Mapping[str, int] = {}
        self.told: list[tuple[str, str, float]] = []
        self.subject = ""
        self.lists = 0
        self.connections = 0
        self.frames = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow())
        await eventually(lambda: self._running() and self._version is not None, within=2 * PATIENCE_SECONDS)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            await cancelled(self._task)

    @property
    def subjects(self) -> set[str]:
        """Who is there."""
        return set(self.members)

    def of(self, what: str) -> list[str]:
        """Return who joined, or left, in that order."""
        return [subject for kind, subject, _ in self.told if kind == what]

    async def sees(self, *subjects: str, within: float = PATIENCE_SECONDS) -> None:
        """Wait until these are the members."""

        def there() -> bool:
            assert self._running()
            assert self.subjects == set(subjects), f"{len(self.subjects)} of {len(subjects)}"
            return True

        await eventually(there, within=within)

    def _running(self) -> bool:
        if self._task is not None and self._task.done():
            self._task.result()
        return True

    async def _follow(self) -> None:
        for url in self._in_turn():
            with contextlib.suppress(*_LOST):
                async with open_stream(url, self._key) as client:
                    self.connections += 1
                    await self._one_socket(client)
            await let_pass(RETRY_SECONDS)

    def _in_turn(self) -> Any:
        while True:
            yield from self._urls

    async def _one_socket(self, client: StreamClient) -> None:
        await client.subscribe({"channel": self._channel, "presence": True})
        self.subject = next(frame["subject"] for frame in client.frames if frame["type"] == "welcome")
        await self._list(client)
        while True:
            frame = await client.receive(within=10 * PATIENCE_SECONDS)
            client.frames.clear()
            if _is_diff(frame) and not self._take(frame):
                await self._list(client)

    async def _list(self, client: StreamClient) -> None:
        """Read all pages, then take the frames that came meanwhile."""
        before = [frame for frame in client.frames if _is_diff(frame)]
        client.frames.clear()
        self.lists += 1
        members: dict[str, Mapping[str, Any]] = {}
        version, after = "", None
        while not version or after is not None:
            asked = {"type": "presence", "channel": self._channel, "limit": 500, "after": after}
            page = await client.ask(asked)
            if page["type"] == "error":
                await let_pass(RETRY_SECONDS)
                continue
            version, after = version or page["version"], page["next"]
            self.epoch, self.count = page["epoch"], page["count"]
            members |= {member["subject"]: member for member in page["members"]}
        self.members, self._version = members, version
        for frame in [*before, *(frame for frame in client.frames if _is_diff(frame))]:
            self._take(frame)
        client.frames.clear()

    def _take(self, frame: Frame) -> bool:
        """Take a diff; tell whether it goes on from what is known."""
        if frame["after"] != self._version:
            return frame["epoch"] == self.epoch and int(frame["version"]) <= int(self._version or 0)
        self.frames += 1
        for member in (*frame["joined"], *frame["updated"]):
            self.members[member["subject"]] = member
        for member in frame["left"]:
            self.members.pop(member["subject"], None)
        self.told += [
            (kind, member["subject"], time.monotonic()) for kind in ("joined", "left") for member in frame[kind]
        ]
        self._version, self.epoch, self.count = frame["version"], frame["epoch"], frame["count"]
        return True


def _is_diff(frame: Frame) -> bool:
    return frame["type"] == "presence" and "id" not in frame
