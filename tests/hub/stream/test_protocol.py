"""What a client's message asks for: a class a rule, both sides of it."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from core.errors import HubError
from hub.stream.codes import AUTHENTICATION_FAILED, PROTOCOL_ABUSE, TOO_BIG
from hub.stream.commands import (
    Authenticate,
    Call,
    Ping,
    Refusal,
    RefusedChannel,
    Subscribe,
    Unsubscribe,
    Violation,
    Wanted,
)
from hub.stream.protocol import CLIENT_FRAMES
from tests.hub.stream.receiving import protocol, receive


def refusal(frame: Any, *, is_authenticated: bool = True) -> HubError:
    command = receive(frame, is_authenticated=is_authenticated)
    assert isinstance(command, Refusal)
    return command.error


def items(*channels: Any) -> list[Wanted | tuple[str, str]]:
    """Subscribe, and return what is wanted and (name, code) of what is refused."""
    command = receive({"type": "subscribe", "channels": list(channels)})
    assert isinstance(command, Subscribe)
    return [(each.channel, each.error.code) if isinstance(each, RefusedChannel) else each for each in command.items]


class TestForm:
    """A message is one JSON object with a known type."""

    @pytest.mark.parametrize("text", ["", "{", "nope", '{"type":"ping"', "[1,2", "NaN", '{"a":1}x', '"\\ud800"'])
    def test_no_json_is_refused(self, text: str):
        """Bad JSON: BAD_REQUEST, without an id."""
        command = receive(text)
        assert isinstance(command, Refusal)
        assert (command.id, command.error.code) == (None, "BAD_REQUEST")

    @pytest.mark.parametrize("value", [None, 1, "ping", [], [{"type": "ping"}], True])
    def test_json_that_is_no_object_is_refused(self, value: Any):
        """Another JSON value: BAD_REQUEST."""
        assert refusal(json.dumps(value)).code == "BAD_REQUEST"

    @pytest.mark.parametrize("frame", [{}, {"type": None}, {"type": 1}, {"type": ["ping"]}])
    def test_type_is_a_string(self, frame: Any):
        """No type, or one of another kind: BAD_REQUEST."""
        assert refusal(frame).code == "BAD_REQUEST"

    @pytest.mark.parametrize("kind", ["", "shout", "PING", "event", "x" * 5000])
    def test_unknown_type_is_refused(self, kind: str):
        """UNKNOWN_FRAME_TYPE, and the text repeats no more than a little of it."""
        error = refusal({"type": kind})
        assert error.code == "UNKNOWN_FRAME_TYPE"
        assert len(error.text) < 100

    def test_unknown_members_are_ignored(self):
        """A newer client's extra member does not matter."""
        assert receive({"type": "ping", "id": 1, "later": {}}) == Ping(1)

    def test_binary_message_is_refused(self):
        """Frames of the JSON subprotocol are text."""
        assert refusal(b'{"type":"ping"}').code == "UNSUPPORTED_MEDIA_TYPE"


class TestId:
    """`id` is optional: an integer or a string of at most 64 characters, and is echoed."""

    @pytest.mark.parametrize("frame_id", [0, 7, -1, 2**53, "", "a", "é" * 64])
    def test_id_is_echoed(self, frame_id: Any):
        assert receive({"type": "ping", "id": frame_id}) == Ping(frame_id)

    @pytest.mark.parametrize("frame", [{"type": "ping"}, {"type": "ping", "id": None}])
    def test_id_may_be_left_out(self, frame: Any):
        assert receive(frame) == Ping(None)

    @pytest.mark.parametrize("frame_id", [True, 1.5, [], {}, "a" * 65])
    def test_other_id_is_refused_without_one(self, frame_id: Any):
        command = receive({"type": "ping", "id": frame_id})
        assert isinstance(command, Refusal)
        assert (command.id, command.error.code) == (None, "BAD_REQUEST")

    def test_refusal_carries_the_id(self):
        """Whoever asked finds the answer."""
        command = receive({"type": "nope", "id": "q"})
        assert isinstance(command, Refusal)
        assert command.id == "q"


class TestSize:
    """A message has at most 64 KiB of UTF-8."""

    def frame_of(self, size: int, letter: str = "x") -> str:
        head, tail = '{"type":"ping","pad":"', '"}'
        return head + letter * ((size - len(head) - len(tail)) // len(letter.encode())) + tail

    def test_64_kib_pass(self):
        assert receive(self.frame_of(65536)) == Ping(None)

    def test_one_byte_more_ends_the_connection(self):
        """1009, as RFC 6455, section 7.4.1 has it."""
        assert receive(self.frame_of(65537)) == Violation(TOO_BIG)
        assert receive(b"x" * 65537) == Violation(TOO_BIG)

    def test_bytes_count_not_characters(self):
        assert receive(self.frame_of(65600, "é")) == Violation(TOO_BIG)


class TestAuthentication:
    """Before a good credential only `authenticate` is taken."""

    @pytest.mark.parametrize("kind", [*(kind for kind in CLIENT_FRAMES if kind != "authenticate"), "nope"])
    def test_other_frame_waits(self, kind: str):
        assert refusal({"type": kind}, is_authenticated=False).code == "AUTHENTICATION_REQUIRED"

    @pytest.mark.parametrize("is_authenticated", [False, True])
    def test_authenticate_is_taken(self, is_authenticated: bool):
        """Also later: it renews the credential."""
        frame = {"type": "authenticate", "id": 1, "token": "aim_live_x"}
        assert receive(frame, is_authenticated=is_authenticated) == Authenticate(1, "aim_live_x")

    @pytest.mark.parametrize("token", [None, "", 5, ["x"], "x" * 16385])
    def test_token_is_a_string(self, token: Any):
        assert refusal({"type": "authenticate", "token": token}).code == "VALIDATION_ERROR"

    def test_third_refused_credential_ends_the_connection(self):
        """Two mistakes are forgiven."""
        asked = protocol(is_authenticated=False)
        refused = Refusal(1, HubError("INVALID_API_KEY"))
        assert [asked.refused_credential(refused) for _ in range(2)] == [refused, refused]
        assert asked.refused_credential(refused) == Violation(AUTHENTICATION_FAILED, refused)


class TestSubscribe:
    """A list of names, or of objects with a place to go on from."""

    def test_seed_frame_stands_as_it_is(self):
        """The documented first frame."""
        frame = '{"type":"subscribe","channels":["agents","knowledge","twins"]}'
        assert receive(frame) == Subscribe(None, (Wanted("agents"), Wanted("knowledge"), Wanted("twins")))

    @pytest.mark.parametrize("offset", [42, "42", "042"])
    def test_offset_is_a_decimal_string_or_an_integer(self, offset: Any):
        assert items({"channel": "agents", "offset": offset, "epoch": "k3"}) == [Wanted("agents", 42, "k3")]

    def test_epoch_may_be_left_out(self):
        """The current one is meant."""
        assert items({"channel": "agents", "offset": "0"}) == [Wanted("agents", 0, None)]

    @pytest.mark.parametrize(
        "offset", ["", "-1", "1.0", "1e3", " 1", "٣", 1.5, True, [], -1, 2**63, str(2**63), "9" * 40]
    )
    def test_bad_offset_is_the_items_fault(self, offset: Any):
        """The channel is refused; the others join."""
        assert items({"channel": "agents", "offset": offset}, "twins") == [
            ("agents", "VALIDATION_ERROR"),
            Wanted("twins"),
        ]

    @pytest.mark.parametrize("epoch", [3, True, [], {}])
    def test_bad_epoch_is_the_items_fault(self, epoch: Any):
        assert items({"channel": "agents", "offset": 1, "epoch": epoch}) == [("agents", "VALIDATION_ERROR")]

    @pytest.mark.parametrize("name", ["", "nope", "x" * 257, "agents" * 100])
    def test_unknown_channel_is_the_items_fault(self, name: str):
        assert items(name) == [(name, "CHANNEL_NOT_FOUND")]

    @pytest.mark.parametrize("channels", [None, [], "agents", {"channel": "agents"}, 1])
    def test_channels_is_a_list_with_something_in_it(self, channels: Any):
        assert refusal({"type": "subscribe", "channels": channels}).code == "VALIDATION_ERROR"

    @pytest.mark.parametrize("item", [None, 1, [], {}, {"channel": 1}, {"name": "agents"}])
    def test_item_without_a_name_is_the_frames_fault(self, item: Any):
        """There is no name under which it could be answered; details say which item."""
        error = refusal({"type": "subscribe", "channels": ["agents", item]})
        assert error.code == "VALIDATION_ERROR"
        assert [detail.field for detail in error.details] == ["channels[1]"]

    def test_channel_named_twice_counts_once(self):
        """The first mention counts."""
        assert items("agents", {"channel": "agents", "offset": 1}) == [Wanted("agents")]


class TestCount:
    """A connection has at most 128 channels."""

    def channels(self, count: int) -> list[str]:
        return [f"agents:{index}" for index in range(count)]

    def test_128_join(self):
        assert items(*self.channels(128)) == [Wanted(name) for name in self.channels(128)]

    def test_one_more_is_refused_and_the_others_join(self):
        assert items(*self.channels(129))[126:] == [
            Wanted("agents:126"),
            Wanted("agents:127"),
            ("agents:128", "TOO_MANY_CHANNELS"),
        ]

    def test_subscribed_ones_count(self):
        command = receive({"type": "subscribe", "channels": ["twins", "agents:5"]}, *self.channels(128))
        assert isinstance(command, Subscribe)
        refused, known = command.items
        assert isinstance(refused, RefusedChannel)
        assert refused.error.code == "TOO_MANY_CHANNELS"
        assert known == Wanted("agents:5")

    def test_refused_ones_do_not_count(self):
        """A name that is no channel takes no place."""
        assert items("nope", *self.channels(128))[-1] == Wanted("agents:127")

    def test_frame_with_far_too_many_is_refused_whole(self):
        """So that a small frame has no large answer."""
        assert refusal({"type": "subscribe", "channels": self.channels(513)}).code == "TOO_MANY_CHANNELS"


class TestUnsubscribe:
    """A list of names, subscribed or not."""

    def test_names_stand_once(self):
        frame = {"type": "unsubscribe", "id": 2, "channels": ["agents", "nope", "agents"]}
        assert receive(frame) == Unsubscribe(2, ("agents", "nope"))

    @pytest.mark.parametrize("channels", [None, [], "agents", [1]])
    def test_other_forms_are_refused(self, channels: Any):
        assert refusal({"type": "unsubscribe", "channels": channels}).code == "VALIDATION_ERROR"


class TestAbuse:
    """A client that sends nothing but nonsense is cut; one that errs now and then is not."""

    def test_hundredth_bad_frame_in_a_row_ends_the_connection(self):
        asked = protocol()
        assert all(isinstance(asked.receive("{"), Refusal) for _ in range(99))
        last = asked.receive("{")
        assert isinstance(last, Violation)
        assert last.code is PROTOCOL_ABUSE
        assert last.refusal is not None

    def test_a_good_frame_begins_the_count_again(self):
        asked = protocol()
        for _ in range(5):
            assert all(isinstance(asked.receive("{"), Refusal) for _ in range(99))
            assert asked.receive('{"type":"ping"}') == Ping(None)


class TestMessageAndCancel:
    """Operations of sessions and executions, by frames of their own."""

    def test_message(self):
        """What the operation takes is handed on as it is; what it does not, is not."""
        frame = {"type": "message", "id": 1, "session": "s", "text": "Hello", "more": 1}
        assert receive(frame) == Call(1, "sessions.send", {"id": "s", "text": "Hello"}, None)
        whole = {**frame, "parent_id": "p", "attachments": [5], "idempotency_key": "k"}
        wanted = {"id": "s", "text": "Hello", "parent_id": "p", "attachments": [5]}
        assert receive(whole) == Call(1, "sessions.send", wanted, "k")
        nothing = {**frame, "parent_id": None, "attachments": None, "idempotency_key": None}
        assert receive(nothing) == receive(frame)

    def test_cancel(self):
        """An execution, or whichever is under way in a session."""
        assert receive({"type": "cancel", "id": 2, "execution": "e"}) == Call(2, "executions.cancel", {"id": "e"}, None)
        given_ = {"type": "cancel", "session": "s", "execution": None}
        assert receive(given_) == Call(None, "sessions.cancel", {"id": "s"}, None)

    @pytest.mark.parametrize(
        ("frame", "field"),
        [
            ({"type": "message", "text": "x"}, "session"),
            ({"type": "message", "session": 5, "text": "x"}, "session"),
            ({"type": "message", "session": "x" * 65, "text": "x"}, "session"),
            ({"type": "message", "session": "s", "text": "x", "idempotency_key": ""}, "idempotency_key"),
            ({"type": "cancel"}, "execution"),
            ({"type": "cancel", "execution": ""}, "execution"),
            ({"type": "cancel", "session": ["s"]}, "session"),
            ({"type": "cancel", "session": "s", "execution": "e"}, "session"),
        ],
    )
    def test_other_forms_are_refused(self, frame: Any, field: str):
        error = refusal(frame)
        assert (error.code, [detail.field for detail in error.details]) == ("VALIDATION_ERROR", [field])


class TestCall:
    """An operation, its input, a key."""

    def test_members(self):
        frame = {"type": "call", "id": 3, "operation": "agents.get", "input": {"id": "x"}, "idempotency_key": "k"}
        assert receive(frame) == Call(3, "agents.get", {"id": "x"}, "k")

    @pytest.mark.parametrize("given_", [{}, {"input": None, "idempotency_key": None}])
    def test_input_and_key_may_be_left_out(self, given_: Any):
        assert receive({"type": "call", "operation": "agents.list", **given_}) == Call(None, "agents.list", {}, None)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("operation", value) for value in (None, "", 5, "x" * 65)),
            *(("input", value) for value in ([], "x", 5, True)),
            *(("idempotency_key", value) for value in ("", 5, "x" * 256)),
        ],
    )
    def test_other_forms_are_refused(self, field: str, value: Any):
        error = refusal({"type": "call", "operation": "agents.list", field: value})
        assert (error.code, [detail.field for detail in error.details]) == ("VALIDATION_ERROR", [field])


class TestPlaces:
    """A channel goes on from an offset, a moment or an event."""

    def test_moment_is_in_utc(self):
        """However it is written (RFC 3339, section 5.6)."""
        moment = datetime(2026, 1, 31, 12, tzinfo=UTC)
        for since in ("2026-01-31T12:00:00Z", "2026-01-31t13:00:00.000+01:00", "2026-01-30T13:00:00-23:00"):
            assert items({"channel": "agents", "since": since}) == [Wanted("agents", since=moment)]

    def test_event_is_an_id(self):
        id = uuid4()
        assert items({"channel": "agents", "after_event": str(id)}) == [Wanted("agents", after_event=id)]

    def test_nothing_given_is_nothing(self):
        """`null` is as good as left out."""
        item = {"channel": "agents", "offset": None, "epoch": None, "since": None, "after_event": None}
        assert items(item) == [Wanted("agents")]
