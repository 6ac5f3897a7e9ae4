"""The form of a message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events.event import Entry
from rooms.wire import decode, encode


@given(st.integers(1, 2**53), st.text(st.characters(exclude_categories=["Cs"])))
def test_message_carries_the_envelope_unchanged(position: int, envelope: str):
    """Whatever the envelope holds, separators too, it comes out as it went in."""
    entry = Entry(position, "agents:x", envelope)
    assert decode(encode("k3", entry)) == ("k3", entry)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"1",
        b"2\x1fk3\x1f1\x1fagents\x1f{}",
        b"1\x1fk3\x1fx\x1fagents\x1f{}",
        b"1\x1fk3\x1f1\x1fagents",
        b"\xff\x1f\x1f1\x1f\x1f",
    ],
)
def test_other_form_is_not_read(message: bytes):
    """A message of a later release, or no message at all, is None: the feed then asks the log."""
    assert decode(message) is None


@given(st.binary())
def test_no_bytes_raise(message: bytes):
    decode(message)
