"""A hub, or a network, that answers nothing: the SDK in Node waits for no answer for ever."""

import pytest

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcesses
from tests.harness.node_reader import NodeReader
from tests.harness.organisations import Organisation
from tests.harness.proxy import FaultProxies, ProxiedConnection
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually

pytestmark = pytest.mark.usefixtures("node")
# A minute of its clock is six seconds here.
SPEED = 10


def whys(reader: NodeReader) -> list[str]:
    """Return why it has waited, each time."""
    return [state["why"] for state in reader.states if state["state"] == "waiting"]


async def test_handshake_that_is_never_answered_is_given_up(
    hubs: HubProcesses, organisation: Organisation, engines: EngineUrls, redis_url: str, proxies: FaultProxies
):
    """Something accepts the connection and stays silent, without an end; the next attempt comes through."""
    hub = await hubs.start(urls=EngineUrls(organisation.database_url, engines.superuser_url, redis_url))
    gate = await proxies.open(hub.base_url)

    def swallow(connection: ProxiedConnection) -> None:
        connection.down.freeze()
        gate.on_connect = None

    gate.on_connect = swallow
    key = await organisation.key()
    async with NodeReader(gate.url(), key, ["agents"], fallback=False, hurry=True, speed=SPEED) as reader:
        await reader.is_live()
        assert whys(reader)[:1] == ["no answer"]


async def test_subscribe_that_is_never_answered_is_given_up_while_live(
    hubs: HubProcesses, organisation: Organisation, engines: EngineUrls, own_redis: OwnRedis, proxies: FaultProxies
):
    """The node has lost its Redis and waits for it, though it answers pings: the client comes back, perhaps to another node."""
    redis = await proxies.open(own_redis.url)
    hub = await hubs.start(urls=EngineUrls(organisation.database_url, engines.superuser_url, redis.url()))
    key = await organisation.key()
    async with NodeReader(hub.base_url, key, ["agents"], fallback=False, hurry=True, speed=SPEED) as reader:
        await reader.is_live()
        await redis.refuse()
        redis.cut_all()
        reader.do("join", channel="chat:lobby")
        await eventually(lambda: "no answer" in whys(reader), what="the subscribe was given up")
        await redis.accept()
        await eventually(
            lambda: reader.state == "live" and "chat:lobby" in {item["channel"] for item in reader.joined},
            within=60,
            what="joined at last",
        )
