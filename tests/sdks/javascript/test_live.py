"""The SDK in Node against a real hub, through a proxy that does to connections what networks do."""

import random
from datetime import timedelta
from typing import Any

import pytest

from benchmarks.publisher import OutboxPublisher
from core.clock import SystemClock
from core.store.engines import EngineUrls
from tests.faults.conftest import WriteOn, seed, write_on
from tests.harness.hub_process import HubProcesses
from tests.harness.ledger import Ledger
from tests.harness.node_reader import NodeReader
from tests.harness.organisations import Organisation
from tests.harness.proxy import Address, FaultProxies, ProxiedConnection
from tests.harness.rest_client import RestClient
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually

__all__ = ["seed", "write_on"]
pytestmark = pytest.mark.usefixtures("node")


async def written(organisation: Organisation, urls: EngineUrls, *counts: int) -> None:
    """Commit events of agents, so many in each transaction."""
    publisher = await OutboxPublisher.open(urls.database_url, urls.redis_url, organisation.id, 1)
    try:
        first = 0
        for count in counts:
            await publisher.publish_all(range(first, first + count))
            first += count
    finally:
        await publisher.close()


async def log_of(organisation: Organisation) -> Ledger:
    """Return the books with the log as it is now."""
    ledger = Ledger(organisation.database_url, organisation.id, "none")
    await ledger.settle()
    return ledger


@pytest.fixture
def urls(organisation: Organisation, engines: EngineUrls, redis_url: str) -> EngineUrls:
    """The engines of this test's nodes."""
    return EngineUrls(organisation.database_url, engines.superuser_url, redis_url)


def cut_at_random(connection: ProxiedConnection, rng: random.Random) -> None:
    """Let a connection end anywhere: in the handshake, in a subscribe frame, in an event."""
    if rng.random() < 0.15:
        connection.up.cut_after(rng.randrange(1, 600), rng.choice(("rst", "fin")))
    connection.down.cut_after(int(rng.expovariate(1 / 6000)) + 1, rng.choice(("rst", "fin")))


@pytest.mark.parametrize("loop", [False, True], ids=["callbacks", "loop"])
async def test_reader_that_is_cut_while_a_node_is_killed_misses_and_doubles_nothing(
    hubs: HubProcesses,
    urls: EngineUrls,
    organisation: Organisation,
    proxies: FaultProxies,
    write_on: WriteOn,
    seed: int,
    loop: bool,
):
    """Connections end anywhere; a node dies by SIGKILL, and whoever comes back lands on the other one."""
    rng = random.Random(seed)
    nodes = await hubs.start_many(2, urls=urls)
    gate = await proxies.open(nodes[0].base_url)
    gate.on_connect = lambda connection: cut_at_random(connection, rng)
    key = await organisation.key()
    async with NodeReader(gate.url(), key, ["agents", "knowledge", "twins"], loop=loop, hurry=True) as reader:
        await eventually(lambda: len({item["channel"] for item in reader.joined}) == 3, within=60, what="joined")
        async with write_on(organisation, key, nodes) as writer:
            await eventually(lambda: writer.check() and len(gate.connections) >= 8, within=60, what="cuts")
            nodes[0].kill()
            gate.server = Address.of(nodes[1].base_url)
            gate.cut_all()
            more = len(gate.connections) + 5
            await eventually(lambda: writer.check() and len(gate.connections) >= more, within=60, what="more cuts")
            gate.on_connect = None
            await writer.stop()
        await writer.ledger.settle()
        gate.cut_all()
        await reader.has_all(writer.ledger.log)
        reader.check(writer.ledger.log)


async def test_slow_reader_holds_its_channel_and_loses_nothing(
    hubs: HubProcesses, urls: EngineUrls, organisation: Organisation
):
    """A loop that does not go on: the client leaves the channel, so that memory is bounded, while another one goes on."""
    hub = await hubs.start(urls=urls)
    key = await organisation.key()
    async with (
        NodeReader(hub.base_url, key, ["agents", "twins"], loop=True) as reader,
        RestClient(hub.base_url, key) as rest,
    ):
        await reader.is_live()
        reader.do("pause")
        await written(organisation, urls, *[500] * 10)
        ledger = await log_of(organisation)

        (connection,) = (await rest.call("GET", "/v2/connections")).body["data"]

        async def is_held() -> bool:
            answer = await rest.call("GET", f"/v2/connections/{connection['id']}")
            return "twins" in answer.body["subscriptions"] and "agents" not in answer.body["subscriptions"]

        await eventually(is_held, what="the channel was left")
        assert len(reader.received) <= 2
        reader.do("go")
        await reader.has_all(ledger.log)
        reader.check(ledger.log)
        assert [state["state"] for state in reader.states].count("live") == 1  # never cut


async def test_sleep_of_half_an_hour_is_noticed_at_once(
    hubs: HubProcesses, urls: EngineUrls, organisation: Organisation, proxies: FaultProxies
):
    """The machine slept, and its connection is dead without a word: nobody waits for the ping's usual time."""
    hub = await hubs.start(urls=urls)
    gate = await proxies.open(hub.base_url)
    key = await organisation.key()
    async with NodeReader(gate.url(), key, ["agents"]) as reader:
        await reader.is_live()
        for connection in gate.connections:
            connection.down.freeze()
            connection.up.freeze()
        await written(organisation, urls, 50)
        ledger = await log_of(organisation)
        reader.do("sleep", ms=30 * 60_000)
        reader.do("check")
        await reader.has_all(ledger.log, within=20)
        reader.check(ledger.log)
        assert [state["why"] for state in reader.states if state["state"] == "waiting"] == ["gone silent"]


async def test_restart_in_an_orderly_way_gives_a_slot(
    hubs: HubProcesses, urls: EngineUrls, organisation: Organisation, proxies: FaultProxies
):
    """A node that stops hands out when to come back; its reader comes back to another one, and misses nothing."""
    nodes = await hubs.start_many(2, urls=urls)
    gate = await proxies.open(nodes[0].base_url)
    async with NodeReader(gate.url(), await organisation.key(), ["agents"]) as reader:
        await reader.is_live()
        gate.server = Address.of(nodes[1].base_url)
        await nodes[0].stop()
        await written(organisation, urls, 20)
        ledger = await log_of(organisation)
        await reader.has_all(ledger.log)
        reader.check(ledger.log)
        assert [state["why"] for state in reader.states if state["state"] == "waiting"] == ["restarting"]


async def test_requests_and_a_clean_close(hubs: HubProcesses, urls: EngineUrls, organisation: Organisation):
    """Publish, history, call and their refusals; after close nothing keeps the program."""
    hub = await hubs.start(urls=urls)
    async with NodeReader(hub.base_url, await organisation.key(), ["chat:lobby", "nope"]) as reader:
        await reader.is_live()
        said = await reader.ask("ask", frame={"type": "publish", "channel": "chat:lobby", "data": {"text": "Hello"}})
        assert said["result"]["offset"] == "1"
        await eventually(lambda: [each.offset for each in reader.received] == [1])
        kept = await reader.ask("ask", frame={"type": "history", "channel": "chat:lobby"})
        assert [each["event"]["data"] for each in kept["result"]["events"]] == [{"text": "Hello"}]
        made = await reader.ask(
            "ask",
            frame={"type": "call", "operation": "agents.create", "input": {"name": "Ada"}, "idempotency_key": "once"},
        )
        assert made["result"]["name"] == "Ada"
        wrong = await reader.ask("ask", frame={"type": "publish", "channel": "agents", "data": 1})
        assert wrong["error"]["code"]
        assert [told["error"]["code"] for told in reader.told if told["told"] == "refused"] == ["CHANNEL_NOT_FOUND"]
        places = await reader.ask("places")
        assert places["result"]["chat:lobby"]["offset"] == "1"
        assert await reader.close() == 0


async def test_expired_credential_is_asked_for_again_and_a_revoked_one_stops(
    hubs: HubProcesses, urls: EngineUrls, organisation: Organisation
):
    """4004: another one from the callback, and on; 4503: stopped, and it is the credential."""
    hub = await hubs.start(urls=urls)
    expires_at = SystemClock().now() + timedelta(seconds=3)
    first, second = await organisation.key(expires_at=expires_at), await organisation.key()
    async with NodeReader(hub.base_url, first, ["agents"]) as reader:
        await reader.is_live()
        await eventually(
            lambda: [told["why"] for told in reader.told if told["told"] == "asked"] == ["connect", "expiring"]
        )
        reader.do("keys", keys=[second])
        await written(organisation, urls, 5)
        ledger = await log_of(organisation)
        await eventually(lambda: reader.states[-1]["state"] == "live" and len(reader.joined) > 1, what="back")
        await reader.has_all(ledger.log)
        reader.check(ledger.log)
        await organisation.revoke(second)
        await eventually(lambda: reader.state == "stopped")
        assert (reader.states[-1]["code"], reader.states[-1]["credential"]) == (4503, True)


async def test_lost_redis_is_told_by_a_reset_of_live_rooms_alone(
    hubs: HubProcesses, organisation: Organisation, engines: EngineUrls, own_redis: OwnRedis
):
    """A room begins anew; the log goes on. Both on the connection that was there."""
    urls = EngineUrls(organisation.database_url, engines.superuser_url, own_redis.url)
    hub = await hubs.start(urls=urls)
    key = await organisation.key()
    async with NodeReader(hub.base_url, key, ["agents", "chat:lobby"]) as reader:
        await reader.is_live()
        await reader.ask("ask", frame={"type": "publish", "channel": "chat:lobby", "data": 1})
        own_redis.restart(empty=True)
        await eventually(
            lambda: [reset["channel"] for reset in reader.resets] == ["chat:lobby"], within=60, what="a reset"
        )
        await written(organisation, urls, 5)
        ledger = await log_of(organisation)
        await eventually(lambda: len([each for each in reader.received if each.channel == "agents"]) == 5)
        mine = [each for each in reader.received if each.channel == "agents"]
        assert [each.offset for each in mine] == [entry.position for entry in ledger.log]


async def test_flood_is_received_whole(hubs: HubProcesses, urls: EngineUrls, organisation: Organisation):
    """20,000 events as fast as the hub gives them; how fast that is, `make bench` says."""
    hub = await hubs.start(urls=urls)
    async with NodeReader(hub.base_url, await organisation.key(), ["agents"]) as reader:
        await reader.is_live()
        await written(organisation, urls, *[1000] * 20)
        ledger = await log_of(organisation)
        await reader.has_all(ledger.log)
        assert len(reader.received) == 20_000
        reader.check(ledger.log)


async def test_events_go_on_where_sockets_are_blocked(
    hubs: HubProcesses, urls: EngineUrls, organisation: Organisation, proxies: FaultProxies
):
    """A proxy lets no upgrade through: the same events by plain HTTP, over cuts, with channels that come and go, and publishing."""
    hub = await hubs.start(urls=urls)
    gate = await proxies.open(hub.base_url)
    gate.on_connect = lambda connection: connection.up.forbid(b"upgrade: websocket")
    key = await organisation.key()
    async with RestClient(hub.base_url, key) as rest:
        if (await rest.call("GET", "/v2/stream/events")).status == 404:
            pytest.skip("the fallback was NOT tested: this hub has no server-sent events")
    async with NodeReader(gate.url(), key, ["agents", "chat:lobby", "knowledge"], hurry=True) as reader:
        await reader.is_live()
        await written(organisation, urls, 20)
        reader.do("join", channel="twins")
        said = await reader.ask("ask", frame={"type": "publish", "channel": "chat:lobby", "data": 1})
        assert said["result"]["offset"] == "1"
        await eventually(lambda: {"agents", "chat:lobby", "twins"} <= {item["channel"] for item in reader.joined})
        gate.cut_all()
        await written(organisation, urls, 20)
        ledger = await log_of(organisation)
        reader.channels = ["agents"]
        await reader.has_all(ledger.log)
        reader.check(ledger.log)
        await eventually(lambda: [each.offset for each in reader.received if each.channel == "chat:lobby"] == [1])
        kept = await reader.ask("ask", frame={"type": "history", "channel": "chat:lobby"})
        assert len(kept["result"]["events"]) == 1
        call = await reader.ask("ask", frame={"type": "call", "operation": "agents.list", "input": {}})
        assert call["error"]["code"] == "SERVICE_UNAVAILABLE"
        assert await reader.close() == 0


async def test_options_hold_where_sockets_are_blocked(
    hubs: HubProcesses, urls: EngineUrls, organisation: Organisation, proxies: FaultProxies
):
    """A filter, states by deltas, which come whole, and presence, over cuts and while channels come and go."""
    hub = await hubs.start(urls=urls)
    gate = await proxies.open(hub.base_url)
    gate.on_connect = lambda connection: connection.up.forbid(b"upgrade: websocket")
    key = await organisation.key()
    text = "long " * 100
    async with RestClient(hub.base_url, key) as rest, NodeReader(gate.url(), key, ["events"], hurry=True) as reader:
        await reader.is_live()
        reader.do("join", channel="agents", item={"filter": {"name": "Ada"}})
        reader.do("join", channel="twins", item={"delta": True})
        await eventually(lambda: {"agents", "twins"} <= {item["channel"] for item in reader.joined})
        made = (await rest.call("POST", "/v2/twins", {"name": "Pump", "data": {"text": text, "load": 0}})).body
        for load in range(1, 9):
            await rest.call("PUT", f"/v2/twins/{made['id']}", {"name": "Pump", "data": {"text": text, "load": load}})
            await rest.call("POST", "/v2/agents", {"name": "Ada" if load % 2 else "Bob", "type": "assistant"})
            if load == 3:
                gate.cut_all()
            elif load == 6:
                reader.do("join", channel="knowledge")
        await eventually(lambda: len(data_of(reader, "twins")) == 9, what="nine states")
        await eventually(lambda: len(data_of(reader, "agents")) == 4, what="four agents")
        twins = data_of(reader, "twins")
        assert [each["data"]["load"] for each in twins] == list(range(9))
        assert {each["data"]["text"] for each in twins} == {text}
        assert {each["name"] for each in data_of(reader, "agents")} == {"Ada"}
        ada = f"agents:{(await rest.call('GET', '/v2/agents')).body['data'][0]['id']}"
        reader.do("join", channel=ada, item={"since": LONG_AGO})
        await eventually(lambda: data_of(reader, ada), what="what came since then")
        reader.do("members", channel="chat:lobby")
        async with NodeReader(hub.base_url, await organisation.key(), ["chat:lobby"]) as other:
            await other.is_live()
            await eventually(lambda: members_seen(reader) == 2, what="both are there")
            assert await other.close() == 0
        await eventually(lambda: members_seen(reader) == 1, what="the other has gone")


async def test_reader_that_is_behind_misses_nothing_where_sockets_are_blocked(
    hubs: HubProcesses, urls: EngineUrls, organisation: Organisation, proxies: FaultProxies
):
    """Its channel is left, and joined again at its own place, while another goes on."""
    hub = await hubs.start(urls=urls)
    gate = await proxies.open(hub.base_url)
    gate.on_connect = lambda connection: connection.up.forbid(b"upgrade: websocket")
    key = await organisation.key()
    async with NodeReader(gate.url(), key, ["agents", "knowledge"], hurry=True, loop=True) as reader:
        await reader.is_live()
        reader.do("pause")
        await written(organisation, urls, 1000, 1000, 1000)
        ledger = await log_of(organisation)
        reader.do("go")
        reader.channels = ["agents"]
        await reader.has_all(ledger.log)
        reader.check(ledger.log)


LONG_AGO = "2001-01-31T12:00:00Z"


def data_of(reader: NodeReader, channel: str) -> list[Any]:
    """Return the data of a channel's events."""
    return [each.event["data"] for each in reader.received if each.channel == channel]


def members_seen(reader: NodeReader) -> int:
    """Return how many members it has drawn last."""
    told = [each["members"] for each in reader.told if each["told"] == "members"]
    return len(told[-1]) if told else 0


async def test_sockets_that_become_blocked_double_nothing_in_channels_that_are_further(
    hubs: HubProcesses, urls: EngineUrls, organisation: Organisation, proxies: FaultProxies
):
    """One cursor stands for places that differ: what the channel that is least far needs, the others have already."""
    hub = await hubs.start(urls=urls)
    gate = await proxies.open(hub.base_url)
    key = await organisation.key()
    async with RestClient(hub.base_url, key) as rest:
        if (await rest.call("GET", "/v2/stream/events")).status == 404:
            pytest.skip("the fallback was NOT tested: this hub has no server-sent events")
    async with NodeReader(gate.url(), key, ["agents", "knowledge"], hurry=True) as reader:
        await reader.is_live()
        await written(organisation, urls, 20)
        await eventually(lambda: len(reader.received) == 20, what="what comes by the socket")
        gate.on_connect = lambda connection: connection.up.forbid(b"upgrade: websocket")
        gate.cut_all()
        await written(organisation, urls, 20)
        ledger = await log_of(organisation)
        await reader.has_all(ledger.log)
        reader.channels = ["agents"]
        reader.check(ledger.log)


async def test_members_of_a_channel_are_kept_up_to_date(
    hubs: HubProcesses, urls: EngineUrls, organisation: Organisation
):
    """Who comes, what they say of themselves, and who goes."""
    hub = await hubs.start(urls=urls)
    first, second = await organisation.key(), await organisation.key()
    async with (
        NodeReader(hub.base_url, first, ["agents"]) as ann,
        NodeReader(hub.base_url, second, ["chat:lobby"]) as bob,
    ):
        await ann.is_live()
        await bob.is_live()
        asked = await bob.ask("ask", frame={"type": "presence", "channel": "chat:lobby"})
        if "error" in asked and asked["error"]["code"] == "UNKNOWN_FRAME_TYPE":
            pytest.skip("members were NOT tested: this hub has no presence")
        ann.do("members", channel="chat:lobby")

        def seen() -> list[object]:
            told = [each["members"] for each in ann.told if each["told"] == "members"]
            return [data for _, data in told[-1]] if told else []

        await eventually(lambda: seen() == [None, None], what="both are there")
        away = {"status": "away"}
        await bob.ask("ask", frame={"type": "presence", "channel": "chat:lobby", "data": away})
        await eventually(lambda: len(seen()) == 2 and away in seen(), what="what Bob says of himself")
        await bob.close()
        await eventually(lambda: seen() == [None], what="Bob has gone")
