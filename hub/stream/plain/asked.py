"""What a request over plain HTTP asks for: channels, where to go on, and how. No I/O here."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import orjson
from aiohttp import web

from core.errors import Detail, HubError
from core.events.event import namespace_of
from hub.stream.commands import Refusal, RefusedChannel, Subscribe
from hub.stream.members import invalid
from hub.stream.plain.cursor import Cursor, cursor_of
from hub.stream.plain.wire import PlainWire
from hub.stream.protocol import Limits, Protocol
from rooms.names import is_consumed
from rooms.wildcards import is_wildcard

MOST_WAIT_SECONDS = 60
DEFAULT_WAIT_SECONDS = 25
# What a write is filled up with for proxies that hold the first bytes back.
MOST_PADDING = 16 * 1024
_CHANNELS = frozenset({"channels", "channel", "ticket"})
OF_EVENTS = _CHANNELS | {"last_event_id", "padding"}
OF_POLL = _CHANNELS | {"cursor", "wait"}


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
    return _stream(request, request.query.get("last_event_id", "") if last is None else last), _padding(request)


def poll_asked(request: web.Request) -> tuple[Stream, int]:
    """Return what a poll asks for, and how many seconds it waits. Raises HubError."""
    _check_known(request, OF_POLL)
    return _stream(request, request.query.get("cursor", "")), _number(
        request, "wait", DEFAULT_WAIT_SECONDS, MOST_WAIT_SECONDS
    )


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


def _stream(request: web.Request, cursor: str) -> Stream:
    lists = [name for each in request.query.getall("channels", ()) for name in each.split(",")]
    # A subject may have a comma in it.
    names = tuple(dict.fromkeys(filter(None, (*lists, *request.query.getall("channel", ())))))
    if not names:
        raise invalid("channels", "MISSING_REQUIRED_FIELD", "Name channels: ?channels=agents,twins")
    for name in names:
        if is_consumed(name):
            raise invalid("channels", "INVALID_FORMAT", "A durable subscription is consumed by socket, or pulled")
        if is_wildcard(name) and any(each != name and namespace_of(each) == namespace_of(name) for each in names):
            message = "A channel with a star stands alone among those of its kind: their events would come twice"
            raise invalid("channels", "INVALID_FORMAT", message)
    place = cursor_of(cursor)
    frame = {"type": "subscribe", "channels": [place.item(name) for name in names]}
    try:
        return Stream(names, place, orjson.dumps(frame).decode())
    except orjson.JSONEncodeError as broken:
        raise HubError("BAD_REQUEST", "The query is not UTF-8 in percent-encoding") from broken


def _padding(request: web.Request) -> int:
    return _number(request, "padding", 0, MOST_PADDING)


def _number(request: web.Request, name: str, default: int, most: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and int(text) <= most):
        raise invalid(name, "VALUE_OUT_OF_RANGE", f"It is a whole number from 0 to {most}")
    return int(text)
