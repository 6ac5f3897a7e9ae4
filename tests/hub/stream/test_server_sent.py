"""The stream by server-sent events: what is refused, what is sent, how it is resumed, and networks that hold it back."""

import asyncio
from contextlib import AsyncExitStack
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from hub.stream.codes import OVERLOADED, RESTART
from hub.stream.settings import StreamSettings
from tests.harness.clock import ManualClock
from tests.harness.event_source import open_events, poll
from tests.harness.organisations import Organisation, Organisations
from tests.harness.proxy import FaultProxies
from tests.harness.waiting import eventually
from tests.hub.stream.node import Node, numbers_of, serve


async def raw(
    node: Node, key: str, query: str, *, method: str = "GET", version: str = "1.1", headers: str = ""
) -> bytes:
    """Send a request as it stands here; return the head of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    try:
        request = f"{method} /v2/stream/events?{query} HTTP/{version}\r\nHost: h\r\nAuthorization: Bearer {key}\r\n"
        writer.write(f"{request}{headers}\r\n".encode())
        async with asyncio.timeout(10):
            return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()


class TestRefusals:
    """Statuses, so that a browser does not come back again and again; what passes sends it away with a slot."""

    async def test_no_credential(self, node: Node):
        async with open_events(node.base_url, None, ["agents"], status=401):
            pass

    async def test_bad_credential(self, node: Node):
        async with open_events(node.base_url, "aim_live_no", ["agents"], status=401):
            pass

    async def test_no_channels(self, node: Node, key: str):
        async with open_events(node.base_url, key, [], status=422):
            pass

    async def test_unknown_parameter(self, node: Node, key: str):
        async with open_events(node.base_url, key, ["agents"], status=400, chanels="twins"):
            pass

    @pytest.mark.parametrize("padding", ["-1", "x", "16385", "1e3"])
    async def test_padding_out_of_range(self, node: Node, key: str, padding: str):
        async with open_events(node.base_url, key, ["agents"], status=422, padding=padding):
            pass

    async def test_durable_subscription(self, node: Node, key: str):
        """There is nowhere to acknowledge."""
        async with open_events(node.base_url, key, [f"subscriptions:{uuid4()}"], status=422):
            pass

    @pytest.mark.parametrize(
        ("channels", "status"), [(["nope"], 404), (["agents:x", "agents"], 403), (["agents"], 403)]
    )
    async def test_nothing_of_what_is_asked(
        self, node: Node, organisation: Organisation, channels: list[str], status: int
    ):
        """The first channel's refusal is that of the request."""
        key = await organisation.key(["read:twins"])
        if status == 403:
            channels = [each for each in channels if ":" not in each]
        async with open_events(node.base_url, key, channels, status=status):
            pass

    async def test_star_beside_others_of_its_kind(self, node: Node, key: str):
        """Their events would come twice, and no cursor could say which of the two came last."""
        for other in ("agents", f"agents:{uuid4()}"):
            async with open_events(node.base_url, key, ["agents:*", other], status=422):
                pass

    async def test_one_of_several_is_told_inside(self, node: Node, organisation: Organisation):
        """As on a socket: the others join."""
        key = await organisation.key(["read:twins"])
        async with open_events(node.base_url, key, ["agents", "twins", "nope"]) as client:
            (agents, twins, nope) = (await client.expect("subscribed"))["channels"]
        assert agents["error"]["code"] == "INSUFFICIENT_SCOPE"
        assert nope["error"]["code"] == "CHANNEL_NOT_FOUND"
        assert "error" not in twins

    async def test_512_channels(self, node: Node, key: str):
        """128 join, the others are refused; one more is too many for a request."""
        names = [f"chat:{number}" for number in range(512)]
        async with open_events(node.base_url, key, names) as client:
            channels = (await client.expect("subscribed"))["channels"]
        refused = [each["error"]["code"] for each in channels if "error" in each]
        assert (len(channels), refused) == (512, ["TOO_MANY_CHANNELS"] * 384)
        async with open_events(node.base_url, key, [*names, "chat:x"], status=422):
            pass

    async def test_page_of_another_site(self, node: Node, key: str):
        headers = {"Origin": "https://evil.example"}
        async with open_events(node.base_url, key, ["agents"], status=403, headers=headers):
            pass

    async def test_more_than_the_organisation_may_have(
        self, database_url: str, organisations: Organisations, node: Node
    ):
        """Sockets and streams of events count together."""
        small = await organisations.create(limits={"concurrent_connections": 1})
        key = await small.key()
        async with node.open(key) as socket:
            await socket.receive()
            async with open_events(node.base_url, key, ["agents"], status=429):
                pass
        await eventually(lambda: node.seats.held(small.id) == 0)
        async with open_events(node.base_url, key, ["agents"]) as client:
            await client.receive()

    async def test_node_that_stops_sends_browsers_away_with_a_slot(self, node: Node, key: str, clock: ManualClock):
        """After an error EventSource never comes back; others get the status."""
        await node.door.drain(clock.monotonic())
        async with open_events(node.base_url, key, ["agents"], "7.e") as client:
            told = await client.ended()
            assert told == {
                "type": "disconnect",
                "code": RESTART.code,
                "reason": RESTART.reason,
                "reconnect": True,
                "after_ms": 1000,
            }
            assert client.parser.retry_ms == 1000
        async with open_events(node.base_url, key, ["agents"], status=503, headers={"Accept": "*/*"}):
            pass


async def test_storm_is_sent_away_with_slots(database_url: str, redis_url: str, clock: ManualClock, key: str):
    """Each with its own, and once: what comes last is what `retry` says."""
    settings = StreamSettings(handshakes_per_turn=1, handshakes_waiting=1)
    async with serve(database_url, redis_url, clock, settings=settings) as node:

        async def come() -> int:
            async with open_events(node.base_url, key, ["agents"]) as client:
                first = await client.receive()
                if first["type"] == "welcome":
                    return 0
                assert await client.ended() == first
                assert first["code"] == OVERLOADED.code
                assert client.parser.retry_ms == first["after_ms"]
                return first["after_ms"]

        slots = await asyncio.gather(*(come() for _ in range(40)))
    sent_away = [slot for slot in slots if slot]
    assert 0 < len(sent_away) < 40
    assert len(set(sent_away)) == len(sent_away)


class TestHead:
    """What proxies and browsers are told."""

    async def test_nobody_may_hold_or_change_it(self, node: Node, key: str):
        async with open_events(node.base_url, key, ["agents"], headers={"Accept-Encoding": "gzip"}) as client:
            headers = client.response.headers
        assert headers["Content-Type"] == "text/event-stream"
        assert headers["Cache-Control"] == "no-store, no-transform"
        assert headers["X-Accel-Buffering"] == "no"
        assert "Content-Encoding" not in headers

    async def test_head(self, node: Node, key: str):
        """The same headers, and no stream."""
        head = await raw(node, key, "channels=agents", method="HEAD")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"text/event-stream" in head
        assert node.door.connections == 0
        assert (await raw(node, "no", "channels=agents", method="HEAD")).startswith(b"HTTP/1.1 401")

    async def test_http_1_0(self, node: Node, key: str):
        """The answer ends with the connection, which every version knows."""
        head = await raw(node, key, "channels=agents", version="1.0")
        assert b"200 OK" in head
        assert b"chunked" not in head.lower()
        assert b"connection: close" in head.lower()


class TestEvents:
    """What is sent."""

    async def test_frames_are_those_of_a_socket(self, node: Node, key: str, organisation: Organisation):
        """Byte for byte the same event, with a cursor behind it."""
        async with node.joined(key, "agents") as socket, open_events(node.base_url, key, ["agents"]) as client:
            assert (await client.receive())["type"] == "welcome"
            await client.expect("subscribed")
            await node.emit(organisation.id, 3)
            assert await client.events(3) == await socket.events(3)
            assert client.cursor.startswith("3.")

    async def test_event_of_two_channels(self, node: Node, key: str, organisation: Organisation):
        agent = f"agents:{uuid4()}"
        async with open_events(node.base_url, key, ["agents", agent]) as client:
            await client.expect("subscribed")
            await node.emit(organisation.id, 1, agent)
            first, second = await client.events(2)
        assert (first["channel"], second["channel"]) == ("agents", agent)

    async def test_return_after_the_first_of_two_frames(self, node: Node, key: str, organisation: Organisation):
        """The second one follows, and the first one not again."""
        agent = f"agents:{uuid4()}"
        async with open_events(node.base_url, key, ["agents", agent]) as client:
            await client.expect("subscribed")
            await node.emit(organisation.id, 1, agent)
            await client.expect("event")
            cursor = client.cursor
        await node.emit(organisation.id, 1, agent)
        async with open_events(node.base_url, key, ["agents", agent], cursor) as client:
            told = [(frame["channel"], frame["offset"]) for frame in await client.events(3)]
        assert told == [(agent, "1"), ("agents", "2"), (agent, "2")]

    async def test_return_with_a_star(self, node: Node, key: str, organisation: Organisation):
        """A channel that stands for several goes on as any other."""
        async with open_events(node.base_url, key, ["agents:*", "twins"]) as client:
            await client.expect("subscribed")
            await node.emit(organisation.id, 1)
            assert [frame["channel"] for frame in await client.events(1)] == ["agents:*"]
            assert client.cursor.startswith("1.")
            cursor = client.cursor
        await node.emit(organisation.id, 2)
        async with open_events(node.base_url, key, ["agents:*", "twins"], cursor) as client:
            assert [frame["offset"] for frame in await client.events(2)] == ["2", "3"]

    async def test_return_with_rooms_and_log(self, node: Node, key: str, organisation: Organisation):
        """One cursor for all of them."""
        channels = ["agents", "chat:a", "chat:b"]
        async with node.open(key) as socket:
            async with open_events(node.base_url, key, channels) as client:
                await client.expect("subscribed")
                await socket.ask({"type": "publish", "channel": "chat:a", "data": 1})
                await client.expect("event")
                cursor = client.cursor
            for channel in ("chat:b", "chat:a", "chat:b"):
                await socket.ask({"type": "publish", "channel": channel, "data": channel})
        await node.emit(organisation.id, 2)
        await node.logged(organisation.id, 2)
        async with open_events(node.base_url, key, channels, cursor) as client:
            answer = await client.expect("subscribed")
            assert all(each["recovered"] for each in answer["channels"])
            came = sorted((frame["channel"], frame["offset"]) for frame in await client.events(5))
        assert came == [("agents", "1"), ("agents", "2"), ("chat:a", "2"), ("chat:b", "1"), ("chat:b", "2")]

    @pytest.mark.parametrize("cursor", ["garbage", "1.other", "99999.{epoch}"])
    async def test_place_that_is_gone_is_reset(self, node: Node, key: str, organisation: Organisation, cursor: str):
        """Each channel by itself, and the stream goes on."""
        await node.emit(organisation.id, 1)
        await node.logged(organisation.id, 1)
        async with open_events(node.base_url, key, ["agents"]) as client:
            epoch = (await client.expect("subscribed"))["channels"][0]["epoch"]
        async with open_events(node.base_url, key, ["agents", "twins"], cursor.format(epoch=epoch)) as client:
            assert (await client.expect("reset"))["channel"] == "agents"
            assert (await client.expect("reset"))["channel"] == "twins"
            assert client.cursor == f"1.{epoch}"
            await node.emit(organisation.id, 1)
            await client.events(1)

    async def test_header_is_newer_than_the_query(self, node: Node, key: str, organisation: Organisation):
        """A browser that comes back by itself does so to the URL that it was made with."""
        await node.emit(organisation.id, 3)
        await node.logged(organisation.id, 3)
        async with open_events(node.base_url, key, ["agents"]) as client:
            epoch = (await client.expect("subscribed"))["channels"][0]["epoch"]
        async with open_events(node.base_url, key, ["agents"], last_event_id=f"0.{epoch}") as client:
            assert len(await client.events(3)) == 3
        async with open_events(node.base_url, key, ["agents"], f"2.{epoch}", last_event_id=f"0.{epoch}") as client:
            assert [frame["offset"] for frame in await client.events(1)] == ["3"]

    async def test_nothing_of_another_organisation(
        self, node: Node, key: str, organisation: Organisation, organisations: Organisations
    ):
        """Whatever cursor one brings."""
        other = await organisations.create()
        async with open_events(node.base_url, await other.key(), ["agents", "chat:a"]) as foreign:
            await foreign.expect("subscribed")
            async with open_events(node.base_url, key, ["agents"]) as client, node.open(key) as socket:
                await client.expect("subscribed")
                await node.emit(organisation.id, 2)
                await socket.ask({"type": "publish", "channel": "chat:a", "data": 1})
                await client.events(2)
                cursor = client.cursor
            await node.emit(other.id, 1)
            frames = await foreign.events(1)
            assert [frame["offset"] for frame in frames] == ["1"]
        async with open_events(node.base_url, await other.key(), ["agents"], cursor) as foreign:
            assert (await foreign.expect("reset"))["reason"] == "offset"

    async def test_subject_with_a_comma(self, node: Node, organisation: Organisation, key: str):
        """Is named by itself."""
        query = urlencode([("channel", "users:a,b"), ("channel", "agents")])
        async with open_events(node.base_url, key, [], channel="agents") as client:
            assert len((await client.expect("subscribed"))["channels"]) == 1
        assert (await raw(node, key, query)).startswith(b"HTTP/1.1 200")

    async def test_message_to_its_own_person(self, node: Node, key: str):
        """Comes without asking, as on a socket; the cursor says nothing of it."""
        async with open_events(node.base_url, key, ["agents"]) as client, node.open(key) as socket:
            subject = (await client.expect("welcome"))["subject"]
            await client.expect("subscribed")
            cursor = client.cursor
            await socket.ask({"type": "publish", "channel": f"users:{subject}", "data": 1})
            assert (await client.expect("event"))["channel"] == f"users:{subject}"
            assert client.cursor == cursor

    async def test_many_get_what_one_gets(self, node: Node, key: str, organisation: Organisation):
        """What is written for one is shared by the others, and each has its own cursor all the same."""
        async with AsyncExitStack() as stack:
            shapes = [["agents"], ["agents"], ["agents", "chat:a"], ["agents", "twins"]]
            clients = [await stack.enter_async_context(open_events(node.base_url, key, each)) for each in shapes]
            for client in clients:
                await client.expect("subscribed")
            for _ in range(5):
                await node.emit(organisation.id, 4)
            frames = [numbers_of(await client.events(20)) for client in clients]
            assert frames == [list(range(1, 21))] * 4
            assert [client.cursor.partition(".")[0] for client in clients] == ["20"] * 4

    async def test_many_of_a_room_get_what_one_gets(self, node: Node, key: str):
        """The same of one room, beside who has other channels too; each goes on from its own cursor, and misses what is new."""
        shapes = [["chat:a"], ["chat:a"], ["agents", "chat:a"], ["chat:a", "chat:b"]]
        async with AsyncExitStack() as stack, node.open(key) as socket:
            clients = [await stack.enter_async_context(open_events(node.base_url, key, each)) for each in shapes]
            for client in clients:
                await client.expect("subscribed")
            for number in range(20):
                await socket.ask({"type": "publish", "channel": "chat:a", "data": number})
            told = [await client.events(20) for client in clients]
            assert [[each["event"]["data"] for each in frames] for frames in told] == [list(range(20))] * 4
            assert clients[0].cursor == clients[1].cursor
            await socket.ask({"type": "publish", "channel": "chat:a", "data": "new"})
            for client, channels in zip(clients, shapes, strict=True):
                async with open_events(node.base_url, key, channels, cursor=client.cursor) as back:
                    (missed,) = await back.events(1)
                    assert missed["event"]["data"] == "new"


class TestProxies:
    """Networks that hold bytes back."""

    async def test_padding_pushes_events_through(
        self, node: Node, key: str, organisation: Organisation, proxies: FaultProxies
    ):
        """A proxy that passes on whole blocks only; without padding nothing comes, which a client sees by `welcome`."""
        gate = await proxies.open(node.base_url)
        gate.on_connect = lambda connection: connection.down.hold(4096)
        async with open_events(gate.url(), key, ["agents"], padding=4096) as client:
            await client.expect("subscribed")
            await node.emit(organisation.id, 1)
            await client.events(1)

    async def test_polls_pass_where_streams_do_not(
        self, node: Node, key: str, organisation: Organisation, proxies: FaultProxies
    ):
        """An answer that ends is passed on."""
        gate = await proxies.open(node.base_url)
        gate.on_connect = lambda connection: connection.down.hold(1024 * 1024)
        opening = asyncio.ensure_future(raw(node, key, "channels=agents"))
        await opening
        first = await poll(gate.url(), key, ["agents"])
        await node.emit(organisation.id, 1)
        assert numbers_of((await poll(gate.url(), key, ["agents"], first["cursor"]))["frames"]) == [1]
