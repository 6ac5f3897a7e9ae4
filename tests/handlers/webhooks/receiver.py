"""Receivers of webhooks as a customer runs them: a server on loopback that verifies with the published package."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook

from tests.harness.outside import serving

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(eq=False)
class Receiver:
    """Keeps what came, in its order; `answer` says what is answered, which a test may change at any time."""

    port: int = 0
    answer: Answer | None = None
    secret: str = ""
    texts: list[str] = field(default_factory=list[str])
    bodies: list[Any] = field(default_factory=list[Any])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hooks"

    @property
    def ids(self) -> list[str]:
        """The webhook-id of each delivery."""
        return [each["webhook-id"] for each in self.headers]

    @property
    def times(self) -> Counter[str]:
        """How often each id came."""
        return Counter(self.ids)

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Verify a delivery where the secret is known, keep it, answer."""
        text = await request.text()
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = Webhook(self.secret).verify(text, headers) if self.secret else await request.json()
        self.texts.append(text)
        self.bodies.append(body)
        self.headers.append(headers)
        self.came.set()
        return web.Response(text="OK") if self.answer is None else await self.answer(request)


@asynccontextmanager
async def receiving(answer: Answer | None = None, secret: str = "") -> AsyncGenerator[Receiver]:
    """Give a receiver that listens."""
    receiver = Receiver(answer=answer, secret=secret)
    async with serving(receiver.take) as receiver.port:
        yield receiver


async def refusing(_request: web.Request) -> web.Response:
    """Answer as what is broken does."""
    return web.Response(status=500, text="broken")
