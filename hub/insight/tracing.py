"""Traces: the frames of one stream, shown while they pass, wherever in the hub the stream is.

The node that has the stream watches it and tells the node that was asked, a few times a second. Both ends have bounds: what does
not fit is dropped and counted, and a trace whose asker is gone ends by itself.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from core.clock import Clock, rfc3339
from core.deadline import within
from core.errors import HubError
from core.ids import new_id
from core.pressure import Calm, Part, Pressed
from hub.insight.directory import Directory
from hub.insight.masking import frames_in, shown, shown_sent
from hub.insight.sockets import Socket
from hub.nodes import Body, Nodes
from rooms.tasks import Tasks

FLUSH_SECONDS = 0.2
# Also without frames something is told, so that both ends know that the other is there.
ALIVE_SECONDS = 1.0
LOST_SECONDS = 6.0
# What waits for the next flush, and what waits for a slow asker.
MOST_BYTES = 256 * 1024
MOST_WRITES = 2_000
MOST_BATCHES = 100
# Streams of one node that are watched at once.
MOST_TRACES = 4

_OPEN, _LINES, _KEEP, _CLOSE = "trace.open", "trace.lines", "trace.keep", "trace.close"
Line = dict[str, Any]


class FrameLog:
    """Collects what passes, as it is, to be made readable later. A Watcher."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: deque[tuple[datetime, bool, str | bytes]] = deque()
        self._bytes = 0
        self._dropped = 0

    def received(self, message: str | bytes) -> None:
        """Take a message of the client."""
        self._keep(message, is_sent=False)

    def sent(self, data: bytes) -> None:
        """Take frames of the hub."""
        self._keep(data, is_sent=True)

    def take(self) -> list[Line]:
        """Return what was collected since the last time, readable and without secrets."""
        lines: list[Line] = []
        size_of_all = 0
        while self._kept:
            time, is_sent, data = self._kept.popleft()
            if size_of_all > MOST_BYTES:  # compressed frames stand for more than they take
                self._dropped += 1
                continue
            if is_sent and isinstance(data, bytes):
                frames = [(len(payload), shown_sent(opcode, payload)) for opcode, payload in frames_in(data)]
            else:
                frames = [(len(data), shown(data))]
            size_of_all += sum(size for size, _ in frames)
            direction = "out" if is_sent else "in"
            lines += [{"time": rfc3339(time), "direction": direction, "bytes": size, **frame} for size, frame in frames]
        if self._dropped:
            lines.append({"time": rfc3339(self._clock.now()), "dropped": self._dropped})
        self._bytes = self._dropped = 0
        return lines

    def _keep(self, data: str | bytes, *, is_sent: bool) -> None:
        if len(self._kept) >= MOST_WRITES or self._bytes + len(data) > MOST_BYTES:
            self._dropped += 1
            return
        self._kept.append((self._clock.now(), is_sent, data))
        self._bytes += len(data)


@dataclass(eq=False, slots=True)
class _Watch:
    """A stream of this node that is watched for `asker`."""

    socket: Socket
    asker: str
    until: float
    keep_until: float
    log: FrameLog


@dataclass(eq=False, slots=True)
class _Follower:
    """A trace that was asked for at this node."""

    batches: asyncio.Queue[tuple[list[Line], str | None]] = field(
        default_factory=lambda: asyncio.Queue[tuple[list[Line], str | None]](MOST_BATCHES)
    )


class Tracing:
    """Both ends of traces on one node. `run` must run; `close` ends all of them."""

    def __init__(self, nodes: Nodes, directory: Directory, clock: Clock, pressure: Pressed | None = None) -> None:
        self._nodes = nodes
        self._directory = directory
        self._clock = clock
        self._pressure = pressure or Calm()
        self._watches: dict[str, _Watch] = {}
        self._followers: dict[str, _Follower] = {}
        self._tasks = Tasks()
        nodes.answer(_OPEN, self._open)
        nodes.listen(_LINES, self._take)
        nodes.listen(_KEEP, self._keep)
        nodes.listen(_CLOSE, self._let_go)

    async def run(self) -> None:
        """Surface a bug in a trace; runs until cancelled."""
        await self._tasks.crash

    def end(self) -> None:
        """End the traces that were asked for here."""
        for follower in self._followers.values():
            _put(follower, [], "node_stops")

    async def close(self) -> None:
        """End everything."""
        self.end()
        await self._tasks.close()

    async def follow(self, org_id: UUID, id: str, seconds: float) -> AsyncGenerator[list[Line]]:
        """Give the frames of a stream as they pass, some at a time, often none; ends with a line that says why it ended.

        Raises HubError where there is no such stream, it is watched already, or its node does not answer.
        """
        trace, follower = str(new_id()), _Follower()
        self._followers[trace] = follower
        owner = None
        try:
            self._pressure.check(Part.DEBUG)
            owner = await self._find(trace, org_id, id, seconds)
            while True:
                lines, ended = await self._next(follower)
                if ended is not None:
                    yield [*lines, {"time": rfc3339(self._clock.now()), "ended": ended}]
                    return
                yield lines
                await self._nodes.tell(owner, _KEEP, {"trace": trace})
        finally:
            del self._followers[trace]
            if owner is not None:
                await self._nodes.tell(owner, _CLOSE, {"trace": trace})

    async def _find(self, trace: str, org_id: UUID, id: str, seconds: float) -> str:
        wanted = {"trace": trace, "org_id": str(org_id), "id": id, "seconds": seconds, "asker": self._nodes.node}
        answers = await self._nodes.ask(_OPEN, wanted, one=True)
        for node, body in answers.bodies.items():
            if body.get("busy"):
                raise HubError("SERVICE_UNAVAILABLE", "The stream's node is too busy to be watched", retry_after=5)
            if body.get("refused"):
                raise HubError("RESOURCE_LOCKED", str(body["refused"]), retry_after=5)
            return node
        if answers.is_whole:
            raise HubError("RESOURCE_NOT_FOUND", "There is no open stream with this id")
        raise HubError("SERVICE_UNAVAILABLE", "A node that may have this stream does not answer", retry_after=2)

    async def _next(self, follower: _Follower) -> tuple[list[Line], str | None]:
        try:
            return await within(self._clock, LOST_SECONDS, follower.batches.get())
        except TimeoutError:
            return [], "node_lost"

    def _open(self, body: Body) -> Body | None:
        socket = self._directory.here(body["org_id"], body["id"])
        if socket is None:
            return None
        if socket.watcher is not None or len(self._watches) >= MOST_TRACES:
            return {"refused": "Another trace of this stream, or enough of its node, is under way"}
        if self._pressure.gives_up(Part.DEBUG):
            return {"busy": True}
        now = self._clock.monotonic()
        watch = _Watch(socket, body["asker"], now + float(body["seconds"]), now + LOST_SECONDS, FrameLog(self._clock))
        self._watches[body["trace"]] = watch
        socket.watch(watch.log)
        self._tasks.spawn(self._watch(body["trace"], watch))
        return {}

    async def _watch(self, trace: str, watch: _Watch) -> None:
        told_at = self._clock.monotonic()
        try:
            ended = None
            while ended is None and trace in self._watches:
                await self._clock.sleep(FLUSH_SECONDS)
                # First whether it has ended, then what was said until then.
                ended, now = self._end_of(watch), self._clock.monotonic()
                lines = watch.log.take()
                if lines or ended or now - told_at >= ALIVE_SECONDS:
                    told_at = now
                    await self._nodes.tell(watch.asker, _LINES, {"trace": trace, "lines": lines, "ended": ended})
        finally:
            self._watches.pop(trace, None)
            if watch.socket.watcher is watch.log:
                watch.socket.watch(None)

    def _end_of(self, watch: _Watch) -> str | None:
        now = self._clock.monotonic()
        if watch.socket.caller is None or not self._is_open(watch.socket):
            return "closed"
        if now >= watch.until:
            return "time"
        if self._pressure.gives_up(Part.DEBUG):
            return "overload"
        return "asker_lost" if now >= watch.keep_until else None

    def _is_open(self, socket: Socket) -> bool:
        caller = socket.caller
        return caller is not None and self._directory.here(str(caller.org_id), socket.id) is socket

    def _take(self, body: Body) -> None:
        follower = self._followers.get(body["trace"])
        if follower is not None:
            _put(follower, body["lines"], body["ended"])

    def _keep(self, body: Body) -> None:
        watch = self._watches.get(body["trace"])
        if watch is not None:
            watch.keep_until = self._clock.monotonic() + LOST_SECONDS

    def _let_go(self, body: Body) -> None:
        self._watches.pop(body["trace"], None)


def written(lines: list[Line]) -> bytes:
    """Return lines as NDJSON."""
    return b"".join(orjson.dumps(line) + b"\n" for line in lines)


def _put(follower: _Follower, lines: list[Line], ended: str | None) -> None:
    if follower.batches.full():
        # The asker reads too slowly; the newest matter most, and it is told what it lacks.
        lost, _ = follower.batches.get_nowait()
        lines = [{"dropped": len(lost)}, *lines] if lost else lines
    follower.batches.put_nowait((lines, ended))
