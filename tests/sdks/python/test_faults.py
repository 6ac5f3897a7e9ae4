"""The SDK through all that happens to connections, nodes and engines: every event once, in order, and no reset without need."""

import asyncio
import random
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import pytest

from aimatrix.live import Changed, LiveClient, LiveError, Reset, State, StateLost
from core.auth.keys import hash_of, make_key
from core.store.engines import EngineUrls
from core.store.migrate import installation_secret
from tests.faults.conftest import WriteOn
from tests.faults.test_cuts import proxied
from tests.harness.clock import ManualClock
from tests.harness.hub_process import HubProcesses
from tests.harness.hurried_clock import HurriedClock
from tests.harness.organisations import Organisation
from tests.harness.proxy import Address, FaultProxies
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually, let_pass
from tests.hub.stream.node import Node, serve
from tests.hub.stream.test_credentials import execute
from tests.sdks.python.following import Follower, OpenClient, http, numbers, taken

CUTS = 150
LOG = ["agents", "knowledge", "twins"]


class Sleepy:
    """The machine's clock, on which a client may find that much time has passed at once; it is in a hurry to look."""

    def __init__(self) -> None:
        self._slept = 0.0

    def monotonic(self) -> float:
        """Return seconds, those slept included."""
        return asyncio.get_running_loop().time() + self._slept

    async def sleep(self, seconds: float) -> None:
        """Wait a hundredth of it."""
        await let_pass(seconds / 100)

    def doze(self, seconds: float) -> None:
        """Have slept."""
        self._slept += seconds


def quick() -> float:
    """Come back at once, nearly: what is waited for otherwise is seconds of pauses."""
    return 0.02


async def test_cuts_kills_and_redis_lose_and_double_nothing(
    engines: EngineUrls,
    organisation: Organisation,
    own_redis: OwnRedis,
    proxies: FaultProxies,
    write_on: WriteOn,
    open_client: OpenClient,
    seed: int,
    hubs: HubProcesses,
):
    """Connections end anywhere, in handshakes and frames; a node is killed and started again, and Redis twice, once empty."""
    rng = random.Random(seed)
    urls = EngineUrls(organisation.database_url, engines.superuser_url, own_redis.url)
    nodes = await hubs.start_many(2, urls=urls)
    gates = [await proxied(proxies, node, rng) for node in nodes]
    key = await organisation.key()

    def cuts() -> int:
        return sum(" cut by " in line for gate in gates for line in gate.log)

    async with AsyncExitStack() as stack:
        followers = [
            await stack.enter_async_context(Follower(open_client(gate.url(), key, draw=quick), channels))
            for gate, channels in zip(gates * 2, [LOG, LOG, ["agents"], ["twins", "knowledge"]], strict=True)
        ]
        writer = await stack.enter_async_context(write_on(organisation, key, nodes))

        async def reached(count: int) -> None:
            await eventually(lambda: writer.check() and cuts() >= count, within=60, every=0.02, what=f"{count} cuts")

        await reached(CUTS // 4)
        nodes[0].kill()
        await reached(CUTS // 3)
        await nodes[0].start()
        gates[0].server = Address.of(nodes[0].base_url)
        await reached(CUTS // 2)
        own_redis.kill()
        await let_pass(0.5)
        own_redis.start()
        await reached(CUTS * 3 // 4)
        own_redis.restart(empty=True)
        await reached(CUTS)
        for gate in gates:
            gate.on_connect = None
        await writer.stop()
        await writer.ledger.settle()
        writer.ledger.check_log()
        for follower in followers:
            await follower.has_all(writer.ledger.log)
    assert [each for follower in followers for each in follower.problems(writer.ledger)] == []


async def test_deploy_is_obeyed_and_nothing_is_missed(
    engines: EngineUrls,
    organisation: Organisation,
    redis_url: str,
    proxies: FaultProxies,
    write_on: WriteOn,
    open_client: OpenClient,
    hubs: HubProcesses,
):
    """A node that stops hands out slots: the client waits for its own, and comes back elsewhere."""
    urls = EngineUrls(organisation.database_url, engines.superuser_url, redis_url)
    nodes = await hubs.start_many(2, urls=urls)
    gate = await proxies.open(nodes[0].base_url)
    key = await organisation.key()
    states: list[Changed] = []
    live = open_client(gate.url(), key, on_state=states.append)
    async with Follower(live, LOG) as follower, write_on(organisation, key, nodes) as writer:
        await writer.more()
        gate.server = Address.of(nodes[1].base_url)
        assert await nodes[0].stop() == 0
        await writer.more()
        await writer.stop()
        await writer.ledger.settle()
        await follower.has_all(writer.ledger.log)
    assert follower.problems(writer.ledger) == []
    assert [each.why for each in states if each.state is State.WAITING] == ["restarting"]


async def test_live_room_after_redis_has_lost_it_is_reset(
    database_url: str,
    organisation: Organisation,
    key: str,
    own_redis: OwnRedis,
    clock: ManualClock,
    open_client: OpenClient,
):
    """The reset comes between what was before it and what is after it; who does not listen for resets is not left in the dark."""
    told: list[Reset | str] = []

    async def hear(reset: Reset) -> None:
        await asyncio.sleep(0)
        told.append(reset)

    async with serve(database_url, own_redis.url, clock) as node:
        live = open_client(http(node.url), key)
        async with live.subscribe("chat:lobby", on_reset=hear) as lobby, live.subscribe("chat:lobby") as deaf:
            await lobby.joined()
            await live.publish("chat:lobby", "before")
            told.append((await anext(lobby)).data)
            own_redis.restart(empty=True)

            async def read_on() -> None:
                while told[-1] != "after":
                    told.append((await anext(lobby)).data)

            reading = asyncio.create_task(read_on())

            async def has_heard() -> bool:
                await live.publish("chat:lobby", "after")
                return reading.done()

            # What is said before the node has seen that Redis is another one, the reset stands for.
            await eventually(has_heard, every=0.1, retry_on=(LiveError,))
            await reading
            assert [type(each) for each in told] == [str, Reset, str]
            assert (await anext(deaf)).data == "before"
            with pytest.raises(StateLost) as lost:
                await anext(deaf)
            assert (lost.value.channel, lost.value.reason) == ("chat:lobby", "epoch")
            assert (await anext(deaf)).data == "after"


async def test_half_an_hour_of_sleep_is_noticed(
    node: Node, organisation: Organisation, key: str, open_client: OpenClient, proxies: FaultProxies
):
    """The connection has died meanwhile without a word: it is asked at once, and given up soon."""
    gate = await proxies.open(node.url)
    clock = Sleepy()
    live = open_client(gate.url(), key, clock=clock, draw=quick)
    async with live.subscribe("agents") as agents:
        await agents.joined()
        for each in gate.alive:
            each.down.freeze()
            each.up.freeze()
        sent = await node.emit(organisation.id, 3)
        clock.doze(30 * 60)
        assert numbers(await asyncio.wait_for(taken(agents, 3), 30)) == sent
    assert len(gate.connections) == 2


async def test_sleep_with_a_connection_that_lives_costs_a_ping(
    node: Node, organisation: Organisation, key: str, open_client: OpenClient, proxies: FaultProxies
):
    """And nothing else."""
    gate = await proxies.open(node.url)
    clock = Sleepy()
    live = open_client(gate.url(), key, clock=clock)
    async with live.subscribe("agents") as agents:
        await agents.joined()
        (before,) = [each.up.passed for each in gate.alive]
        clock.doze(30 * 60)
        await eventually(lambda: gate.alive[0].up.passed > before)
        sent = await node.emit(organisation.id, 3)
        assert numbers(await taken(agents, 3)) == sent
    assert len(gate.connections) == 1


async def test_silent_network_is_given_up(
    node: Node, organisation: Organisation, key: str, open_client: OpenClient, proxies: FaultProxies
):
    """Nothing comes and nothing is closed: after the interval and the time for a pong another connection is made."""
    gate = await proxies.open(node.url)
    live = open_client(gate.url(), key, clock=HurriedClock(50), draw=quick)
    async with live.subscribe("agents") as agents:
        await agents.joined()
        gate.alive[0].down.freeze()
        sent = await node.emit(organisation.id, 3)
        assert numbers(await asyncio.wait_for(taken(agents, 3), 30)) == sent


async def test_hub_that_is_not_there_yet_is_waited_for(
    node: Node, organisation: Organisation, key: str, open_client: OpenClient, proxies: FaultProxies
):
    """A program may begin before its hub; what it asks meanwhile is asked then."""
    gate = await proxies.open(node.url)
    await gate.refuse()
    states: list[Changed] = []
    live = open_client(gate.url(), key, fallback=False, draw=quick, on_state=states.append)
    history = asyncio.ensure_future(live.history("chat:lobby"))
    async with live.subscribe("agents") as agents:
        await eventually(lambda: sum(each.state is State.WAITING for each in states) >= 3)
        await gate.accept()
        await agents.joined()
        sent = await node.emit(organisation.id, 1)
        assert numbers(await taken(agents, 1)) == sent
    assert (await history)["events"] == []


async def test_slow_reader_of_a_faulty_network_loses_nothing(
    node: Node, organisation: Organisation, key: str, open_client: OpenClient, proxies: FaultProxies, seed: int
):
    """What waits for a reader survives the connection that brought it."""
    rng = random.Random(seed)
    gate = await proxies.open(node.url)
    live = open_client(gate.url(), key, buffer=20, draw=quick)
    sent: list[int] = []
    came: list[int] = []
    async with live.subscribe("agents") as agents:
        await agents.joined()
        for _ in range(30):
            sent += await node.emit(organisation.id, rng.randrange(60))
            while rng.random() < 0.9 and len(came) < len(sent):
                came += numbers(await taken(agents, 1))
            if rng.random() < 0.5:
                gate.cut_all(rng.choice(("rst", "fin")))
        came += numbers(await taken(agents, len(sent) - len(came)))
    assert came == sent


async def rotated(organisation: Organisation, until: datetime) -> str:
    """Give an organisation's keys another secret, and return it; the old one ends."""
    new = make_key()
    secret = await installation_secret(organisation.database_url)
    statement = "UPDATE keys SET old_hash = hash, hash = $1, old_until = $2"
    await execute(organisation, statement, hash_of(secret, new), until)
    return new


async def test_credential_that_ends_is_renewed_on_the_same_connection(
    node: Node,
    organisation: Organisation,
    key: str,
    clock: ManualClock,
    open_client: OpenClient,
    proxies: FaultProxies,
):
    """The hub says that it ends, the callback gives another, and long after the end nothing was interrupted."""
    gate = await proxies.open(node.url)
    given = [key]
    live = open_client(gate.url(), credential=lambda: given[-1])
    async with live.subscribe("agents") as agents:
        await agents.joined()
        given.append(await rotated(organisation, clock.now() + timedelta(seconds=50)))
        passed = gate.alive[0].up.passed

        async def is_renewed() -> bool:
            await clock.advance(1)
            return gate.alive[0].up.passed > passed

        await eventually(is_renewed)
        await live.history("chat:lobby")  # what was sent before it has been taken
        await clock.advance(100)
        sent = await node.emit(organisation.id, 3)
        assert numbers(await taken(agents, 3)) == sent
    assert len(gate.connections) == 1


async def test_credential_that_has_expired_is_replaced(
    node: Node, organisation: Organisation, clock: ManualClock, open_client: OpenClient, proxies: FaultProxies
):
    """The callback has nothing newer in time: closed with 4004, the client asks for another, comes back and has missed nothing."""
    gate = await proxies.open(node.url)
    ending = await organisation.key(expires_at=clock.now() + timedelta(seconds=20))
    given = [ending]
    states: list[Changed] = []
    live = open_client(gate.url(), credential=lambda: given[-1], draw=quick, on_state=states.append)
    async with live.subscribe("agents") as agents:
        await agents.joined()
        await clock.advance(1)
        given.append(await organisation.key())
        given.append(ending)
        sent = await node.emit(organisation.id, 1)
        assert numbers(await taken(agents, 1)) == sent
        given.pop()

        async def is_over() -> bool:
            await clock.advance(5)
            return any(each.state is State.WAITING for each in states)

        await eventually(is_over)
        sent = await node.emit(organisation.id, 2)
        assert numbers(await taken(agents, 2)) == sent
    assert len(gate.connections) == 2


def test_live_client_is_one_loop_s():
    """It can be made outside of a loop, and started in one."""

    async def run() -> None:
        async with made:
            assert made.state is State.CONNECTING

    made = LiveClient("http://127.0.0.1:1", api_key="k")
    assert made.state is State.STOPPED
    asyncio.run(run())
    assert made.state is State.STOPPED


async def test_gate_that_answers_nonsense_is_no_hub(proxies: FaultProxies, open_client: OpenClient):
    """A captive portal, or a port of something else: the client keeps trying, and breaks over nothing."""

    async def portal(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nLogin")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(portal, "127.0.0.1", 0)
    states: list[Changed] = []
    live = open_client(
        f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        "k",
        fallback=False,
        draw=quick,
        on_state=states.append,
    )
    try:
        await eventually(lambda: sum(each.state is State.WAITING for each in states) >= 3)
        assert live.state is not State.STOPPED
    finally:
        server.close()
