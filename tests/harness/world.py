"""What a schedule of faults happens to: nodes, the Redis server and the proxies before it, the database.

What was done stands in `World.log`.
"""

import asyncio
import random
import traceback
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import asyncpg
import redis.exceptions

from core.settings import Settings
from core.store.engines import EngineUrls
from hub.main import Hub
from tests.harness.cluster import OwnCluster
from tests.harness.engines import PrivateEngines
from tests.harness.hub_process import HubProcess
from tests.harness.hurried_clock import HurriedClock
from tests.harness.proxy import Address, FaultProxy
from tests.harness.redis_faults import ClusterFaults, Fault, RedisFaults
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually, let_pass

NODE_SPEED = 4.0


class WorldNode(Protocol):
    """A node, inside the test or a process."""

    @property
    def base_url(self) -> str:
        """Where it serves; another address after each start."""
        ...

    @property
    def running(self) -> bool:
        """Whether it serves."""
        ...

    async def up(self) -> None:
        """Start it, and wait until it serves."""
        ...

    async def stop(self) -> object:
        """Let it drain."""
        ...

    async def down(self) -> None:
        """End it at once."""
        ...


class InsideNode:
    """A node in the test's own loop, on a hurried clock: restarts take a tenth of a second."""

    def __init__(self, urls: EngineUrls, data: Path, deaths: list[str], fanout_slice: int | None = None) -> None:
        self.clock = HurriedClock(NODE_SPEED)
        self._urls = urls
        self._data = data
        self._deaths = deaths
        self._fanout_slice = fanout_slice
        self._hub: Hub | None = None
        self._url = ""

    @property
    def base_url(self) -> str:
        """Where it serves."""
        return self._url

    @property
    def running(self) -> bool:
        """Whether it serves."""
        return self._hub is not None

    async def up(self) -> None:
        """Start it."""
        settings = Settings.load(
            port=0,
            data=self._data,
            database_url=self._urls.database_url,
            redis_url=self._urls.redis_url,
            drain=0.5,
            fanout_slice=self._fanout_slice,
        )
        hub = Hub(settings, self.clock, self._deaths.append)
        await hub.start()
        self._hub, self._url = hub, hub.url

    async def stop(self) -> None:
        """Let it drain."""
        hub, self._hub = self._hub, None
        if hub is not None:
            await hub.stop()

    async def down(self) -> None:
        """Drop every socket, and what it has under way, without a word."""
        hub, self._hub = self._hub, None
        if hub is not None:
            hub._server.shut()  # pyright: ignore[reportPrivateUsage] - a user has SIGKILL for this
            await hub._server.close(within=0.0)  # pyright: ignore[reportPrivateUsage] - the same
            await hub._close()  # pyright: ignore[reportPrivateUsage] - the same


class ProcessNode:
    """A node that is a process: it can be killed and stopped for a while."""

    def __init__(self, process: HubProcess) -> None:
        self.process = process

    @property
    def base_url(self) -> str:
        """Where it serves."""
        return self.process.base_url

    @property
    def running(self) -> bool:
        """Whether it serves."""
        return self.process.running and bool(self.process.base_url)

    async def up(self) -> None:
        """Start it."""
        await self.process.start()

    async def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        await self.process.stop(within=30)

    async def down(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def errors(self) -> list[str]:
        """Return what it has logged as errors since it was started last."""
        lines = self.process.output().splitlines()
        return [f"{line}\n" + "\n".join(lines[at + 1 : at + 60]) for at, line in enumerate(lines) if "[error" in line]


class World:
    """`nodes[n]` reaches Redis through `redis_gates[n]`; a cluster without gates, since its servers tell their own addresses.

    `live_may_reset` is set by what loses offsets of live rooms; `engines` is set where PostgreSQL may be killed.
    """

    def __init__(
        self, nodes: list[WorldNode], redis_gates: list[FaultProxy], redis: OwnRedis | OwnCluster, urls: EngineUrls
    ) -> None:
        self.nodes = nodes
        self.redis_gates = redis_gates
        self.redis = redis
        self.urls = urls
        self.log: list[str] = []
        self.deaths: list[str] = []
        self.live_may_reset = False
        self.engines: PrivateEngines | None = None
        self.hub_log: list[MutableMapping[str, Any]] = []
        self._doors: list[tuple[FaultProxy, WorldNode]] = []

    def add_door(self, gate: FaultProxy, node: WorldNode) -> None:
        """Have `gate` lead to `node` also when that comes back at another port."""
        self._doors.append((gate, node))

    def forget_doors(self) -> None:
        """Forget the gates of a crowd that has gone."""
        self._doors.clear()

    def rest_urls(self) -> list[str]:
        """Return the addresses of the nodes that serve."""
        return [node.base_url for node in self.nodes if node.running] or [self.nodes[0].base_url]

    async def happen(self, name: str, fault: Fault) -> None:
        """Let a fault happen, with a line in the log."""
        self.log.append(name)
        await fault()

    async def healed(self) -> None:
        """Wait until every node that was ended serves again, and Redis answers."""
        for gate in self.redis_gates:
            for connection in gate.alive:
                connection.down.delay = 0.0
                connection.down.thaw()
                connection.up.thaw()
        for node in self.nodes:
            if not node.running:
                await self._up(node)

    async def end_database_connections(self) -> None:
        """End every connection that the hub has to its database, as a restart of PostgreSQL does."""
        connection = await asyncpg.connect(self.urls.superuser_url)
        try:
            name = urlsplit(self.urls.database_url).path[1:]
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
                name,
            )
        finally:
            await connection.close()

    def errors(self) -> list[str]:
        """Return what the nodes have logged as errors: a fault of the surroundings is none of theirs."""
        inside = [_told(entry) for entry in self.hub_log if entry["log_level"] in ("error", "critical")]
        return inside + [each for node in self.nodes if isinstance(node, ProcessNode) for each in node.errors()]

    def client_clock(self) -> HurriedClock | None:
        """Return a clock for clients that is as fast as that of the nodes; None where that is the machine's."""
        return HurriedClock(NODE_SPEED) if any(isinstance(node, InsideNode) for node in self.nodes) else None

    async def close(self) -> None:
        """End the nodes."""
        for node in self.nodes:
            await node.down()

    async def restart(self, node: WorldNode, *, is_drained: bool) -> None:
        """End a node and start it again."""
        if is_drained:
            await node.stop()
        else:
            await node.down()
        await self._up(node)

    async def _up(self, node: WorldNode) -> None:
        # A start needs its engines; what another fault has taken comes back.
        away = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, redis.exceptions.RedisError)

        async def started() -> bool:
            await node.up()
            return True

        await eventually(started, within=40, every=0.05, retry_on=away, what="a node starts")
        for gate, behind in self._doors:
            if behind is node:
                gate.server = Address.of(node.base_url)
        await asyncio.sleep(0)


class WorldFaults:
    """What can happen to nodes and engines, each healed when its coroutine returns; how long it lasts is drawn from `rng`."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng

    def by_name(self) -> Mapping[str, Fault]:
        """Return all of them."""
        redis = self._world.redis
        of_redis = (
            ClusterFaults(self._world, redis, self._rng)
            if isinstance(redis, OwnCluster)
            else RedisFaults(self._world, redis, self._rng)
        )
        found = [
            *of_redis.all(),
            self.node_is_drained,
            self.node_is_killed,
            self.connections_to_postgres_end,
        ]
        if self._world.engines is not None:
            found.append(self.postgres_is_killed)
        if any(isinstance(node, InsideNode) for node in self._world.nodes):
            found.append(self.clock_jumps)
        if any(isinstance(node, ProcessNode) for node in self._world.nodes):
            found.append(self.node_stands_still)
        return {each.__name__: each for each in found}

    async def node_is_drained(self) -> None:
        """A deploy."""
        await self._world.restart(self._rng.choice(self._world.nodes), is_drained=True)

    async def node_is_killed(self) -> None:
        """A crash."""
        await self._world.restart(self._rng.choice(self._world.nodes), is_drained=False)

    async def connections_to_postgres_end(self) -> None:
        """As when PostgreSQL is restarted."""
        await self._world.end_database_connections()

    async def postgres_is_killed(self) -> None:
        """Its supervisor starts it again."""
        engines = self._world.engines
        if engines is not None:
            (await engines.postgres()).kill()
            await engines.answering(within=30)

    async def clock_jumps(self) -> None:
        """The wall clock of a node is set, forwards or back, by up to a day."""
        node = self._rng.choice([node for node in self._world.nodes if isinstance(node, InsideNode)])
        node.clock.jump(self._rng.choice((-1, 1)) * self._rng.choice((1, 60, 3600, 86400)))

    async def node_stands_still(self) -> None:
        """SIGSTOP: its sockets stay open, its locks are held, nothing answers; later it goes on as if nothing had been."""
        node = self._rng.choice([node for node in self._world.nodes if isinstance(node, ProcessNode)])
        node.process.pause()
        await self._last(0.2, 10)
        node.process.resume()

    async def _last(self, least: float, most: float) -> None:
        await let_pass(self._rng.uniform(least, most))


def _told(entry: Mapping[str, Any]) -> str:
    """Return an entry of the hub's log with the traceback of its exception."""
    error = entry.get("exc_info")
    trace = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""
    return f"{entry['event']}: { {key: value for key, value in entry.items() if key != 'exc_info'} }\n{trace}"
