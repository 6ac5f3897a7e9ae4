"""The load generators in Python, for machines without a C compiler: the same arguments and lines as loadgen.c and httpload.c.

One core of Python parses fewer frames than the hub sends, so figures made with it are lower bounds.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import uvloop

from benchmarks.fallback_members import Ending, loadgen
from benchmarks.report import percentile_ms


class Asker(asyncio.Protocol):
    """One keep-alive connection with one request under way; `on_answer` says whether to send another."""

    def __init__(
        self, requests: Iterator[bytes], status: str, on_answer: Callable[[int, int], bool], ending: Ending
    ) -> None:
        self._requests = requests
        self._expected = f"HTTP/1.1 {status} ".encode()
        self._is_bodiless = status in ("204", "304")
        self._on_answer = on_answer
        self._ending = ending
        self._buffer = bytearray()
        self._sent_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first."""
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """A connection that is lost makes the figures void."""
        self._ending.ended(f"the server ended a connection: {exc}")

    def data_received(self, data: bytes) -> None:
        """Read the answer; send the next request when it is complete."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        if not self._buffer.startswith(self._expected):
            self._ending.ended(f"not the expected status: {bytes(self._buffer)!r}")
            return
        head = bytes(self._buffer[:end]).lower()
        length = 0 if self._is_bodiless else int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(self._buffer) >= end + 4 + length:
            self._buffer.clear()
            if self._on_answer(self._sent_ns, time.monotonic_ns()):
                self._ask()

    def _ask(self) -> None:
        self._sent_ns = time.monotonic_ns()
        self._transport.write(next(self._requests))


async def httpload(
    host: str, port: str, connections: str, warm_ms: str, measure_ms: str, status: str, request_file: str
) -> None:
    """Do what httpload.c does."""
    ending = Ending()
    measured = _Measured(int(warm_ms), int(measure_ms))

    def on_answer(sent_ns: int, now: int) -> bool:
        if measured.take(sent_ns, now):
            return True
        ending.ended()
        return False

    requests = itertools.cycle(_read(request_file).split(b"\0"))
    loop = asyncio.get_running_loop()
    for _ in range(int(connections)):
        await loop.create_connection(lambda: Asker(requests, status, on_answer, ending), host, int(port))
    await ending.wait()
    shares = (round(percentile_ms(measured.waits, share) * 1000) for share in (50, 99))
    print(len(measured.waits), measured.last - measured.begin, *shares, flush=True)


class _Measured:
    """The answers between the warm-up and the end."""

    def __init__(self, warm_ms: int, measure_ms: int) -> None:
        self.begin = time.monotonic_ns() + warm_ms * 1_000_000
        self.last = self.begin
        self.waits: list[int] = []
        self._length = measure_ms * 1_000_000
        self._is_measuring = False

    def take(self, sent_ns: int, now: int) -> bool:
        """Count an answer; returns whether there is still time."""
        if self._is_measuring:
            self.waits.append(now - sent_ns)
            self.last = now
        elif now >= self.begin:
            self._is_measuring = True
            self.begin = now
            print("measuring", flush=True)
        return not self._is_measuring or now < self.begin + self._length


def _read(file: str) -> bytes:
    return Path(file).read_bytes()


if __name__ == "__main__":
    uvloop.run({"loadgen": loadgen, "httpload": httpload}[sys.argv[1]](*sys.argv[2:]))
