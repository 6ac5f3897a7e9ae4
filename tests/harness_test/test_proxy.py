"""The proxy does what networks do: late, slow, half-open, cut, refused."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.harness.engines import short_folder
from tests.harness.proxy import FaultProxies, FaultProxy
from tests.harness.waiting import eventually


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@pytest.fixture
async def proxy(proxies: FaultProxies) -> AsyncIterator[FaultProxy]:
    """A proxy before a server that sends back what it gets."""
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield await proxies.open(f"http://127.0.0.1:{port}")
    server.close()


async def dial(proxy: FaultProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(proxy.address.host, proxy.address.port)


async def test_bytes_pass_unchanged(proxy: FaultProxy):
    """Without faults it is not there."""
    reader, writer = await dial(proxy)
    sent = bytes(range(256)) * 4096
    writer.write(sent)
    writer.write_eof()
    assert await reader.read(-1) == sent
    writer.close()


async def test_cut_in_mid_message_gives_exactly_the_bytes_before_it(proxy: FaultProxy):
    """A connection can end inside a frame; by FIN the bytes before the cut arrive."""
    proxy.on_connect = lambda connection: connection.down.cut_after(7, "fin")
    reader, writer = await dial(proxy)
    writer.write(b"0123456789")
    assert await reader.read(-1) == b"0123456"
    writer.close()


async def test_reset_is_seen_as_a_lost_connection(proxy: FaultProxy):
    """RST reaches the client as such."""
    reader, writer = await dial(proxy)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    proxy.cut_all("rst")
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()
    assert "cut by rst" in proxy.log[-1]


async def test_frozen_connection_stays_open_and_silent(proxy: FaultProxy):
    """Half-open: the client's writes succeed, nothing comes; thawed, everything comes."""
    reader, writer = await dial(proxy)
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    proxy.connections[0].down.freeze()
    writer.write(b"b")
    answer = asyncio.create_task(reader.readexactly(1))
    await eventually(lambda: proxy.connections[0].up.passed == 2)
    assert not answer.done()
    proxy.connections[0].down.thaw()
    assert await answer == b"b"
    writer.close()


async def test_delay_and_rate_take_their_time(proxy: FaultProxy):
    """1,000 bytes at 5,000 a second, 50 ms late, take a quarter of a second."""
    loop = asyncio.get_running_loop()

    def slow(connection: object) -> None:
        down = proxy.connections[0].down
        down.delay, down.rate = 0.05, 5000

    proxy.on_connect = slow
    reader, writer = await dial(proxy)
    before = loop.time()
    writer.write(b"x" * 1000)
    await reader.readexactly(1000)
    assert loop.time() - before >= 0.2
    writer.close()


async def test_refusing_proxy_keeps_what_is_connected(proxy: FaultProxy):
    """New connections are refused; old ones stay; the port is the same when it opens again."""
    reader, writer = await dial(proxy)
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await dial(proxy)
    writer.write(b"b")
    assert await reader.readexactly(1) == b"b"
    await proxy.accept()
    _, second = await dial(proxy)
    writer.close()
    second.close()


async def test_unix_sockets_are_carried_too(proxies: FaultProxies):
    """Engines listen on unix sockets."""
    folder = short_folder("hub-echo")
    path = folder / "server"
    server = await asyncio.start_unix_server(echo, str(path))
    proxy = await proxies.open(f"unix://{path}")
    reader, writer = await asyncio.open_unix_connection(proxy.address.path)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.close()
    server.close()
    path.unlink(missing_ok=True)
    folder.rmdir()
