"""The peer of frames that come in: aiohttp and redis-py as people write it. `python -m benchmarks.naive_inbound REDIS_URL`.

What a client sends is published and answered; one task reads `listen()` for those who have joined. No credentials, no limit, no
offset, no history.
"""

import asyncio
import sys

import orjson
import redis.asyncio
import uvloop
from aiohttp import WSMsgType, web

from benchmarks.peers.naive import serve

CHANNEL = "benchmark-inbound"


class NaiveRoom:
    """All are in one room."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis.asyncio.from_url(redis_url)
        self._members: set[web.WebSocketResponse] = set()

    async def member(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one socket: it joins, or publishes."""
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._take(socket, orjson.loads(message.data))
        finally:
            self._members.discard(socket)
        return socket

    async def relay(self) -> None:
        """Send what Redis brings to every member."""
        subscription = self._redis.pubsub(ignore_subscribe_messages=True)
        await subscription.subscribe(CHANNEL)
        async for message in subscription.listen():
            text = message["data"].decode()
            for socket in list(self._members):
                try:
                    await socket.send_str(text)
                except ConnectionError:
                    self._members.discard(socket)

    async def _take(self, socket: web.WebSocketResponse, frame: dict[str, object]) -> None:
        if frame["type"] == "subscribe":
            self._members.add(socket)
            await socket.send_str('{"type":"subscribed"}')
        else:
            await self._redis.publish(CHANNEL, orjson.dumps({"type": "event", "data": frame["data"]}))
            await socket.send_str(f'{{"type":"result","id":{frame["id"]}}}')


async def _main(redis_url: str) -> None:
    room = NaiveRoom(redis_url)
    app = web.Application()
    app.router.add_get("/", room.member)
    await serve(app, asyncio.create_task(room.relay()))


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1]))
