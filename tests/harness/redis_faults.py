"""What can happen to the Redis of a world, each healed when its coroutine returns; how long it lasts is drawn from `rng`."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Protocol

from tests.harness.cluster import SLOTS, ClusterNode, OwnCluster
from tests.harness.proxy import FaultProxy, How
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually, let_pass

Fault = Callable[[], Awaitable[None]]


class Surroundings(Protocol):
    """What of a world is needed here."""

    redis_gates: list[FaultProxy]
    live_may_reset: bool


class RedisFaults:
    """One server, and the proxies before it."""

    def __init__(self, world: Surroundings, redis: OwnRedis, rng: random.Random) -> None:
        self._world = world
        self._redis = redis
        self._rng = rng

    def all(self) -> list[Fault]:
        """Return all of them."""
        return [
            self.redis_is_restarted,
            self.redis_comes_back_empty,
            self.old_copy_of_redis_is_restored,
            self.redis_hangs,
            self.connections_to_redis_are_cut,
            self.connections_to_redis_end_in_messages,
            self.connections_to_redis_fall_silent,
            self.redis_is_slow,
        ]

    async def redis_is_restarted(self) -> None:
        """It is killed, and comes back with all that it had."""
        self._world.live_may_reset = True
        self._redis.kill()
        await self._last(0, 0.2)
        self._redis.start()

    async def redis_comes_back_empty(self) -> None:
        """It is killed, and has lost everything."""
        self._world.live_may_reset = True
        self._redis.kill()
        await self._last(0, 0.1)
        self._redis.restart(empty=True)

    async def old_copy_of_redis_is_restored(self) -> None:
        """It comes back with what it had some time ago."""
        self._world.live_may_reset = True
        self._redis.keep_copy()
        await self._last(0.1, 0.2)
        self._redis.restore_copy()

    async def redis_hangs(self) -> None:
        """Nothing answers, nothing is closed."""
        self._redis.pause()
        await self._last(0.1, 0.5)
        self._redis.resume()

    async def connections_to_redis_are_cut(self) -> None:
        """All of one node's."""
        self._gate().cut_all(self._how())
        await self._last(0, 0.05)

    async def connections_to_redis_end_in_messages(self) -> None:
        """Each of one node's ends after some bytes more."""
        for connection in self._gate().alive:
            connection.down.cut_after(int(self._rng.expovariate(1 / 2000)) + 1, self._how())
        await self._last(0.05, 0.2)

    async def connections_to_redis_fall_silent(self) -> None:
        """One node's; some of them end for good afterwards, others bring what waited."""
        frozen = self._gate().alive
        for connection in frozen:
            connection.down.freeze()
            connection.up.freeze()
        await self._last(0.1, 0.5)
        for connection in frozen:
            if self._rng.random() < 0.5:
                connection.cut()
            connection.down.thaw()
            connection.up.thaw()

    async def redis_is_slow(self) -> None:
        """Its answers and messages come late to one node."""
        gate = self._gate()
        for connection in gate.alive:
            connection.down.delay = self._rng.uniform(0.005, 0.03)
        await self._last(0.1, 0.3)
        for connection in gate.alive:
            connection.down.delay = 0.0

    async def _last(self, least: float, most: float) -> None:
        await let_pass(self._rng.uniform(least, most))

    def _gate(self) -> FaultProxy:
        return self._rng.choice(self._world.redis_gates)

    def _how(self) -> How:
        return self._rng.choice(("rst", "fin"))


class ClusterFaults:
    """A cluster, whose masters have replicas."""

    def __init__(self, world: Surroundings, cluster: OwnCluster, rng: random.Random) -> None:
        self._world = world
        self._cluster = cluster
        self._rng = rng

    def all(self) -> list[Fault]:
        """Return all of them."""
        return [
            self.slots_move,
            self.master_is_replaced,
            self.master_is_restarted,
            self.master_hangs,
            self.masters_change_in_order,
            self.connections_to_redis_are_cut,
        ]

    async def slots_move(self) -> None:
        """Some that have keys, at once or key by key."""
        self._world.live_may_reset = True
        is_atomic = self._rng.random() < 0.5
        for slot in await asyncio.to_thread(self._cluster.used_slots, self._rng.randrange(1, 6)):
            await asyncio.to_thread(self._cluster.migrate_slot, slot, atomically=is_atomic)

    async def master_is_replaced(self) -> None:
        """It is killed, its replica promoted, and it comes back as the replica's."""
        await self._off_for_longer_than_a_failover(kill=True)

    async def master_is_restarted(self) -> None:
        """It comes back before anybody has replaced it."""
        self._world.live_may_reset = True
        master = await self._master()
        master.kill()
        await asyncio.to_thread(master.start)
        await self._whole()

    async def master_hangs(self) -> None:
        """For longer than a failover takes; then it goes on as if nothing had been."""
        await self._off_for_longer_than_a_failover(kill=False)

    async def masters_change_in_order(self) -> None:
        """Its replica takes over with all that it had."""
        self._world.live_may_reset = True
        master = await self._master()
        replica = await asyncio.to_thread(self._cluster.replica_of, master)
        replica.ask("CLUSTER", "FAILOVER")
        await eventually(lambda: replica.ask("ROLE")[0] == b"master", within=20, what="the replica is promoted")
        await self._whole()

    async def connections_to_redis_are_cut(self) -> None:
        """Those of subscribers, or those of commands, at one master."""
        master = await self._master()
        master.ask("CLIENT", "KILL", "TYPE", self._rng.choice(("pubsub", "normal")))

    async def _off_for_longer_than_a_failover(self, *, kill: bool) -> None:
        self._world.live_may_reset = True
        master = await self._master()
        replica = await asyncio.to_thread(self._cluster.replica_of, master)
        if kill:
            master.kill()
        else:
            master.pause()
        await eventually(lambda: replica.ask("ROLE")[0] == b"master", within=20, what="the replica is promoted")
        await let_pass(self._rng.uniform(0, 0.3))
        if kill:
            await asyncio.to_thread(master.start)
        else:
            master.resume()
        await self._whole()

    async def _master(self) -> ClusterNode:
        slot = self._rng.randrange(SLOTS)
        return await asyncio.to_thread(self._cluster.owner, slot)

    async def _whole(self) -> None:
        await eventually(lambda: asyncio.to_thread(self._cluster.is_whole), within=20, what="the cluster is whole")
