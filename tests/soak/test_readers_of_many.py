"""Two thousand readers by server-sent events beside two thousand sockets: `make soak` weighs what each keeps of a node's memory."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack

import psutil
import pytest

from core.auth.organisations import set_limits
from core.store.database import connect_as
from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.waiting import eventually, let_pass

READERS, TOGETHER = 2_000, 50
# Before it is weighed: what a process loads with its first clients is nobody's.
FIRST = 100
# A socket has its parser of frames and its writer besides, a reader its cursor.
MOST_BESIDE_A_SOCKET = 1.5
MOST_KIB = 64
ITEM = '{"channel":"twins","filter":{"type":"logistics"}}'
QUERIES = {
    "server-sent events": "channels=agents",
    "server-sent events, a filter": "subscribe=" + ITEM.replace('"', "%22"),
}


def events(query: str, key: str) -> bytes:
    """Return the request of a reader."""
    return f"GET /v2/stream/events?{query} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


def socket(item: str, key: str) -> bytes:
    """Return a handshake, and the frame that subscribes, masked with zeros (RFC 6455, section 5.2)."""
    lines = (
        "GET /v2/stream HTTP/1.1",
        "Host: h",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Authorization: Bearer {key}",
    )
    more = ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
    text = f'{{"type":"subscribe","channels":[{item}]}}'.encode()
    assert len(text) < 126
    return "\r\n".join([*lines, *more, "", ""]).encode() + bytes((0x81, 0x80 | len(text))) + bytes(4) + text


async def opened(node: HubProcess, request: bytes, count: int, stack: ExitStack) -> None:
    """Open so many, each of which is subscribed then."""
    port = int(node.base_url.rpartition(":")[2])

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**14)
        stack.callback(writer.close)
        writer.write(request)
        async with asyncio.timeout(60):
            await reader.readuntil(b'"subscribed"')

    for _ in range(0, count, TOGETHER):
        await asyncio.gather(*(one() for _ in range(TOGETHER)))


async def resident(node: HubProcess) -> int:
    """Return the process' resident memory once that stands still."""
    process = psutil.Process(node.pid)
    seen: list[int] = []

    async def stands() -> bool:
        seen.append(process.memory_info().rss)
        await let_pass(0.2)
        return len(seen) > 5 and max(seen[-5:]) - min(seen[-5:]) < 2**18

    await eventually(stands, within=60)
    return seen[-1]


async def weighed(node: HubProcess, request: bytes) -> float:
    """Return the KiB that each of the readers keeps resident."""
    with ExitStack() as stack:
        await opened(node, request, FIRST, stack)
        before = await resident(node)
        await opened(node, request, READERS, stack)
        return (await resident(node) - before) / READERS / 1024


@pytest.mark.deadline(0)
async def test_two_thousand_readers_beside_as_many_sockets(
    engines: EngineUrls, database_url: str, redis_url: str, organisation: Organisation, hubs: HubProcesses
):
    """Each kind on a node of its own, for memory that was given back is not the system's again."""
    urls = EngineUrls(database_url, engines.superuser_url, redis_url)
    key = await organisation.key()
    owner = await connect_as(database_url, "hub_owner")
    await set_limits(owner, organisation.slug, {"concurrent_connections": 2 * READERS})
    await owner.close()
    environment = {"HUB_HANDSHAKES_PER_SECOND": "100000", "HUB_LOG": "warning"}
    kinds: dict[str, Callable[[], bytes]] = {
        "sockets": lambda: socket('"agents"', key),
        "sockets, a filter": lambda: socket(ITEM, key),
        **{name: lambda query=query: events(query, key) for name, query in QUERIES.items()},
    }
    found: dict[str, float] = {}
    for name, request in kinds.items():
        node = await hubs.start(urls=urls, environment=environment)
        found[name] = await weighed(node, request())
        await node.stop()
    print({name: f"{kib:.1f} KiB a reader" for name, kib in found.items()})
    for more in ("", ", a filter"):
        assert found[f"server-sent events{more}"] <= MOST_BESIDE_A_SOCKET * found[f"sockets{more}"]
    assert max(found.values()) < MOST_KIB
