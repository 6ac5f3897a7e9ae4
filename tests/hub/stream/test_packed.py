"""MessagePack from anybody: the same values as JSON, everything else refused at no more cost than its bytes."""

import time
import tracemalloc
from typing import Any

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import HubError
from hub.stream.packed import MOST_LEVELS, unpacked

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=60,
)


def pack(value: Any) -> bytes:
    """Return `value` as a library packs it."""
    data = msgpack.packb(value, use_bin_type=True)
    assert data is not None
    return data


def code_of(data: bytes) -> str:
    """Return why `data` is refused; nothing where it is read, and could be written as JSON."""
    try:
        orjson.dumps(unpacked(data))
    except HubError as refused:
        return refused.code
    return ""


def nested(levels: int, head: bytes = b"\x91") -> bytes:
    """Return lists (or what `head` begins) in each other."""
    return head * levels + b"\xc0"


@given(JSON)
def test_what_json_can_say_is_read(value: Any):
    """Every form of integer, string, list and map."""
    assert unpacked(pack(value)) == value


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes):
    """BAD_REQUEST, never another exception; what is read could be written as JSON."""
    assert code_of(data) in ("", "BAD_REQUEST")


@given(JSON, st.data())
def test_part_of_a_value_is_refused(value: Any, data: Any):
    """Cut anywhere, or with something after it."""
    whole = pack(value)
    for part in (whole[: data.draw(st.integers(0, len(whole) - 1))], whole + b"\xc0"):
        with pytest.raises(HubError):
            unpacked(part)


REFUSED = {
    "nothing": b"",
    "never used": b"\xc1",
    "binary": pack(b"x"),
    "binary 32": b"\xc6\xff\xff\xff\xff",
    "timestamp 32": pack(msgpack.Timestamp(1)),
    "timestamp 96": pack(msgpack.Timestamp(2**40, 5)),
    "extension": pack(msgpack.ExtType(5, b"x")),
    "fixed extension": b"\xd4\x01\x00",
    "NaN": pack(float("nan")),
    "infinity": pack(float("inf")),
    "NaN in 32 bits": b"\xca\x7f\xc0\x00\x00",
    "number as a name": b"\x81\x01\xc0",
    "list as a name": b"\x81\x91\xc0\xc0",
    "no UTF-8": b"\xa1\xff",
    "surrogate": b"\xa3\xed\xa0\x80",
    "too deep": nested(MOST_LEVELS + 1),
    "60,000 deep": nested(60_000),
    "maps in maps": nested(10_000, b"\x81\xa1a"),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_what_json_cannot_say_is_refused(data: bytes):
    """Values, names and forms."""
    assert code_of(data) == "BAD_REQUEST"


def test_deepest_that_is_allowed_is_read():
    """Both sides of the bound."""
    value = unpacked(nested(MOST_LEVELS))
    for _ in range(MOST_LEVELS):
        (value,) = value
    assert value is None


BOMBS = {
    "a list of 4 billion": b"\xdd\xff\xff\xff\xff" + b"\xc0" * 60_000,
    "a map of 4 billion": b"\xdf\xff\xff\xff\xff" + b"\xc0" * 60_000,
    "a string of 4 GB": b"\xdb\xff\xff\xff\xff" + b"x" * 60_000,
    "lists of 60,000 in each other": b"\xdc\xea\x60" * 200 + b"\xc0" * 60_000,
    "maps of 30,000 in each other": b"\xde\x75\x30" * 200 + b"\xc0" * 60_000,
    "lists of 60,000 in each other, deep": b"\xdc\xea\x60" * 20_000,
    "65,000 empty maps": b"\xdc\xfd\xe8" + b"\x80" * 65_000,
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS.keys())
def test_bomb_costs_no_more_than_its_bytes(data: bytes):
    """Neither memory nor time, whatever lengths it announces."""
    tracemalloc.start()
    began = time.process_time()
    assert code_of(data) in ("", "BAD_REQUEST")
    spent = time.process_time() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 * 1024 * 1024
    assert spent < 2.0
