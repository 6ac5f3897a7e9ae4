"""The bytes that the hub sends, read back by the `websockets` library's own parser."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from hub.stream import frames
from hub.stream.codes import ALL_CODES, CloseCode


def read(data: bytes) -> list[Frame]:
    """Return the frames that a client sees in `data`."""
    client = ClientProtocol(parse_uri("ws://localhost/"), state=OPEN, max_size=None)
    client.receive_data(data)
    return [event for event in client.events_received() if isinstance(event, Frame)]


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
def test_text_of_any_length_is_one_final_frame(length: int):
    """RFC 6455, section 5.2: 7, 7+16 or 7+64 bits of length, both sides of each bound."""
    (frame,) = read(frames.framed(b"x" * length, frames.TEXT))
    assert (frame.opcode, frame.fin, frame.data) == (Opcode.TEXT, True, b"x" * length)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_joined_frames_are_read_one_by_one(payloads: list[bytes]):
    """What is written at once is what was framed one after the other."""
    data = b"".join(frames.framed(payload, frames.TEXT) for payload in payloads)
    assert [frame.data for frame in read(data)] == payloads


@pytest.mark.parametrize("code", ALL_CODES, ids=lambda code: str(code.code))
def test_close_frame_carries_code_and_reason(code: CloseCode):
    """RFC 6455, section 5.5.1."""
    (frame,) = read(frames.frame_close(code))
    assert frame.opcode is Opcode.CLOSE
    assert Close.parse(frame.data) == Close(code.code, code.reason)
