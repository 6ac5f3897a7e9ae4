"""aiohttp and redis-py as people write it: `python -m benchmarks.peers.naive REDIS_URL`.

One task reads `listen()`, and for every message awaits `send_str` for one member after the other. uvloop, as the hub has it.
No log, no recovery, no credentials, no bound on a slow reader.
"""

import asyncio
import sys

import redis.asyncio
import uvloop
from aiohttp import WSMsgType, web

# As in the other peers: what is published in `room:0007` goes to the members of room 0007.
PATTERN = "room:*"


class NaiveServer:
    """Members by room."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._members: dict[str, set[web.WebSocketResponse]] = {}

    async def member(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one socket: its first frame says the room."""
        socket = web.WebSocketResponse(heartbeat=25, compress=False)
        await socket.prepare(request)
        members: set[web.WebSocketResponse] = set()
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    members = self._members.setdefault(message.data.removeprefix("join "), set())
                    members.add(socket)
                    await socket.send_str("joined")
        finally:
            members.discard(socket)
        return socket

    async def relay(self) -> None:
        """Send what Redis brings to every member."""
        client = redis.asyncio.from_url(self._redis_url)
        subscription = client.pubsub(ignore_subscribe_messages=True)
        await subscription.psubscribe(PATTERN)
        async for message in subscription.listen():
            text = message["data"].decode()
            members = self._members.get(message["channel"].decode().removeprefix("room:"), set())
            for socket in list(members):
                try:
                    await socket.send_str(text)
                except ConnectionError:
                    members.discard(socket)


async def serve(app: web.Application, relay: asyncio.Task[None] | None = None, *, port: int = 0) -> None:
    """Serve `app` on `port`, or a free one, until standard input ends, or until `relay` does."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=1024)
    await site.start()
    print(f"serves on http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    ending = asyncio.create_task(_input_ended())
    await asyncio.wait([ending] if relay is None else [ending, relay], return_when=asyncio.FIRST_COMPLETED)
    if relay is not None and relay.done():
        relay.result()
    await runner.cleanup()


async def _input_ended() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def _main(redis_url: str) -> None:
    server = NaiveServer(redis_url)
    app = web.Application()
    app.router.add_get("/", server.member)
    await serve(app, asyncio.create_task(server.relay()))


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1]))
