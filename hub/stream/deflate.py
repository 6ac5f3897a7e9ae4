"""Raw DEFLATE as permessage-deflate uses it (RFC 7692, section 7.2): one message at a time, no context between them. No I/O.

Both ends agree to keep no context, so a message is compressed once for all who get it, and nothing is kept for a connection:
neither a window of what was sent nor one of what came.
"""

import zlib
from struct import Struct

# Of the hub's compressor. A window of 4 KiB and a small hash table take a quarter of the time that zlib's defaults take to set up,
# and events are too short to gain by more. Clients that can bear no larger window are served too.
WINDOW_BITS = 12
MEMORY_LEVEL = 5
LEVEL = 1
# Clients may use all that the RFC allows.
CLIENT_WINDOW_BITS = 15
# What an empty stored block ends with: cut off by who compresses, put back by who reads (7.2.1, 7.2.2).
TAIL = b"\x00\x00\xff\xff"
# An empty final block: where the data before it is whole, the stream ends exactly here.
_END = b"\x03\x00"
# A client may end its stream within a message and begin another (7.2.3.4); each costs an inflator.
MOST_STREAMS = 16
_WINDOW_BYTES = 1 << CLIENT_WINDOW_BITS
_STORED = Struct("<BHH")
STORED_BYTES = _STORED.size


class NotDeflate(ValueError):
    """The data is no DEFLATE data, or is cut short."""


class InflatesTooFar(ValueError):
    """What the data stands for is longer than allowed."""


def deflated(data: bytes) -> bytes:
    """Return `data` compressed, as the payload of a message (7.2.1)."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -WINDOW_BITS, MEMORY_LEVEL)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


def stored(data: bytes) -> bytes:
    """Return `data`, at most 65,535 bytes, as a stored block, which another's compressed data may follow (RFC 1951, 3.2.4)."""
    return _STORED.pack(0, len(data), len(data) ^ 0xFFFF) + data


def inflated(data: bytes, most: int) -> bytes:
    """Return what the payload of a compressed message stands for.

    Raises InflatesTooFar where that is over `most` bytes, of which one more is made at most; NotDeflate.
    """
    rest, found = data + TAIL + _END, b""
    if not data:
        return found  # some compressors make nothing at all of an empty message
    for _ in range(MOST_STREAMS):
        # Blocks after the end of a stream may point back to before it.
        unpacker = zlib.decompressobj(-CLIENT_WINDOW_BITS, found[-_WINDOW_BYTES:])
        try:
            found += unpacker.decompress(rest, most + 1 - len(found))
        except zlib.error as broken:
            raise NotDeflate("no DEFLATE data") from broken
        if len(found) > most:
            raise InflatesTooFar(f"over {most} bytes")
        if not unpacker.eof:
            raise NotDeflate("cut short")
        if not unpacker.unused_data:
            return found
        rest = unpacker.unused_data
    raise NotDeflate(f"over {MOST_STREAMS} streams")
