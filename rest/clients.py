"""Where a request comes from: the address of its connection or, behind proxies that are trusted, the one that they tell of."""

from collections.abc import Sequence

from aiohttp import web

from core.addresses import parse_address
from core.settings import Network


def client_address(request: web.BaseRequest, trusted: Sequence[Network]) -> str:
    """Return the client's address; empty where there is none, as over a Unix socket.

    X-Forwarded-For is believed from trusted proxies only, and read from its end: what stands before the first address that is no
    trusted proxy may be the client's own invention.
    """
    transport = request.transport
    peer = None if transport is None else transport.get_extra_info("peername")
    address = str(peer[0]) if isinstance(peer, tuple) and peer else ""  # pyright: ignore[reportUnknownArgumentType] - of any family
    if not trusted:
        return address
    said = [each.strip() for value in request.headers.getall("X-Forwarded-For", ()) for each in value.split(",")]
    while said and _is_in(address, trusted):
        address = said.pop()
    return address


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    parsed = parse_address(address)
    return parsed is not None and any(parsed in network for network in networks)
