"""How live rooms travel through Redis: names of keys and channels, and the form of a message.

A message is `1 US epoch US sequence US body`, US being the byte 0x1F: the first byte is the form's version. A body is
`channel US offset US room epoch US envelope`. `sequence` and `epoch` are those of what carries the channel; where that is the
channel itself, offset and room epoch are empty, for they are the same. Histories keep bodies.

A signal, which nobody keeps and which has no offset, is `2 US channel US envelope`. A release that does not know it asks for the
head of the room, and finds nothing missing.
"""

from dataclasses import dataclass
from uuid import UUID

from core.events.event import Entry
from rooms.wire import SEPARATOR, VERSION

_SIGNAL = "2"


@dataclass(frozen=True, slots=True)
class LiveEntry(Entry):
    """An event of a live room.

    `position` is its offset in the room, `sequence` its place in what carries it. `epoch` is the room's where that is another
    than the carrier's, else empty.
    """

    sequence: int
    epoch: str


def live_channel(org_id: UUID, carrier: str) -> str:
    """Name the pub/sub channel. The braces are a hash tag: all of an organisation stands on one shard of a cluster."""
    return f"live:{{{org_id}}}:{carrier}"


def room_key(org_id: UUID, channel: str) -> str:
    """Name the hash that holds a room's id, its server, its head and the bytes of its history."""
    return f"room:{{{org_id}}}:{channel}"


def history_key(org_id: UUID, channel: str) -> str:
    """Name the stream that holds a room's history, under `<offset>-0`."""
    return f"history:{{{org_id}}}:{channel}"


def edits_key(org_id: UUID, channel: str) -> str:
    """Name the hash that holds what stands in place of bodies of the history, by offset."""
    return f"edits:{{{org_id}}}:{channel}"


def signal_of(channel: str, envelope: str) -> str:
    """Write a signal."""
    return f"{_SIGNAL}{SEPARATOR}{channel}{SEPARATOR}{envelope}"


def decode_signal(message: bytes) -> tuple[str, str] | None:
    """Read a signal: its channel and its envelope. None where it has another form."""
    try:
        form, channel, envelope = message.decode().split(SEPARATOR)
    except ValueError:
        return None
    return (channel, envelope) if form == _SIGNAL else None


def body_of(channel: str, envelope: str) -> str:
    """Write a body of a channel that carries itself."""
    return f"{channel}{SEPARATOR}{SEPARATOR}{SEPARATOR}{envelope}"


def decode_message(message: bytes) -> tuple[str, LiveEntry] | None:
    """Read a message: its epoch and its entry. None where it has another form, such as that of a later release."""
    try:
        version, epoch, sequence, body = message.decode().split(SEPARATOR, 3)
        return (epoch, decode_body(int(sequence), body)) if version == VERSION else None
    except ValueError:
        return None


def decode_body(sequence: int, body: str) -> LiveEntry:
    """Read a body. Raises ValueError where it has another form."""
    channel, offset, epoch, envelope = body.split(SEPARATOR, 3)
    return LiveEntry(int(offset) if offset else sequence, channel, envelope, sequence, epoch)
