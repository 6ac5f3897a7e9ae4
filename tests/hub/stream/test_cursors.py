"""Cursors of plain HTTP: what they say, what is no cursor, and after which frame which one stands."""

import random

import orjson
import pytest

from core.events.event import Entry
from hub.stream.plain.cursor import MOST_CHARACTERS, Cursor, cursor_of, room_text, text_of
from hub.stream.plain.places import Places
from hub.stream.plain.wire import NUL, PlainWire
from rooms.live_wire import LiveEntry

WIRE = PlainWire()
EPOCH = "5f3a9c1e"
AGENT = "agents:01978f3e-5a70-7c3d-9b42-6f0d2c1e8a55"
GARBAGE = [
    "x",
    "12",
    "12.",
    ".e",
    "-1.e",
    "12k",
    "0k.e",
    "1.e~",
    "1.e~x",
    "~",
    "1.e~aB3dE9xQ.7",
    "9223372036854775808.e",
    "1.e~aB3dE9xQ.9223372036854775808.e",
    "1.e;drop table",
    "1.\u00e9",
    "\u0661.e",
    "1.e~aB3dE9xQ.7.e~aB3dE9xQ.7.e",
    "1" * 20 + ".e",
    "1." + "e" * (MOST_CHARACTERS + 1),
]


def places(*channels: str, cursor: str = "", beginnings: bool = False) -> Places:
    return Places(channels, cursor_of(cursor), lambda _: beginnings)


def subscribed(*channels: str, offset: int = 5, recovered: bool = False, epoch: str = EPOCH) -> bytes:
    items = [{"channel": each, "offset": str(offset), "epoch": epoch, "recovered": recovered} for each in channels]
    return WIRE.subscribed(None, items)


def event(channel: str, position: int, narrowest: str = "") -> bytes:
    entry = Entry(position, narrowest or channel, '{"id":"x"}')
    return WIRE.event(WIRE.event_prefix(channel), entry, WIRE.envelope(entry))


def said(channel: str, offset: int) -> bytes:
    entry = LiveEntry(offset, channel, '{"id":"x"}', offset, "")
    return WIRE.event(WIRE.event_prefix(channel), entry, WIRE.envelope(entry))


def seen(channel: str, entry: Entry) -> bytes:
    return WIRE.shown(entry, channel, left=True, event={})


def tell(at: Places, *frames: bytes) -> list[str | None]:
    """Take the frames; return the cursor after each, None where it does not move."""
    pieces = b"".join(frames).split(NUL)
    return [at.take(payload, mark).cursor for payload, mark in zip(pieces[:-1:2], pieces[1::2], strict=True)]


class TestText:
    """The form."""

    @pytest.mark.parametrize("text", GARBAGE, ids=range(len(GARBAGE)))
    def test_what_cannot_be_read_is_a_place_that_is_gone(self, text: str):
        """So every channel is reset, and the client is well again; it is told, and nothing is lost in silence."""
        assert cursor_of(text) == Cursor(is_lost=True)
        assert cursor_of(text).place_in("agents") == {"offset": "0", "epoch": "?"}

    def test_none_is_the_present(self):
        """As a channel without an offset on a socket."""
        assert cursor_of("").place_in("agents") == {}

    def test_of_the_log_it_is_the_position(self):
        """With the epoch, for every channel of the log."""
        assert cursor_of(f"1042.{EPOCH}").place_in("twins") == {"offset": "1042", "epoch": EPOCH}

    def test_any_cursor_is_read_as_it_was_written(self):
        """By chance; the text is one that a header and a query may have as it is."""
        rng = random.Random(1)
        for _ in range(300):
            rooms = {
                f"chat:{number}": (rng.randrange(2**63), f"a{number}.6746") for number in range(rng.randrange(129))
            }
            log = (rng.randrange(1, 2**63), EPOCH) if rng.random() < 0.7 else None
            half = log is not None and rng.random() < 0.3
            text = text_of(log, [room_text(*each) for each in rooms.items()], kinds_have_it=half)
            assert len(text) <= MOST_CHARACTERS
            found = cursor_of(text)
            assert (found.log, found.kinds_have_it) == (log, half)
            for name, (offset, epoch) in rooms.items():
                assert found.place_in(name) == {"offset": str(offset), "epoch": epoch}
            assert all(each.isalnum() or each in "-._~" for each in text)

    def test_changed_cursors_are_never_taken_for_more_than_places(self):
        """Whatever somebody makes of one, it is read or it is lost."""
        rng = random.Random(2)
        good = text_of((7, EPOCH), [room_text("chat:a", (1, "x.y"))], kinds_have_it=True)
        for _ in range(2_000):
            text = list(good)
            for _ in range(rng.randrange(1, 4)):
                text[rng.randrange(len(text))] = chr(rng.randrange(1, 300))
            cursor_of("".join(text)).place_in("chat:a")


class TestPlaces:
    """After which frame which cursor stands."""

    def test_each_event_of_the_log_moves_it(self):
        assert tell(places("agents"), subscribed("agents"), event("agents", 6, AGENT), event("agents", 9, AGENT)) == [
            f"5.{EPOCH}",
            f"6.{EPOCH}",
            f"9.{EPOCH}",
        ]

    def test_event_of_two_channels_is_half_told_after_the_first_frame(self):
        """Who is cut between them gets the second one, and the first one not again."""
        at = places("agents", AGENT)
        *_, half, whole = tell(at, subscribed("agents", AGENT), event("agents", 6, AGENT), event(AGENT, 6))
        assert (half, whole) == (f"6k.{EPOCH}", f"6.{EPOCH}")
        assert cursor_of(f"6k.{EPOCH}").place_in(AGENT) == {"offset": "5", "epoch": EPOCH}
        back = places("agents", AGENT, cursor=f"6k.{EPOCH}")
        frames = (subscribed("agents", AGENT, recovered=True), event("agents", 6, AGENT), event(AGENT, 6))
        assert tell(back, *frames) == [f"6k.{EPOCH}", None, f"6.{EPOCH}"]

    def test_first_half_is_left_out_only_where_it_is_repeated(self):
        """The same position of another epoch is another event."""
        back = places("agents", AGENT, cursor=f"6k.{EPOCH}")
        reset = [WIRE.reset(each, 5, "new", "epoch") for each in ("agents", AGENT)]
        told = tell(back, subscribed("agents", AGENT, epoch="new"), *reset, event("agents", 6, AGENT))
        assert told == [None, None, "5.new", "6k.new"]

    def test_other_kinds_are_whole_after_one_frame(self):
        """Their single resources were not asked for."""
        at = places("agents", "twins", AGENT)
        *_, last = tell(at, subscribed("agents", "twins", AGENT), event("twins", 6, "twins:1"))
        assert last == f"6.{EPOCH}"

    def test_no_cursor_while_resets_follow(self):
        """Who is cut between two resets is told both again."""
        at = places("agents", "twins")
        tell(at, subscribed("agents", "twins"))
        assert tell(at, WIRE.reset("agents", 3, "new", "epoch"), WIRE.reset("twins", 3, "new", "epoch")) == [
            None,
            "3.new",
        ]

    def test_reset_of_a_place_that_is_gone_comes_before_the_cursor(self):
        """`subscribed` alone would hide it from who is cut right after it."""
        at = places("agents", "chat:a", cursor="1.old~" + room_text("chat:a", (1, "x.y")))
        frames = (
            WIRE.subscribed(
                None,
                [
                    {"channel": "agents", "offset": "5", "epoch": EPOCH, "recovered": False},
                    {"channel": "chat:a", "offset": "4", "epoch": "n.m", "recovered": False},
                ],
            ),
            WIRE.reset("chat:a", 4, "n.m", "epoch"),
            WIRE.reset("agents", 5, EPOCH, "epoch"),
        )
        assert tell(at, *frames) == [None, None, f"5.{EPOCH}~{room_text('chat:a', (4, 'n.m'))}"]

    def test_rooms_have_places_of_their_own(self):
        at = places("chat:a", "chat:b")
        *_, last = tell(at, subscribed("chat:a", "chat:b", epoch="n.m"), said("chat:b", 6))
        assert cursor_of(str(last)).place_in("chat:a") == {"offset": "5", "epoch": "n.m"}
        assert cursor_of(str(last)).place_in("chat:b") == {"offset": "6", "epoch": "n.m"}

    def test_room_that_nobody_asked_for_moves_nothing(self):
        """The own room is there without asking."""
        at = places("agents")
        assert tell(at, subscribed("agents"), said("users:key:1", 4))[1] is None

    def test_room_with_a_beginning_stays_until_that_was_told(self):
        """Who is cut between a reset and what was said so far gets both again."""
        at = places("runs:1", cursor="~" + room_text("runs:1", (1, "x.y")), beginnings=True)
        frames = (subscribed("runs:1", epoch="n.m"), WIRE.reset("runs:1", 5, "n.m", "epoch"), said("runs:1", 5))
        *_, before, after = tell(at, *frames)
        assert before == "~" + room_text("runs:1", (1, "x.y"))
        assert after == "~" + room_text("runs:1", (5, "n.m"))

    def test_refused_channel_keeps_its_place(self):
        """It may be there again when the client comes back."""
        cursor = f"3.{EPOCH}~" + room_text("chat:a", (1, "x.y"))
        at = places("agents", "chat:a", cursor=cursor)
        error = {"code": "SERVICE_UNAVAILABLE"}
        refused = [{"channel": each, "error": error} for each in ("agents", "chat:a")]
        assert tell(at, WIRE.subscribed(None, refused)) == [cursor]

    def test_bookmark_moves_the_log(self):
        """A sparse channel's cursor does not grow old."""
        at = places("agents", "chat:a")
        assert tell(at, subscribed("agents"), WIRE.position(80, EPOCH))[1] == f"80.{EPOCH}"
        pong = WIRE.reply("pong", None, position={"offset": "90", "epoch": EPOCH})
        assert tell(at, pong) == [f"90.{EPOCH}"]


def test_frames_are_those_of_a_socket():
    """And on one line, whatever white space an envelope has between its values."""
    entry = Entry(6, AGENT, '{"id":\n"x",\r"data":{}}')
    payload, mark, rest = WIRE.event(WIRE.event_prefix("agents"), entry, WIRE.envelope(entry)).split(NUL)
    assert b"\n" not in payload
    assert b"\r" not in payload
    assert orjson.loads(payload) == {
        "type": "event",
        "channel": "agents",
        "offset": "6",
        "event": {"id": "x", "data": {}},
    }
    assert (mark, rest) == (f"event\x1f6\x1fagents\x1f{AGENT}".encode(), b"")


class TestViews:
    """Frames of views mean what those of whole events mean."""

    def test_first_of_two_frames_of_an_event(self):
        """The kind's channel shows it in its own way, and that of the resource is yet to follow."""
        at = places("agents", AGENT)
        tell(at, subscribed("agents", AGENT))
        entry = Entry(6, AGENT, '{"id":"x"}')
        assert tell(at, seen("agents", entry), event(AGENT, 6)) == [f"6k.{EPOCH}", f"6.{EPOCH}"]

    def test_live_room(self):
        """It has offsets of its own."""
        at = places("agents", "chat:a")
        tell(at, subscribed("agents", "chat:a"))
        (cursor,) = tell(at, seen("chat:a", LiveEntry(9, "chat:a", "{}", 9, "")))
        assert cursor == text_of((5, EPOCH), [room_text("chat:a", (9, EPOCH))], kinds_have_it=False)

    def test_room_whose_last_events_were_hidden(self):
        """Goes on from there, unless it is yet to be told what was said so far."""
        at = places("chat:a", "chat:b")
        tell(at, subscribed("chat:a"))
        at.pass_rooms({"chat:a": (9, EPOCH), "chat:b": (9, EPOCH)})
        assert at.text() == text_of(None, [room_text("chat:a", (9, EPOCH))], kinds_have_it=False)
        held = places("chat:a", cursor=at.text(), beginnings=True)
        tell(held, subscribed("chat:a", offset=2, epoch="n"), WIRE.reset("chat:a", 2, "n", "epoch"))
        held.pass_rooms({"chat:a": (3, "n")})
        assert held.text() == at.text()

    def test_it_is_one_line(self):
        """Between values JSON may have line ends."""
        entry = Entry(6, "agents", "{}")
        payload, _, _ = WIRE.shown(entry, "agents", event=orjson.Fragment(b'{"a":\n1,\r\n"b":2}')).partition(NUL)
        assert b"\n" not in payload
        assert b"\r" not in payload
        assert orjson.loads(payload)["event"] == {"a": 1, "b": 2}
