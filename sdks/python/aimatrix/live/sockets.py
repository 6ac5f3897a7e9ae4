"""A link over a WebSocket."""

import contextlib
import ssl

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException
from websockets.typing import Subprotocol

from aimatrix.live.events import Frame
from aimatrix.live.forms import Form
from aimatrix.live.links import LinkClosed, NotOpened, seconds_of
from aimatrix.live.rules import LOST

# An answer to a recovery has all of a channel; an event of a run up to 2 MiB.
_MOST_BYTES = 16 * 1024 * 1024
# Messages that wait to be read; beyond it, and what the machine keeps, the hub waits.
_MOST_WAITING = 64
_CLOSING_SECONDS = 2.0
_PROTOCOL_ERROR = 1002


class SocketLink:
    """One WebSocket."""

    def __init__(self, socket: ClientConnection, form: Form) -> None:
        self._socket = socket
        self._form = form

    async def receive(self) -> Frame:
        """Return the next frame."""
        try:
            return self._form.read(await self._socket.recv())
        except ConnectionClosed as closed:
            raise _closed(closed) from None
        except ValueError:  # no frame: a proxy, or a hub that is none
            await self.close(_PROTOCOL_ERROR)
            raise LinkClosed(LOST, "what came is no frame") from None

    async def send(self, frame: Frame) -> None:
        """Send a frame."""
        try:
            await self._socket.send(self._form.written(frame))
        except ConnectionClosed as closed:
            raise _closed(closed) from None

    async def close(self, code: int) -> None:
        """Say goodbye, and wait for the end."""
        with contextlib.suppress(OSError, WebSocketException):
            await self._socket.close(code)

    def abort(self) -> None:
        """Drop it."""
        self._socket.transport.abort()


async def open_socket(url: str, form: Form, *, compression: bool, tls: ssl.SSLContext | None) -> SocketLink:
    """Open a socket to an http(s) or ws(s) URL. How long it may take is the caller's. Raises NotOpened."""
    address = url.replace("http", "ws", 1) if url.startswith("http") else url
    try:
        socket = await connect(
            address,
            subprotocols=[Subprotocol(form.subprotocol)],
            compression="deflate" if compression else None,
            open_timeout=None,
            # The hub pings, and the machine asks where it does not.
            ping_interval=None,
            close_timeout=_CLOSING_SECONDS,
            max_size=_MOST_BYTES,
            max_queue=_MOST_WAITING,
            # None: the system's authorities, where the address asks for TLS.
            ssl=tls if address.startswith("wss:") else None,
        )
    except InvalidStatus as refused:
        raise _refused(refused) from None
    except (OSError, EOFError, InvalidHandshake, InvalidURI) as error:
        raise NotOpened(str(error) or type(error).__name__) from error
    return SocketLink(socket, form)


def _closed(closed: ConnectionClosed) -> LinkClosed:
    if closed.rcvd is None:
        return LinkClosed(LOST, "the connection was lost")
    return LinkClosed(closed.rcvd.code, closed.rcvd.reason)


def _refused(refused: InvalidStatus) -> NotOpened:
    answer = refused.response
    why = f"the hub answered {answer.status_code}"
    return NotOpened(why, status=answer.status_code, retry_after=seconds_of(answer.headers.get("Retry-After")))
