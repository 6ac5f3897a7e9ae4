"""A link carries frames between the client and the hub; what it is made of, `sockets` and `server_sent` know."""

from dataclasses import dataclass
from typing import Protocol

from aimatrix.live.events import Frame


class Link(Protocol):
    """An open connection."""

    async def receive(self) -> Frame:
        """Return the next frame. Who does not ask holds the hub back. Raises LinkClosed."""
        ...

    async def send(self, frame: Frame) -> None:
        """Send a frame, once there is room. Raises LinkClosed."""
        ...

    async def close(self, code: int) -> None:
        """Close it and wait for its end, which takes a moment at most."""
        ...

    def abort(self) -> None:
        """Drop it, now."""
        ...


@dataclass
class LinkClosed(Exception):
    """The link has ended, with this close code (1006: without one); by HTTP with the `status` of an answer that refused it."""

    code: int
    reason: str = ""
    status: int | None = None
    retry_after: float | None = None


@dataclass
class NotOpened(Exception):
    """No link could be opened. `status` is that of an answer, None where none came; `retry_after` is seconds."""

    why: str
    status: int | None = None
    retry_after: float | None = None


def seconds_of(header: str | None) -> float | None:
    """Return a Retry-After in seconds (RFC 9110, section 10.2.3); its other form, a date, the hub does not use."""
    return float(header) if header is not None and header.isascii() and header.isdigit() else None
