"""Ask an engine whether it serves, by the first bytes of its own protocol: no client library, no password, no session."""

import socket
import struct
from pathlib import Path

# A local engine that serves answers at once; this is for a machine that is out of breath.
_PATIENCE_SECONDS = 2.0


def postgres_answers(path: Path) -> bool:
    """Say whether PostgreSQL at that socket takes sessions: it asks for a password, or has no place left.

    While it starts, recovers or stops it refuses instead (SQLSTATE 57P03).
    """
    parameters = b"user\0hub\0database\0aimatrix\0\0"
    reply = _ask(path, struct.pack("!ii", 8 + len(parameters), 3 << 16) + parameters)
    return reply.startswith(b"R") or (reply.startswith(b"E") and b"C53300\0" in reply)


def valkey_answers(path: Path) -> bool:
    """Say whether Valkey at that socket has loaded its data and answers PING."""
    return _ask(path, b"PING\r\n").startswith(b"+PONG")


def _ask(path: Path, question: bytes) -> bytes:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE_SECONDS)
            connection.connect(str(path))
            connection.sendall(question)
            return connection.recv(4096)
    except OSError:
        return b""
