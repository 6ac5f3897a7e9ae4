"""A total restart as clients see it: everything is killed, and all come back at once, while others use REST."""

import asyncio
import contextlib
import time
from dataclasses import dataclass

from tests.harness.hub_process import HubProcess
from tests.harness.rest_client import RestClient, Writer
from tests.harness.travellers import Travellers
from tests.harness.waiting import cancelled, let_pass

PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Storm:
    """What was seen: the most streams opened in a second, refusals, seconds until all had all, and REST's 99th percentile in ms."""

    peak: int
    refused: int
    seconds: float
    rest_p99_ms: float


async def storm(node: HubProcess, key: str, writer: Writer, *, sockets: int, within: float) -> Storm:
    """Kill the node under `sockets` clients, start it again, and return what came of it.

    Raises AssertionError where anybody has not everything within `within` seconds, once and in order.
    """
    where = [node.stream_url]
    async with Travellers(sockets, lambda: where[0], key, opening=sockets) as clients:
        await clients.live(within=120)
        await writer.more(10)
        node.kill()
        await node.start()
        where[0], began = node.stream_url, time.monotonic()
        times: list[float] = []
        asking = asyncio.create_task(_ask(node, key, times))
        try:
            await writer.more(10)
            await clients.live(within=within)
            await writer.more(5)
            await writer.stop()
            await writer.ledger.settle()
            mine = [(entry.position, entry.event_id) for entry in writer.ledger.log if entry.belongs_to("agents")]
            await clients.have(mine[-1][1], within=max(1.0, within - (time.monotonic() - began)))
            seconds = time.monotonic() - began
        finally:
            await cancelled(asking)
        for each in clients.all:
            # The kill was no proper end.
            assert [problem for problem in each.problems if problem != "closed with 1006"] == []
            assert each.start is not None
            assert each.received == [entry for entry in mine if entry[0] > each.start]
        refused = sum(each.refused for each in clients.all)
        return Storm(clients.welcomes(began), refused, seconds, _p99(times) * 1000)


async def _ask(node: HubProcess, key: str, times: list[float]) -> None:
    """Read by REST again and again."""
    async with RestClient(node.base_url, key) as client:
        while True:
            began = time.monotonic()
            with contextlib.suppress(OSError, TimeoutError):
                answer = await client.call("GET", "/v2/agents?per_page=5")
                assert answer.status == 200, answer
            times.append(time.monotonic() - began)
            await let_pass(PAUSE_SECONDS)


def _p99(times: list[float]) -> float:
    return sorted(times)[max(0, round(len(times) * 0.99) - 1)]
