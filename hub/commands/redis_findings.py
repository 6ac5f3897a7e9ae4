"""What `doctor` says of Redis: one server, or a cluster and each of its masters."""

from collections.abc import AsyncGenerator
from urllib.parse import urlsplit

from redis.asyncio import Redis as Server
from redis.exceptions import RedisError

from core.settings import seeds_of
from core.store.redis import Redis, connect_redis
from core.store.slot_map import SLOTS, Address, SlotMap
from hub.commands.finding import Finding

LEAST_REDIS = 7
_FAILURES = (RedisError, OSError, TimeoutError)


async def redis_findings(url: str) -> AsyncGenerator[Finding]:
    """Look at the Redis that `url` names."""
    redis = connect_redis(url)
    try:
        slots = await redis.slots()
        async for finding in _cluster(redis, slots) if slots.is_cluster else _single(redis, url):
            yield finding
    except _FAILURES as error:
        cure = "Check REDIS_URL and the server."
        if urlsplit(url).path.strip("/") not in ("", "0") and not url.startswith("unix:"):
            cure += " A cluster has database 0 only: leave the number out."
        yield Finding(f"Redis does not answer: {error or type(error).__name__}", cure)
    finally:
        await redis.aclose()


async def _single(redis: Redis, url: str) -> AsyncGenerator[Finding]:
    yield await _version(redis, "")
    if len(seeds_of(url)) > 1:
        yield Finding(
            "REDIS_URL names several servers, and the first that answers is no node of a cluster",
            "Name one server, or nodes of one cluster: servers beside each other would each have a part of the truth.",
        )


async def _cluster(redis: Redis, slots: SlotMap) -> AsyncGenerator[Finding]:
    yield Finding(f"Redis is a cluster of {len(slots.masters)} masters")
    yield Finding(
        f"{SLOTS - slots.uncovered} of its {SLOTS} slots are served",
        f"{slots.uncovered} are served by nobody, and what happens in their organisations comes late or not at all. Bring "
        "their master or its replica back, or give the slots away: redis-cli --cluster fix HOST:PORT."
        if slots.uncovered
        else None,
    )
    for address, server in zip(slots.masters, await redis.masters(), strict=True):
        yield await _master(server, address)


async def _master(server: Server, address: Address) -> Finding:
    try:
        return await _version(server, f" at {address}")
    except _FAILURES as error:
        return Finding(
            f"The master at {address} cannot be reached: {error or type(error).__name__}",
            "That is the address which the cluster gives to clients. Bring the server back, let this machine reach it, or have "
            "it announce an address that can be reached: cluster-announce-ip, or cluster-announce-hostname with "
            "cluster-preferred-endpoint-type hostname.",
        )


async def _version(server: Server, where: str) -> Finding:
    info = await server.info("server")
    name, version = info.get("server_name", "redis"), info.get("valkey_version", info["redis_version"])
    cure = None if int(str(version).partition(".")[0]) >= LEAST_REDIS else "Use Redis 7 or later, or Valkey."
    return Finding(f"{str(name).capitalize()} {version}{where}", cure)
