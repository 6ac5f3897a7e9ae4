"""Connections that are kept go where was judged, and nowhere else; names are judged again and again."""

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiohttp import web

from core.outbound import Outbound, OutboundFailed, OutboundRefused, OutboundResponse
from core.outbound_pool import IDLE_SECONDS, JUDGED_SECONDS, OutboundPool
from tests.harness.clock import ManualClock
from tests.harness.outside import LOOPBACK, Names, certificate_for, serving
from tests.harness.waiting import eventually


async def _peer(request: web.Request) -> web.Response:
    """Answer with the client's port: two calls on one connection get the same."""
    await request.read()
    assert request.transport is not None
    return web.Response(text=str(request.transport.get_extra_info("peername")[1]))


def _pool(clock: ManualClock, names: Names, tls: ssl.SSLContext | None = None) -> OutboundPool:
    return OutboundPool(Outbound(LOOPBACK, clock, names, tls))


async def _post(pool: OutboundPool, port: int, name: str = "http://a.example") -> OutboundResponse:
    return await pool.request("POST", f"{name}:{port}/in", body=b"{}", timeout=20, max_bytes=1000)


async def test_calls_to_one_origin_share_a_connection_and_a_look_up(clock: ManualClock):
    """One after the other; the name is asked for once."""
    names = Names(["127.0.0.1"])
    pool = _pool(clock, names)
    async with serving(_peer) as port:
        ports = {(await _post(pool, port)).body for _ in range(5)}
        await pool.close()
    assert len(ports) == 1
    assert names.asked == ["a.example"]


async def test_calls_at_once_wait_for_one_look_up(clock: ManualClock):
    """However many come; and one that gives up takes it from none."""
    names = Names(["127.0.0.1"])
    pool = _pool(clock, names)
    async with serving(_peer) as port:
        calls = [asyncio.create_task(_post(pool, port)) for _ in range(20)]
        await asyncio.sleep(0)
        calls[0].cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        await pool.close()
    assert [type(each) for each in answers[1:]] == [OutboundResponse] * 19
    assert names.asked == ["a.example"]


async def test_name_that_turns_private_is_refused_when_it_is_judged_again(clock: ManualClock):
    """Until then nothing asks it; then its connections are closed too."""
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    pool = _pool(clock, names)
    async with serving(_peer) as port:
        first = await _post(pool, port)
        await clock.advance(JUDGED_SECONDS - 1)
        assert (await _post(pool, port)).body == first.body
        await clock.advance(1)
        with pytest.raises(OutboundRefused, match=r"10\.0\.0\.1"):
            await _post(pool, port)
        assert pool.origins == 0
        await pool.close()


async def test_name_that_moves_is_found_at_its_new_address(clock: ManualClock):
    """The old connections end, the new ones are judged."""
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    pool = _pool(clock, names)
    async with serving(_peer, host="0.0.0.0") as port:  # noqa: S104 - loopback's addresses
        first = await _post(pool, port)
        await clock.advance(JUDGED_SECONDS)
        assert (await _post(pool, port)).body != first.body
        assert pool.origins == 1
        await pool.close()


async def test_connection_survives_a_judgement_that_changes_nothing(clock: ManualClock):
    """Judging costs a look-up, no new handshake."""
    names = Names(["127.0.0.1"])
    pool = _pool(clock, names)
    async with serving(_peer) as port:
        first = await _post(pool, port)
        await clock.advance(JUDGED_SECONDS)
        assert (await _post(pool, port)).body == first.body
        await pool.close()
    assert names.asked == ["a.example"] * 2


async def test_names_at_one_address_share_no_connection(clock: ManualClock):
    """An origin is scheme, name and port: whoever points a name at another's server gets nothing of its connections."""
    pool = _pool(clock, Names(["127.0.0.1"]))
    async with serving(_peer) as port:
        one, two = await _post(pool, port), await _post(pool, port, "http://b.example")
        await pool.close()
    assert one.body != two.body


async def test_call_on_a_connection_that_was_closed_meanwhile_is_sent_again(clock: ManualClock):
    """Once, and on a new one: receivers close what idles, and may do so at any moment."""
    seen: list[str] = []

    async def closes_the_second(request: web.Request) -> web.Response:
        seen.append(await request.text())
        if len(seen) == 2:
            assert request.transport is not None
            request.transport.abort()
        return web.Response()

    pool = _pool(clock, Names(["127.0.0.1"]))
    async with serving(closes_the_second) as port:
        assert [(await _post(pool, port)).status for _ in range(2)] == [200, 200]
        await pool.close()
    assert len(seen) == 3


async def test_server_that_hangs_up_on_new_connections_fails_at_once(clock: ManualClock):
    """What a new connection loses is not sent again: the server has seen it, and says so by hanging up."""
    seen: list[str] = []

    async def hangs_up(request: web.Request) -> web.Response:
        seen.append(request.path)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    pool = _pool(clock, Names(["127.0.0.1"]))
    async with serving(hangs_up) as port:
        with pytest.raises(OutboundFailed):
            await _post(pool, port)
        await pool.close()
    assert len(seen) == 1


async def test_origin_that_is_not_called_is_forgotten(clock: ManualClock):
    """With its connections, when another is called."""
    gone = asyncio.Event()

    async def watches(request: web.Request) -> web.Response:
        assert request.transport is not None
        transport = request.transport

        async def look() -> None:
            await eventually(transport.is_closing, what="the pool has closed it")
            gone.set()

        watching.append(asyncio.create_task(look()))
        return web.Response()

    watching: list[asyncio.Task[None]] = []
    pool = _pool(clock, Names(["127.0.0.1"]))
    async with serving(watches) as old, serving(_peer) as other:
        await _post(pool, old)
        await clock.advance(IDLE_SECONDS)
        await _post(pool, other)
        await gone.wait()
        assert pool.origins == 1
        await pool.close()
        await asyncio.gather(*watching)


async def test_call_that_is_under_way_ends_though_its_name_has_moved(clock: ManualClock):
    """Its session is closed behind it."""
    asked, may_go = asyncio.Event(), asyncio.Event()

    async def waits(request: web.Request) -> web.Response:
        if request.path == "/slow":
            asked.set()
            await may_go.wait()
        return web.Response()

    pool = _pool(clock, Names(["127.0.0.1"], ["127.0.0.2"]))
    async with serving(waits, host="0.0.0.0") as port:  # noqa: S104 - loopback's addresses
        slow = asyncio.create_task(
            pool.request("POST", f"http://a.example:{port}/slow", timeout=JUDGED_SECONDS * 2, max_bytes=10)
        )
        await asked.wait()
        await clock.advance(JUDGED_SECONDS)
        await _post(pool, port)
        may_go.set()
        assert (await slow).status == 200
        await pool.close()


async def test_time_is_for_the_look_up_too(clock: ManualClock):
    """A name whose servers are silent takes no longer than the call may."""

    class Silent:
        async def resolve(self, host: str, port: int) -> Sequence[str]:
            return await asyncio.get_running_loop().create_future()

    pool = OutboundPool(Outbound(LOOPBACK, clock, Silent()))
    call = asyncio.ensure_future(pool.request("POST", "https://a.example/", timeout=5, max_bytes=10))
    await eventually(lambda: clock.sleeping == 1, what="the call waits")
    await clock.advance(5)
    with pytest.raises(OutboundFailed, match="within 5 s"):
        await call
    await pool.close()


async def test_certificate_is_checked_on_kept_connections_as_well(clock: ManualClock, tmp_path: Path):
    """The name of the URL is the one that is verified, for each origin."""
    server, client = certificate_for("hooks.example", tmp_path)
    pool = _pool(clock, Names(["127.0.0.1"]), client)
    async with serving(_peer, tls=server) as port:
        assert len({(await _post(pool, port, "https://hooks.example")).body for _ in range(2)}) == 1
        with pytest.raises(OutboundFailed):
            await _post(pool, port, "https://other.example")
        await pool.close()
