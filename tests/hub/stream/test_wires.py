"""The two forms of the hub's frames: the same members in both, read back by other libraries."""

import json
from typing import Any

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Opcode

from core.errors import HubError
from core.events.event import Entry
from hub.stream.codes import RESTART
from hub.stream.wires import JsonWire, MsgpackWire, Wire
from rooms.live_wire import LiveEntry
from tests.hub.stream.test_frames import read

WIRES = [JsonWire(), MsgpackWire()]


def objects(wire: Wire, data: bytes) -> list[Any]:
    """Return what each frame in `data` holds, whose kind must be that of the form."""
    kind = Opcode.TEXT if isinstance(wire, JsonWire) else Opcode.BINARY
    found = read(data)
    assert {frame.opcode for frame in found} <= {kind}
    return [json.loads(bytes(f.data)) if kind is Opcode.TEXT else msgpack.unpackb(bytes(f.data)) for f in found]


@pytest.fixture(params=WIRES, ids=["json", "msgpack"])
def wire(request: pytest.FixtureRequest) -> Wire:
    return request.param


def event(wire: Wire, channel: str, entry: Entry) -> bytes:
    return wire.event(wire.event_prefix(channel), entry, wire.envelope(entry))


def test_envelope_of_the_log_goes_into_json_unchanged():
    """Its bytes are the log's: spaces, order and escapes stay."""
    envelope = '{"b": 1,  "a":"\\u00e9é\\n"}'
    (frame,) = read(event(WIRES[0], "agents", Entry(1043, "agents:1", envelope)))
    assert frame.data == f'{{"type":"event","channel":"agents","offset":"1043","event":{envelope}}}'.encode()


@pytest.mark.parametrize("position", [1, 10**15, 2**63 - 1])
def test_event_has_its_members(wire: Wire, position: int):
    """A decimal string as offset, the envelope's value as event."""
    entry = Entry(position, "agents:1", '{"b": 1.5, "a":["\\u00e9", null, 18446744073709551615]}')
    assert objects(wire, event(wire, "agents", entry)) == [
        {
            "type": "event",
            "channel": "agents",
            "offset": str(position),
            "event": {"b": 1.5, "a": ["é", None, 2**64 - 1]},
        }
    ]


def test_event_of_a_room_that_another_carries_says_its_epoch(wire: Wire):
    """Who never subscribed to it knows it from nowhere else."""
    entry = LiveEntry(7, "users:ada", "{}", 99, "k3")
    assert objects(wire, event(wire, "users:ada", entry)) == [
        {"type": "event", "channel": "users:ada", "offset": "7", "epoch": "k3", "event": {}}
    ]


@given(st.text(max_size=80), st.integers(0, 2**63 - 1), st.dictionaries(st.text(), st.integers(-(2**53), 2**53)))
def test_both_forms_say_the_same(channel: str, position: int, value: dict[str, int]):
    """Whatever names and values are in it."""
    entry = Entry(position, "agents:1", orjson.dumps(value).decode())
    in_json, packed = (objects(wire, event(wire, channel, entry)) for wire in WIRES)
    assert in_json == packed


def test_reply_carries_the_id_only_where_one_was_given(wire: Wire):
    """`id` is optional, and 0 and "" are ids."""
    for frame_id, expected in ((None, {}), (0, {"id": 0}), ("", {"id": ""})):
        assert objects(wire, wire.reply("pong", frame_id)) == [{"type": "pong", **expected}]


def test_disconnect_says_when_to_come_back(wire: Wire):
    """The slot is in milliseconds; the code is that of the close frame that follows."""
    assert objects(wire, wire.disconnect(RESTART, 120)) == [
        {"type": "disconnect", "code": RESTART.code, "reason": RESTART.reason, "reconnect": True, "after_ms": 120}
    ]


def test_text_that_is_spliced_in_is_its_value(wire: Wire):
    """What an operation answers is JSON text already."""
    frame = wire.reply("result", 1, result=orjson.Fragment('{"a": [1, "é"]}'))
    assert objects(wire, frame) == [{"type": "result", "id": 1, "result": {"a": [1, "é"]}}]


@pytest.mark.parametrize(
    ("wire", "message"), [(WIRES[0], b"{}"), (WIRES[1], "{}")], ids=["binary to json", "text to msgpack"]
)
def test_message_of_the_other_kind_is_refused(wire: Wire, message: str | bytes):
    """A subprotocol has one kind of message."""
    with pytest.raises(HubError) as refused:
        wire.read(message)
    assert refused.value.code == "UNSUPPORTED_MEDIA_TYPE"


def test_envelope_is_packed_once_for_all():
    """However many channels and clients want it meanwhile."""
    wire = MsgpackWire()
    entry = Entry(1, "agents:1", '{"a":1}')
    assert wire.envelope(entry) is wire.envelope(Entry(1, "agents:1", '{"a":1}'))
