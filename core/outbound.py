"""Calls out of the hub: the one way in which it talks HTTP to an address that somebody else chose.

    OutboundError
      OutboundRefused     the address may not be called; nothing was sent
      OutboundFailed      it was called, or looked up, and that did not work: `__cause__` says why

A name is resolved once, every address that it has is judged, and the connection goes to those addresses and no others, so a name
that answers differently the second time gains nothing. What may be called is public addresses by https, and the networks that
the operator allows by http too. A redirect is an answer like any other; the caller decides. Who calls the same places often
keeps connections by core/outbound_pool.py, under the same rules.
"""

import asyncio
import ipaddress
import socket
import ssl
import threading
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
# A name with more addresses than this is nobody's server; each of them would be judged, and tried.
_MOST_ADDRESSES = 32
# Look-ups of the machine's resolver that may hang at once, each in a thread of its own.
_MOST_LOOK_UPS = 64
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
    """An answer, whatever its status; `body` is whole, unless `is_cut`."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    is_cut: bool = False


class Resolver(Protocol):
    """Turns a name into addresses."""

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Return every address of `host` as text; raises OSError where it has none."""
        ...


class SystemResolver:
    """The machine's resolver, which blocks: each look-up has a thread, so that names whose servers are silent hold up no other.

    The loop's own few threads would all wait for such names. What is not waited for any longer counts until it ends.
    """

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(_MOST_LOOK_UPS)

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Return what getaddrinfo knows; raises OSError where it knows nothing."""
        await self._room.acquire()
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[str]] = loop.create_future()

        def ended(addresses: Sequence[str], error: OSError | UnicodeError | None) -> None:
            self._room.release()
            if not found.done():
                found.set_result(addresses) if error is None else found.set_exception(error)

        def look_up() -> None:
            addresses, error = _look_up(host, port)
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended, addresses, error)

        # A daemon: a name that hangs does not keep the process from its end.
        threading.Thread(target=look_up, name="name look-up", daemon=True).start()
        return await found


def _look_up(host: str, port: int) -> tuple[Sequence[str], OSError | UnicodeError | None]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # a name that IDNA cannot write is UnicodeError
        return (), error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found)), None


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
        may_cut: bool = False,
    ) -> OutboundResponse:
        """Call `url` and return the answer, a redirect unfollowed.

        `timeout` is the seconds for everything, from the look-up to the last byte; `max_bytes` bounds the answer's body: what is
        longer fails, or with `may_cut` ends there. Raises OutboundRefused before anything was sent, or OutboundFailed.
        """
        target = target_of(url)
        call = Call(method, target, headers or {}, body, max_bytes, may_cut)
        return await self.within(timeout, target, self._call(call))

    async def check(self, url: str, *, timeout: float) -> None:
        """Raise what `request` would raise for this URL now, without calling it."""
        target = target_of(url)
        await self.within(timeout, target, self.judge(target))

    async def within(self, seconds: float, target: URL, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what `work` returns; raises OutboundFailed, with `work` cancelled, after `seconds`."""
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

    async def _call(self, call: "Call") -> OutboundResponse:
        async with self.session(call.target, await self.judge(call.target), keeps=False) as session:
            return await call.by(session)

    def session(
        self, target: URL, addresses: Sequence[Address], *, keeps: bool, traces: Sequence[aiohttp.TraceConfig] = ()
    ) -> aiohttp.ClientSession:
        """Return what connects to these judged addresses of `target`'s host, and to nothing else; the caller closes it.

        With `keeps` its connections serve one call after the other.
        """
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(target.raw_host or "", addresses),
            use_dns_cache=False,
            force_close=not keeps,
            limit=0,
            ssl=self.tls if self.tls is not None else True,
        )
        return aiohttp.ClientSession(
            connector=connector,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            # A body that unpacks itself cannot be bounded: none is asked for, and none accepted.
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            trace_configs=list(traces),
        )

    async def judge(self, target: URL) -> Sequence[Address]:
        """Return the addresses of the target's host, each of which may be called; raises as `request` does."""
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
        if len(addresses) > _MOST_ADDRESSES:
            raise OutboundRefused(f"{target.origin()}: the name has over {_MOST_ADDRESSES} addresses")
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


@dataclass(frozen=True, slots=True)
class Call:
    """One request to send."""

    method: str
    target: URL
    headers: Mapping[str, str]
    body: bytes | None
    max_bytes: int
    may_cut: bool

    async def by(self, session: aiohttp.ClientSession, trace: object = None) -> OutboundResponse:
        """Send it and return the answer; raises OutboundFailed."""
        target = self.target
        try:
            async with session.request(
                self.method,
                target,
                headers=sent(self.headers),
                data=self.body,
                allow_redirects=False,
                trace_request_ctx=trace,
            ) as answer:
                body, is_cut = await self._read(answer)
                return OutboundResponse(answer.status, answer.headers, body, is_cut)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise OutboundFailed(f"{target.origin()}: {type(error).__name__}") from error

    async def _read(self, answer: aiohttp.ClientResponse) -> tuple[bytes, bool]:
        if answer.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            if self.may_cut:
                answer.close()
                return b"", True
            raise OutboundFailed(f"{self.target.origin()}: the answer is compressed although that was not asked for")
        chunks: list[bytes] = []
        size = 0
        async for chunk in answer.content.iter_any():
            size += len(chunk)
            chunks.append(chunk)
            if size > self.max_bytes:
                break
        if size <= self.max_bytes:
            return b"".join(chunks), False
        if not self.may_cut:
            raise OutboundFailed(f"{self.target.origin()}: the answer is over {self.max_bytes} bytes")
        # What is not read would stand before the next answer.
        answer.close()
        return b"".join(chunks)[: self.max_bytes], True


def target_of(url: str) -> URL:
    """Read a URL that may be called, whatever is behind it; raises OutboundRefused."""
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


def sent(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """Return the headers that go out, where a caller wants these."""
    kept = CIMultiDict({name: value for name, value in headers.items() if name.lower() not in _OWN_HEADERS})
    kept["Accept-Encoding"] = "identity"
    kept.setdefault("User-Agent", "aimatrix-hub")
    return kept
