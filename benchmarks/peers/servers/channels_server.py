"""Django Channels on uvicorn, with channels-redis' pub/sub layer: `python channels_server.py REDIS_URL`."""

import sys

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path
from serving import serve

settings.configure(
    SECRET_KEY="only a benchmark",  # noqa: S106 - nothing is signed with it
    ALLOWED_HOSTS=["*"],
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [sys.argv[1]]},
        }
    },
)
django.setup()


class Member(AsyncWebsocketConsumer):
    """As the chat of its tutorial: a group for each room."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Take the socket into the room that its first frame names."""
        await self.channel_layer.group_add((text_data or "").removeprefix("join "), self.channel_name)
        await self.send(text_data="joined")

    async def room_message(self, event: dict[str, str]) -> None:
        """Send what came to the group."""
        await self.send(text_data=event["message"])


if __name__ == "__main__":
    serve(ProtocolTypeRouter({"websocket": URLRouter([path("", Member.as_asgi())])}), lifespan="off")
