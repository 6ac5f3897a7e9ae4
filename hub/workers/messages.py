"""What parent and worker tell each other over their pair of sockets: a head of JSON, and a body that the parent only hands on.

    to the parent   ready {url, key_file}, failed {reason}, leaving {}         how the worker is
                    ask {id}                                                   it wants the counts of all others
                    counts {id, to, absorbed} + body                           its own counts; `id` 0 where nobody asked
    to a worker     drain {linger}, end {}                                     go, in order or at once
                    carry {} + body                                            counts of who was here before: they are now its own
                    ask {id, to}                                               another worker wants its counts
                    part {id, worker, leaving, fresh} + body, all {id, workers}   what a worker that asked gets

Each is two lengths (of head and body, four bytes each), the head, the body. Releases may differ during a rolling restart: what a
side does not know, it passes over.
"""

import asyncio
import json
import struct
from collections.abc import Callable, Mapping
from typing import Any, cast

_LENGTHS = struct.Struct("!II")
# Counts are some tens of kilobytes; more than this is no message of ours.
_MOST_BYTES = 64 * 1024 * 1024
# A side that reads nothing is told nothing more beyond this; it asks again, or is ended.
_MOST_WAITING = 8 * 1024 * 1024

Head = Mapping[str, Any]


class Line(asyncio.Protocol):
    """One side's end. `heard` gets every message in order; `lost` is called once, when the other side is gone."""

    def __init__(self, heard: Callable[[Head, bytes], None], lost: Callable[[], None]) -> None:
        self._heard = heard
        self._lost = lost
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def tell(self, head: Head, body: bytes = b"") -> bool:
        """Send a message; return whether it was put on the way."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > _MOST_WAITING:
            return False
        text = json.dumps(head).encode()
        transport.write(_LENGTHS.pack(len(text), len(body)) + text + body)
        return True

    def close(self) -> None:
        """Hang up, when what was told is sent."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take what came, and pass on what is whole."""
        self._received += data
        while len(self._received) >= _LENGTHS.size:
            head, body = _LENGTHS.unpack_from(self._received)
            if head + body > _MOST_BYTES:
                raise ValueError("the other side sends what is no message")
            end = _LENGTHS.size + head + body
            if len(self._received) < end:
                return
            text = bytes(self._received[_LENGTHS.size : _LENGTHS.size + head])
            rest = bytes(self._received[_LENGTHS.size + head : end])
            del self._received[:end]
            self._heard(json.loads(text), rest)

    def connection_lost(self, exc: Exception | None) -> None:
        """Say so."""
        self._transport = None
        self._lost()
