"""From a POST to the event's frame: how long until the middle and the last subscriber have it, one POST after the other."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.generator import Generators, Request, members
from benchmarks.hub_under_test import HubUnderTest
from benchmarks.report import Column, Row, Table, percentile_ms
from benchmarks.server import ServerProcess

BODY = b'{"name":"Ada","type":"assistant","capabilities":["search"],"config":{"temperature":0.2},"metadata":{"team":"support"}}'
# Not measured: connections, statements and caches that the first ones make.
WARM_POSTS = 20
ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """With how many subscribers, and how many POSTs each time."""

    subscribers: tuple[int, ...]
    posts: int


WHOLE = Sizes(subscribers=(1, 100, 1000), posts=400)
QUICK = Sizes(subscribers=(1, 10), posts=10)
COLUMNS = tuple(
    Column(f"{what}_{share}", f"{title}, p{share} ms", digits=1, spread=False)
    for what, title in (
        ("answer", "POST answered"),
        ("middle", "frame at the middle one"),
        ("last", "frame at the last"),
    )
    for share in (50, 99)
)


async def measure(bench: Bench) -> list[Table]:
    """Measure with each number of subscribers."""
    sizes = QUICK if bench.quick else WHOLE
    organisation = await bench.hub.organisation("writes")
    rows = [
        await _measure(bench.hub, bench.generators, organisation.key, count, sizes.posts) for count in sizes.subscribers
    ]
    says = f"**From a POST to the event's frame**, all from before the POST, {sizes.posts} POSTs one after the other:"
    return [Table("latency", says, "subscribers", COLUMNS, rows)]


async def _measure(hub: HubUnderTest, generators: Generators, key: str, subscribers: int, posts: int) -> Row:
    request = Request("POST", "/v2/agents", 201, key, BODY)
    answers: list[int] = []
    medians: list[int] = []
    lasts: list[int] = []
    async with members(generators, hub.server, key=key, count=subscribers, seconds=120 + posts) as connected:
        poster = await Poster.open(hub.server, request)
        for _ in range(WARM_POSTS + posts):
            begin = time.monotonic_ns()
            await poster.post()
            answers.append(time.monotonic_ns() - begin)
            arrival = await connected.next()
            medians.append(arrival.median_ns - begin)
            lasts.append(arrival.last_ns - begin)
        poster.close()
    await hub.server.idle()
    waits = {"answer": answers, "middle": medians, "last": lasts}
    return Row(
        f"{subscribers:,}",
        {
            f"{what}_{share}": [percentile_ms(some[WARM_POSTS:], share)]
            for what, some in waits.items()
            for share in (50, 99)
        },
    )


class Poster:
    """One keep-alive connection that sends the same request; less between the clock and the wire than an HTTP client has."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: ServerProcess, request: Request
    ):
        self._reader = reader
        self._writer = writer
        self._bytes = request.encode(server.address)
        self._expected = b"HTTP/1.1 %d " % request.status

    @classmethod
    async def open(cls, server: ServerProcess, request: Request) -> "Poster":
        """Connect."""
        reader, writer = await asyncio.open_connection(server.host, server.port)
        return cls(reader, writer, server, request)

    async def post(self) -> Mapping[str, str]:
        """Send it, read the answer and return its headers, by names in small letters. Raises RuntimeError for another status."""
        self._writer.write(self._bytes)
        async with asyncio.timeout(ANSWER_SECONDS):
            head = await self._reader.readuntil(b"\r\n\r\n")
            if not head.startswith(self._expected):
                raise RuntimeError(f"the answer was {head.decode()}")
            lines = (line.split(": ", 1) for line in head.decode().strip().split("\r\n")[1:])
            headers = {name.lower(): value for name, value in lines}
            await self._reader.readexactly(int(headers["content-length"]))
        return headers

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()
