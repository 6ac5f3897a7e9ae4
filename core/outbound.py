"""Calls out of the hub: the one way in which it talks HTTP to an address that somebody else chose.

    OutboundError
      OutboundRefused     the address may not be called; nothing was sent
      OutboundFailed      it was called, or looked up, and that did not work: `__cause__` says why

A name is resolved once, every address that it has is judged, and the connection goes to those addresses and no others, so a name
that answers differently the second time gains nothing. What may be called is public addresses by https, and the networks that
the operator allows by http too. A redirect is an answer like any other; the caller decides.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from core.clock import Clock
from core.settings import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Result = TypeVar("Result")

# What `is_global` of this or an older Python lets through although nobody's public server is there. Several of these carry an
# IPv4 address inside, which a gateway near us might unpack.
_NEVER_PUBLIC: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.88.99.0/24",  # 6to4 relays (RFC 7526)
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "2001::/23",  # IETF protocol assignments, Teredo among them (RFC 2928, RFC 4380)
        "2001:db8::/32",  # documentation (RFC 3849)
        "2002::/16",  # 6to4 (RFC 3056)
        "3fff::/20",  # documentation (RFC 9637)
    )
)
# IPv6 that is neither mapped (::ffff:0:0/96), translated (64:ff9b::/96), local nor multicast is global unicast (RFC 4291, 2.4).
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
# ISATAP (RFC 5214, 6.1): an interface identifier ::0:5efe:a.b.c.d or ::200:5efe:a.b.c.d carries an IPv4 address too.
_ISATAP = (0x00005EFE, 0x02005EFE)
# Set by the hub itself, by name: a caller's own would lie about where the request goes, or how its body must be read.
_OWN_HEADERS = frozenset({"host", "accept-encoding", "connection", "transfer-encoding", "content-length"})


class OutboundError(Exception):
    """A call out that gave no answer. The text names scheme and host, never path, query or body."""


class OutboundRefused(OutboundError):
    """The URL or an address behind it may not be called."""


class OutboundFailed(OutboundError):
    """The call was allowed and did not succeed: no such name, no connection, broken TLS, too slow, or too large."""


@dataclass(frozen=True, slots=True)
class OutboundResponse:
    """An answer, whatever its status; `body` is whole."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class Resolver(Protocol):
    """Turns a name into addresses."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Return every address of `host` as text; raises OSError where it has none."""
        ...


class SystemResolver:
    """The machine's resolver."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Return what getaddrinfo knows; raises OSError where it knows nothing."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: Address) -> bool:
    """Tell whether `address` is one that any host of the internet may be reached at.

    Stricter than `is_global`: addresses that carry another one inside (mapped, 6to4, Teredo, NAT64, ISATAP) are not public.
    """
    if not address.is_global or any(address in network for network in _NEVER_PUBLIC):
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return True
    isatap = (int(address) >> 32) & 0xFFFFFFFF in _ISATAP
    return address in _GLOBAL_UNICAST and address.scope_id is None and not isatap


@dataclass(frozen=True, slots=True)
class _Pinned(AbstractResolver):
    """Answers the addresses that were judged, for the host that they were judged for."""

    name: str
    addresses: Sequence[Address]

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        del family
        if host != self.name:
            raise OSError(f"the connection was pinned to another name than {host}")
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in self.addresses
        ]

    async def close(self) -> None:
        pass


@dataclass(frozen=True)
class Outbound:
    """Makes calls out; holds no connection between them.

    `allow` are the networks that may be called besides public addresses, by http as well. `tls` replaces the machine's trusted
    certificates.
    """

    allow: Sequence[Network]
    clock: Clock
    resolver: Resolver = field(default_factory=SystemResolver)
    tls: ssl.SSLContext | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: float,
        max_bytes: int,
    ) -> OutboundResponse:
        """Call `url` and return the answer, a redirect unfollowed.

        `timeout` is the seconds for everything, from the look-up to the last byte; `max_bytes` bounds the answer's body. Raises
        OutboundRefused before anything was sent, or OutboundFailed.
        """
        target = _target_of(url)
        return await self._within(timeout, target, self._call(method, target, headers or {}, body, max_bytes))

    async def check(self, url: str, *, timeout: float) -> None:
        """Raise what `request` would raise for this URL now, without calling it."""
        target = _target_of(url)
        await self._within(timeout, target, self._judge(target))

    async def _within(self, seconds: float, target: URL, work: Coroutine[Any, Any, Result]) -> Result:
        task = asyncio.ensure_future(work)
        timer = asyncio.ensure_future(self.clock.sleep(seconds))
        try:
            await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise OutboundFailed(f"{target.origin()}: no answer within {seconds:g} s")
            return task.result()
        finally:
            task.cancel()
            timer.cancel()
            await asyncio.gather(task, timer, return_exceptions=True)

    async def _call(
        self, method: str, target: URL, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> OutboundResponse:
        addresses = await self._judge(target)
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(target.raw_host or "", addresses),
            use_dns_cache=False,
            force_close=True,
            ssl=self.tls if self.tls is not None else True,
        )
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    trust_env=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    # A body that unpacks itself cannot be bounded: none is asked for, and none accepted.
                    auto_decompress=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                ) as session,
                session.request(method, target, headers=_sent(headers), data=body, allow_redirects=False) as answer,
            ):
                return OutboundResponse(answer.status, answer.headers, await _read(target, answer, max_bytes))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise OutboundFailed(f"{target.origin()}: {type(error).__name__}") from error

    async def _judge(self, target: URL) -> Sequence[Address]:
        """Return the addresses of the target's host, each of which may be called."""
        host, port = target.raw_host or "", target.port or 0
        literal = _address(host)
        if literal is not None:
            addresses: Sequence[Address] = [literal]
        else:
            addresses = await self._look_up(target, host, port)
        for address in addresses:
            self._judge_address(target, address)
        return addresses

    async def _look_up(self, target: URL, host: str, port: int) -> Sequence[Address]:
        try:
            found = await self.resolver.resolve(host, port)
            addresses = [ipaddress.ip_address(text) for text in found]
        except (OSError, ValueError) as error:
            raise OutboundFailed(f"{target.origin()}: the name has no address") from error
        if not addresses:
            raise OutboundFailed(f"{target.origin()}: the name has no address")
        return addresses

    def _judge_address(self, target: URL, address: Address) -> None:
        if any(address in network for network in self.allow):
            return
        if not is_public(address):
            raise OutboundRefused(
                f"{target.origin()}: {address} is not a public address; HUB_OUTBOUND_ALLOW can name its network"
            )
        if target.scheme != "https":
            raise OutboundRefused(f"{target.origin()}: http is for the networks of HUB_OUTBOUND_ALLOW; use https")


def _target_of(url: str) -> URL:
    try:
        target = URL(url)
        port = target.port
    except ValueError as error:
        raise OutboundRefused("the URL is malformed") from error
    if target.scheme not in ("http", "https") or not target.raw_host or not port:
        raise OutboundRefused("a URL must begin with https:// or http:// and name a host")
    if target.raw_user is not None or target.raw_password is not None:
        raise OutboundRefused(f"{target.scheme}://{target.raw_host}: a URL must not carry a user or a password")
    return target.with_fragment(None)


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _sent(headers: Mapping[str, str]) -> CIMultiDict[str]:
    sent = CIMultiDict({name: value for name, value in headers.items() if name.lower() not in _OWN_HEADERS})
    sent["Accept-Encoding"] = "identity"
    sent.setdefault("User-Agent", "aimatrix-hub")
    return sent


async def _read(target: URL, answer: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    if answer.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise OutboundFailed(f"{target.origin()}: the answer is compressed although that was not asked for")
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > max_bytes:
            raise OutboundFailed(f"{target.origin()}: the answer is over {max_bytes} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
