"""How to come in at a server of Redis on a connection of our own, where a client of redis-py would cost too much."""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from redis.asyncio.connection import parse_url

from core.store.slot_map import Address

P = TypeVar("P", bound=asyncio.BaseProtocol)


@dataclass(frozen=True, slots=True)
class Access:
    """The same at every server: the address in the URL does not matter. `database` is a number of `SELECT`."""

    tls: ssl.SSLContext | None
    login: tuple[str, ...] = field(repr=False)
    database: int = 0

    @classmethod
    def of(cls, url: str) -> "Access":
        """Read redis://, rediss:// and unix:// as redis-py does."""
        options: dict[str, Any] = dict(parse_url(url))
        tls = _tls_of(options) if url.startswith("rediss:") else None
        return cls(tls, tuple(_login_of(options)), int(options.get("db", 0)))

    async def dial(self, address: Address, protocol: Callable[[], P]) -> P:
        """Connect, and return the protocol. Raises OSError."""
        loop = asyncio.get_running_loop()
        if address.path:
            _, made = await loop.create_unix_connection(protocol, address.path)
        else:
            host, port, _ = address
            _, made = await loop.create_connection(protocol, host, port, ssl=self.tls)
        return made


def _login_of(options: dict[str, Any]) -> Iterable[str]:
    if "password" in options:
        if "username" in options:
            yield options["username"]
        yield options["password"]


def _tls_of(options: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    if options.get("ssl_certfile"):
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    if str(options.get("ssl_cert_reqs", "required")) == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
