"""A consumer by socket: `python -m tests.faults.socket_consumer <plan>`. It acknowledges most; with the rest it does what happens.

The plan is that of the puller (tests/faults/puller.py).
"""

import asyncio
import random
from itertools import count
from typing import Any

from tests.faults.consuming import Plan, consume
from tests.harness.handed_out import How
from tests.harness.journal import Journal, received, seconds_of
from tests.harness.stream_client import LOST, Frame, StreamClient, open_stream
from tests.harness.waiting import let_pass

# In so many of a thousand events: it is refused; nothing is said; the lease is extended, and then it is acknowledged; the consumer
# ends its socket with all that it has, and comes back.
REFUSED, SILENT, EXTENDED, LEFT = 30, 10, 30, 2
MOST = (1, 20, 200)
# A node that is silent for so long has gone: it pings more often.
SILENCE_SECONDS = 90.0


class Leaving(Exception):
    """The consumer ends its socket."""


class SocketConsumer:
    """One of the workers of a subscription: a socket, and another one when it has ended."""

    def __init__(self, plan: Plan, wanted: dict[str, Any], journal: Journal, chance: random.Random) -> None:
        self._plan, self._journal, self._chance = plan, journal, chance
        self._name, self._channel = wanted["name"], f"subscriptions:{wanted['id']}"
        self._refuses, self._poison, self._seconds = wanted["refuses"], wanted["poison"], wanted["ack_seconds"]
        self._open: set[str] = set()
        self._numbers = count(1)

    async def run(self) -> None:
        """Consume, until cancelled."""
        while True:
            try:
                await self._consume()
            except (*LOST, Leaving):
                await let_pass(0.1)
            finally:
                # What is not answered goes to others from now on.
                self._journal.ended(sorted(self._open))
                self._open.clear()

    async def _consume(self) -> None:
        url = self._plan.node(self._chance).replace("http", "ws", 1) + "/v2/stream"
        async with open_stream(url, self._plan.key) as client:
            self._journal.taking(self._name)
            wanted = {"channel": self._channel, "max_in_flight": self._chance.choice(MOST)}
            await client.send({"id": "join", "type": "subscribe", "channels": [wanted]})
            while True:
                frame = await client.receive(within=SILENCE_SECONDS)
                # The harness keeps all frames.
                client.frames.clear()
                await self._take(client, frame)

    async def _take(self, client: StreamClient, frame: Frame) -> None:
        match frame["type"]:
            case "event":
                await self._answer(client, frame)
            # Without an id it is of an extension, that the acknowledgement behind it has overtaken.
            case "result" if "id" in frame:
                self._journal.replied(frame["result"]["done"], frame["result"]["lost"])
                self._open -= {*frame["result"]["done"], *frame["result"]["lost"]}
            case "error" if frame["error"]["code"] not in ("SERVICE_UNAVAILABLE", "RATE_LIMIT_EXCEEDED"):
                self._journal.wrong(self._name, f"{frame}")
            case "error" if frame.get("id") == "join":
                raise Leaving
            case _:
                pass

    async def _answer(self, client: StreamClient, frame: Frame) -> None:
        came = received(
            frame["delivery"],
            frame["event"],
            frame["offset"],
            replayed=frame.get("replayed", False),
            attempt=frame["attempt"],
            until=seconds_of(frame["lease_until"]),
        )
        self._open.add(came.hold)
        self._journal.given(self._name, came)
        luck = self._chance.random() * 1000
        if frame["event"]["subject"] == self._poison:
            await self._say(client, "refuse", came.hold, {"type": "nack", "delay_seconds": 0.1})
        elif came.position * 7919 % 10_000 < self._refuses:
            await self._say(client, "bury", came.hold, {"type": "nack", "dead_letter": True, "reason": "never"})
        elif luck < REFUSED:
            await self._say(client, "refuse", came.hold, {"type": "nack", "delay_seconds": 0.2})
        elif luck < REFUSED + SILENT:
            pass
        elif luck < REFUSED + SILENT + LEFT:
            raise Leaving
        else:
            if luck < REFUSED + SILENT + LEFT + EXTENDED:
                await client.send(self._named({"type": "extend", "seconds": self._seconds}, came.hold))
            await self._say(client, "ack", came.hold, {"type": "ack"})

    async def _say(self, client: StreamClient, how: How, hold: str, frame: Frame) -> None:
        self._journal.said(how, [hold])
        await client.send(self._named({**frame, "id": next(self._numbers)}, hold))

    def _named(self, frame: Frame, hold: str) -> Frame:
        return {**frame, "channel": self._channel, "deliveries": [hold]}


async def follow(plan: Plan, journal: Journal, chance: random.Random) -> None:
    """Work on all subscriptions of the plan."""
    async with asyncio.TaskGroup() as tasks:
        for wanted in plan.subscriptions:
            for _ in range(wanted["workers"]):
                tasks.create_task(SocketConsumer(plan, wanted, journal, random.Random(chance.random())).run())
        print("consumes", flush=True)


if __name__ == "__main__":
    consume(follow)
