"""Server-sent events, however they are cut on their way."""

import pytest

from handlers.models.sse import MOST_BYTES, Events

STREAM = b': hello\r\ndata: {"a": 1}\r\n\r\nevent: x\nid: 7\ndata:{"b": 2}\ndata:  3\n\n\n\ndata: [DONE]\n\n'
TOLD = [b'{"a": 1}', b'{"b": 2}\n 3', b"[DONE]"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_whole_however_they_come(size: int):
    events = Events()
    told = [each for place in range(0, len(STREAM), size) for each in events.feed(STREAM[place : place + size])]
    assert told == TOLD


@pytest.mark.parametrize("chunk", [b"x" * 65_536, b"data: " + b"x" * 65_536 + b"\n"], ids=["one line", "many lines"])
def test_event_that_does_not_end_is_refused(chunk: bytes):
    """Before it has taken much more than the bound."""
    events = Events()
    with pytest.raises(ValueError, match="too long"):
        for _ in range(MOST_BYTES // 65_536 + 1):
            events.feed(chunk)


def test_many_events_are_not_one_long_one():
    events = Events()
    assert len(events.feed(b"data: x\n\n" * 200_000)) == 200_000
