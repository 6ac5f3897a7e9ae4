"""What is no HTTP costs its answer, and nothing after it."""

import gc
import tracemalloc

from tests.rest.server import RestServer

REQUESTS = 40
# What the kernel hands over at once is held by the error of the parser, and the error by itself.
HEADERS = b"GET / HTTP/1.1\r\nX: " + b"x" * 60_000 + b"\r\n\r\n"


async def test_broken_requests_are_let_go_without_the_collector(rest: RestServer):
    """The collector counts objects and not their sizes: until it comes, headers of some megabytes would be a gigabyte."""
    (await rest.send(HEADERS)).error(400, "BAD_REQUEST")
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(REQUESTS):
            (await rest.send(HEADERS)).error(400, "BAD_REQUEST")
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert after - before < REQUESTS * len(HEADERS) / 4
