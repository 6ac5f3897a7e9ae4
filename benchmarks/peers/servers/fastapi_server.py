"""FastAPI on uvicorn, with the connection manager of its documentation, fed by redis-py: `python fastapi_server.py REDIS_URL`."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import redis.asyncio
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from serving import PATTERN, serve


class ConnectionManager:
    """As in "Handling disconnections and multiple clients", with rooms."""

    def __init__(self) -> None:
        self._active: dict[str, list[WebSocket]] = {}

    async def connect(self, websocket: WebSocket) -> str:
        """Accept a socket and read its room."""
        await websocket.accept()
        room = (await websocket.receive_text()).removeprefix("join ")
        self._active.setdefault(room, []).append(websocket)
        await websocket.send_text("joined")
        return room

    def disconnect(self, websocket: WebSocket, room: str) -> None:
        """Forget a socket."""
        self._active[room].remove(websocket)

    async def broadcast(self, room: str, message: str) -> None:
        """Send to one member after the other."""
        for connection in list(self._active.get(room, ())):
            await connection.send_text(message)

    async def relay(self, url: str) -> None:
        """Send what Redis brings to its room."""
        subscription = redis.asyncio.from_url(url).pubsub(ignore_subscribe_messages=True)
        await subscription.psubscribe(PATTERN)
        async for message in subscription.listen():
            await self.broadcast(message["channel"].decode().removeprefix("room:"), message["data"].decode())


manager = ConnectionManager()


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
    """Relay for as long as the application serves."""
    relay = asyncio.create_task(manager.relay(sys.argv[1]))
    yield
    relay.cancel()


app = FastAPI(lifespan=lifespan)


@app.websocket("/")
async def member(websocket: WebSocket) -> None:
    """Serve one socket until it closes."""
    room = await manager.connect(websocket)
    try:
        while True:
            await websocket.receive_text()
    except WebSocketDisconnect:
        manager.disconnect(websocket, room)


if __name__ == "__main__":
    serve(app)
