"""Someone who publishes, joins and writes; and an organisation of many such, with readers who do not read.

    python -m tests.faults.noise <url> <key> <persons> <slow readers> <pause>

says `ready`, makes noise after the line `on` until the line `off`, and ends with its input.
"""

import asyncio
import sys
import time
from contextlib import AsyncExitStack

from tests.harness.rest_client import RestClient
from tests.harness.stream_client import StreamClient, open_stream
from tests.harness.waiting import let_pass

Times = dict[str, list[float]]
BODY = {"name": "Ada", "type": "assistant"}


class Person:
    """Of an organisation; notes how long each thing took."""

    def __init__(self, client: StreamClient, rest: RestClient, number: int) -> None:
        self._client = client
        self._rest = rest
        self._room = room(number)
        self._number = 0

    async def once(self, times: Times) -> None:
        """Do each once."""
        self._number += 1
        for name, work in (("publish", self._publish), ("join", self._join), ("write", self._write)):
            began = time.monotonic()
            await work()
            times.setdefault(name, []).append(time.monotonic() - began)

    async def _publish(self) -> None:
        answer = await self._client.ask({"type": "publish", "channel": self._room, "data": "x" * 500})
        assert answer["type"] == "result", answer

    async def _join(self) -> None:
        channel = f"{self._room}-{self._number % 50}"
        answer = await self._client.subscribe(channel)
        assert "error" not in answer["channels"][0], answer
        await self._client.ask({"type": "unsubscribe", "channels": [channel]})

    async def _write(self) -> None:
        answer = await self._rest.call("POST", "/v2/agents", BODY)
        assert answer.status == 201, answer


def room(number: int) -> str:
    """Return the room of a person."""
    return f"chat:fair-{number}"


async def person(stack: AsyncExitStack, url: str, key: str, number: int) -> Person:
    """Open the streams of one."""
    client = await stack.enter_async_context(open_stream(url.replace("http", "ws", 1) + "/v2/stream", key))
    return Person(client, await stack.enter_async_context(RestClient(url, key)), number)


async def slow_reader(stack: AsyncExitStack, url: str, key: str, rooms: int) -> None:
    """Open a stream of one who is in all rooms and reads nothing."""
    socket = open_stream(url.replace("http", "ws", 1) + "/v2/stream", key, max_queue=1)
    await (await stack.enter_async_context(socket)).subscribe("agents", *map(room, range(rooms)))


async def _go_on(one: Person, on: asyncio.Event, pause: float) -> None:
    while True:
        await on.wait()
        await one.once({})
        await let_pass(pause)


async def _main(url: str, key: str, persons: int, readers: int, pause: float) -> None:
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        made = [await person(stack, url, key, number) for number in range(persons)]
        for _ in range(readers):
            await slow_reader(stack, url, key, persons)
        print("ready", flush=True)
        on = asyncio.Event()
        tasks = [asyncio.create_task(_go_on(one, on, pause)) for one in made]
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            on.set() if line == "on\n" else on.clear()
            for task in tasks:
                if task.done():
                    task.result()
        for task in tasks:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])))
