"""Ids: UUIDs of version 7 (RFC 9562, section 5.7), made here so that a row and its event know each other before SQL."""

import os
import re
import threading
import time
from uuid import UUID

# The class of the ids that asyncpg reads: equal to uuid.UUID in all, and made and written in a tenth of the time.
from asyncpg.pgproto.pgproto import UUID as QuickUUID

# UUID() itself also takes hyphens anywhere, braces and `urn:`: an id would have many names.
_FORM = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")

_last_ms = 0
_counter = 0
# Asking the kernel for a few bytes costs as much as all else of an id: they are asked for in blocks.
_BLOCK_BYTES = 1024
_random = b""
_used = 0
_taking = threading.Lock()


def random_bytes(count: int) -> bytes:
    """Return up to 1,024 bytes that nobody can guess, each given once, out of os.urandom."""
    global _random, _used  # noqa: PLW0603 - the block is the process's
    with _taking:
        if len(_random) - _used < count:
            _random, _used = os.urandom(_BLOCK_BYTES), 0
        _used += count
        return _random[_used - count : _used]


def _forget() -> None:
    """Leave the block to the parent: a fork would give the same bytes."""
    global _random, _used, _taking
    _random, _used, _taking = b"", 0, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def new_id() -> UUID:
    """Return a UUIDv7; those of one process rise, also within a millisecond (RFC 9562, section 6.2, method 1)."""
    global _last_ms, _counter  # noqa: PLW0603 - the counter is the process's
    now_ms = time.time_ns() // 1_000_000
    if now_ms > _last_ms:
        _last_ms = now_ms
        _counter = int.from_bytes(random_bytes(2), "big") & 0x7FF
    else:
        _counter += 1
        if _counter > 0xFFF:
            _last_ms += 1
            _counter = 0
    tail = int.from_bytes(random_bytes(8), "big") & ((1 << 62) - 1)
    return QuickUUID(((_last_ms << 80) | (7 << 76) | (_counter << 64) | (2 << 62) | tail).to_bytes(16, "big"))


def parse_id(text: str) -> UUID | None:
    """Return the UUID that `text` spells in the form of RFC 9562, section 4, in either case; else None."""
    return QuickUUID(text) if _FORM.fullmatch(text) else None
