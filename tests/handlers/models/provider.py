"""A provider of a language model that speaks OpenAI's chat completions over HTTP, as the tests have it: a fake, with faults."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

# What the fake does in place of its answer, once each.
Fault = Callable[["FakeProvider", web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FakeProvider:
    """Writes `pieces`. `faults` come first, one a call; while `gate` is there, it stands still after the first piece."""

    pieces: Sequence[str] = ("Install it ", "with pip [1].")
    url: str = ""
    faults: deque[Fault] = field(default_factory=deque[Fault])
    calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    keys: list[str | None] = field(default_factory=list[str | None])
    gate: asyncio.Event | None = None
    written: int = 0
    left: int = 0  # clients that hung up

    async def completions(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(await request.json())
        self.keys.append(request.headers.get("Authorization"))
        if self.faults:
            return await self.faults.popleft()(self, request)
        response = await begun(request)
        try:
            for number, piece in enumerate(self.pieces):
                if number and self.gate is not None:
                    await self.gate.wait()
                await response.write(event({"choices": [{"index": 0, "delta": {"content": piece}}]}))
                self.written += 1
            await response.write(event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
            await response.write(b"data: [DONE]\n\n")
        except (ConnectionError, asyncio.CancelledError):
            self.left += 1
            raise
        return response


async def begun(request: web.Request) -> web.StreamResponse:
    """Begin a stream as a provider does, with its first part, which has no text."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}))
    return response


def event(told: Any) -> bytes:
    """Return a part of a stream, whole as providers send it."""
    if isinstance(told, dict):
        told = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "tiny"} | told
    return b"data: " + orjson.dumps(told) + b"\n\n"


def status(code: int, *, param: str | None = None, **headers: str) -> Fault:
    """Refuse before anything is written."""

    async def fault(_provider: FakeProvider, _request: web.Request) -> web.StreamResponse:
        error = {"error": {"message": "as the test wants", "type": "error", "param": param, "code": None}}
        return web.json_response(error, status=code, headers=headers)

    return fault


def after_one_word(raw: bytes | None) -> Fault:
    """Write a word, then `raw`, then end properly; None cuts the connection."""

    async def fault(_provider: FakeProvider, request: web.Request) -> web.StreamResponse:
        response = await begun(request)
        await response.write(event({"choices": [{"index": 0, "delta": {"content": "Half"}}]}))
        if raw is None:
            assert request.transport is not None
            request.transport.abort()
        else:
            await response.write(raw)
        return response

    return fault


def still(after: bytes = b"") -> Fault:
    """Begin, write `after`, and stand still until the client leaves or the test ends."""

    async def fault(provider: FakeProvider, request: web.Request) -> web.StreamResponse:
        response = await begun(request)
        await response.write(after)
        provider.gate = provider.gate or asyncio.Event()
        await provider.gate.wait()
        return response

    return fault


@asynccontextmanager
async def serving(provider: FakeProvider) -> AsyncGenerator[FakeProvider]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", provider.completions)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    provider.url = f"http://{host}:{port}/v1"
    try:
        yield provider
    finally:
        if provider.gate is not None:
            provider.gate.set()
        await runner.cleanup()
