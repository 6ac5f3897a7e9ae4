"""Somebody who writes an answer into a room, keeps what was written now and then, and those who read along.

`Keeper` stands where executions are kept: what it says is as old as it was kept. Readers know docs/protocol.md only.
"""

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from core.auth.caller import Caller
from core.errors import HubError
from rooms.beginnings import UNKNOWN, Beginning
from rooms.fence import Fence, RoomLost
from rooms.live import LiveRooms, Published
from rooms.live_following import RoomReset
from rooms.openings import Openings
from rooms.recovery import Bookmark
from tests.harness.waiting import let_pass


@dataclass
class Kept:
    """What is kept of a run, and whose agent it is."""

    org_id: UUID
    agent_id: UUID = field(default_factory=uuid4)
    attempt: int = 0
    sequence: int = 0
    text: str = ""
    mark: Bookmark = field(default_factory=Bookmark)
    status: str = "running"


class Keeper:
    """Beginnings of what is in `runs`, by channel; a session that is there with None has nothing under way."""

    def __init__(self, rolls: random.Random | None = None) -> None:
        self.runs: dict[str, Kept | None] = {}
        self.looks = 0
        self.away = False
        self._rolls = rolls or random.Random(0)

    def covers(self, namespace: str) -> bool:
        """As Beginnings.covers."""
        return namespace in ("runs", "sessions")

    async def find(self, caller: Caller, channel: str) -> Beginning:
        """As Beginnings.find; what it reads is of some moment between the call and the answer."""
        self.looks += 1
        await _turns(self._rolls)
        if self.away:
            raise HubError("SERVICE_UNAVAILABLE", "It is away")
        if channel not in self.runs:
            raise HubError("CHANNEL_NOT_FOUND")
        kept = self.runs[channel]
        if kept is None:
            return Beginning(None)
        if kept.org_id != caller.org_id or not caller.may_touch(kept.agent_id):
            raise HubError("CHANNEL_NOT_FOUND")
        data = {"execution_id": channel, "attempt": kept.attempt, "sequence": kept.sequence, "text": kept.text}
        found = Beginning(envelope("run.snapshot", channel, {**data, "status": kept.status, "action": None}), kept.mark)
        await _turns(self._rolls)
        return found


def envelope(type: str, channel: str, data: Mapping[str, Any]) -> str:
    """Return an event as rooms have it."""
    head = {"id": str(uuid4()), "type": type, "source": "test", "subject": channel.replace(":", "/", 1)}
    return json.dumps({**head, "time": "2026-01-01T00:00:00.000000Z", "data": data})


class Writer:
    """One attempt at an answer, in one room; what was said is kept some words later."""

    def __init__(self, rooms: LiveRooms, keeper: Keeper, org_id: UUID, channel: str, rolls: random.Random) -> None:
        self.channel = channel
        self.text = ""
        self.sequence = 0
        self.attempt = 1
        self.at = Bookmark()
        self.loses = 0.0  # the part of words that Redis does not take
        self._rooms = rooms
        self._rolls = rolls
        self._org_id = org_id
        self._keeper = keeper
        self._kept = keeper.runs[channel] = Kept(org_id, attempt=1)

    @property
    def kept(self) -> Kept:
        """What the keeper has of it."""
        return self._kept

    async def start(self) -> None:
        """Say that it begins, or that another attempt goes on from what is kept."""
        if self.attempt == 1:
            await self.say("run.started", {"sequence": 0, "text": ""})
        else:
            await self.say("run.restarted", {"sequence": self.sequence, "text": self.text})
        self.keep()

    def take_up(self) -> None:
        """Be another attempt, which knows what was kept."""
        self.attempt += 1
        self.text, self.sequence, self.at = self._kept.text, self._kept.sequence, Bookmark()
        self._kept.attempt, self._kept.mark = self.attempt, UNKNOWN

    async def write(self, words: int) -> None:
        """Write words, and keep them now and then."""
        for _ in range(words):
            word = f"{self.sequence + 1} "
            self.text, self.sequence = self.text + word, self.sequence + 1
            if self._rolls.random() < self.loses:
                # Redis did not take it: more was said than is kept, or less.
                self.at = UNKNOWN
                self.keep()
            elif self.at == UNKNOWN:
                await self._say_anew()
            else:
                await self.say("run.delta", {"sequence": self.sequence, "text": word})
            await _turns(self._rolls)
            if self._rolls.random() < 0.2:
                self.keep()

    async def end(self) -> None:
        """Keep everything, and say so."""
        if self.at == UNKNOWN:
            await self._say_anew()
        self.keep()
        self._kept.status, self._kept.mark = "completed", Bookmark()
        fence = Fence(self.channel, 2 * self.attempt + 1, once=True)
        await self._publish("run.completed", {"sequence": self.sequence, "status": "completed"}, fence)

    def keep(self) -> None:
        """Keep what was said."""
        self._kept.text, self._kept.sequence, self._kept.mark = self.text, self.sequence, self.at

    async def say(self, type: str, data: Mapping[str, Any]) -> None:
        """Publish; where Redis has lost the room, or its answer was lost, say everything anew."""
        try:
            await self._publish(type, data, Fence(self.channel, 2 * self.attempt, epoch=self.at.epoch))
        except (HubError, RoomLost):
            await self._say_anew()

    async def _say_anew(self) -> None:
        whole = {"sequence": self.sequence, "text": self.text, "status": "running", "action": None}
        while True:
            try:
                await self._publish("run.snapshot", whole, Fence(self.channel, 2 * self.attempt))
            except HubError:
                await let_pass(0.02)
            else:
                return

    async def _publish(self, type: str, data: Mapping[str, Any], fence: Fence) -> Published:
        body = json.dumps({"execution_id": self.channel, "attempt": self.attempt, **data}).encode()
        said = await self._rooms.publish(self._org_id, self.channel, type, body, source="test", fence=fence)
        self.at = Bookmark(said.offset, said.epoch)
        return said


@dataclass
class Reader:
    """What a reader has of one run, by the rule of docs/protocol.md."""

    attempt: int = 0
    sequence: int = -1
    text: str = ""
    doubles: int = 0
    gaps: int = 0
    is_done: bool = False
    types: list[str] = field(default_factory=list[str])

    def take(self, event: Mapping[str, Any]) -> None:
        """Take one event."""
        self.types.append(event["type"])
        data = event["data"]
        if data["attempt"] < self.attempt:
            self.doubles += 1
            return
        match event["type"]:
            case "run.started" | "run.snapshot" | "run.restarted" | "run.resumed":
                if (data["attempt"], data["sequence"]) >= (self.attempt, self.sequence):
                    self.attempt, self.sequence, self.text = data["attempt"], data["sequence"], data["text"]
                    self.is_done |= data.get("status") == "completed"
            case "run.delta":
                self._append(data)
            case "run.completed":
                self.is_done = True
            case _:
                pass

    def _append(self, data: Mapping[str, Any]) -> None:
        if data["attempt"] > self.attempt or data["sequence"] > self.sequence + 1:
            self.gaps += 1
        elif data["sequence"] == self.sequence + 1:
            self.sequence, self.text = data["sequence"], self.text + data["text"]
        else:
            self.doubles += 1

    async def read(self, openings: Openings, caller: Caller, channel: str) -> None:
        """Read to the end, beginning anew after a reset."""
        while not self.is_done:
            try:
                async with openings.following(caller, channel) as (said, entries):
                    if said is not None:
                        self.take(json.loads(said))
                    while not self.is_done:
                        self.take(json.loads((await anext(entries)).envelope))
            except RoomReset:
                continue
            except HubError as refused:
                if refused.code != "SERVICE_UNAVAILABLE":
                    raise
                await let_pass(0.02)


async def _turns(rolls: random.Random) -> None:
    for _ in range(rolls.choice((0, 0, 1, 1, 2, 5))):
        await asyncio.sleep(0)
