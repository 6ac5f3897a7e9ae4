"""Where the keys of Redis are: all at one server, or by slots at the masters of a cluster. No I/O.

A sharded channel has a slot as a key has. What stands between the first braces of a name alone decides about its slot.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.asyncio.connection import parse_url
from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS
from redis.crc import key_slot

__all__ = ["SLOTS", "Address", "SlotMap", "address_of", "read_slots", "slot_of"]


class Address(NamedTuple):
    """Where a server listens: `path` of a unix socket, else `host` and `port`."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


# First and last slot, and the master that has them.
Range = tuple[int, int, Address]


class SlotMap:
    """Which server has which slot, as one server told it at one time."""

    def __init__(self, ranges: Sequence[Range], *, is_cluster: bool = True) -> None:
        self.is_cluster = is_cluster
        self.ranges = sorted(ranges)
        self._owners: list[Address | None] = [None] * SLOTS
        for first, last, address in self.ranges:
            self._owners[first : last + 1] = [address] * (last + 1 - first)

    @classmethod
    def single(cls, address: Address) -> "SlotMap":
        """Return the map of a server that is no cluster."""
        return cls([(0, SLOTS - 1, address)], is_cluster=False)

    @property
    def masters(self) -> list[Address]:
        """The servers that have slots."""
        return list(dict.fromkeys(address for _, _, address in self.ranges))

    @property
    def uncovered(self) -> int:
        """How many slots no server has."""
        return self._owners.count(None)

    def owner(self, slot: int) -> Address | None:
        """Return the server that has the slot; None where nobody has it."""
        return self._owners[slot]

    def move(self, slot: int, address: Address) -> None:
        """Note that the slot is at another server."""
        self.ranges.append((slot, slot, address))
        self._owners[slot] = address


def slot_of(name: str | bytes) -> int:
    """Return the slot of a key or of a sharded channel."""
    return key_slot(name.encode() if isinstance(name, str) else name)


def read_slots(answer: Sequence[Any], asked: Address) -> SlotMap:
    """Read what `asked` answers to CLUSTER SLOTS. A server that does not know its own address stands where it was asked."""
    ranges: list[Range] = []
    for first, last, master, *_ in answer:
        host = (master[0] or b"").decode()
        address = Address(asked.host if host in ("", "?") else host, int(master[1]))
        ranges.append((int(first), int(last), address))
    return SlotMap(ranges)


def address_of(url: str) -> Address:
    """Return the address in the URL of one server, read as redis-py does."""
    options = parse_url(url)
    if "path" in options:
        return Address(path=str(options["path"]))
    return Address(str(options.get("host", "localhost")), int(options.get("port", 6379)))
