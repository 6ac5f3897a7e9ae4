"""python-socketio with its Redis manager on uvicorn, WebSocket only: `python socketio_server.py REDIS_URL`."""

import sys

import socketio
from serving import serve

server = socketio.AsyncServer(
    async_mode="asgi",
    client_manager=socketio.AsyncRedisManager(sys.argv[1]),
    transports=["websocket"],
    cors_allowed_origins="*",
    http_compression=False,
    websocket_compression=False,
)


@server.event
async def join(sid: str, room: str) -> None:
    """Take a socket into a room."""
    await server.enter_room(sid, room)
    await server.emit("joined", to=sid, ignore_queue=True)


if __name__ == "__main__":
    serve(socketio.ASGIApp(server), lifespan="off")
