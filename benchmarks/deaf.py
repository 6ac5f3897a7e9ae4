"""A member of rooms that hears that it has joined, and then reads nothing more."""

import asyncio
import socket
from collections.abc import Sequence

from benchmarks.generator import hub_joining

# What the kernel keeps for a client that reads nothing: the hub shall be the one that notices.
RECEIVE_BYTES = 4096


async def deaf(host: str, port: int, key: str, rooms: Sequence[str]) -> socket.socket:
    """Open one; it is a member until the socket is closed, or the hub has cut it."""
    loop = asyncio.get_running_loop()
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    made.settimeout(0)
    await loop.sock_connect(made, (host, port))
    joining = hub_joining(key, rooms)
    records = dict(joining.records(f"{host}:{port}"))
    [(_, subscribe)] = joining.steps
    await loop.sock_sendall(made, records["handshake"].encode() + _masked(subscribe.encode()))
    heard = b""
    while joining.ready.encode() not in heard:
        heard += await loop.sock_recv(made, RECEIVE_BYTES)
    return made


def _masked(text: bytes) -> bytes:
    """Write a text frame of a client (RFC 6455, section 5.2), with a mask that changes nothing."""
    size = bytes((0x80 | len(text),)) if len(text) < 126 else bytes((0x80 | 126,)) + len(text).to_bytes(2)
    return b"\x81" + size + bytes(4) + text
