"""Reading MessagePack that anybody may have sent, so that it costs no more than its bytes.

A library makes an array as long as its head says before it looks whether the elements are there: a few bytes nested in each other
ask for gigabytes. So the heads are walked first, without making anything. What JSON cannot say (binary strings, extension types
and with them timestamps, NaN, infinities, names that are no strings) is refused: a frame means the same in both forms.
"""

from math import isfinite
from struct import Struct
from typing import Any

import msgpack

from core.errors import HubError

# What orjson writes at most; and JSON of more levels is refused elsewhere.
MOST_LEVELS = 254

_FLOAT, _DOUBLE = Struct(">f"), Struct(">d")
# Bytes after the first one of values of a fixed size: integers and nothing, false, true.
_PLAIN = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
# Bytes of the length that follows the first byte.
_STRINGS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_ARRAYS = {0xDC: 2, 0xDD: 4}
_MAPS = {0xDE: 2, 0xDF: 4}


def unpacked(data: bytes) -> Any:
    """Return the one value that `data` holds. Raises HubError BAD_REQUEST; time and memory are bounded by its length."""
    _check(data)
    try:
        return msgpack.unpackb(data, strict_map_key=True)
    except (ValueError, msgpack.UnpackException) as broken:  # no UTF-8, a name that is no string, too deep
        raise HubError("BAD_REQUEST", "The frame is not MessagePack, or a name in it is no string") from broken


def _check(data: bytes) -> None:
    """Walk the heads: every element that is announced takes at least a byte that must be there."""
    at, end = 0, len(data)
    open_: list[int] = []  # elements that are still to come, by level
    announced = 1
    while announced:
        if end - at < announced:
            raise _ends_early()
        size, elements = _head(data, at)
        at += size
        announced += elements - 1
        if open_:
            open_[-1] -= 1
        if elements:
            open_.append(elements)
            if len(open_) > MOST_LEVELS:
                raise HubError("BAD_REQUEST", f"The frame is nested over {MOST_LEVELS} levels deep")
        while open_ and not open_[-1]:
            open_.pop()
    if at != end:
        raise _ends_early() if at > end else HubError("BAD_REQUEST", "Something follows the frame's value")


def _head(data: bytes, at: int) -> tuple[int, int]:
    """Return how long a value is without its elements, and how many elements it has."""
    first = data[at]
    if first <= 0x7F or first >= 0xE0:
        return 1, 0
    if first <= 0x8F:
        return 1, 2 * (first & 0x0F)
    if first <= 0x9F:
        return 1, first & 0x0F
    if first <= 0xBF:
        return 1 + (first & 0x1F), 0
    if first in _PLAIN:
        return 1 + _PLAIN[first], 0
    if first in _STRINGS:
        return 1 + _STRINGS[first] + _number(data, at + 1, _STRINGS[first]), 0
    if first in _ARRAYS:
        return 1 + _ARRAYS[first], _number(data, at + 1, _ARRAYS[first])
    if first in _MAPS:
        return 1 + _MAPS[first], 2 * _number(data, at + 1, _MAPS[first])
    return _float(data, at, first), 0


def _float(data: bytes, at: int, first: int) -> int:
    form = {0xCA: _FLOAT, 0xCB: _DOUBLE}.get(first)
    if form is None:
        raise HubError("BAD_REQUEST", "Binary strings, extension types and timestamps have no place in a frame")
    if len(data) - at - 1 < form.size:
        raise _ends_early()
    if not isfinite(form.unpack_from(data, at + 1)[0]):
        raise HubError("BAD_REQUEST", "NaN and infinities have no place in a frame")
    return 1 + form.size


def _number(data: bytes, at: int, width: int) -> int:
    if len(data) - at < width:
        raise _ends_early()
    return int.from_bytes(data[at : at + width], "big")


def _ends_early() -> HubError:
    return HubError("BAD_REQUEST", "The frame is not whole MessagePack")
