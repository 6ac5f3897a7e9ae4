"""How the log travels through Redis: names of keys and channels, and the form of a message.

A message is `1 US epoch US position US channel US envelope`, US being the byte 0x1F: the first byte is the form's version, and no
part of the header can hold a US. The tail keeps the same bytes that are published.
"""

from uuid import UUID

from core.events.event import Entry

VERSION = "1"
SEPARATOR = "\x1f"
_FIRST = f"{VERSION}{SEPARATOR}"


def feed_channel(org_id: UUID) -> str:
    """Name the pub/sub channel of an organisation. The braces are a hash tag: feed and tail stand on one shard of a cluster."""
    return f"feed:{{{org_id}}}"


def tail_key(org_id: UUID, epoch: str) -> str:
    """Name the stream that holds an organisation's latest entries."""
    return f"tail:{{{org_id}}}:{epoch}"


def encode(epoch: str, entry: Entry) -> bytes:
    """Write an entry as a message."""
    return f"{_FIRST}{epoch}{SEPARATOR}{entry.position}{SEPARATOR}{entry.channel}{SEPARATOR}{entry.envelope}".encode()


def decode(message: bytes) -> tuple[str, Entry] | None:
    """Read a message: its epoch and its entry. None where it has another form, such as that of a later release."""
    try:
        version, epoch, position, channel, envelope = message.decode().split(SEPARATOR, 4)
        if version != VERSION:
            return None
        return epoch, Entry(int(position), channel, envelope)
    except ValueError:
        return None
