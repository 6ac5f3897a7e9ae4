"""NATS JetStream beside the hub's subscriptions: a stream in files, a durable consumer that acknowledges each event."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory

from benchmarks import nats
from benchmarks.bench import Bench
from benchmarks.deliverers import Engines, Line
from benchmarks.peers.catalogue import INSTALLED
from benchmarks.publisher import event_template
from benchmarks.receiving import receiving
from benchmarks.server import ServerProcess, clean_environment

PROGRAM = INSTALLED / "jetstream"
_TOGETHER = 500


class JetStream:
    """Publishes with an answer for each event, and is pushed to one receiver."""

    key, title = "jetstream", "NATS JetStream: a stream in files, a durable consumer"

    def __init__(self, bench: Bench, engines: Engines, sizes: tuple[float, int]) -> None:
        del engines
        self.per_second, self.backlog = sizes
        self._bench = bench

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Line]:
        """Start the server with an empty stream, and the receiver."""
        with TemporaryDirectory(prefix="jetstream-", dir=self._bench.folder) as folder:
            log = self._bench.folder / "jetstream.log"
            command, cores = (str(PROGRAM), folder), self._bench.cores
            server = ServerProcess(command, cores=cores, environment=clean_environment(), log=log)
            await server.start()
            asking = nats.Asking(await nats.Nats.open(server.port))
            try:
                async with receiving("jetstream", {"port": server.port}) as receiver:
                    await nats.make_stream(asking)
                    yield Line(_Publisher(asking), receiver, server, [])
            finally:
                await asking.close()
                await server.stop()


class _Publisher:
    def __init__(self, asking: nats.Asking) -> None:
        self._asking = asking
        self._event = event_template()

    async def publish(self, slot: int, number: int) -> None:
        del slot
        await self._publish([number])

    async def publish_all(self, numbers: range) -> None:
        for first in range(0, len(numbers), _TOGETHER):
            await self._publish(numbers[first : first + _TOGETHER])

    async def _publish(self, numbers: Sequence[int]) -> None:
        answers = [self._asking.begin(nats.SUBJECT, self._written(number)) for number in numbers]
        for answer in answers:
            nats.check(await answer)

    def _written(self, number: int) -> bytes:
        return self._event.replace("NNNNNNNN", f"{number:08}").encode()
