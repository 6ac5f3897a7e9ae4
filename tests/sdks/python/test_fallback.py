"""Where a network lets no socket through: the same events by plain HTTP, and back to the socket once it is let through."""

import asyncio
import random

import pytest

from aimatrix.live import Changed, ChannelRefused, Frame, LiveClient, RequestRefused, State
from core.store.engines import EngineUrls
from tests.faults.conftest import WriteOn
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.hurried_clock import HurriedClock
from tests.harness.organisations import Organisation
from tests.harness.proxy import FaultProxies, FaultProxy
from tests.harness.rest_client import RestClient
from tests.harness.waiting import eventually
from tests.sdks.python.following import Follower, OpenClient

CHANNELS = ["agents", "twins"]


@pytest.fixture
async def hub(engines: EngineUrls, organisation: Organisation, redis_url: str, hubs: HubProcesses) -> HubProcess:
    """A whole hub, which has this way in."""
    hub = await hubs.start(urls=EngineUrls(organisation.database_url, engines.superuser_url, redis_url))
    async with RestClient(hub.base_url, await organisation.key()) as rest:
        if (await rest.call("GET", "/v2/stream/events")).status == 404:
            pytest.skip("the fallback was NOT tested: this hub has no server-sent events")
    return hub


@pytest.fixture
async def gate(hub: HubProcess, proxies: FaultProxies) -> FaultProxy:
    """A proxy that lets no upgrade through."""
    gate = await proxies.open(hub.base_url)
    gate.on_connect = lambda connection: connection.up.forbid(b"upgrade: websocket")
    return gate


def quick() -> float:
    """Come back at once, nearly."""
    return 0.02


async def is_live(live: LiveClient) -> bool:
    """Wait until it is."""
    return bool(await asyncio.wait_for(live.live(), 30))


async def test_events_come_over_cuts_without_a_socket(
    hub: HubProcess,
    gate: FaultProxy,
    organisation: Organisation,
    open_client: OpenClient,
    write_on: WriteOn,
    seed: int,
):
    """Every event once and in order, whatever is cut, and while other channels come and go."""
    rng = random.Random(seed)
    key = await organisation.key()
    live = open_client(gate.url(), key, draw=quick)
    await is_live(live)
    assert live.transport == "events"
    async with Follower(live, CHANNELS) as follower, write_on(organisation, key, [hub]) as writer:
        for _ in range(10):
            await writer.more(10)
            if rng.random() < 0.5:
                gate.cut_all(rng.choice(("rst", "fin")))
            else:
                async with live.subscribe(f"chat:room-{rng.randrange(3)}"):
                    await writer.more(10)
        await writer.stop()
        await writer.ledger.settle()
        await follower.has_all(writer.ledger.log)
    assert follower.problems(writer.ledger) == []
    assert live.transport == "events"


async def test_channel_with_an_older_place_misses_nothing(
    hub: HubProcess, gate: FaultProxy, organisation: Organisation, open_client: OpenClient
):
    """It is wanted while another is further: each gets what follows its own place, once."""
    key = await organisation.key()
    live = await open_client(gate.url(), key, draw=quick).live()
    async with RestClient(hub.base_url, key) as rest:
        async with live.subscribe("twins") as twins:
            await twins.joined()
            old = twins.place
            await rest.call("POST", "/v2/twins", {"name": "Pump"})
            assert (await anext(twins)).type == "twin.created"
        async with live.subscribe("agents") as agents:
            await agents.joined()
            await rest.call("POST", "/v2/agents", {"name": "Ada", "type": "assistant"})
            assert (await anext(agents)).type == "agent.created"
            async with live.subscribe("twins", place=old) as twins:
                assert (await anext(twins)).type == "twin.created"
                await rest.call("POST", "/v2/agents", {"name": "Bob", "type": "assistant"})
                assert (await anext(agents)).data["name"] == "Bob"


async def test_live_room_is_published_into_and_read_beside(
    gate: FaultProxy, organisation: Organisation, open_client: OpenClient
):
    """By REST; what only a socket can do says so."""
    live = await open_client(gate.url(), await organisation.key(), draw=quick).live()
    async with live.subscribe("chat:lobby") as lobby:
        await lobby.joined()
        place = await live.publish("chat:lobby", {"text": "Hello"})
        event = await anext(lobby)
        assert (event.data, event.place.offset) == ({"text": "Hello"}, place["offset"])
    assert len((await live.history("chat:lobby"))["events"]) == 1
    with pytest.raises(RequestRefused):
        await live.call("agents.list")
    with pytest.raises(RequestRefused):
        await live.publish("nowhere:x", 1)


async def test_filter_holds_over_cuts_without_a_socket(
    hub: HubProcess, gate: FaultProxy, organisation: Organisation, open_client: OpenClient
):
    """Only what matches, once, beside channels without one that come and go."""
    live = await open_client(gate.url(), await organisation.key(), draw=quick).live()
    async with (
        RestClient(hub.base_url, await organisation.key()) as rest,
        live.subscribe("agents", options={"filter": {"name": "Ada"}}) as agents,
    ):
        await agents.joined()
        for number in range(12):
            name = "Ada" if number % 2 else "Bob"
            new = {"name": name, "type": "assistant", "metadata": {"number": number}}
            assert (await rest.call("POST", "/v2/agents", new)).status == 201
            if number == 5:
                gate.cut_all()
            elif number == 8:
                async with live.subscribe("twins") as twins:
                    await twins.joined()
        came = [(await anext(agents)).data for _ in range(6)]
        assert [each["metadata"]["number"] for each in came] == [1, 3, 5, 7, 9, 11]
    assert live.transport == "events"


async def test_deltas_are_whole_without_a_socket(
    hub: HubProcess, gate: FaultProxy, organisation: Organisation, open_client: OpenClient
):
    """The same data as a reader without them has, over a cut, and where another channel has the stream begin further back."""
    key = await organisation.key()
    live = await open_client(gate.url(), key, draw=quick).live()
    plain = await open_client(hub.base_url, key).live()
    async with (
        RestClient(hub.base_url, key) as rest,
        live.subscribe("twins", options={"delta": True}) as by_delta,
        plain.subscribe("twins") as whole,
    ):
        await by_delta.joined()
        await whole.joined()
        text = "long " * 100
        async with live.subscribe("agents") as agents:
            await agents.joined()
            old = agents.place
        made = (await rest.call("POST", "/v2/twins", {"name": "Pump", "data": {"text": text, "load": 0}})).body
        for load in range(1, 13):
            body = {"name": "Pump", "data": {"text": text, "load": load}}
            assert (await rest.call("PUT", f"/v2/twins/{made['id']}", body)).status == 200
            if load == 4:
                gate.cut_all()
            elif load == 8:
                async with live.subscribe("agents", place=old) as agents:
                    await agents.joined()
        for _ in range(13):
            one, other = await anext(by_delta), await anext(whole)
            assert (one.id, one.data) == (other.id, other.data)
    assert live.transport == "events"


async def test_presence_is_heard_without_a_socket(
    gate: FaultProxy, organisation: Organisation, open_client: OpenClient
):
    """Who comes is told; who came while the stream was opened anew is told of by another version, and read."""
    live = await open_client(gate.url(), await organisation.key(), draw=quick).live()
    other = await open_client(gate.url(), await organisation.key(), draw=quick).live()
    told: list[Frame] = []
    async with live.subscribe("chat:lobby", options={"presence": True}, on_frame=told.append) as lobby:
        await lobby.joined()
        async with other.subscribe("chat:lobby") as guest:
            await guest.joined()
            await eventually(lambda: any(len(frame["joined"]) == 1 for frame in told))
            page = await live.presence("chat:lobby")
            assert (page["count"]["members"], len(page["members"])) == (2, 2)
            async with live.subscribe("twins") as twins:
                await twins.joined()
                await eventually(lambda: any(frame["after"] == "" for frame in told))


async def test_beginning_is_found_without_a_socket(
    hub: HubProcess, gate: FaultProxy, organisation: Organisation, open_client: OpenClient
):
    """Since a time, or after an event, beside a channel that is at the present; what there is not is refused."""
    key = await organisation.key()
    async with RestClient(hub.base_url, key) as rest:
        for name in ("Ada", "Bob", "Cid"):
            await rest.call("POST", "/v2/agents", {"name": name, "type": "assistant"})
        live = await open_client(gate.url(), key, draw=quick).live()
        async with live.subscribe("twins") as twins:
            await twins.joined()
            async with live.subscribe(
                "agents", since="2001-01-31T12:00:00Z", options={"filter": {"name": "Bob"}}
            ) as agents:
                found = await anext(agents)
                assert found.data["name"] == "Bob"
                await rest.call("POST", "/v2/twins", {"name": "Pump"})
                assert (await anext(twins)).data["name"] == "Pump"
            async with live.subscribe("agents", after_event=found.id) as agents:
                assert (await anext(agents)).data["name"] == "Cid"
            with pytest.raises(ChannelRefused):
                await live.subscribe("agents", since="yesterday").joined()
    assert live.transport == "events"


async def test_socket_is_taken_again_once_it_is_let_through(
    hub: HubProcess, gate: FaultProxy, organisation: Organisation, open_client: OpenClient, write_on: WriteOn
):
    """After a minute, and nothing is missed or doubled by the change."""
    key = await organisation.key()
    states: list[Changed] = []
    live = await open_client(gate.url(), key, draw=quick, clock=HurriedClock(20), on_state=states.append).live()
    async with Follower(live, CHANNELS) as follower, write_on(organisation, key, [hub]) as writer:
        await writer.more(10)
        gate.on_connect = None
        await eventually(lambda: live.transport == "socket" and live.state is State.LIVE)
        await writer.more(10)
        await writer.stop()
        await writer.ledger.settle()
        await follower.has_all(writer.ledger.log)
    assert follower.problems(writer.ledger) == []


async def test_bad_credential_stops_the_client_here_too(gate: FaultProxy, open_client: OpenClient):
    """The status of an answer is the hub's own word on this way."""
    live = open_client(gate.url(), "aim_live_nobody", draw=quick)
    live.subscribe("agents")
    await eventually(lambda: live.state is State.STOPPED)
