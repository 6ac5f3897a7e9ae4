"""Cursors: a place in a list, opaque to clients, good for the same sort and filters only.

In base64url: a version byte, eight bytes that name sort and filters, eight that cover all, and as JSON the values that the order
compares (RFC 4648, section 5). Nothing in it is secret and nothing is believed: values are typed again as they are read.
"""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson

from core.errors import Detail, HubError
from handlers.lists.fields import Kind, storable
from handlers.lists.order import Order

# Of a name of 200 characters that JSON writes as six each, beside other fields; twice as much is a request line with room to spare,
# so that who sends `after` and `before` is told so.
LONGEST = 2048
_VERSION = b"\x01"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MARK = 8


def mark_of(*parts: Any) -> bytes:
    """Return what names a list's sort and filters in its cursors."""
    return sha256(orjson.dumps(parts, default=str)).digest()[:_MARK]


def cursor_of(mark: bytes, order: Order, values: Sequence[Any]) -> str:
    """Return the cursor of the row that has these values in `order`."""
    said = orjson.dumps([plain(value) for value in values])
    head = _VERSION + mark
    return base64.urlsafe_b64encode(head + sha256(head + said).digest()[:_MARK] + said).rstrip(b"=").decode()


def values_of(cursor: str, mark: bytes, order: Order, field: str) -> list[Any]:
    """Return the values that a client's cursor stands for; raises HubError VALIDATION_ERROR for `field` where it is no cursor."""
    try:
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _wrong(field) from error
    head, check, said = packed[: 1 + _MARK], packed[1 + _MARK : 1 + 2 * _MARK], packed[1 + 2 * _MARK :]
    if head[:1] != _VERSION or sha256(head + said).digest()[:_MARK] != check:
        raise _wrong(field)
    if head[1:] != mark:
        raise _wrong(field, "The cursor is of a list with another sort or other filters: begin again without it")
    try:
        given = orjson.loads(said)
        if not isinstance(given, list) or len(given) != len(order):  # pyright: ignore[reportUnknownArgumentType] - JSON
            raise _wrong(field)
        return [_typed(key.field.kind, value) for key, value in zip(order, given, strict=True)]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    except (ValueError, OverflowError, TypeError) as error:
        raise _wrong(field) from error


def plain(value: Any) -> Any:
    """Return a value as JSON has it, in the same order: moments as microseconds since 1970, ids as texts."""
    match value:
        case datetime():
            return (value - _EPOCH) // _MICROSECOND
        case UUID():
            return str(value)
        case _:
            return value


def _typed(kind: Kind, value: Any) -> Any:
    match kind, value:
        case Kind.MOMENT, int():
            return _EPOCH + timedelta(microseconds=value)
        case Kind.ID, str():
            return UUID(value)
        case Kind.NUMBER, int() if 0 <= value < 2**63:
            return value
        case Kind.TEXT, str() if storable(value):
            return value
        case Kind.RANK, 0 | 1 | 2 | 3:
            return value
        case _:
            raise ValueError(kind)


def _wrong(field: str, message: str = "This is no cursor that a list has given") -> HubError:
    return HubError("VALIDATION_ERROR", details=[Detail(field, "INVALID_FORMAT", message)])
