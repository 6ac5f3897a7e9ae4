"""Hostile bytes against a hub process: a refusal of the catalogue or a closed connection in time, and no memory kept."""

import asyncio
import gzip
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import orjson
import psutil
import pytest

from core.errors import CATALOGUE
from core.store.engines import EngineUrls
from tests.harness.clock import ManualClock
from tests.harness.engines import run
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisations
from tests.harness.waiting import eventually
from tests.rest.server import Answer, RestServer, head, read_answer

MIB = 1024 * 1024
LARGE = 10 * MIB
# Well below the hub's own deadline for a body, 30 s: none of these may have to wait for it.
DEADLINE_SECONDS = 20.0
ROUNDS = 5
# What a process may differ by from one look to the next: less than any one of these, kept in each round.
MOST_GROWTH = 40 * MIB


@pytest.fixture(scope="module")
def hub(urls: EngineUrls) -> Iterator[HubProcess]:
    """One node."""
    processes = HubProcesses()
    yield run(processes.start(urls=urls))
    processes.end()


@pytest.fixture
async def own_key(urls: EngineUrls) -> str:
    """A key of the process, with every scope."""
    return await (await Organisations(urls.database_url).create()).key()


def memory_of(hub: HubProcess) -> int:
    """Return what the process has in memory, in bytes."""
    return psutil.Process(hub.pid).memory_info().rss


async def attack(hub: HubProcess, *pieces: bytes) -> Answer | None:
    """Send as much as is taken; return the answer, None where the connection was closed. Raises TimeoutError."""
    port = urlsplit(hub.base_url).port or 0
    async with asyncio.timeout(DEADLINE_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = asyncio.ensure_future(read_answer(reader))
        try:
            await _write(writer, pieces, answer)
            return await answer
        except (ConnectionError, asyncio.IncompleteReadError):
            return None
        finally:
            answer.cancel()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _write(writer: asyncio.StreamWriter, pieces: Iterable[bytes], answer: asyncio.Future[Answer]) -> None:
    """Send until all is sent, or there is an answer, which may come before all was read."""
    for piece in pieces:
        for at in range(0, len(piece), MIB // 4):
            if answer.done() or writer.is_closing():
                return
            writer.write(piece[at : at + MIB // 4])
            with suppress(ConnectionError):
                await writer.drain()


def is_refused(answer: Answer | None) -> bool:
    """Tell whether this is a 4xx of the catalogue, or a closed connection."""
    if answer is None:
        return True
    if not 400 <= answer.status < 500:
        return False
    return CATALOGUE[orjson.loads(answer.body)["error"]["code"]].status == answer.status


def _chunked(key: str) -> bytes:
    return head("POST", "/v2/agents", key, "Content-Type: application/json", "Transfer-Encoding: chunked")


HEADS = {
    "header of 10 MB": b"GET /livez HTTP/1.1\r\nHost: hub\r\nX-A: " + b"a" * LARGE + b"\r\n\r\n",
    "headers of 10 MB": b"GET /livez HTTP/1.1\r\nHost: hub\r\n" + b"X-A: " + b"\r\nX-A: ".join([b"a" * 1000] * 10_000),
    "path of 10 MB": b"GET /" + b"a" * LARGE + b" HTTP/1.1\r\nHost: hub\r\n\r\n",
    "method of 10 MB": b"G" * LARGE,
    "name of a header of 10 MB": b"GET /livez HTTP/1.1\r\nHost: hub\r\n" + b"a" * LARGE,
}
BODIES = {
    "chunk that is larger than it says": b"5\r\n" + b'{"name":"A"}' + b"\r\n0\r\n\r\n",
    "chunk of 2^64 bytes": b"FFFFFFFFFFFFFFFF\r\n" + b" " * 2 * MIB,
    "chunk of more": b"1" + b"0" * 40 + b"\r\n" + b" " * 2 * MIB,
    "size that is none": b"zz\r\n{}\r\n0\r\n\r\n",
    "negative size": b"-1\r\n{}\r\n0\r\n\r\n",
    "size of 10 MB": b"0" * LARGE + b"\r\n\r\n",
    "extension of 10 MB": b"2;a=" + b"a" * LARGE + b"\r\n{}\r\n0\r\n\r\n",
    "trailer of 10 MB": b"2\r\n{}\r\n0\r\nX-A: " + b"a" * LARGE + b"\r\n\r\n",
    "trailers of 10 MB": b"2\r\n{}\r\n0\r\n" + b"X-A: aaaaaaaaaaaa\r\n" * (LARGE // 19),
    "body of 10 MB in chunks of a byte": b"1\r\n \r\n" * (LARGE // 6),
}

# A gateway before the hub may read one of these otherwise: then what it has checked is not what is done (RFC 9112, section 11.2).
AMBIGUOUS = {
    "two lengths": ("Content-Length: 2", "Content-Length: 30"),
    "two lengths in one line": ("Content-Length: 2, 30",),
    "length with a sign": ("Content-Length: +2",),
    "length in hexadecimal": ("Content-Length: 0x2",),
    "length and chunks": ("Content-Length: 2", "Transfer-Encoding: chunked"),
    "chunks, and then not": ("Transfer-Encoding: chunked, identity",),
    "coding that nobody knows": ("Transfer-Encoding: xchunked",),
    "chunks twice": ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "space before the colon": ("Content-Length : 2",),
    "header over two lines": ("X-A: a", " Content-Length: 2"),
}


_NAMED = b'{"name":"A","metadata":{"x":'
TEXTS = {
    "a million brackets": b"[" * (MIB - 1),
    "a million braces": b'{"a":' * (MIB // 5),
    "a number of a million digits": _NAMED + b"9" * (MIB - 40) + b"}}",
    "an exponent of a million digits": _NAMED + b"1e" + b"9" * (MIB - 40) + b"}}",
    "a name twice": b'{"name":"A","name":"B"}',
    "65 levels": _NAMED + b"[" * 65 + b"]" * 65 + b"}}",
    "NaN": _NAMED + b"NaN}}",
    "a lone surrogate": b'{"name":"\\udfff"}',
    "a lone surrogate in a name": b'{"name":"A","metadata":{"\\ud800":1}}',
    "NUL": b'{"name":"A\\u0000"}',
    "50,000 names twice": b'{"name":"A","metadata":{' + b",".join([b'"n":1'] * 50_000) + b"}}",
}


def _text(key: str, body: bytes, *lines: str) -> bytes:
    sized = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    return head("POST", "/v2/agents", key, *sized, *lines) + body


def attacks(key: str) -> dict[str, tuple[bytes, ...]]:
    """Return all that is sent, by name, in pieces."""
    bomb = gzip.compress(b" " * 64 * MIB)
    return {
        **{name: (sent,) for name, sent in HEADS.items()},
        **{name: (_chunked(key), sent) for name, sent in BODIES.items()},
        **{name: (_text(key, sent),) for name, sent in TEXTS.items()},
        "a gzip that unpacks to 64 MiB": (_text(key, bomb, "Content-Encoding: gzip"),),
        "a body without a credential": (_chunked("none"), BODIES["body of 10 MB in chunks of a byte"]),
    }


async def test_attacks_are_refused_in_time_and_leave_no_memory(hub: HubProcess, own_key: str):
    """Once to begin with, then over and over: what one of them left behind would be seen."""
    sent = attacks(own_key)
    answers = {name: await attack(hub, *pieces) for name, pieces in sent.items()}
    assert [(name, answer) for name, answer in answers.items() if not is_refused(answer)] == []
    before = memory_of(hub)
    for _ in range(ROUNDS):
        for name, pieces in sent.items():
            assert is_refused(await attack(hub, *pieces)), name
    await eventually(lambda: memory_of(hub) - before < MOST_GROWTH, what="its memory is what it was")


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_request_whose_end_is_in_doubt_is_refused(rest: RestServer, key: str, name: str):
    """Whatever two readers could take for different requests is no request, and the last of its connection."""
    async with rest.connection() as (reader, writer):
        writer.write(head("POST", "/v2/agents", key, *AMBIGUOUS[name]) + b"2\r\n{}\r\n0\r\n\r\n")
        (await read_answer(reader)).error(400, "BAD_REQUEST")
        assert await reader.read() == b""


async def test_client_that_pipelines_and_takes_no_answers_is_read_no_further(hub: HubProcess):
    """The hub stops reading, and so keeps little of what is not read; others are served meanwhile."""
    before = memory_of(hub)
    asked = b"GET /errors HTTP/1.1\r\nHost: hub\r\n\r\n" * 1000
    turned_away, sent = 0, 0

    def takes_no_more(client: socket.socket) -> bool:
        nonlocal turned_away, sent
        try:
            sent += client.send(asked)
            turned_away = 0
        except BlockingIOError:
            turned_away += 1
        return turned_away >= 25 or sent >= 4 * LARGE

    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", urlsplit(hub.base_url).port or 0))
        client.settimeout(0)
        await eventually(lambda: takes_no_more(client), within=DEADLINE_SECONDS, what="it is read no further")
        assert sent < 4 * LARGE
        assert memory_of(hub) - before < MOST_GROWTH
        answer = await attack(hub, b"GET /livez HTTP/1.1\r\nHost: hub\r\n\r\n")
        assert answer is not None
        assert answer.status == 200


@pytest.mark.parametrize("broken", [b"zz\r\n", b"-1\r\n", b"0\r\nX-A: " + b"a" * 20_000])
async def test_body_that_is_broken_while_it_is_awaited_is_refused_at_once(
    rest: RestServer, key: str, clock: ManualClock, broken: bytes
):
    """Not when its time is over: the clock stands still here."""
    assert (await rest.call("GET", "/v2/agents", key)).status == 200
    waiting = clock.sleeping
    async with rest.connection() as (reader, writer):
        writer.write(_chunked(key) + b"1\r\n{\r\n")
        await eventually(lambda: clock.sleeping > waiting)
        writer.write(broken)
        answer = await read_answer(reader)
        answer.error(400, "BAD_REQUEST")
        assert answer.headers["Connection"] == "close"
        assert await reader.read() == b""


async def test_body_that_is_broken_at_any_moment_is_refused_at_once(rest: RestServer, key: str):
    """Also in the turn of the loop in which its request was taken up, and nobody reads it yet."""
    for turns in range(24):
        async with rest.connection() as (reader, writer):
            writer.write(_chunked(key))
            for _ in range(turns):
                await asyncio.sleep(0)
            writer.write(b"zz\r\n")
            (await read_answer(reader)).error(400, "BAD_REQUEST")
