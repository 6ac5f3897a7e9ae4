"""The sockets that workers listen on: made by the parent, held by it for all its life, inherited by the workers.

Each worker has a socket of its own on the one address, and the kernel spreads new connections over them (SO_REUSEPORT). What waits
in a socket's queue is lost when its last holder closes it, and only then: so the parent holds all of them, and who replaces a
worker gets the same socket.
"""

import ipaddress
import socket
import sys
from collections.abc import Sequence

# So many may wait to be accepted; the kernel takes at most net.core.somaxconn of it (doctor looks).
BACKLOG = 4096
# Only Linux balances between sockets of one address; elsewhere all workers share one.
_BALANCES = sys.platform == "linux"


def listen_for(count: int, host: str, port: int) -> list[list[socket.socket]]:
    """Return the sockets of `count` workers, listening; several a worker where `host` has several addresses.

    Port 0 takes a free one, the same for all. Raises OSError where an address is taken or is none.
    """
    made: list[list[socket.socket]] = [[] for _ in range(count)]
    try:
        for family, address in _addresses_of(host, port):
            known = made[0][0].getsockname()[1] if made[0] else port
            for number, each in enumerate(_sockets(count, family, address, known)):
                made[number].append(each)
    except BaseException:
        for each in (one for sockets in made for one in sockets):
            each.close()
        raise
    return made


def url_of(listening: socket.socket, *, is_tls: bool = False) -> str:
    """Return the address of a listening socket as a URL: http on the machine itself, where plain is always taken."""
    name = listening.getsockname()
    shown = f"[{name[0]}]" if listening.family == socket.AF_INET6 else name[0]
    scheme = "https" if is_tls and not ipaddress.ip_address(name[0].partition("%")[0]).is_loopback else "http"
    return f"{scheme}://{shown}:{name[1]}"


def _addresses_of(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _sockets(count: int, family: socket.AddressFamily, address: str, port: int) -> Sequence[socket.socket]:
    """Listen `count` times on one address."""
    # With SO_REUSEPORT the kernel lets a second hub of the same account in beside this one, unasked: so who is there already is
    # found without it, before.
    first = _bound(family, address, port, shared=False)
    if not _BALANCES:
        first.listen(BACKLOG)
        return [first, *(first.dup() for _ in range(count - 1))]
    port = first.getsockname()[1]
    first.close()
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sockets.append(_bound(family, address, port, shared=True))
            sockets[-1].listen(BACKLOG)
    except BaseException:
        for each in sockets:
            each.close()
        raise
    return sockets


def _bound(family: socket.AddressFamily, address: str, port: int, *, shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.settimeout(0)
        made.bind((address, port))
    except OSError as error:
        made.close()
        reason = (error.strerror or str(error)).lower()
        raise OSError(error.errno, f"error while attempting to bind on address {(address, port)}: {reason}") from error
    except BaseException:
        made.close()
        raise
    return made
