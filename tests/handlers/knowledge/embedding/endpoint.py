"""An endpoint that speaks OpenAI's API over HTTP, as the tests have it: tiny vectors that follow from the words, and faults."""

import asyncio
import base64
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import web

# What the fake answers in place of vectors, once each.
Fault = Callable[["FakeEndpoint", dict[str, Any]], web.StreamResponse]


def vector_of(text: str, dimensions: int, model: str = "tiny") -> list[float]:
    """Return a vector that is near those of texts with the same words; each model has its own."""
    made = np.full(dimensions, 0.01)
    for word in text.lower().split():
        made[int(hashlib.sha256((model + word.strip("?.,>")).encode()).hexdigest(), 16) % dimensions] += 1.0
    return (made * 3).tolist()


@dataclass
class FakeEndpoint:
    """`faults` come first, one a call; while `gate` is there, calls wait for it."""

    dimensions: int = 8
    as_numbers: bool = False
    url: str = ""
    faults: deque[Fault] = field(default_factory=deque[Fault])
    calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    keys: list[str | None] = field(default_factory=list[str | None])
    gate: asyncio.Event | None = None
    refuses: str | None = None  # a call with a text that has this is answered 400

    @property
    def texts(self) -> list[str]:
        return [text for call in self.calls for text in call["input"]]

    def item(self, index: int, text: str, model: str) -> dict[str, Any]:
        row = vector_of(text, self.dimensions, model)
        told: Any = row if self.as_numbers else base64.b64encode(np.array(row, "<f4").tobytes()).decode()
        return {"object": "embedding", "index": index, "embedding": told}

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        data = [self.item(index, text, body["model"]) for index, text in enumerate(body["input"])]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return {"object": "list", "model": body["model"], "data": data, "usage": usage}

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.calls.append(body)
        self.keys.append(request.headers.get("Authorization"))
        if self.gate is not None:
            await self.gate.wait()
        if self.faults:
            return self.faults.popleft()(self, body)
        if self.refuses is not None and any(self.refuses in text for text in body["input"]):
            return refusal(400, "maximum context length")
        return web.json_response(self.answer(body))


def refusal(status: int, message: str, **headers: str) -> web.Response:
    error = {"error": {"message": message, "type": "error", "param": None, "code": None}}
    return web.json_response(error, status=status, headers=headers)


def status(code: int, **headers: str) -> Fault:
    return lambda _endpoint, _body: refusal(code, "as the test wants", **headers)


def changed(change: Callable[[list[dict[str, Any]]], Any]) -> Fault:
    """Answer what `change` makes of the vectors."""

    def fault(endpoint: FakeEndpoint, body: dict[str, Any]) -> web.Response:
        told = endpoint.answer(body)
        return web.json_response(told | {"data": change(told["data"])})

    return fault


@asynccontextmanager
async def serving(endpoint: FakeEndpoint) -> AsyncGenerator[FakeEndpoint]:
    app = web.Application()
    app.router.add_post("/v1/embeddings", endpoint.embeddings)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    endpoint.url = f"http://{host}:{port}/v1"
    try:
        yield endpoint
    finally:
        if endpoint.gate is not None:
            endpoint.gate.set()
        await runner.cleanup()
