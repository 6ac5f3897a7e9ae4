"""Options of channels over plain HTTP: filters, deltas and presence, through returns, on another node, and what is refused."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import pytest

from rooms.recovery import PAGE
from tests.harness.clock import ManualClock
from tests.harness.event_source import open_events, poll
from tests.harness.organisations import Organisation, Organisations
from tests.harness.proxy import FaultProxies
from tests.harness.stream_client import Frame
from tests.hub.stream.node import Node, numbers_of, serve
from tests.hub.stream.resources import Fold, World
from tests.hub.stream.test_credentials import execute
from tests.hub.stream.test_replay import BEGIN, recorded

LOGISTICS = {"channel": "twins", "filter": {"type": "logistics"}}
DELTAS = {"channel": "twins", "delta": True}
LONG = "x" * 300


@pytest.fixture
def world(node: Node, organisation: Organisation) -> World:
    return World(node, organisation.id)


def said(frames: Sequence[Frame]) -> list[tuple[int, str]]:
    """Return (offset, what) of event frames: whole, left or patch."""
    kinds = ("left", "patch")
    return [
        (int(frame["offset"]), next((kind for kind in kinds if kind in frame), "whole"))
        for frame in frames
        if frame["type"] == "event"
    ]


async def refusal(node: Node, key: str, *channels: str | Mapping[str, Any], **query: Any) -> tuple[int, Any]:
    """Return the status and the code of a poll that is refused, as a stream of events is."""
    answer = await poll(node.base_url, key, channels, **query)
    async with open_events(node.base_url, key, channels, status=answer["status"], **query):
        pass
    return answer["status"], answer["error"]["code"]


class TestFilters:
    """Only what matches, and the end of that."""

    async def test_frames_are_those_of_a_socket(self, node: Node, key: str, world: World):
        """Through what has happened, and what happens; and each has a cursor of its own."""
        mine, other = await world.create(type="logistics"), await world.create(type="factory")
        async with (
            node.joined(key, {**LOGISTICS, "offset": "0"}) as socket,
            open_events(node.base_url, key, [LOGISTICS], _zero(await _epoch(node, key))) as client,
        ):
            first = await client.events(1)
            await world.update(other, name="f")
            await world.update(mine, type="factory")
            await world.update(mine, type="logistics")
            await world.delete(other)
            await world.delete(mine)
            came = first + await client.events(4)
            assert came == await socket.events(5)
            assert said(came) == [(1, "whole"), (3, "left"), (4, "left"), (5, "whole"), (7, "whole")]
            assert client.cursor.startswith("7.")

    async def test_return_needs_the_position_alone(
        self, node: Node, key: str, world: World, database_url: str, redis_url: str, clock: ManualClock
    ):
        """To another node: what was missed is filtered with the same words."""
        async with open_events(node.base_url, key, [LOGISTICS]) as client:
            await client.expect("subscribed")
            mine = await world.create(type="logistics")
            await client.events(1)
            cursor = client.cursor
        await world.create(type="factory")
        await world.update(mine, type="factory")
        async with (
            serve(database_url, redis_url, clock) as other,
            open_events(other.base_url, key, [LOGISTICS], cursor) as client,
        ):
            await world.update(mine, type="logistics")
            assert said(await client.events(2)) == [(3, "left"), (4, "whole")]

    async def test_cursor_passes_what_is_hidden(self, node: Node, key: str, world: World):
        """Also while it catches up: who is cut, or polls, does not begin at the same place again."""
        cursor = _zero(await _epoch(node, key))
        for _ in range(5):
            await world.create(type="factory")
        async with open_events(node.base_url, key, [LOGISTICS], cursor) as client:
            await client.expect("subscribed")
            mine = await world.create(type="logistics")
            assert said(await client.events(1)) == [(6, "whole")]
            for _ in range(3):
                await world.update(mine, type="logistics", name="n")
            await client.events(3)
        answer = await poll(node.base_url, key, [{**LOGISTICS, "filter": {"type": "none"}}], client.cursor, wait=0)
        assert answer["frames"] == []
        await world.create(type="factory")
        answer = await poll(node.base_url, key, [LOGISTICS], answer["cursor"], wait=0)
        assert (answer["frames"], answer["cursor"].partition(".")[0]) == ([], "10")

    async def test_cursor_goes_on_while_a_stream_catches_up(
        self, node: Node, key: str, organisation: Organisation, clock: ManualClock
    ):
        """Page by page, though nothing is shown: a long way need not be gone in one piece."""
        await node.emit(organisation.id, 3 * PAGE, f"agents:{uuid4()}")
        await node.logged(organisation.id, 3 * PAGE)
        nothing = {"channel": "agents", "filter": {"$type": "nothing"}}
        async with open_events(node.base_url, key, [nothing], _zero(await _epoch(node, key))) as client:
            told = await client.expect("position")
            assert client.cursor == f"{told['offset']}.{told['epoch']}"
            assert 0 < int(told["offset"]) < 3 * PAGE
        answer = await polled(node, key, nothing, client.cursor, clock)
        assert (answer["frames"], answer["cursor"].partition(".")[0]) == ([], str(3 * PAGE))

    async def test_event_of_two_channels_of_which_one_has_a_filter(self, node: Node, key: str, world: World):
        """Cut between the two frames, the second follows, and the first one not again."""
        mine = await world.create(type="logistics")
        channels = [LOGISTICS, f"twins:{mine}"]
        async with open_events(node.base_url, key, channels) as client:
            await client.expect("subscribed")
            await world.update(mine, type="factory")
            first = await client.expect("event")
            assert (first["channel"], first["left"]) == ("twins", True)
            cursor = client.cursor
        await world.update(mine, type="logistics")
        async with open_events(node.base_url, key, channels, cursor) as client:
            told = [(frame["channel"], frame["offset"]) for frame in await client.events(3)]
        assert told == [(f"twins:{mine}", "2"), ("twins", "3"), (f"twins:{mine}", "3")]

    async def test_live_room(self, node: Node, key: str):
        """Its place is that of the room, beside a channel of the log."""
        alarms = {"channel": "chat:lobby", "filter": {"kind": "alarm"}}
        async with node.open(key) as socket:
            async with open_events(node.base_url, key, ["agents", alarms]) as client:
                await client.expect("subscribed")
                for number, kind in enumerate(("talk", "alarm", "talk", "alarm")):
                    await say(socket, kind, number)
                first, second = await client.events(2)
                assert (first["offset"], second["offset"]) == ("2", "4")
                cursor = client.cursor
            await say(socket, "talk", 4)
            await say(socket, "alarm", 5)
            async with open_events(node.base_url, key, ["agents", alarms], cursor) as client:
                answer = await client.expect("subscribed")
                assert all(each["recovered"] for each in answer["channels"])
                assert [frame["offset"] for frame in await client.events(1)] == ["6"]

    async def test_star(self, node: Node, key: str, world: World):
        """Alone among those of its kind, as without a filter."""
        stars = {"channel": "twins:*", "filter": {"type": "logistics"}}
        async with open_events(node.base_url, key, [stars, "agents"]) as client:
            await client.expect("subscribed")
            await world.create(type="factory")
            mine = await world.create(type="logistics")
            (frame,) = await client.events(1)
            assert (frame["channel"], frame["event"]["subject"]) == ("twins:*", f"twins/{mine}")
        assert await refusal(node, key, stars, "twins") == (422, "VALIDATION_ERROR")

    async def test_many_with_one_filter_get_what_one_gets(self, node: Node, key: str, world: World):
        """Beside those without one."""
        async with (
            open_events(node.base_url, key, [LOGISTICS]) as one,
            open_events(node.base_url, key, [LOGISTICS]) as two,
            open_events(node.base_url, key, ["twins"]) as plain,
        ):
            for client in (one, two, plain):
                await client.expect("subscribed")
            for kind in ("logistics", "factory", "logistics"):
                await world.create(type=kind)
            assert said(await one.events(2)) == said(await two.events(2)) == [(1, "whole"), (3, "whole")]
            assert [at for at, _ in said(await plain.events(3))] == [1, 2, 3]
            assert one.cursor == two.cursor == plain.cursor


class TestPolls:
    """The filter comes with each poll; nothing else is kept."""

    async def test_only_what_matches_comes(self, node: Node, key: str, world: World):
        cursor = (await poll(node.base_url, key, [LOGISTICS]))["cursor"]
        mine = await world.create(type="logistics")
        await world.create(type="factory")
        await world.update(mine, type="factory")
        seen: list[Frame] = []
        while len(seen) < 2:
            answer = await poll(node.base_url, key, [LOGISTICS], cursor)
            cursor = answer["cursor"]
            seen += answer["frames"]
        assert said(seen) == [(1, "whole"), (3, "left")]
        again = await poll(node.base_url, key, [LOGISTICS], cursor, wait=0)
        assert (again["frames"], again["cursor"].partition(".")[0]) == ([], "3")

    async def test_room_goes_on_through_what_is_hidden(self, node: Node, key: str, clock: ManualClock):
        """Else each poll would begin at the last event that was shown, until the history reaches it no more."""
        alarms = {"channel": "chat:lobby", "filter": {"kind": "alarm"}}
        cursor = (await poll(node.base_url, key, [alarms]))["cursor"]
        for burst in range(10):
            async with node.open(key) as socket:
                for number in range(30):
                    await say(socket, "talk", number)
            answer = await polled(node, key, alarms, cursor, clock)
            assert (burst, answer["frames"]) == (burst, [])
            cursor = answer["cursor"]
        async with node.open(key) as socket:
            await say(socket, "alarm", 1)
        answer = await poll(node.base_url, key, [alarms], cursor)
        assert [(frame["type"], frame["offset"]) for frame in answer["frames"]] == [("event", "301")]

    @pytest.mark.parametrize(("option", "value"), [("delta", True), ("presence", True)])
    async def test_what_needs_a_connection_is_refused(self, node: Node, key: str, option: str, value: Any):
        """With what to do instead."""
        channel = "twins" if option == "delta" else "chat:lobby"
        answer = await poll(node.base_url, key, [{"channel": channel, option: value}])
        assert (answer["status"], answer["error"]["code"]) == (422, "VALIDATION_ERROR")


class TestDeltas:
    """By what changed, on a connection; whole after a return."""

    async def test_states_come_by_what_changed(self, node: Node, key: str, world: World):
        """A return begins with whole states, also beside others who go on with patches."""
        fold, other = Fold(), Fold()
        mine = await world.create(text=LONG, load=0)
        async with open_events(node.base_url, key, [DELTAS]) as stays:
            await stays.expect("subscribed")
            async with open_events(node.base_url, key, [DELTAS]) as client:
                await client.expect("subscribed")
                fold.anew()
                for load in (1, 2, 3):
                    await world.update(mine, load=load)
                for frame in await client.events(3):
                    fold.take(frame)
                cursor = client.cursor
            await world.update(mine, load=4)
            async with open_events(node.base_url, key, [DELTAS], cursor) as client:
                await client.expect("subscribed")
                fold.anew()
                await world.update(mine, load=5)
                await world.update(mine, load=6)
                for frame in await client.events(3):
                    fold.take(frame)
            for frame in await stays.events(6):
                other.take(frame)
        assert fold.states == other.states == world.states
        assert fold.patched >= 2
        assert other.patched == 5

    async def test_with_a_filter(self, node: Node, key: str, world: World):
        """The patch is against what the filter has shown."""
        fold = Fold()
        async with open_events(node.base_url, key, [{**LOGISTICS, "delta": True}]) as client:
            await client.expect("subscribed")
            fold.anew()
            mine = await world.create(type="logistics", text=LONG)
            await world.update(mine, load=1)
            await world.update(mine, type="factory")
            await world.update(mine, load=2)
            await world.update(mine, type="logistics")
            for frame in await client.events(4):
                fold.take(frame)
        assert fold.states == world.states
        assert (fold.whole, fold.patched, fold.left) == (2, 1, 1)

    async def test_whole_kind_stands_alone(self, node: Node, key: str):
        """Beside one of its resources a return could not tell which of two frames has come."""
        one = {"channel": f"twins:{uuid4()}", "delta": True}
        assert await refusal_of_events(node, key, DELTAS, one) == 422
        async with open_events(node.base_url, key, [one, {**one, "channel": f"twins:{uuid4()}"}]) as client:
            answer = await client.expect("subscribed")
            assert ["error" in each for each in answer["channels"]] == [False, False]


class TestPresence:
    """A list by REST, and what changes by the stream."""

    async def test_who_comes_and_goes_is_told(self, node: Node, key: str, organisation: Organisation):
        """From the version on that `subscribed` names; also after a return."""
        lobby = {"channel": "chat:lobby", "presence": True}
        async with open_events(node.base_url, key, [lobby]) as client:
            (item,) = (await client.expect("subscribed"))["channels"]
            version, members = item["presence"]["version"], 0
            async with node.joined(await organisation.key(), "chat:lobby"):
                # Its own joining may be told too.
                while members < 2:
                    told = await client.expect("presence")
                    assert told["after"] == version
                    version, members = told["version"], told["count"]["members"]
                cursor = client.cursor
        async with open_events(node.base_url, key, [lobby], cursor) as client:
            (item,) = (await client.expect("subscribed"))["channels"]
            assert item["recovered"]
            async with node.joined(await organisation.key(), "chat:lobby"):
                while not (await client.expect("presence"))["joined"]:
                    pass

    async def test_it_is_a_connection_as_any(self, node: Node, key: str, organisation: Organisation):
        """Others see it, with or without presence; it leaves like one that was lost."""
        other = await organisation.key()
        async with (
            node.joined(key, {"channel": "chat:lobby", "presence": True}) as socket,
            open_events(node.base_url, other, ["chat:lobby"]) as client,
        ):
            subject = (await client.expect("welcome"))["subject"]
            while subject not in [each["subject"] for each in (await socket.expect("presence"))["joined"]]:
                pass
            assert not [frame for frame in client.frames if frame["type"] == "presence"]

    async def test_channel_without_presence(self, node: Node, key: str):
        """Is refused by itself, and the others join."""
        async with open_events(node.base_url, key, [{"channel": "twins", "presence": True}, "agents"]) as client:
            twins, agents = (await client.expect("subscribed"))["channels"]
        assert (twins["error"]["code"], "error" in agents) == ("VALIDATION_ERROR", False)


class TestBeginnings:
    """From where a client begins that has no cursor yet."""

    async def test_since(self, node: Node, key: str, world: World):
        """By a stream or a poll; who comes back asks as at first, and its cursor counts."""
        for _ in range(3):
            await world.create(type="factory")
        since = {"channel": "twins", "since": "2001-01-31T12:00:00Z"}
        async with open_events(node.base_url, key, [since, "chat:lobby"]) as client:
            twins, _ = (await client.expect("subscribed"))["channels"]
            assert twins["offset"] == "0"
            assert said(await client.events(2)) == [(1, "whole"), (2, "whole")]
            cursor = client.cursor
        async with open_events(node.base_url, key, [since, "chat:lobby"], cursor) as client:
            assert said(await client.events(1)) == [(3, "whole")]
        answer = await poll(node.base_url, key, [since])
        assert answer["frames"][0]["channels"][0]["offset"] == "0"
        seen = answer["frames"]
        while len(said(seen)) < 3:
            answer = await poll(node.base_url, key, [since], answer["cursor"])
            seen += answer["frames"]
        assert said(seen) == [(1, "whole"), (2, "whole"), (3, "whole")]

    async def test_after_an_event(self, node: Node, key: str, world: World):
        """Such as a write's own."""
        await world.create(type="factory")
        async with open_events(node.base_url, key, [{"channel": "twins", "since": "2001-01-31T12:00:00Z"}]) as client:
            (written,) = await client.events(1)
        await world.create(type="factory")
        after = {"channel": "twins", "after_event": written["event"]["id"]}
        async with open_events(node.base_url, key, [after]) as client:
            assert said(await client.events(1)) == [(2, "whole")]

    async def test_replay(self, node: Node, key: str, organisation: Organisation, clock: ManualClock):
        """At the pace at which it was recorded, on after a return, and then live."""
        await recorded(node, organisation, 4)
        replay = {"channel": "agents", "since": BEGIN, "speed": 10}
        async with open_events(node.base_url, key, [replay]) as client:
            came = await client.events(1)
            await clock.advance(1.0)
            came += await client.events(1)
            cursor = client.cursor
        async with open_events(node.base_url, key, [replay], cursor) as client:
            came += await client.events(1)
            await clock.advance(1.0)
            came += await client.events(1)
            await node.emit(organisation.id, 1)
            came += await client.events(1)
        assert numbers_of(came) == [1, 2, 3, 4, 5]
        assert [frame.get("replayed") for frame in came] == [True] * 4 + [None]

    @pytest.mark.parametrize("option", [{"since": "2001-01-31T12:00:00Z"}, {"after_event": str(uuid4())}])
    async def test_it_is_alone_in_the_log(self, node: Node, key: str, option: Mapping[str, str]):
        """One cursor stands for all channels of the log: another one would be further."""
        assert await refusal(node, key, {"channel": "twins", **option}, "agents") == (422, "VALIDATION_ERROR")

    async def test_poll_has_no_replay(self, node: Node, key: str):
        """It would go on between two polls."""
        replay = {"channel": "twins", "since": "2001-01-31T12:00:00Z", "speed": 10}
        assert (await poll(node.base_url, key, [replay]))["status"] == 422


class TestProxies:
    """Networks that hold bytes back."""

    async def test_filter_through_a_proxy_that_passes_on_blocks(
        self, node: Node, key: str, world: World, proxies: FaultProxies
    ):
        """Padding pushes each event that is shown through; polls need none."""
        gate = await proxies.open(node.base_url)
        gate.on_connect = lambda connection: connection.down.hold(4096)
        async with open_events(gate.url(), key, [LOGISTICS], padding=4096) as client:
            await client.expect("subscribed")
            mine = await world.create(type="logistics")
            await world.create(type="factory")
            await world.update(mine, type="factory")
            assert said(await client.events(2)) == [(1, "whole"), (3, "left")]
            cursor = client.cursor
        gate.on_connect = lambda connection: connection.down.hold(1024 * 1024)
        await world.update(mine, type="logistics")
        assert said((await poll(gate.url(), key, [LOGISTICS], cursor))["frames"]) == [(4, "whole")]


class TestRefusals:
    """By the words of the frame."""

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "twins",
            '"twins"',
            "[]",
            "{",
            "{}",
            '{"channel": 7}',
            '{"channel": ""}',
            '{"channel": "twins", "filter": {"a": NaN}}',
            '{"channel": "twins", "since": "yesterday"}',
            '{"channel": "twins", "after_event": "0192"}',
            '{"channel": "chat:lobby", "since": "2026-01-31T12:00:00Z"}',
            '{"channel": "twins", "since": "2026-01-31T12:00:00Z", "after_event": "0192"}',
            '{"channel": "twins", "offset": 0}',
            '{"channel": "twins", "epoch": "e"}',
            '{"channel": "twins", "speed": 10}',
            '{"channel": "twins", "max_gap_ms": 10}',
            '{"channel": "twins", "filter": {}}',
            '{"channel": "twins", "filter": {"a": {"$regex": "x"}}}',
            '{"channel": "twins", "filter": 7}',
            '{"channel": "chat:lobby", "delta": true}',
            '{"channel": "subscriptions:0192"}',
        ],
    )
    async def test_nonsense(self, node: Node, key: str, text: str):
        """Is no connection, whichever way it is asked."""
        assert await refusal(node, key, subscribe=text) == (422, "VALIDATION_ERROR")
        assert node.door.connections == 0

    @pytest.mark.parametrize("text", ['{"channel": "twins", "channel": "agents"}', "[" * 600 + "]" * 600, "%ff"])
    async def test_what_is_no_json(self, node: Node, key: str, text: str):
        status, _ = await refusal(node, key, subscribe=text)
        assert status in (400, 422)

    async def test_wrong_filter_is_told_with_its_place(self, node: Node, key: str):
        """Beside others as on a socket: they join."""
        wrong = {"channel": "twins", "filter": {"a": {"$regex": "x"}}}
        async with node.open(key) as socket:
            on_a_socket = (await socket.subscribe(wrong))["channels"][0]["error"]
        async with open_events(node.base_url, key, [wrong, "agents"]) as client:
            twins, agents = (await client.expect("subscribed"))["channels"]
        assert twins["error"]["details"] == on_a_socket["details"]
        assert "error" not in agents

    async def test_first_mention_counts(self, node: Node, key: str, world: World):
        """Those with options stand before names."""
        async with open_events(node.base_url, key, ["twins", LOGISTICS]) as client:
            assert len((await client.expect("subscribed"))["channels"]) == 1
            await world.create(type="factory")
            await world.create(type="logistics")
            assert said(await client.events(1)) == [(2, "whole")]

    async def test_what_is_null_is_not_there(self, node: Node, key: str):
        """As in a frame."""
        item = {"channel": "twins", "since": None, "offset": None, "delta": False, "presence": False, "filter": None}
        async with open_events(node.base_url, key, [item]) as client:
            await client.expect("subscribed")
        assert (await poll(node.base_url, key, [item]))["status"] == 200

    async def test_scope_and_other_organisations(
        self, node: Node, organisation: Organisation, organisations: Organisations, world: World
    ):
        """A filter opens nothing that its channel does not."""
        assert await refusal(node, await organisation.key(["read:agents"]), LOGISTICS) == (403, "INSUFFICIENT_SCOPE")
        other = await organisations.create()
        foreign = await other.key()
        cursor = (await poll(node.base_url, foreign, [LOGISTICS]))["cursor"]
        async with open_events(node.base_url, foreign, [LOGISTICS], cursor) as client:
            await client.expect("subscribed")
            await world.create(type="logistics")
            assert (await poll(node.base_url, foreign, [LOGISTICS], cursor, wait=0))["frames"] == []
            assert not [frame for frame in client.frames if frame["type"] == "event"]

    async def test_credential_that_is_narrowed_loses_the_channel(
        self, node: Node, organisation: Organisation, clock: ManualClock
    ):
        """And the view with it; a return is told the same."""
        key = await organisation.key(["read:agents", "read:twins"])
        async with open_events(node.base_url, key, [LOGISTICS, "agents"]) as client:
            await client.expect("subscribed")
            await execute(organisation, "UPDATE keys SET scopes = ARRAY['read:agents']")
            await clock.advance(2)
            left = await client.expect("unsubscribed")
            assert (left["channels"], left["error"]["code"]) == (["twins"], "INSUFFICIENT_SCOPE")
            cursor = client.cursor
        async with open_events(node.base_url, key, [LOGISTICS, "agents"], cursor) as client:
            twins, agents = (await client.expect("subscribed"))["channels"]
            assert (twins["error"]["code"], "error" in agents) == ("INSUFFICIENT_SCOPE", False)


async def say(socket: Any, kind: str, number: int) -> None:
    """Publish into the lobby."""
    data = {"kind": kind, "number": number}
    assert (await socket.ask({"type": "publish", "channel": "chat:lobby", "data": data}))["type"] == "result"


async def polled(node: Node, key: str, item: Mapping[str, Any], cursor: str, clock: ManualClock) -> dict[str, Any]:
    """Poll without waiting for what is new; time passes while it catches up."""
    polling = asyncio.ensure_future(poll(node.base_url, key, [item], cursor, wait=0))
    while not polling.done():
        await clock.advance(0.1)
    return await polling


async def refusal_of_events(node: Node, key: str, *channels: Mapping[str, Any]) -> int:
    """Return the status of a stream of events that is refused."""
    async with open_events(node.base_url, key, channels, status=422) as client:
        return client.response.status


async def _epoch(node: Node, key: str) -> str:
    return (await poll(node.base_url, key, ["twins"]))["cursor"].partition(".")[2]


def _zero(epoch: str) -> str:
    return f"0.{epoch}"
