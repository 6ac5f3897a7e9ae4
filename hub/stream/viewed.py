"""Views of channels as clients ask for them, and as they are bound to who asks (rooms/views.py; docs/views.md).

{"channel": "twins", "filter": {...}, "delta": true}                  what of it
{"channel": "twins", "since": "...", "speed": 10, "max_gap_ms": 500}  and how what was missed comes
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from core.auth.caller import Caller
from core.errors import HubError
from core.events.event import namespace_of
from hub.stream import members
from hub.stream.commands import Pace, RefusedChannel, Wanted
from hub.stream.members import invalid
from rooms.filters import parse_filter
from rooms.names import is_consumed, is_of_log
from rooms.namespaces import Namespaces
from rooms.views import STATE_NAMESPACES, View
from rooms.wildcards import is_wildcard, prefix_of, source_of

MOST_SPEED = 1_000.0
MOST_GAP_SECONDS = 24 * 3600.0
_OPTIONS = ("filter", "delta", "speed", "max_gap_ms")


class Viewed(Protocol):
    """A subscription, which has its view for good."""

    @property
    def view(self) -> View | None:
        """What it wants of its channel; None: everything as it is."""
        ...


def wanted_of(channel: str, item: Mapping[str, Any]) -> Wanted:
    """Return what an item of a subscribe frame asks for, options and all; raises HubError for what it cannot be."""
    wanted = members.wanted_of(channel, item) if item else Wanted(channel)
    named = [name for name in _OPTIONS if item.get(name) is not None]
    if not named and not is_wildcard(channel):
        return wanted
    if is_consumed(channel):
        raise invalid(named[0], "INVALID_FORMAT", "A durable subscription says itself which events it has")
    return replace(wanted, view=_view_of(channel, item), pace=_pace_of(wanted, item))


def view_for(caller: Caller | None, view: View) -> View:
    """Return the view as `caller` may have it: of a wildcard, the channels of its own resources."""
    if caller is None or caller.resource_ids is None or not is_wildcard(view.name):
        return view
    return replace(view, only=frozenset(f"{view.prefix}{id}" for id in caller.resource_ids))


def bound(
    items: Sequence[Wanted | RefusedChannel],
    caller: Caller | None,
    joined: Mapping[str, Viewed],
    namespaces: Namespaces,
) -> list[Wanted | RefusedChannel]:
    """Return the items with their views bound to who asks. A channel that is joined already has one view, and keeps it."""
    return [
        item
        if isinstance(item, RefusedChannel)
        else _refused_of_latest(item, caller, namespaces) or _bound(item, caller, joined)
        for item in items
    ]


def _refused_of_latest(item: Wanted, caller: Caller | None, namespaces: Namespaces) -> RefusedChannel | None:
    if item.view is None or item.view.filter is None or caller is None:
        return None
    rules = namespaces.rules_of(caller.org_id, item.channel)
    if rules is None or rules.delivery != "latest":
        return None
    text = f"Rooms of {rules.namespace} deliver the newest of each key, without a filter"
    return RefusedChannel(item.channel, invalid("filter", "INVALID_FORMAT", text))


def _bound(item: Wanted, caller: Caller | None, joined: Mapping[str, Viewed]) -> Wanted | RefusedChannel:
    view = item.view
    if view is None and is_wildcard(item.channel):
        # Whichever way it was asked for: without a view it would bring everything to everybody.
        view = _view_of(item.channel, {})
    if view is not None:
        view = view_for(caller, view)
    subscribed = joined.get(item.channel)
    if subscribed is not None and subscribed.view != view:
        text = "It is subscribed with another filter, or as deltas: unsubscribe first"
        return RefusedChannel(item.channel, HubError("RESOURCE_CONFLICT", text))
    return item if view is item.view else replace(item, view=view)


def _view_of(channel: str, item: Mapping[str, Any]) -> View | None:
    asked = item.get("filter")
    delta = members.flag_of(item, "delta")
    if delta and namespace_of(channel) not in STATE_NAMESPACES:
        names = ", ".join(sorted(STATE_NAMESPACES))
        raise invalid("delta", "INVALID_FORMAT", f"Only channels of {names} tell states, of which there are deltas")
    prefix = prefix_of(channel)
    if asked is None and not delta and prefix is None:
        return None
    return View(
        name=channel,
        source=source_of(channel),
        filter=None if asked is None else parse_filter(asked),
        delta=delta,
        prefix=prefix or "",
    )


def _pace_of(wanted: Wanted, item: Mapping[str, Any]) -> Pace | None:
    speed = _number_of(item, "speed", MOST_SPEED)
    gap = _number_of(item, "max_gap_ms", MOST_GAP_SECONDS * 1000.0)
    if gap is not None and not speed:
        raise invalid("max_gap_ms", "INVALID_FORMAT", "It goes with `speed`")
    if not speed:
        return None
    if not is_of_log(wanted.channel):
        raise invalid("speed", "INVALID_FORMAT", "Only channels of the log know when something was")
    if wanted.offset is None and wanted.since is None and wanted.after_event is None:
        raise invalid(
            "speed", "INVALID_FORMAT", "It goes with `since`, `offset` or `after_event`: from where to replay"
        )
    return Pace(speed, None if gap is None else gap / 1000.0)


def _number_of(item: Mapping[str, Any], field: str, most: float) -> float | None:
    value = item.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(field, "INVALID_FORMAT", "It is a number")
    if not 0 <= value <= most:
        raise invalid(field, "VALUE_OUT_OF_RANGE", f"It is from 0 to {most:g}")
    return float(value)
