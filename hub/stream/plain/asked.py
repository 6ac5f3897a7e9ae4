"""What a request over plain HTTP asks for: channels, where to go on, and how. No I/O here.

    ?channels=agents,twins                                          names
    ?subscribe={"channel":"twins","filter":{"type":"logistics"}}    items of a subscribe frame, each a parameter

What an item may say is the frame's (viewed.py), for both become one frame. Only what this way has not is refused here.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import orjson
from aiohttp import web

from core import strict_json
from core.errors import Detail, HubError
from core.events.event import namespace_of
from hub.stream.commands import Refusal, RefusedChannel, Subscribe
from hub.stream.members import invalid
from hub.stream.plain.cursor import Cursor, cursor_of
from hub.stream.plain.wire import PlainWire
from hub.stream.protocol import Limits, Protocol
from rooms.names import is_consumed, is_of_log
from rooms.wildcards import is_wildcard

MOST_WAIT_SECONDS = 60
DEFAULT_WAIT_SECONDS = 25
# What a write is filled up with for proxies that hold the first bytes back.
MOST_PADDING = 16 * 1024
_CHANNELS = frozenset({"channels", "channel", "subscribe", "ticket"})
OF_EVENTS = _CHANNELS | {"last_event_id", "padding"}
OF_POLL = _CHANNELS | {"cursor", "wait"}
# Where to begin, where no cursor says where to go on; and how what was missed comes. One cursor stands for all channels of the log,
# so who begins further back than others of them would have none: such a channel is alone.
_BEGINNINGS = ("since", "after_event")
_OF_ONE_CHANNEL = (*_BEGINNINGS, "speed")
_NOT_IN_EVENTS: Mapping[str, str] = dict.fromkeys(("offset", "epoch"), "The cursor says where to go on")
_NOT_IN_POLLS: Mapping[str, str] = {
    **_NOT_IN_EVENTS,
    "speed": "A replay goes on by itself: it needs a stream of events, or a socket",
    "delta": "Between two polls nobody knows what the client has: deltas need a stream of events, or a socket",
    "presence": "A poll hears nobody come and go: read GET /v2/channels/{channel}/presence from time to time",
}
_Items = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Stream:
    """The channels, and the frame that subscribes to them after `cursor`."""

    channels: tuple[str, ...]
    cursor: Cursor
    subscribe: str


def events_asked(request: web.Request) -> tuple[Stream, int]:
    """Return what a client of server-sent events asks for, and its padding. Raises HubError.

    The header is what a browser sends that comes back by itself: it is newer than what stands in its URL.
    """
    _check_known(request, OF_EVENTS)
    last = request.headers.get("Last-Event-ID")
    cursor = request.query.get("last_event_id", "") if last is None else last
    return _stream(request, cursor, _NOT_IN_EVENTS), _padding(request)


def poll_asked(request: web.Request) -> tuple[Stream, int]:
    """Return what a poll asks for, and how many seconds it waits. Raises HubError."""
    _check_known(request, OF_POLL)
    stream = _stream(request, request.query.get("cursor", ""), _NOT_IN_POLLS)
    return stream, _number(request, "wait", DEFAULT_WAIT_SECONDS, MOST_WAIT_SECONDS)


def check_channels(stream: Stream, limits: Limits, admit: Callable[[str], None], wire: PlainWire) -> None:
    """Raise the refusal of a request of which nothing can be had: of all its channels, the first one's.

    One that is refused beside others is told in `subscribed`, as on a socket.
    """
    protocol = Protocol((), replace(limits, frame_bytes=len(stream.subscribe) * 4), wire)
    protocol.admit = admit
    command = protocol.receive(stream.subscribe)
    if isinstance(command, Refusal):
        raise command.error
    if isinstance(command, Subscribe):
        refused = [item.error for item in command.items if isinstance(item, RefusedChannel)]
        if len(refused) == len(command.items):
            raise refused[0]


def _check_known(request: web.Request, known: Collection[str]) -> None:
    for name in request.query:
        if name not in known:
            message = f"Unknown query parameter '{name[:64]}'; known here: {', '.join(sorted(known))}"
            raise HubError("UNKNOWN_PARAMETER", message, details=[Detail(name[:64], "UNKNOWN_PARAMETER", message)])


def _stream(request: web.Request, cursor: str, refused: Mapping[str, str]) -> Stream:
    items = _items(request, refused)
    _check_names(items)
    place = cursor_of(cursor)
    frame = {"type": "subscribe", "channels": [_from(place, name, item) for name, item in items.items()]}
    try:
        return Stream(tuple(items), place, orjson.dumps(frame).decode())
    except orjson.JSONEncodeError as broken:
        raise HubError("BAD_REQUEST", "The query is not UTF-8 in percent-encoding, or nested too deeply") from broken


def _from(cursor: Cursor, name: str, item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the item of a subscribe frame. Who comes back asks as at first: then its cursor counts, and not where it began."""
    place = cursor.place_in(name)
    begun = {member: value for member, value in item.items() if not (place and member in _BEGINNINGS)}
    return {**begun, "channel": name, **place}


def _items(request: web.Request, refused: Mapping[str, str]) -> _Items:
    """Return what is asked of each channel, those with options first; of several mentions the first counts, as in a frame."""
    items: dict[str, Mapping[str, Any]] = {}
    for index, text in enumerate(request.query.getall("subscribe", ())):
        name, item = _item(text, f"subscribe[{index}]", refused)
        items.setdefault(name, item)
    for name in _names(request):
        items.setdefault(name, {})
    if not items:
        raise invalid("channels", "MISSING_REQUIRED_FIELD", "Name channels: ?channels=agents,twins")
    return items


def _names(request: web.Request) -> Iterator[str]:
    for each in request.query.getall("channels", ()):
        yield from filter(None, each.split(","))
    # A subject may have a comma in it.
    yield from filter(None, request.query.getall("channel", ()))


def _item(text: str, place: str, refused: Mapping[str, str]) -> tuple[str, Mapping[str, Any]]:
    try:
        item = strict_json.loads(text.encode())
    except (orjson.JSONDecodeError, UnicodeEncodeError) as broken:
        raise invalid(place, "INVALID_FORMAT", "It is JSON, in percent-encoding") from broken
    if not isinstance(item, dict):
        raise invalid(place, "INVALID_FORMAT", 'It is an object such as {"channel": "twins", "filter": {...}}')
    named = cast("dict[str, Any]", item)
    name = named.get("channel")
    if not isinstance(name, str) or not name:
        raise invalid(f"{place}.channel", "MISSING_REQUIRED_FIELD", "The name of a channel is needed")
    for member, why in refused.items():
        # As in a frame, what is null is not there, and so is what is false.
        if named.get(member) is not None and named[member] is not False:
            raise invalid(f"{place}.{member}", "INVALID_FORMAT", why)
    return name, named


def _check_names(items: _Items) -> None:
    for name, item in items.items():
        if is_consumed(name):
            raise invalid("channels", "INVALID_FORMAT", "A durable subscription is consumed by socket, or pulled")
        is_alone = is_wildcard(name) or (":" not in name and item.get("delta"))
        if is_alone and any(each != name and namespace_of(each) == namespace_of(name) for each in items):
            message = (
                "A channel with a star, or of a whole kind with `delta`, stands alone among those of its kind: "
                "their events would come twice"
            )
            raise invalid("channels", "INVALID_FORMAT", message)
        named = [member for member in _OF_ONE_CHANNEL if item.get(member)]
        if named and any(each != name and is_of_log(each) for each in items):
            raise invalid(named[0], "INVALID_FORMAT", "With this a channel stands alone among those of the log")


def _padding(request: web.Request) -> int:
    return _number(request, "padding", 0, MOST_PADDING)


def _number(request: web.Request, name: str, default: int, most: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and int(text) <= most):
        raise invalid(name, "VALUE_OUT_OF_RANGE", f"It is a whole number from 0 to {most}")
    return int(text)
