"""A client that keeps who is in a room by the rules of docs/presence.md, whatever ends its sockets, and notes what breaks them.

rule                                                                          counted as
on a socket each diff goes on from the one before, once one has               lost
after each there are as many members as it counts                              lost
from there on nobody joins who is there, nobody leaves or changes who is not   doubled
versions of an epoch rise                                                      disordered
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from tests.harness.stream_client import LOST, Frame, StreamClient, open_stream
from tests.harness.totals import Counts
from tests.harness.waiting import PATIENCE_SECONDS, cancelled, eventually, let_pass

RETRY_SECONDS = 0.05


class PresenceReader:
    """Use as an async context manager. `told` has every join and leave with its moment; `lists` how often a list was read.

    What breaks the rules stands in `problems`. `options` stand beside the channel when it is subscribed. A socket from which
    nothing comes is given up after `heartbeat` seconds, and as many without a pong.
    """

    def __init__(
        self,
        urls: Sequence[str],
        key: str,
        channel: str = "chat:lobby",
        *,
        heartbeat: float = 20.0,
        **options: Any,
    ) -> None:
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
        self.problems: list[str] = []
        self._heartbeat = heartbeat
        self._item = {"channel": channel, "presence": True, **options}
        self._counts = Counts(readers=1)
        # Whether a diff has gone on from the list: from there on nothing may be missing.
        self._goes_on = False

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

    @property
    def counts(self) -> Counts:
        """What it was told, for the ledger: diffs are what it receives, further lists its resets."""
        self._counts.connections, self._counts.received = self.connections, self.frames
        self._counts.resets = self.lists - 1
        return self._counts

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
            with contextlib.suppress(*LOST):
                beat = self._heartbeat
                async with open_stream(url, self._key, ping_interval=beat, ping_timeout=beat) as client:
                    self.connections += 1
                    await self._one_socket(client)
            await let_pass(RETRY_SECONDS)

    def _in_turn(self) -> Any:
        while True:
            yield from self._urls

    async def _one_socket(self, client: StreamClient) -> None:
        answer = await client.subscribe(self._item)
        if any("error" in item for item in answer.get("channels", ())):
            raise ConnectionError(f"refused for the moment: {answer}")
        self.subject = next(frame["subject"] for frame in client.frames if frame["type"] == "welcome")
        await self._read(client)
        while True:
            frame = await client.receive(within=10 * PATIENCE_SECONDS)
            client.frames.clear()
            if _is_diff(frame) and not self.takes(frame):
                await self._read(client)

    async def _read(self, client: StreamClient) -> None:
        while not await self._list(client):
            await let_pass(RETRY_SECONDS)

    async def _list(self, client: StreamClient) -> bool:
        """Read all pages, then take the frames that came meanwhile; tell whether these go on from the list."""
        before = [frame for frame in client.frames if _is_diff(frame)]
        client.frames.clear()
        self.lists += 1
        members: dict[str, Mapping[str, Any]] = {}
        version, epoch, after = "", "", None
        while not version or after is not None:
            asked = {"type": "presence", "channel": self._channel, "limit": 500, "after": after}
            page = await client.ask(asked)
            if page["type"] == "error":
                await let_pass(RETRY_SECONDS)
                continue
            version, after = version or page["version"], page["next"]
            epoch, self.count = page["epoch"], page["count"]
            members |= {member["subject"]: member for member in page["members"]}
        self.begins_with(members, version, epoch)
        kept = [*before, *(frame for frame in client.frames if _is_diff(frame))]
        client.frames.clear()
        go_on = [self.takes(frame) for frame in kept]
        return all(go_on)

    def begins_with(self, members: Mapping[str, Mapping[str, Any]], version: str, epoch: str) -> None:
        """Take a list: who was there at a version, and perhaps who has come since."""
        self.members, self._version, self.epoch, self._goes_on = dict(members), version, epoch, False

    def takes(self, frame: Mapping[str, Any]) -> bool:
        """Take a diff; tell whether it goes on from what is known."""
        if frame["after"] != self._version:
            is_known = frame["epoch"] == self.epoch and int(frame["version"]) <= int(self._version or 0)
            if self._goes_on and not is_known:
                self._counts.lost += 1
                self.problems.append(
                    f"at {self._version} of {self.epoch} came a diff that goes on from elsewhere: {frame}"
                )
            return is_known
        # The first may tell what the list has already: a list is of the version that was told last, but has what came since.
        if self._goes_on:
            self._check(frame)
        self.frames += 1
        self._goes_on = True
        for member in (*frame["joined"], *frame["updated"]):
            self.members[member["subject"]] = member
        for member in frame["left"]:
            self.members.pop(member["subject"], None)
        self.told += [
            (kind, member["subject"], time.monotonic()) for kind in ("joined", "left") for member in frame[kind]
        ]
        # Of several frames that lead to one state only the last is of its version.
        if frame["version"] != frame["after"] and frame["count"]["members"] != len(self.members):
            self._counts.lost += 1
            self.problems.append(f"there are {sorted(self.members)}, which is not as many as it says: {frame}")
        self._version, self.epoch, self.count = frame["version"], frame["epoch"], frame["count"]
        return True

    def _check(self, frame: Mapping[str, Any]) -> None:
        twice = [each for each in frame["joined"] if each["subject"] in self.members]
        # Not of who leaves: a list that was read within a tick may have shown one who others never heard of.
        absent = [each for each in frame["updated"] if each["subject"] not in self.members]
        if twice or absent:
            self._counts.doubled += len(twice) + len(absent)
            self.problems.append(f"at {self._version} were {sorted(self.members)}, but there came {frame}")
        if frame["epoch"] == self.epoch and int(frame["version"]) < int(self._version or 0):
            self._counts.disordered += 1
            self.problems.append(f"{self._version} came before {frame}")


def _is_diff(frame: Frame) -> bool:
    return frame["type"] == "presence" and "id" not in frame
