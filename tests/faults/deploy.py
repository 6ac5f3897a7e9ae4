"""A deploy as clients see it: a node stops while they read, and others write."""

import time

from tests.harness.hub_process import HubProcess
from tests.harness.ledger import Ledger
from tests.harness.rest_client import Writer
from tests.harness.travellers import Travellers

# Clients and servers of a test share the machine: what it does late counts as a few more returns in that second, as does what
# the clients see to be late.
ALLOWANCE = 1.2


async def move(
    nodes: list[HubProcess], key: str, writer: Writer, *, sockets: int, rate: int, within: float
) -> tuple[int, float]:
    """Stop the first node under `sockets` clients, that go to the second; return the handshakes' peak and the drain's seconds.

    Raises AssertionError where anybody missed an event, got one twice or out of order, or was told to start anew, or where more
    than `rate` came back in a second.
    """
    old, new = nodes
    where = [old]
    async with Travellers(sockets, lambda: where[0].stream_url, key) as clients:
        await clients.live(within=within)
        await writer.more(20)
        where[0], began = new, time.monotonic()
        assert await old.stop(within=within) == 0
        drained = time.monotonic() - began
        await clients.live(within=within)
        await writer.more(20)
        await writer.stop()
        await _check(clients, writer.ledger, within=within)
        peak = clients.peak(began)
        assert all(each.announced == 1 and len(each.handshakes) == 2 for each in clients.all)
    assert peak <= rate * (ALLOWANCE + clients.late), f"{peak} handshakes in a second, {clients.late:.3f} s late"
    return peak, drained


async def _check(clients: Travellers, ledger: Ledger, *, within: float) -> None:
    await ledger.settle()
    mine = [(entry.position, entry.event_id) for entry in ledger.log if entry.belongs_to("agents")]
    await clients.have(mine[-1][1], within=within)
    for each in clients.all:
        assert not each.problems, each.problems
        start = each.start
        assert start is not None
        assert each.received == [entry for entry in mine if entry[0] > start]
