"""Reading JSON of a caller so that nothing in it is lost or becomes another value without a word.

orjson refuses what is no JSON: NaN, lone surrogates, NUL bytes, bad UTF-8, nesting over 1024. It takes two things, as RFC 8259 lets
it, that are refused here: an object with one name twice, of which readers keep different ones (section 4), and an integer of over
64 bits, which it would round to a float (section 6).

Both cost next to nothing to rule out, so that the slow reader of the standard library, which tells them for sure, is for suspects
only: an object that lost a member has fewer colons when it is written again, and a large integer has many digits in a row.
"""

import json
from typing import Any, NoReturn

import orjson

from core.errors import Detail, HubError

SMALLEST, LARGEST = -(2**63), 2**64 - 1
# Fewer digits than these are less than 2^63.
_MANY_DIGITS = b"0" * 19
_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_LONGEST_NAME = 64


def loads(text: bytes) -> Any:
    """Return the value that `text` is.

    Raises orjson.JSONDecodeError for what is no JSON, HubError BAD_REQUEST for a name that an object has twice, and
    VALIDATION_ERROR for an integer outside -2^63 to 2^64-1.
    """
    value = orjson.loads(text)
    if _is_suspect(text, value):
        _read_slowly(text)
    return value


def _is_suspect(text: bytes, value: Any) -> bool:
    if b"\\u003" in text or _MANY_DIGITS in text.translate(_DIGITS):  # \u003a is a colon
        return True
    try:
        return text.count(b":") != orjson.dumps(value).count(b":")
    except orjson.JSONEncodeError:
        return False  # over 254 levels deep: nothing takes it, and it is refused as such


def _read_slowly(text: bytes) -> None:
    try:
        json.loads(text, object_pairs_hook=_once, parse_int=_within)
    except RecursionError:
        return  # as above


def _once(pairs: list[tuple[str, Any]]) -> None:
    names = set[str]()
    for name, _ in pairs:
        if name in names:
            raise HubError("BAD_REQUEST", f"The JSON has '{name[:_LONGEST_NAME]}' more than once in one object")
        names.add(name)


def _within(digits: str) -> None:
    # 20 characters hold every number within the range; int() of very many would take long.
    if len(digits) > 20 or not SMALLEST <= int(digits) <= LARGEST:
        _out_of_range(digits)


def _out_of_range(digits: str) -> NoReturn:
    shown = digits if len(digits) <= 24 else f"{digits[:20]}..."
    message = f"{shown} is no integer from {SMALLEST} to {LARGEST}; larger ones are written as text"
    raise HubError("VALIDATION_ERROR", details=[Detail("body", "VALUE_OUT_OF_RANGE", message)])
