"""The hub and its peers as the fan-out's workloads see them: started, joined, published to, and weighed while they deliver."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast
from uuid import UUID, uuid4

import psutil

from benchmarks.bench import Bench
from benchmarks.generator import Generators, Members, hub_joining, joined
from benchmarks.job import ROOM, Broker, Crowd, Pace
from benchmarks.machine import Cores
from benchmarks.peers.catalogue import Peer, redis_address, redis_command, room_name
from benchmarks.publisher import event_template
from benchmarks.server import ServerProcess, clean_environment, cpu_seconds_of, family
from core.store.redis import Redis, connect_redis
from rooms import live_store
from rooms.live_store import LiveStore

# What is still under way when time is over must have arrived by then.
GRACE_SECONDS = 60.0
FEED_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Run:
    """One server in one round. Busy figures are shares of one core; latency is from the publish to the last member.

    What brokers cost is of Redis, and of PostgreSQL where that is on the way. `resident` is in bytes a connection, after the
    window; the server's memory when it had started is taken off.
    """

    deliveries: float
    seconds: float
    server_seconds: float
    broker_seconds: float
    generator_seconds: float
    p50_ms: float
    p99_ms: float
    most_ms: float
    resident: float

    @property
    def deliveries_per_second(self) -> float:
        """Return how fast it was."""
        return self.deliveries / self.seconds

    @property
    def microseconds(self) -> float:
        """Return what one delivery has cost the server."""
        return self.server_seconds / max(self.deliveries, 1) * 1e6

    def figures(self) -> dict[str, float]:
        """Return what the tables show."""
        return {
            "speed": self.deliveries_per_second,
            "cost": self.microseconds,
            "thrift": self.deliveries / max(self.server_seconds, 0.01),
            "busy": self.server_seconds / self.seconds,
            "broker": self.broker_seconds / self.seconds,
            "generator": self.generator_seconds / self.seconds,
            "p50": self.p50_ms,
            "p99": self.p99_ms,
            "most": self.most_ms,
            "resident": self.resident,
        }


class Contender(Protocol):
    """Who takes part. `key` and `title` name it; `main` says whether the README shows it."""

    @property
    def key(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def main(self) -> bool: ...

    async def run(self, crowd: Crowd, pace: Pace) -> Run:
        """Measure it once, with members of its own."""
        ...


class Weighed(Protocol):
    """What uses processor time (server.ServerProcess)."""

    def cpu_seconds(self) -> float:
        """Return how much it has used so far."""
        ...


class Scales:
    """Weighs a server and its brokers, with the processes that these have started, from one moment to another."""

    def __init__(self, server: Weighed, brokers: Sequence[psutil.Process]) -> None:
        self._server = server
        self._brokers = brokers
        self._server_before = 0.0
        self._brokers_before: dict[int, float] = {}

    def start(self) -> None:
        """Begin."""
        self._server_before = self._server.cpu_seconds()
        self._brokers_before = self._brokers_now()

    def read(self) -> tuple[float, float]:
        """Return the seconds of processor time since then, of the server and of the brokers."""
        now = self._brokers_now()
        brokers = sum(seconds - self._brokers_before.get(pid, 0.0) for pid, seconds in now.items())
        return self._server.cpu_seconds() - self._server_before, brokers

    def _brokers_now(self) -> dict[int, float]:
        seconds: dict[int, float] = {}
        for process in (member for broker in self._brokers for member in family(broker.pid)):
            # PostgreSQL's processes come and go.
            with contextlib.suppress(psutil.NoSuchProcess):
                seconds[process.pid] = cpu_seconds_of(process)
        return seconds


async def measure_window(members: Members, scales: Scales) -> Run:
    """Measure where the generator publishes."""
    await members.measuring()
    scales.start()
    window = await members.window()
    server, broker = scales.read()
    return Run(
        window.deliveries,
        window.seconds,
        server,
        broker,
        window.generator_seconds,
        window.p50_ms,
        window.p99_ms,
        window.most_ms,
        0.0,
    )


async def redis_process(url: str) -> psutil.Process:
    """Return the process that is the Redis at `url`, on this machine."""
    client = connect_redis(url)
    try:
        information: Any = await client.info("server")
        return psutil.Process(int(information["process_id"]))
    finally:
        await client.aclose()


@dataclass(frozen=True, slots=True)
class Place:
    """Where peers are started: what makes the load, the cores, a folder for logs, and Redis with its process."""

    generators: Generators
    cores: Cores | None
    folder: Path
    redis_url: str
    redis: psutil.Process

    @classmethod
    async def of(cls, bench: Bench) -> "Place":
        """Peers beside the hub have its Redis."""
        url = bench.hub.redis_url
        return cls(bench.generators, bench.cores, bench.folder, url, await redis_process(url))


class PeerContender:
    """A peer, started anew for each round: two that listen to the same Redis would do each other's work."""

    def __init__(self, place: Place, peer: Peer) -> None:
        self.key, self.title, self.main = peer.key, peer.title, peer.main
        self._place = place
        self._peer = peer

    async def run(self, crowd: Crowd, pace: Pace) -> Run:
        """Start it, measure, and end it."""
        place, peer, url = self._place, self._peer, self._place.redis_url
        cores = len(place.cores.server) if place.cores is not None else 1
        # What Go would find out too late: it looks before it is moved to its core.
        environment = {**clean_environment(), "GOMAXPROCS": str(cores)}
        log = place.folder / f"{peer.key}.log"
        server = ServerProcess(peer.command(url), cores=place.cores, environment=environment, log=log)
        listeners = await self._listeners()
        await server.start()
        try:
            before = server.resident_bytes()
            publish = (peer.broker(url, server.announced, event_template(), crowd.rooms), pace)
            most = pace.warm_seconds + pace.seconds + GRACE_SECONDS
            async with joined(place.generators, server, peer.joining, crowd, seconds=most, publish=publish) as members:
                await self._fed(listeners)
                await server.idle()
                run = await measure_window(members, Scales(server, [place.redis] if peer.encoding else []))
                return replace(run, resident=(server.resident_bytes() - before) / crowd.members)
        finally:
            await server.stop()

    async def _fed(self, before: int) -> None:
        """Wait until Redis has one more who listens: some subscribe only after their first member has come."""
        is_fed = self._peer.encoding is None
        async with asyncio.timeout(FEED_SECONDS):
            while not is_fed:
                is_fed = await self._listeners() > before

    async def _listeners(self) -> int:
        client = connect_redis(self._place.redis_url)
        try:
            patterns: Any = await client.pubsub_numpat()
            named: Any = await client.pubsub_numsub(self._peer.channel(0))
            return int(patterns) + int(named[0][1])
        finally:
            await client.aclose()


class LiveContender:
    """The hub's live rooms: the publisher outside calls the hub's own script in Redis, as every node does."""

    key, title, main = "hub", "**the hub**, live rooms: offsets, history, recovery", True

    def __init__(self, bench: Bench, redis: psutil.Process, *, server: ServerProcess | None = None) -> None:
        self.server = server or bench.hub.server
        self._bench = bench
        self._redis = redis
        # Of the members that joined last.
        self.room = ""

    async def run(self, crowd: Crowd, pace: Pace) -> Run:
        """Measure with rooms whose names are new."""
        async with self.joined(crowd, pace) as members:
            run = await self.measured(members)
        await self.server.idle()
        return run

    @asynccontextmanager
    async def joined(
        self,
        crowd: Crowd,
        pace: Pace,
        *,
        headers: Sequence[str] = (),
        event: str = "",
        options: Mapping[str, Any] | None = None,
        room: str = "",
    ) -> AsyncGenerator[Members]:
        """Open members of new rooms, or of `room`, where the generator will publish; `headers` go with their handshakes.

        `event` is published instead of the usual one, `options` stand beside the channel when it is subscribed. With
        `headers` frames may be compressed: then the n-th is message n.
        """
        organisation = await self._bench.hub.organisation("reads")
        prefix = f"chat:bench-{uuid4().hex[:12]}-"
        rooms = [room] if room else [prefix + room_name(number) for number in range(crowd.rooms)]
        self.room = rooms[0]
        broker = await self._broker(organisation.id, rooms, event)
        joining = hub_joining(organisation.key, ({"channel": room or prefix + ROOM, **(options or {})},))
        joining = replace(joining, headers=(*joining.headers, *headers))
        async with joined(
            self._bench.generators,
            self.server,
            joining,
            crowd,
            seconds=pace.warm_seconds + pace.seconds + GRACE_SECONDS,
            publish=(broker, pace),
            counts_events=bool(headers),
        ) as members:
            await self.server.idle()
            yield members

    async def measured(self, members: Members) -> Run:
        """Measure one window."""
        return await measure_window(members, Scales(self.server, [self._redis]))

    async def _broker(self, org_id: UUID, rooms: Sequence[str], event: str) -> Broker:
        recorder = _Recorder()
        store = LiveStore(cast("Redis", recorder))
        for room in rooms:
            await store.publish(org_id, room, event or event_template())
        client = connect_redis(self._bench.hub.redis_url)
        try:
            await client.script_load(Path(live_store.__file__).with_name("live_publish.lua").read_text())
        finally:
            await client.aclose()
        return Broker(*redis_address(self._bench.hub.redis_url), recorder.commands)


class _Recorder:
    """Stands where the store has its Redis, and keeps what it would have sent."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    async def evalsha(self, digest: str, keys: int, *parts: str | bytes | int) -> list[tuple[bytes, int]]:
        self.commands.append(redis_command("EVALSHA", digest, *(_written(part) for part in (keys, *parts))))
        return [(b"", 1)]


def _written(part: str | bytes | int) -> str | bytes:
    return str(part) if isinstance(part, int) else part
