"""Whatever a client sends, the protocol has an answer; and what JSON says, MessagePack says."""

import json
from typing import Any

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from core.errors import CATALOGUE
from hub.stream.commands import (
    Authenticate,
    Call,
    Command,
    History,
    Ping,
    Publish,
    Refusal,
    RefusedChannel,
    Subscribe,
    Unsubscribe,
)
from hub.stream.protocol import CLIENT_FRAMES
from hub.stream.wires import Wire
from tests.hub.stream.receiving import JSON_WIRE, KNOWN, PACKED_WIRE, protocol, receive

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
TIMES = st.datetimes().map(lambda moment: f"{moment.isoformat()}Z")
ITEM = JSON | st.fixed_dictionaries(
    {"channel": st.sampled_from([*KNOWN, "nope"]) | JSON},
    optional={
        "offset": JSON,
        "epoch": JSON,
        "since": JSON | TIMES,
        "after_event": JSON | st.uuids().map(str),
        "filter": JSON,
        "delta": JSON,
        "speed": JSON,
        "max_gap_ms": JSON,
    },
)
FRAME = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([*CLIENT_FRAMES, "nope"]) | JSON,
        "id": JSON,
        "channels": st.lists(ITEM, max_size=6) | JSON,
        "token": JSON,
        "channel": st.sampled_from(["chat:a", "agents"]) | JSON,
        "data": JSON,
        "limit": st.integers() | JSON,
        "offset": st.integers() | JSON,
        "before": JSON,
        "operation": st.text() | JSON,
        "input": JSON,
        "idempotency_key": JSON,
        "session": st.text(max_size=70) | JSON,
        "execution": st.text(max_size=70) | JSON,
        "text": JSON,
        "parent_id": JSON,
    },
)


class TestAnyInput:
    """Whatever comes is answered from the catalogue; nothing raises."""

    def check(self, command: Command) -> None:
        if isinstance(command, Refusal):
            assert command.error.code in CATALOGUE
        elif isinstance(command, Subscribe):
            assert command.items
            assert all(each.error.code in CATALOGUE for each in command.items if isinstance(each, RefusedChannel))
        else:
            assert isinstance(command, Unsubscribe | Publish | History | Call | Authenticate | Ping)

    @given(st.text() | st.binary(), st.booleans(), st.sampled_from([JSON_WIRE, PACKED_WIRE]))
    def test_any_message(self, message: str | bytes, is_authenticated: bool, wire: Wire):
        self.check(protocol(is_authenticated=is_authenticated, wire=wire).receive(message))

    @given(FRAME, st.booleans())
    def test_any_frame(self, frame: Any, is_authenticated: bool):
        self.check(receive(json.dumps(frame), is_authenticated=is_authenticated))

    @given(FRAME)
    def test_both_forms_mean_the_same(self, frame: Any):
        """What JSON says, MessagePack says."""
        try:
            packed = msgpack.packb(frame)
        except OverflowError:  # MessagePack ends at 64 bits; JSON's larger numbers are read as fractions
            return
        assert packed is not None
        in_json = protocol().receive(json.dumps(frame))
        in_msgpack = protocol(wire=PACKED_WIRE).receive(packed)
        assert said(in_msgpack) == said(in_json)


def said(command: Command) -> Any:
    """Return a command so that two can be compared: errors by what they say."""
    if isinstance(command, Refusal):
        return command.id, command.error.code, command.error.details
    if isinstance(command, Subscribe):
        return [
            (each.channel, each.error.code, each.error.details) if isinstance(each, RefusedChannel) else each
            for each in command.items
        ]
    return command
