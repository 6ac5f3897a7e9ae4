"""What a trace shows of a frame."""

import json
from typing import Any

import pytest

from core.events.event import Entry
from core.masking import masked, masked_text
from hub.insight.masking import MOST_SHOWN, frames_in, shown, shown_sent
from hub.stream.codes import RESTART
from hub.stream.counts import StreamCounts
from hub.stream.deflated_wire import DeflatedWire
from hub.stream.frames import TEXT, frame_close, framed
from hub.stream.wires import JsonWire, MsgpackWire, Wire

KEY = "aim_live_0123456789abcdefABCDEF"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ({"type": "authenticate", "token": "whatever it is"}, {"type": "authenticate", "token": "***"}),
        ({"result": {"key": KEY, "name": "k"}}, {"result": {"key": "***", "name": "k"}}),
        ({"data": [f"Bearer {KEY}", {"x": f"a {TOKEN} b"}]}, {"data": ["Bearer ***", {"x": "a *** b"}]}),
        ({"Ticket": "tkt_x", "Password": 7}, {"Ticket": "***", "Password": "***"}),
        (
            {"mcp": [{"url": "https://x", "token": True, "headers": {"X-Key": "sesame", "Other": True}}]},
            {"mcp": [{"url": "https://x", "token": "***", "headers": {"X-Key": "***", "Other": True}}]},
        ),
        ({"url": "x", "headers": [{"token": "a"}]}, {"url": "x", "headers": [{"token": "***"}]}),
        ({"path": "/v2/agents", "headers": {"ETag": '"1"'}}, {"path": "/v2/agents", "headers": {"ETag": '"1"'}}),
        ({"event": {"data": {"key": "value", "n": 1.5}}}, {"event": {"data": {"key": "value", "n": 1.5}}}),
    ],
)
def test_secrets_are_masked_and_nothing_else_is(frame: dict[str, Any], expected: dict[str, Any]):
    """Values of secret names, and credentials wherever they stand."""
    assert masked(frame) == expected
    assert shown(json.dumps(frame)) == {"frame": expected}
    ((opcode, payload),) = frames_in(MsgpackWire().frame(frame))
    assert shown_sent(opcode, payload) == {"frame": expected}


@pytest.mark.parametrize("plain", [JsonWire(), MsgpackWire()], ids=["json", "msgpack"])
def test_compressed_frames_are_shown_as_plain_ones(plain: Wire):
    """What goes to a client that agreed to compression: an event, an answer, and what is too short, joined in one write."""
    wire = DeflatedWire(plain, StreamCounts())
    entry = Entry(7, "agents:1", json.dumps({"id": "0192", "data": {"text": "word " * 100, "key": KEY}}))
    prefix, answer = wire.event_prefix("agents"), {"type": "result", "result": {"text": "word " * 1000, "secret": KEY}}

    def written(form: Wire) -> bytes:
        return form.event(prefix, entry, form.envelope(entry)) + form.frame(answer) + form.frame({"type": "pong"})

    assert len(written(wire)) < len(written(plain)) / 4
    lines = [shown_sent(*frame) for frame in frames_in(written(wire))]
    assert lines == [shown_sent(*frame) for frame in frames_in(written(plain))]
    assert [line["frame"]["type"] for line in lines] == ["event", "result", "pong"]
    assert KEY not in str(lines)


@pytest.mark.parametrize("text", [f'{{"token": "{KEY}"', '{"token":"no key at all', f"{KEY} and {TOKEN}"])
def test_secrets_are_masked_in_what_is_no_json(text: str):
    """A frame that is cut or broken may hold a credential all the same."""
    seen = masked_text(text)
    assert KEY not in seen
    assert TOKEN not in seen
    assert "no key at all" not in seen
    assert shown(text)["text"] == seen


@pytest.mark.parametrize(
    "text",
    ['{"headers": {"X-Key": "sesame"}, "a"', '{"Headers" : {"A": "{\\"sesame", "B": "sesame', '{"headers":{"A":"\\'],
)
def test_headers_are_masked_in_what_is_no_json(text: str):
    """Their names too, since nothing tells where they end."""
    assert "sesame" not in masked_text(text)
    assert '"***"' in masked_text(text)


def test_long_frames_are_cut_after_masking():
    """A trace is bounded; the end of a long frame is not worth its size."""
    seen = shown(json.dumps({"a": KEY, "text": "x" * 100_000}))
    assert seen["truncated"]
    assert len(seen["text"]) == MOST_SHOWN
    assert KEY not in seen["text"]


@pytest.mark.parametrize("message", ["[" * 10_000, b"\xc1", b"\x81", "\ud800", ""])
def test_hostile_frames_are_shown_as_something(message: str | bytes):
    """Whatever a client sends, a trace of it goes on."""
    assert isinstance(shown(message), dict)


def test_joined_writes_are_taken_apart():
    """One write may hold many frames, of every length of head, and a close."""
    sizes = (1, 125, 126, 65_535, 65_536)
    data = b"".join(framed(b"x" * size, TEXT) for size in sizes) + frame_close(RESTART)
    frames = list(frames_in(data))
    assert [len(payload) for _, payload in frames[:-1]] == list(sizes)
    assert shown_sent(*frames[-1]) == {"close": {"code": 4000, "reason": "restarting"}}
