"""The handshake of RFC 6455, section 4.2: what a request offers, and the answer that accepts it. No I/O.

Looked at before any credential, so that a request which cannot become a socket uses up no ticket and no seat.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from core.errors import HubError
from hub.stream.negotiation import extensions_for

# RFC 6455, section 1.3.
_ACCEPT_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES = 16
_NO_HANDSHAKE = "A stream is opened by a WebSocket handshake of version 13 (RFC 6455, section 4.2.1)"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a client offers: its key, its subprotocols in its order of preference, and what is agreed of its extensions."""

    key: str
    subprotocols: tuple[str, ...]
    extensions: str | None


def offer_of(headers: Mapping[str, str], extensions: Iterable[str] = (), version: tuple[int, int] = (1, 1)) -> Offer:
    """Return what the request of these headers offers, whose names are looked up in any case.

    `extensions` are its lines of `Sec-WebSocket-Extensions`, `version` is that of its HTTP. Raises HubError
    BAD_REQUEST where they are no handshake.
    """
    key = headers.get("Sec-WebSocket-Key", "")
    is_upgrade = headers.get("Upgrade", "").strip().lower() == "websocket" and "upgrade" in _tokens(
        headers.get("Connection", "").lower()
    )
    # A body would stand where the frames begin.
    has_body = headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers
    is_upgrade = is_upgrade and version >= (1, 1) and not has_body
    if not is_upgrade or headers.get("Sec-WebSocket-Version") != "13" or not _is_key(key):
        raise HubError("BAD_REQUEST", _NO_HANDSHAKE)
    return Offer(key, _tokens(headers.get("Sec-WebSocket-Protocol", "")), extensions_for(",".join(extensions)))


def acceptance(offer: Offer, subprotocol: str | None) -> bytes:
    """Return the answer of section 4.2.2, whole; `subprotocol` is one of those offered, or None."""
    accept = base64.b64encode(hashlib.sha1(offer.key.encode() + _ACCEPT_SALT, usedforsecurity=False).digest())
    chosen = b"" if subprotocol is None else b"Sec-WebSocket-Protocol: %b\r\n" % subprotocol.encode()
    agreed = b"" if offer.extensions is None else b"Sec-WebSocket-Extensions: %b\r\n" % offer.extensions.encode()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n%b%b\r\n" % (accept, chosen, agreed)
    )


def _tokens(value: str) -> tuple[str, ...]:
    return tuple(token for part in value.split(",") if (token := part.strip()))


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False
