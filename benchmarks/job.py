"""What a load generator is told: how members join, and what is published. `loadgen.c` says what each record means."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

# RFC 6455, section 1.3: the generator knows the answer to this one.
WEBSOCKET_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
# In what a member sends, and in what is published, these become the room and the number of the message.
ROOM = "RRRR"
NUMBER = "NNNNNNNN"
# In the payload, so that a message is known by it.
MARK = f"#{NUMBER}#"


@dataclass(frozen=True, slots=True)
class Joining:
    """How a connection becomes a member.

    `steps` are pairs: a frame that holds the first is answered by the second; the empty one stands for the upgrade. A frame that
    holds `ready` ends it. A frame that is all of `ping` is answered by `pong`.
    """

    steps: tuple[tuple[str, str], ...]
    ready: str
    path: str = "/"
    headers: tuple[str, ...] = ()
    is_binary: bool = False
    ping: str = ""
    pong: str = ""

    def records(self, address: str) -> list[tuple[str, str]]:
        """Return the records of a job."""
        lines = (
            f"GET {self.path} HTTP/1.1",
            f"Host: {address}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {WEBSOCKET_KEY}",
            *self.headers,
        )
        records = [("handshake", "\r\n".join(lines) + "\r\n\r\n"), ("opcode", "2" if self.is_binary else "1")]
        for expected, sent in self.steps:
            records += [("expect", expected), ("send", sent)]
        records.append(("expect", self.ready))
        return records + ([("ping", self.ping), ("pong", self.pong)] if self.ping else [])


@dataclass(frozen=True, slots=True)
class Broker:
    """Where messages are published, and what is sent to publish one in each room."""

    host: str
    port: int
    messages: Sequence[bytes]
    hello: bytes = b""


@dataclass(frozen=True, slots=True)
class Pace:
    """How messages follow each other, either so many always under way or so many a second, and what is measured of it."""

    warm_seconds: float
    seconds: float
    in_flight: int = 0
    per_second: float = 0.0


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many members there are, in how many rooms, and from how many addresses 127.0.0.x they come."""

    members: int
    rooms: int = 1
    sources: int = 1


def publishing_records(broker: Broker, pace: Pace) -> list[tuple[str, str | bytes]]:
    """Return the records of a job whose generator publishes as well."""
    how = ("rate_milli", f"{pace.per_second * 1000:.0f}") if pace.per_second else ("in_flight", str(pace.in_flight))
    return [
        ("publish_host", broker.host),
        ("publish_port", str(broker.port)),
        *([("hello", broker.hello)] if broker.hello else []),
        *(("message", message) for message in broker.messages),
        how,
        ("warm_ms", f"{pace.warm_seconds * 1000:.0f}"),
        ("measure_ms", f"{pace.seconds * 1000:.0f}"),
    ]


def encode(records: Iterable[tuple[str, str | bytes]]) -> bytes:
    """Write a job file."""
    parts: list[bytes] = []
    for key, value in records:
        data = value.encode() if isinstance(value, str) else value
        parts.append(b"%b %d\n%b\n" % (key.encode(), len(data), data))
    return b"".join(parts)


@dataclass(slots=True)
class Job:
    """A job file as it was read."""

    records: dict[str, list[bytes]] = field(default_factory=dict[str, list[bytes]])

    @classmethod
    def decode(cls, data: bytes) -> "Job":
        """Read a job file."""
        job, at = cls(), 0
        while at < len(data):
            key, _, length = data[at : data.index(b"\n", at)].decode().partition(" ")
            begin = data.index(b"\n", at) + 1
            job.records.setdefault(key, []).append(data[begin : begin + int(length)])
            at = begin + int(length) + 1
        return job

    def number(self, key: str, otherwise: int = 0) -> int:
        """Return what a record says, or `otherwise`."""
        return int(self.records[key][0]) if key in self.records else otherwise

    def text(self, key: str) -> bytes:
        """Return a record, or nothing."""
        return self.records.get(key, [b""])[0]
