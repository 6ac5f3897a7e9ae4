"""A program on the JavaScript SDK in Node, watched and told what to do over its standard streams."""

import asyncio
import contextlib
import itertools
import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmarks.clients import node_command
from tests.harness.ledger import Logged, problems_of_channel
from tests.harness.stream_client import Received
from tests.harness.waiting import END_SECONDS, cancelled, eventually

SDK = Path(__file__).resolve().parents[2] / "sdks" / "javascript"
READER = Path(__file__).with_name("node_reader.mjs")
LINE_BYTES = 64 * 2**20


@dataclass
class NodeReader:
    """Follows channels of the hub at `url`. `received` and `resets` hold what came, `states` each state; use as a context."""

    url: str
    key: str
    channels: list[str]
    loop: bool = False
    fallback: bool = True
    hurry: bool = False
    # So many seconds of its clock pass in one.
    speed: int = 1
    items: Mapping[str, Any] = field(default_factory=dict[str, Any])
    received: list[Received] = field(default_factory=list[Received])
    resets: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    joined: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    states: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    told: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    exit_code: int | None = None
    # Everything that it tells, in order.
    on_told: Callable[[Mapping[str, Any]], None] | None = None
    _answers: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _process: asyncio.subprocess.Process | None = None
    _reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        command = node_command()
        assert command is not None
        given = {"url": self.url, "key": self.key, "channels": self.channels, "loop": self.loop}
        given |= {"fallback": self.fallback, "hurry": self.hurry, "speed": self.speed, "items": self.items}
        self._process = await asyncio.create_subprocess_exec(
            *(*command, str(READER), (SDK / "live" / "index.js").as_uri(), json.dumps(given)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=LINE_BYTES,
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        process = self._process
        assert process is not None
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()
        if self._reading is not None:
            await cancelled(self._reading)

    @property
    def state(self) -> str:
        """The state of the connection."""
        return self.states[-1]["state"] if self.states else ""

    def do(self, what: str, **more: Any) -> None:
        """Tell it to do something (node_reader.mjs)."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **more}).encode() + b"\n")

    async def ask(self, what: str, **more: Any) -> dict[str, Any]:
        """Tell it, and return what it answers: `result`, or `error`."""
        number = next(self._numbers)
        self.do(what, n=number, **more)
        return await eventually(lambda: self._answers.get(number), what=f"an answer to {what}")

    async def close(self) -> int:
        """Let it close its client; return how the program ended, which nothing but that makes end."""
        self.do("close")
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(END_SECONDS):
            return await self._process.wait()

    async def is_live(self) -> None:
        """Wait until it is."""
        await eventually(lambda: self.state == "live", what="live")

    async def has_all(self, log: Sequence[Logged], *, within: float = 60.0) -> None:
        """Wait until the last event of the log that is of its channels has come."""
        mine = [entry for entry in log if any(entry.belongs_to(channel) for channel in self.channels)]
        wanted = {entry.event_id for entry in mine[-1:]}
        await eventually(
            lambda: wanted <= {str(each.event["id"]) for each in self.received[-200:]},
            within=within,
            what="the last event",
        )

    def check(self, log: Sequence[Logged]) -> None:
        """Check that it was given every event of its channels once, in order, since it joined. Raises AssertionError."""
        found: list[str] = [f"reset: {reset}" for reset in self.resets]
        for channel in self.channels:
            first = next(item for item in self.joined if item["channel"] == channel)
            mine = [each for each in self.received if each.channel == channel]
            found += problems_of_channel(mine, log, channel, after=int(first["offset"]))
        assert found == [], "\n".join(found[:20])

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._take(json.loads(line))

    def check_alive(self) -> None:
        """Raise where it has ended, or what it told could not be read."""
        if self._reading is not None and self._reading.done():
            self._reading.result()
            raise RuntimeError("the program in Node has ended")

    def _take(self, told: dict[str, Any]) -> None:
        if self.on_told is not None:
            self.on_told(told)
        match told["told"]:
            case "event":
                frame = told["frame"]
                self.received.append(Received(frame["channel"], frame["epoch"], int(frame["offset"]), frame["event"]))
            case "reset":
                self.resets.append(told["frame"])
            case "joined":
                self.joined.append(told["item"])
            case "state":
                self.states.append(told)
            case "answer":
                self._answers[told["n"]] = told
            case _:
                self.told.append(told)
