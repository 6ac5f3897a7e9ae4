"""`python -m benchmarks.client_python HOW TASK`: takes events by the Python SDK (`json`, `msgpack`), or by `websockets` (`bare`).

See clients.py for the task and for what is printed. The SDK is found by PYTHONPATH.
"""

import json
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import uvloop
from websockets.asyncio.client import connect

from aimatrix.live import LiveClient, Place


async def by_sdk(task: Mapping[str, Any], form: str) -> AsyncGenerator[int]:
    """Return the offsets of what comes."""
    place = Place(task["offset"], task["epoch"])
    async with (
        LiveClient(task["url"], api_key=task["key"], form=form) as live,
        live.subscribe(task["channel"], place=place) as events,
    ):
        async for event in events:
            yield int(event.place.offset)


async def bare(task: Mapping[str, Any]) -> AsyncGenerator[int]:
    """Do what a client does at least: read, parse, look."""
    url = task["url"].replace("http", "ws", 1) + "/v2/stream"
    headers = {"Authorization": f"Bearer {task['key']}"}
    item = {"channel": task["channel"], "offset": task["offset"], "epoch": task["epoch"]}
    async with connect(url, additional_headers=headers, compression=None, max_queue=64) as socket:
        await socket.send(json.dumps({"type": "subscribe", "channels": [item]}))
        async for message in socket:
            frame = json.loads(message)
            if frame["type"] == "event":
                yield int(frame["offset"])


async def take(task: Mapping[str, Any], offsets: AsyncIterator[int]) -> dict[str, float]:
    """Take all; measure from the first to the last."""
    received = wrong = 0
    last, began, cpu = int(task["offset"]), 0.0, 0.0
    async for offset in offsets:
        if not received:
            began, cpu = time.monotonic(), time.process_time()
        received += 1
        wrong += offset != last + 1
        last = offset
        if received == task["count"]:
            break
    return {
        "received": received,
        "wrong": wrong,
        "seconds": time.monotonic() - began,
        "cpu_seconds": time.process_time() - cpu,
    }


async def main(how: str, task: Mapping[str, Any]) -> None:
    """Run one client."""
    async with aclosing(bare(task) if how == "bare" else by_sdk(task, how)) as offsets:
        print(json.dumps(await take(task, offsets)))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], json.loads(sys.argv[2])))
