"""The members of client frames, read one by one; all raise HubError VALIDATION_ERROR, with the member in its details."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from core.errors import Detail, HubError
from core.events.subscriptions.subscription import Hold
from core.ids import parse_id
from hub.stream.commands import Wanted
from rooms.names import is_consumed, is_of_log

MAX_OFFSET = 2**63 - 1
# Deliveries of a durable subscription that one connection has unanswered.
MOST_IN_FLIGHT = 1_000
_MAX_OFFSET_DIGITS = 19
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def name_of(item: Any, index: int) -> str:
    """Return the name of an item of `channels`; raises HubError where it has none."""
    name = item.get("channel") if isinstance(item, dict) else item
    if isinstance(name, str):
        return name
    raise invalid(f"channels[{index}]", "INVALID_FORMAT", 'It is a name, or an object with the name as "channel"')


def offset_of(item: Mapping[str, Any], field: str = "offset") -> int | None:
    """Return an offset, None where there is none."""
    value = item.get(field)
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MAX_OFFSET_DIGITS:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid(field, "INVALID_FORMAT", "It is a decimal string, or an integer")
    if not 0 <= value <= MAX_OFFSET:
        raise invalid(field, "VALUE_OUT_OF_RANGE", "It is from 0 to 2^63 - 1")
    return value


def epoch_of(item: Mapping[str, Any]) -> str | None:
    """Return an epoch, None where there is none."""
    value = item.get("epoch")
    if value is None or isinstance(value, str):
        return value
    raise invalid("epoch", "INVALID_FORMAT", "It is a string")


def since_of(item: Mapping[str, Any]) -> datetime | None:
    """Return a moment in UTC (RFC 3339, section 5.6), None where there is none."""
    value = item.get("since")
    if value is None:
        return None
    try:
        if isinstance(value, str) and _RFC3339.fullmatch(value):
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):  # the 30th of February, or a time that no year holds
        pass
    raise invalid("since", "INVALID_FORMAT", "It is a moment such as 2026-01-31T12:00:00Z (RFC 3339)")


def after_event_of(item: Mapping[str, Any]) -> UUID | None:
    """Return an event's id, None where there is none."""
    value = item.get("after_event")
    if value is None:
        return None
    id = parse_id(value) if isinstance(value, str) else None
    if id is None:
        raise invalid("after_event", "INVALID_FORMAT", "It is the id of an event")
    return id


def wanted_of(channel: str, item: Mapping[str, Any]) -> Wanted:
    """Return what an item of a subscribe frame asks for; raises HubError for what it cannot be."""
    if is_consumed(channel):
        return _consumed_of(channel, item)
    hears = flag_of(item, "presence")
    wanted = Wanted(channel, offset_of(item), epoch_of(item), since_of(item), after_event_of(item), presence=hears)
    places = {"offset": wanted.offset, "since": wanted.since, "after_event": wanted.after_event}
    named = [name for name, value in places.items() if value is not None]
    if len(named) > 1:
        raise invalid(named[1], "INVALID_FORMAT", "One of offset, since and after_event says where to go on")
    if wanted.offset is None and named and not is_of_log(channel):
        raise invalid(
            named[0], "INVALID_FORMAT", "Only channels of the log know times and events; a live room knows offsets"
        )
    return wanted


def holds_of(frame: Mapping[str, Any], most: int) -> tuple[Hold, ...]:
    """Return what `deliveries` names, each once."""
    items = frame.get("deliveries")
    if items is None:
        raise invalid("deliveries", "MISSING_REQUIRED_FIELD", "A list of deliveries is needed")
    if not isinstance(items, list) or not 0 < len(items) <= most:
        raise invalid("deliveries", "INVALID_FORMAT", f"It is a list of 1 to {most} deliveries")
    holds: dict[Hold, None] = {}
    for index, item in enumerate(items):
        hold = Hold.parse(item) if isinstance(item, str) else None
        if hold is None:
            raise invalid(f"deliveries[{index}]", "INVALID_FORMAT", "A delivery is named as its event frame names it")
        holds[hold] = None
    return tuple(holds)


def seconds_of(frame: Mapping[str, Any], field: str, least: float, most: float) -> float | None:
    """Return a number of seconds, None where there is none."""
    value = frame.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(field, "INVALID_FORMAT", "It is a number of seconds")
    if not least <= value <= most:
        raise invalid(field, "VALUE_OUT_OF_RANGE", f"It is from {least:g} to {most:g}")
    return float(value)


def flag_of(frame: Mapping[str, Any], field: str) -> bool:
    """Return true or false; false where it is missing."""
    value = frame.get(field)
    if value is None or isinstance(value, bool):
        return value is True
    raise invalid(field, "INVALID_FORMAT", "It is true or false")


def input_of(frame: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the input of a call, empty where there is none."""
    value = frame.get("input")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid("input", "INVALID_FORMAT", "It is an object")
    return value  # pyright: ignore[reportUnknownVariableType] - both forms have string names only


def limit_of(frame: Mapping[str, Any], usual: int, most: int) -> int:
    """Return how many are asked for, `usual` where that is missing."""
    limit = frame.get("limit", min(usual, most))
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= most:
        raise invalid("limit", "VALUE_OUT_OF_RANGE", f"It is from 1 to {most}")
    return limit


def text_of(frame: Mapping[str, Any], field: str, most: int) -> str | None:
    """Return a string of 1 to `most` characters, None where there is none."""
    value = frame.get(field)
    if value is None or (isinstance(value, str) and 0 < len(value) <= most):
        return value
    raise invalid(field, "INVALID_FORMAT", f"It is a string of 1 to {most} characters")


def _consumed_of(channel: str, item: Mapping[str, Any]) -> Wanted:
    named = [name for name in ("offset", "since", "after_event") if item.get(name) is not None]
    if named:
        raise invalid(named[0], "INVALID_FORMAT", "A durable subscription itself keeps the place where it goes on")
    most = item.get("max_in_flight")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int)):
        raise invalid("max_in_flight", "INVALID_FORMAT", "It is an integer")
    if most is not None and not 1 <= most <= MOST_IN_FLIGHT:
        raise invalid("max_in_flight", "VALUE_OUT_OF_RANGE", f"It is from 1 to {MOST_IN_FLIGHT}")
    return Wanted(channel, max_in_flight=most, presence=flag_of(item, "presence"))


def invalid(field: str, code: str, message: str) -> HubError:
    """Return the refusal for one member."""
    return HubError("VALIDATION_ERROR", details=(Detail(field, code, message),))


def shown(text: str) -> str:
    """Return so much of `text` as is repeated to a client."""
    return text if len(text) <= 40 else text[:40] + "..."
