"""What doctor says of Redis."""

from hub.commands.redis_findings import redis_findings
from tests.harness.cluster import OwnCluster
from tests.harness.valkey import OwnRedis


async def found(url: str) -> tuple[list[str], list[str]]:
    """Return what is said, and the cures."""
    findings = [finding async for finding in redis_findings(url)]
    return [each.what for each in findings], [each.cure for each in findings if each.cure is not None]


async def test_server_is_told_by_its_version(redis_url: str):
    said, cures = await found(redis_url)
    assert len(said) == 1
    assert cures == []


async def test_server_that_is_away(own_redis: OwnRedis):
    own_redis.kill()
    said, cures = await found(own_redis.url)
    assert said[0].startswith("Redis does not answer")
    assert cures == ["Check REDIS_URL and the server."]


async def test_whole_cluster_is_in_order(cluster: OwnCluster):
    """Each master is named, with its version."""
    said, cures = await found(cluster.url)
    assert said[:2] == ["Redis is a cluster of 3 masters", "16384 of its 16384 slots are served"]
    assert all(any(f"127.0.0.1:{node.port}" in line for line in said[2:]) for node in cluster.nodes)
    assert cures == []
    assert (await found(f"{cluster.url}/1"))[1] == [
        "Check REDIS_URL and the server. A cluster has database 0 only: leave the number out."
    ]


async def test_slots_that_nobody_serves_and_a_master_that_is_away(own_cluster: OwnCluster):
    """The cure says how."""
    first, second, third = own_cluster.nodes[:3]
    for node in (first, second, third):
        node.ask("CLUSTER", "DELSLOTSRANGE", 0, 99)
    _, cures = await found(first.url)
    assert [cure.partition(" ")[0] for cure in cures] == ["100"]
    third.kill()
    said, cures = await found(first.url)
    assert any(line.startswith(f"The master at 127.0.0.1:{third.port} cannot be reached") for line in said)
    assert "cluster-announce-ip" in cures[-1]
