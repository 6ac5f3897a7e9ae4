"""Calls out go to judged addresses only, and never take more time or bytes than they may."""

import asyncio
import gzip
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiohttp import web

from core.clock import SystemClock
from core.outbound import Outbound, OutboundFailed, OutboundRefused, is_public
from core.settings import Network
from tests.harness.clock import ManualClock
from tests.harness.outside import LOOPBACK, Names, certificate_for, serving
from tests.harness.waiting import eventually


async def _echo(request: web.Request) -> web.Response:
    body = await request.read()
    return web.Response(body=b"|".join([request.method.encode(), request.host.encode(), body]))


def _outbound(names: Names, *, allow: Sequence[Network] = LOOPBACK, tls: ssl.SSLContext | None = None) -> Outbound:
    return Outbound(allow, SystemClock(), names, tls)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "0.0.0.0",  # noqa: S104 - an address under judgement
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.88.99.1",
        "198.18.0.1",
        "203.0.113.5",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::1",
        "2001::1",
        "2001:db8::1",
        "3fff::1",
        "fc00::1",
        "fd12::1",
        "fe80::1",
        "fe80::1%1",
        "2a00:1450::1%1",
        "fec0::1",
        "ff02::1",
        "2a00:1450:4001::5efe:7f00:1",
        "2a00:1450:4001::200:5efe:7f00:1",
    ],
)
def test_address_that_is_no_public_server_is_not_public(text: str):
    """Local, reserved, multicast and documentation addresses, and those that carry another inside."""
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["8.8.8.8", "1.1.1.1", "192.0.1.1", "2a00:1450:4001:80b::200e", "2606:4700::1111"])
def test_address_of_the_internet_is_public(text: str):
    """Global unicast of both families."""
    assert is_public(ipaddress.ip_address(text))


async def test_request_reaches_an_allowed_network_and_keeps_the_name():
    """The connection goes to the judged address; Host stays the name of the URL."""
    names = Names(["127.0.0.1"])
    async with serving(_echo) as port:
        answer = await _outbound(names).request(
            "POST", f"http://keys.example:{port}/a?b=c", body=b"hello", timeout=5, max_bytes=1000
        )
    assert (answer.status, answer.body) == (200, f"POST|keys.example:{port}|hello".encode())
    assert names.asked == ["keys.example"]


async def test_name_is_resolved_once_so_a_changed_answer_gains_nothing():
    """DNS rebinding: the second answer of the name is never asked for."""
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    async with serving(_echo) as port:
        answer = await _outbound(names).request("GET", f"http://turning.example:{port}/", timeout=5, max_bytes=1000)
    assert answer.status == 200
    assert names.answers == [["127.0.0.2"]]


async def test_name_whose_answer_turns_private_is_refused_at_the_next_call():
    """Each call judges anew."""
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    outbound = _outbound(names)
    async with serving(_echo) as port:
        await outbound.request("GET", f"http://turning.example:{port}/", timeout=5, max_bytes=1000)
        with pytest.raises(OutboundRefused, match=r"10\.0\.0\.1"):
            await outbound.request("GET", f"http://turning.example:{port}/", timeout=5, max_bytes=1000)


async def test_one_forbidden_address_among_several_refuses_the_call():
    """Else a connection attempt might choose it."""
    names = Names(["8.8.8.8", "192.168.0.1"])
    with pytest.raises(OutboundRefused):
        await _outbound(names).request("GET", "https://two.example/", timeout=5, max_bytes=10)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1%251]/",
        "http://8.8.8.8/",
    ],
)
async def test_literal_address_is_judged_too(url: str):
    """A literal never meets the resolver; plain http is refused outside the allowed networks."""
    names = Names([])
    with pytest.raises(OutboundRefused):
        await _outbound(names, allow=()).request("GET", url, timeout=5, max_bytes=10)
    assert names.asked == []


async def test_http_to_a_public_name_is_refused():
    """Without TLS only the operator's own networks are called."""
    with pytest.raises(OutboundRefused, match="use https"):
        await _outbound(Names(["8.8.8.8"])).request("GET", "http://public.example/", timeout=5, max_bytes=10)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "017700000001"])
async def test_odd_spelling_of_loopback_is_refused(host: str):
    """What the machine's resolver makes of it is judged, not how it looks."""
    with pytest.raises((OutboundRefused, OutboundFailed)):
        await Outbound((), SystemClock()).request("GET", f"https://{host}/", timeout=5, max_bytes=10)


@pytest.mark.parametrize(
    "url",
    ["ftp://a.example/", "file:///etc/passwd", "/relative", "", "https://", "https://a:b@a.example/", "https://u@a.example/",
     "https://a.example:99999/", "https://a.example:0/", "unix:///tmp/s", "tcp://a.example:1/"],
)  # fmt: skip
async def test_url_of_another_kind_is_refused(url: str):
    """Only http and https, with a host, without user information."""
    names = Names(["127.0.0.1"])
    with pytest.raises(OutboundRefused):
        await _outbound(names).request("GET", url, timeout=5, max_bytes=10)
    assert names.asked == []


async def test_error_text_names_neither_path_nor_query():
    """A URL may carry a secret."""
    with pytest.raises(OutboundFailed) as caught:
        await _outbound(Names([])).request("GET", "https://gone.example/s3cret?t=s3cret", timeout=5, max_bytes=10)
    assert "s3cret" not in str(caught.value)
    assert "gone.example" in str(caught.value)


async def test_redirect_is_returned_and_not_followed():
    """Where it leads was not judged."""
    visits: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        visits.append(request.path)
        return web.Response(status=302, headers={"Location": "/other"})

    async with serving(elsewhere) as port:
        answer = await _outbound(Names(["127.0.0.1"])).request(
            "GET", f"http://a.example:{port}/first", timeout=5, max_bytes=100
        )
    assert (answer.status, answer.headers["location"], visits) == (302, "/other", ["/first"])


@pytest.mark.parametrize("chunked", [False, True])
async def test_answer_over_the_bound_fails(chunked: bool):
    """Whether its length was announced or not."""

    async def large(request: web.Request) -> web.StreamResponse:
        if not chunked:
            return web.Response(body=b"x" * 101)
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"x" * 101)
        return answer

    outbound = _outbound(Names(["127.0.0.1"]))
    async with serving(large) as port:
        with pytest.raises(OutboundFailed, match="over 100 bytes"):
            await outbound.request("GET", f"http://a.example:{port}/", timeout=5, max_bytes=100)
        answer = await outbound.request("GET", f"http://a.example:{port}/", timeout=5, max_bytes=101)
    assert len(answer.body) == 101


@pytest.mark.parametrize("is_packed", [False, True])
async def test_answer_over_the_bound_is_cut_where_that_is_asked_for(is_packed: bool):
    """For whoever needs the status above all: what comes behind the bound is not read, and what is packed not at all."""
    sent = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Encoding": "gzip"} if is_packed else {})
        await answer.prepare(request)
        try:
            while True:
                await answer.write(b"x" * 65536)
        except (ConnectionError, asyncio.CancelledError):
            sent.set()
            raise

    async with serving(endless) as port:
        answer = await _outbound(Names(["127.0.0.1"])).request(
            "POST", f"http://a.example:{port}/", timeout=30, max_bytes=100, may_cut=True
        )
        await sent.wait()
    assert (answer.status, answer.body, answer.is_cut) == (200, b"" if is_packed else b"x" * 100, True)


async def test_name_with_very_many_addresses_is_refused():
    """Each would be judged, and tried."""
    names = Names([f"8.8.{each}.8" for each in range(33)])
    with pytest.raises(OutboundRefused, match="over 32 addresses"):
        await _outbound(names).request("GET", "https://many.example/", timeout=5, max_bytes=10)


async def test_compressed_answer_fails():
    """A small body that unpacks into a large one passes no bound: it is not unpacked at all."""

    async def bomb(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(body=gzip.compress(b"0" * 10_000_000), headers={"Content-Encoding": "gzip"})

    async with serving(bomb) as port:
        with pytest.raises(OutboundFailed, match="compressed"):
            await _outbound(Names(["127.0.0.1"])).request(
                "GET", f"http://a.example:{port}/", timeout=5, max_bytes=100_000
            )


async def test_slow_answer_fails_when_its_time_is_up():
    """The time is for all of it: an answer that trickles does not begin anew with each byte."""
    clock = ManualClock()
    asked = asyncio.Event()
    gone = asyncio.Event()

    async def trickle(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"a")
        asked.set()
        await gone.wait()
        return answer

    outbound = Outbound(LOOPBACK, clock, Names(["127.0.0.1"]))
    async with serving(trickle) as port:
        call = asyncio.ensure_future(outbound.request("GET", f"http://a.example:{port}/", timeout=3, max_bytes=100))
        await asked.wait()
        await clock.advance(2.9)
        assert not call.done()
        await clock.advance(0.2)
        with pytest.raises(OutboundFailed, match="within 3 s"):
            await call
        gone.set()
    assert clock.sleeping == 0


async def test_slow_name_fails_when_its_time_is_up():
    """The look-up counts."""
    clock = ManualClock()

    class Silent:
        async def resolve(self, host: str, port: int) -> Sequence[str]:
            del host, port
            return await asyncio.get_running_loop().create_future()

    call = asyncio.ensure_future(
        Outbound((), clock, Silent()).request("GET", "https://a.example/", timeout=1, max_bytes=1)
    )
    await eventually(lambda: clock.sleeping == 1, what="the call waits")
    await clock.advance(1)
    with pytest.raises(OutboundFailed):
        await call


async def test_cancelled_call_leaves_nothing_behind():
    """Neither its timer nor its connection."""
    clock = ManualClock()
    asked = asyncio.Event()
    left = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        asked.set()
        transport = request.transport
        await eventually(lambda: transport is None or transport.is_closing(), what="the client went away")
        left.set()
        return web.Response()

    async with serving(hang) as port:
        call = asyncio.ensure_future(
            Outbound(LOOPBACK, clock, Names(["127.0.0.1"])).request(
                "GET", f"http://a.example:{port}/", timeout=3, max_bytes=100
            )
        )
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await left.wait()
    assert clock.sleeping == 0


async def test_refused_connection_fails_with_its_cause():
    """The caller can tell a refusal from a failure, and why it failed."""
    async with serving(_echo) as port:
        pass
    with pytest.raises(OutboundFailed) as caught:
        await _outbound(Names(["127.0.0.1"])).request("GET", f"http://a.example:{port}/", timeout=5, max_bytes=10)
    assert isinstance(caught.value.__cause__, OSError)


async def test_proxy_of_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch):
    """A proxy would make the connection, and judge nothing."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    async with serving(_echo) as port:
        answer = await _outbound(Names(["127.0.0.1"])).request(
            "GET", f"http://a.example:{port}/", timeout=5, max_bytes=1000
        )
    assert answer.status == 200


async def test_header_that_would_lie_about_the_target_is_left_out():
    """Host belongs to the URL."""
    async with serving(_echo) as port:
        answer = await _outbound(Names(["127.0.0.1"])).request(
            "GET", f"http://a.example:{port}/", headers={"host": "other.example"}, timeout=5, max_bytes=1000
        )
    assert answer.body == f"GET|a.example:{port}|".encode()


async def test_header_with_a_line_break_fails():
    """Nothing can be smuggled behind it."""
    async with serving(_echo) as port:
        with pytest.raises(OutboundFailed):
            await _outbound(Names(["127.0.0.1"])).request(
                "GET", f"http://a.example:{port}/", headers={"X-A": "a\r\nX-B: b"}, timeout=5, max_bytes=1000
            )


async def test_check_judges_without_calling():
    """For addresses that are stored now and called later."""
    outbound = _outbound(Names(["10.0.0.1"], ["8.8.8.8"]))
    with pytest.raises(OutboundRefused):
        await outbound.check("https://a.example/", timeout=5)
    await outbound.check("https://a.example/", timeout=5)


async def test_certificate_is_checked_against_the_name(tmp_path: Path):
    """SNI and verification speak of the URL's host although an address was connected to."""
    server, client = certificate_for("keys.example", tmp_path)
    asked: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with serving(_echo, tls=server) as port:
        outbound = _outbound(Names(["127.0.0.1"]), tls=client)
        answer = await outbound.request("GET", f"https://keys.example:{port}/", timeout=5, max_bytes=1000)
        assert answer.status == 200
        with pytest.raises(OutboundFailed):
            await outbound.request("GET", f"https://other.example:{port}/", timeout=5, max_bytes=1000)
    assert asked == ["keys.example", "other.example"]
