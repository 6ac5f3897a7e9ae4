"""The library `websockets` on uvloop, fed by redis-py, with its own `broadcast()`: `python websockets_server.py REDIS_URL`."""

import sys

import redis.asyncio
import uvloop
from serving import PATTERN, end_with_parent, listen
from websockets.asyncio.server import ServerConnection, broadcast, serve


class Rooms:
    """Members by room."""

    def __init__(self) -> None:
        self._members: dict[str, set[ServerConnection]] = {}

    async def member(self, socket: ServerConnection) -> None:
        """Serve one socket: its first frame says the room."""
        members = self._members.setdefault(str(await socket.recv()).removeprefix("join "), set())
        members.add(socket)
        try:
            await socket.send("joined")
            await socket.wait_closed()
        finally:
            members.discard(socket)

    async def relay(self, url: str) -> None:
        """Send what Redis brings to its room."""
        subscription = redis.asyncio.from_url(url).pubsub(ignore_subscribe_messages=True)
        await subscription.psubscribe(PATTERN)
        async for message in subscription.listen():
            room = message["channel"].decode().removeprefix("room:")
            broadcast(self._members.get(room, ()), message["data"].decode())


async def main(url: str) -> None:
    """Serve until the input ends."""
    rooms = Rooms()
    end_with_parent()
    async with serve(rooms.member, sock=listen(), compression=None):
        await rooms.relay(url)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
