"""Members of rooms in Python, where there is no C compiler: the same job files and lines as loadgen.c."""

import asyncio
import random
import re
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from benchmarks.job import NUMBER, ROOM, Job
from benchmarks.report import percentile_ms

HANDSHAKES_AT_ONCE = 100
_EVENT = b'{"type":"event"'
_MARK = re.compile(rb"#(\d{8})#")
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_LOOKS_SECONDS = 0.001


class Ending:
    """The first thing that ends the generator: its time, its input, or a fault."""

    def __init__(self) -> None:
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ended(self, fault: str = "") -> None:
        """End, with a fault or without; only the first counts."""
        if not self._future.done():
            if fault:
                self._future.set_exception(RuntimeError(fault))
            else:
                self._future.set_result(None)

    async def wait(self) -> None:
        """Return at the end. Raises RuntimeError with the fault."""
        await self._future


@dataclass(slots=True)
class Progress:
    """How far a message has come."""

    room: int
    expected: int
    sent_ns: int
    reached: int = 0
    median_ns: int = 0


class Rooms:
    """Counts how many members each message has reached."""

    def __init__(self, job: Job, ending: Ending) -> None:
        self.members = job.number("members")
        self.rooms = job.number("rooms", 1)
        self.deliveries = 0
        self.completed = 0
        self.waits: list[int] = []
        self._is_told = "publish_port" not in job.records
        self._ending = ending
        self._progress: dict[int, Progress] = {}

    def expect(self, number: int, room: int, now: int) -> None:
        """Note that a message is on its way to a room."""
        expected = self.members // self.rooms + (room < self.members % self.rooms)
        self._progress[number] = Progress(room, expected, now)

    def arrived(self, number: int, room: int, now: int) -> None:
        """Note that a message has reached one more."""
        if self._is_told and number not in self._progress:
            self.expect(number, 0, now)
        progress = self._progress.get(number)
        if progress is None or progress.room != room or progress.reached == progress.expected:
            self._ending.ended(f"message {number} came twice, or to room {room} by mistake")
            return
        self.deliveries += 1
        progress.reached += 1
        if progress.reached == (progress.expected + 1) // 2:
            progress.median_ns = now
        if progress.reached == progress.expected:
            self.completed += 1
            self.waits.append(now - progress.sent_ns)
            if self._is_told:
                print(number, progress.median_ns, now, flush=True)


class Member(asyncio.Protocol):
    """One WebSocket; reads the server's frames, which are whole and unmasked."""

    def __init__(self, job: Job, index: int, rooms: Rooms, on_ready: Callable[[], None], ending: Ending) -> None:
        self._job = job
        self._room = index % rooms.rooms
        self._rooms = rooms
        self._on_ready = on_ready
        self._ending = ending
        self._buffer = bytearray()
        self._step = -1  # before the upgrade
        self._events = 0
        self._counts_events = "count_events" in job.records
        self._opcode = job.number("opcode", _TEXT)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._filled(self._job.text("handshake")))

    def connection_lost(self, exc: Exception | None) -> None:
        """A member that is lost makes the figures void."""
        self._ending.ended(f"the server ended a connection: {exc}")

    def data_received(self, data: bytes) -> None:
        """Take frames, in whatever pieces they come."""
        now = time.monotonic_ns()
        self._buffer += data
        if self._step >= 0 or self._take_answer():
            self._take_frames(now)

    def _filled(self, text: bytes) -> bytes:
        return text.replace(ROOM.encode(), b"%04d" % self._room)

    def _take_answer(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        if not self._buffer.startswith(b"HTTP/1.1 101 "):
            self._ending.ended(f"no upgrade: {bytes(self._buffer)!r}")
        del self._buffer[: end + 4]
        self._step = 0
        if self._job.text("expect") == b"":
            self._join(b"")
        return True

    def _join(self, payload: bytes) -> None:
        """Go on with joining where this is what is waited for."""
        sends = self._job.records.get("send", [])
        if self._job.records["expect"][self._step] in payload:
            if self._step < len(sends):
                self._send(self._opcode, self._filled(sends[self._step]))
            else:
                self._on_ready()
            self._step += 1

    def _take_frames(self, now: int) -> None:
        buffer, at = self._buffer, 0
        while len(buffer) - at >= 2:
            header = {126: 4, 127: 10}.get(buffer[at + 1], 2)
            length = buffer[at + 1] if header == 2 else int.from_bytes(buffer[at + 2 : at + header])
            if len(buffer) - at < header + length:
                break
            self._take(buffer[at] & 0x0F, bytes(buffer[at + header : at + header + length]), now)
            at += header + length
        del buffer[:at]

    def _take(self, opcode: int, payload: bytes, now: int) -> None:
        if opcode == _PING:
            self._send(_PONG, payload)
        elif opcode == _CLOSE:
            self._ending.ended(f"the server closed: {payload!r}")
        elif self._step < len(self._job.records["expect"]):
            self._join(payload)
        elif payload == self._job.text("ping"):
            self._send(self._opcode, self._job.text("pong"))
        elif not self._counts_events:
            for mark in _MARK.finditer(payload):
                self._rooms.arrived(int(mark[1]), self._room, now)
        elif payload.startswith(_EVENT):
            self._rooms.arrived(self._events, self._room, now)
            self._events += 1

    def _send(self, opcode: int, payload: bytes) -> None:
        # RFC 6455, section 5.3: a client's frame is masked; the mask may be zero.
        size = len(payload)
        length = bytes((0x80 | size,)) if size < 126 else bytes((0x80 | 126, size >> 8, size & 255))
        self._transport.write(bytes((0x80 | opcode,)) + length + bytes(4) + payload)


class Broker(asyncio.Protocol):
    """Where messages are published; only refusals are read."""

    def __init__(self, job: Job, ending: Ending) -> None:
        self._hello = job.text("hello")
        self._ending = ending
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._hello)

    def data_received(self, data: bytes) -> None:
        """Look for a refusal."""
        if data.startswith(b"-") or b"\r\n-" in data:
            self._ending.ended(f"the broker refused: {data!r}")


async def publish(job: Job, rooms: Rooms, broker: Broker) -> None:
    """Publish by the job's pace until the window is over; print its lines."""
    if broker.transport is None:
        raise RuntimeError("there is no connection to the broker")
    pacing, published = _Pacing(job), 0
    begin, length = time.monotonic_ns() + job.number("warm_ms") * 10**6, job.number("measure_ms") * 10**6
    before: tuple[int, int, float] | None = None
    while True:
        now = time.monotonic_ns()
        for _ in range(pacing.due(published - rooms.completed, now)):
            room = random.randrange(rooms.rooms)
            rooms.expect(published, room, now)
            broker.transport.write(job.records["message"][room].replace(NUMBER.encode(), b"%08d" % published))
            published += 1
        if before is None and now >= begin:
            rooms.waits.clear()
            before = now, rooms.deliveries, _cpu_seconds()
            print("measuring", flush=True)
        if before is not None and now >= before[0] + length:
            shares = (round(percentile_ms(rooms.waits, share) * 1000) if rooms.waits else 0 for share in (50, 99, 100))
            used = round((_cpu_seconds() - before[2]) * 1e6)
            print(rooms.deliveries - before[1], now - before[0], used, len(rooms.waits), *shares, flush=True)
            return
        await asyncio.sleep(_LOOKS_SECONDS)


class _Pacing:
    """How many messages are due: those that are missing in flight, or those whose time has come."""

    def __init__(self, job: Job) -> None:
        self._in_flight = job.number("in_flight")
        self._every_ns = 10**12 // job.number("rate_milli") if "rate_milli" in job.records else 0
        self._next_ns = time.monotonic_ns()

    def due(self, under_way: int, now: int) -> int:
        if not self._every_ns:
            return self._in_flight - under_way
        count = max(0, (now - self._next_ns) // self._every_ns + 1)
        self._next_ns += count * self._every_ns
        return count


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def loadgen(file: str) -> None:
    """Do what loadgen.c does."""
    job = _read(file)
    loop, ending = asyncio.get_running_loop(), Ending()
    rooms = Rooms(job, ending)
    opening, ready = asyncio.Semaphore(HANDSHAKES_AT_ONCE), asyncio.Event()
    waiting = set(range(rooms.members))

    def on_ready() -> None:
        opening.release()
        waiting.pop()
        if not waiting:
            ready.set()

    loop.call_later(job.number("seconds"), ending.ended, "out of time")
    host, port = job.text("host").decode(), job.number("port")
    for index in range(rooms.members):
        await opening.acquire()
        source = f"127.0.0.{1 + index % job.number('sources', 1)}", 0
        await loop.create_connection(
            lambda at=index: Member(job, at, rooms, on_ready, ending), host, port, local_addr=source
        )
    broker = await _connected(job, ending)
    publishing = asyncio.create_task(_when_all_are_there(job, rooms, ready, broker))
    await ending.wait()
    publishing.cancel()


async def _connected(job: Job, ending: Ending) -> Broker | None:
    if "publish_port" not in job.records:
        return None
    broker, host = Broker(job, ending), job.text("publish_host").decode()
    loop = asyncio.get_running_loop()
    if host.startswith("/"):
        await loop.create_unix_connection(lambda: broker, host)
    else:
        await loop.create_connection(lambda: broker, host, job.number("publish_port"))
    return broker


async def _when_all_are_there(job: Job, rooms: Rooms, ready: asyncio.Event, broker: Broker | None) -> None:
    await ready.wait()
    print("ready", flush=True)
    if broker is not None:
        await asyncio.to_thread(sys.stdin.readline)
        await publish(job, rooms, broker)


def _read(file: str) -> Job:
    return Job.decode(Path(file).read_bytes())
