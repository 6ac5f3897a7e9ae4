"""Which way in is tried: the socket, or, where that could not be opened again and again, server-sent events."""

import math

from aimatrix.live import rules
from aimatrix.live.signals import Transport


class Ways:
    """How the two ways in have fared. `socket_again_at` is when a client that came by HTTP tries the socket again."""

    def __init__(self, *, has_fallback: bool) -> None:
        self.transport: Transport = "socket"
        self.socket_again_at = math.inf
        self._has_fallback = has_fallback
        self._is_opening = False
        self._socket_failures = 0
        self._socket_again: float = rules.SOCKET_AGAIN_MS
        self._is_trying = False

    @property
    def is_last(self) -> bool:
        """Whether what is answered on this way is the hub's own word: the other is answered by what stands between, maybe."""
        return not self._has_fallback or self.transport == "events"

    def begin(self) -> None:
        """Forget failures: somebody starts again."""
        self._socket_failures = 0

    def next(self) -> Transport:
        """Choose the way of the next attempt."""
        is_blocked = self._has_fallback and self._socket_failures >= rules.SOCKET_FAILURES
        self.transport, self._is_opening = "events" if is_blocked else "socket", True
        return self.transport

    def opened(self, now: float) -> None:
        """Note that it is open."""
        self._is_opening = self._is_trying = False
        if self.transport == "socket":
            self._socket_failures = 0
            self._socket_again = rules.SOCKET_AGAIN_MS
        else:
            self.socket_again_at = now + self._socket_again
            self._socket_again = min(rules.SOCKET_AGAIN_MOST_MS, self._socket_again * 2)

    def failed(self, *, was_live: bool) -> None:
        """Note that an attempt on it has ended. Where events do not get live either, nothing says that sockets are blocked."""
        if self.transport == "events" and not was_live:
            self._socket_failures = 0
        elif self._is_opening:
            self._socket_failures += 1

    def tried(self) -> bool:
        """Tell whether what has ended was only a try, and the way that works is taken at once."""
        was_trying, self._is_trying = self._is_trying, False
        return was_trying

    def ended(self) -> None:
        """Note that the link is gone."""
        self._is_opening = False
        self.socket_again_at = math.inf

    def try_socket(self) -> None:
        """Have one attempt by socket; if it fails, the next is the way that works."""
        self._socket_failures, self._is_trying = rules.SOCKET_FAILURES - 1, True
