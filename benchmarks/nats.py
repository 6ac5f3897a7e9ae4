"""A client of NATS with JetStream, as little of one as the benchmark needs (NATS client protocol; JetStream wire API).

What is published is answered when the stream has it; what is received is acknowledged one by one.
"""

import asyncio
import itertools
from typing import Any

import orjson

STREAM, SUBJECT, DURABLE, DELIVER = "EVENTS", "benchmark.events", "receivers", "benchmark.deliver"
_INBOX = b"_INBOX.benchmark."
_CONNECT = (
    b'CONNECT {"verbose":false,"pedantic":false,"tls_required":false,"lang":"python","version":"1","protocol":1}\r\n'
)


class Nats:
    """One connection. `next` returns what comes for a subscription: reply subject and payload."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> "Nats":
        """Connect to this machine's server."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        await reader.readline()  # INFO
        writer.write(_CONNECT)
        return cls(reader, writer)

    def subscribe(self, subject: bytes) -> None:
        """Ask for what is sent to a subject."""
        self._writer.write(b"SUB %b 1\r\n" % subject)

    def publish(self, subject: bytes, payload: bytes, reply: bytes = b"") -> None:
        """Send to a subject; `reply` is where an answer goes."""
        self._writer.write(b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(payload), payload))

    async def next(self) -> tuple[bytes, bytes, bytes]:
        """Return subject, reply subject and payload of the next message. Raises RuntimeError for an error of the server."""
        while True:
            line = await self._reader.readline()
            if line.startswith(b"MSG "):
                _, subject, _, *reply, size = line.split()
                payload = await self._reader.readexactly(int(size) + 2)
                return subject, reply[0] if reply else b"", payload[:-2]
            if line.startswith(b"PING"):
                self._writer.write(b"PONG\r\n")
            elif line.startswith(b"-ERR") or not line:
                raise RuntimeError(line.decode() or "the server is gone")

    def close(self) -> None:
        """End the connection."""
        self._writer.close()


class Asking:
    """Publishes and calls the server, each with an answer."""

    def __init__(self, nats: Nats) -> None:
        self._nats = nats
        self._numbers = itertools.count()
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        nats.subscribe(_INBOX + b"*")
        self._task = asyncio.create_task(self._answers())

    def begin(self, subject: str, payload: bytes) -> "asyncio.Future[bytes]":
        """Send; returns the answer to come."""
        inbox = _INBOX + b"%d" % next(self._numbers)
        answer = self._waiting[inbox] = asyncio.get_running_loop().create_future()
        self._nats.publish(subject.encode(), payload, inbox)
        return answer

    async def ask(self, subject: str, payload: bytes) -> dict[str, Any]:
        """Return the answer. Raises RuntimeError where the server refuses."""
        return check(await self.begin(subject, payload))

    async def close(self) -> None:
        """End the connection."""
        self._task.cancel()
        await asyncio.wait({self._task})
        self._nats.close()

    async def _answers(self) -> None:
        while True:
            subject, _, payload = await self._nats.next()
            self._waiting.pop(subject).set_result(payload)


def check(answer: bytes) -> dict[str, Any]:
    """Return what the server has answered. Raises RuntimeError where it refuses."""
    said = orjson.loads(answer)
    if "error" in said:
        raise RuntimeError(str(said["error"]))
    return said


async def make_stream(asking: Asking) -> None:
    """Make an empty stream in files, with a durable consumer that acknowledges each event by itself."""
    stream = {"name": STREAM, "subjects": [SUBJECT], "storage": "file", "num_replicas": 1}
    await asking.ask(f"$JS.API.STREAM.CREATE.{STREAM}", orjson.dumps(stream))
    consumer = {
        "durable_name": DURABLE,
        "deliver_subject": DELIVER,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": 30_000_000_000,
        "max_ack_pending": 10_000,
    }
    told = orjson.dumps({"stream_name": STREAM, "config": consumer})
    await asking.ask(f"$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.{DURABLE}", told)
