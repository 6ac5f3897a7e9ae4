"""What a channel is asked for beside its place: deltas, filters, presence, over a hub that has them and a network that cuts."""

import pytest

from aimatrix.live import Frame
from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.proxy import FaultProxies
from tests.harness.rest_client import RestClient
from tests.harness.waiting import eventually
from tests.sdks.python.following import OpenClient


@pytest.fixture
async def hub(engines: EngineUrls, organisation: Organisation, redis_url: str, hubs: HubProcesses) -> HubProcess:
    """A whole hub."""
    return await hubs.start(urls=EngineUrls(organisation.database_url, engines.superuser_url, redis_url))


async def test_deltas_are_whole_for_the_program(
    hub: HubProcess, organisation: Organisation, open_client: OpenClient, proxies: FaultProxies
):
    """Beside a reader without them: the same data, also over a lost connection."""
    gate = await proxies.open(hub.base_url)
    key = await organisation.key()
    patches = open_client(gate.url(), key, draw=lambda: 0.01)
    plain = open_client(hub.base_url, key)
    async with (
        RestClient(hub.base_url, key) as rest,
        patches.subscribe("twins", options={"delta": True}) as by_delta,
        plain.subscribe("twins") as whole,
    ):
        await by_delta.joined()
        await whole.joined()
        text = "long " * 100
        made = (await rest.call("POST", "/v2/twins", {"name": "Pump", "data": {"text": text, "load": 0}})).body
        came: list[bool] = []
        for load in range(1, 9):
            answer = await rest.call(
                "PUT", f"/v2/twins/{made['id']}", {"name": "Pump", "data": {"text": text, "load": load}}
            )
            assert answer.status == 200, answer.text
            if load == 4:
                gate.cut_all()
        for _ in range(9):
            one, other = await anext(by_delta), await anext(whole)
            assert (one.id, one.data) == (other.id, other.data)
            came.append("patch" in one.frame)
        assert any(came)


async def test_filter_holds_over_a_lost_connection(
    hub: HubProcess, organisation: Organisation, open_client: OpenClient, proxies: FaultProxies
):
    """Only what matches, and nothing twice."""
    gate = await proxies.open(hub.base_url)
    key = await organisation.key()
    live = open_client(gate.url(), key, draw=lambda: 0.01)
    async with (
        RestClient(hub.base_url, key) as rest,
        live.subscribe("agents", options={"filter": {"name": "Ada"}}) as agents,
    ):
        await agents.joined()
        for number in range(10):
            name = "Ada" if number % 2 else "Bob"
            await rest.call("POST", "/v2/agents", {"name": name, "type": "assistant"})
            if number == 5:
                gate.cut_all()
        assert [(await anext(agents)).data["name"] for _ in range(5)] == ["Ada"] * 5


async def test_presence_is_heard_and_asked(hub: HubProcess, organisation: Organisation, open_client: OpenClient):
    """Who comes is told to who wants to hear; who is there is told to who asks."""
    one = open_client(hub.base_url, await organisation.key())
    other = open_client(hub.base_url, await organisation.key())
    told: list[Frame] = []
    async with one.subscribe("chat:lobby", options={"presence": True}, on_frame=told.append) as lobby:
        await lobby.joined()
        async with other.subscribe("chat:lobby") as guest:
            await guest.joined()
            await eventually(
                lambda: other.subject in [each["subject"] for frame in told for each in frame.get("joined", ())]
            )
            members = (await one.presence("chat:lobby"))["members"]
            assert {each["subject"] for each in members} == {one.subject, other.subject}
            answer = await other.publish("chat:lobby", {"typing": True}, ephemeral=True)
            assert set(answer) == {"event_id"}
            await eventually(
                lambda: [each["event"]["data"] for each in told if each["type"] == "signal"] == [{"typing": True}]
            )
            await other.presence("chat:lobby", data={"status": "away"})
            await eventually(
                lambda: {"status": "away"} in [each["data"] for frame in told for each in frame.get("updated", ())]
            )
