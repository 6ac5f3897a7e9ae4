"""A provider of a language model that speaks OpenAI's chat completions over HTTP, as the tests have it: a fake, with faults.

In the test's process: `async with serving(FakeProvider(...))`. As one of its own: `python -m tests.harness.fake_provider --port 0`
prints its port; `PUT /script` takes what it says next (`take_script`), `GET /calls` tells what it was asked.

What a request gets: the next of `faults`, each once; else a turn of the story whose word stands in the last message of a user;
else of `turns`; else one of `pieces`. Which turn: as many as the assistant has spoken since the user did, so who asks again after
a crash gets the same. A request that a provider would refuse (a call without its result, a tool without a name) is refused.
"""

import argparse
import asyncio
import signal
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from tests.harness.waiting import let_pass

# What the fake does in place of its answer, once each.
Fault = Callable[["FakeProvider", web.Request], Awaitable[web.StreamResponse]]
# Of a call's arguments in one part of the stream: few, so that each call comes in several.
FRAGMENT = 7


@dataclass(frozen=True)
class Asked:
    """A call of a tool that the model asks for; `arguments` is JSON text, or what the test wants in its place."""

    name: str
    arguments: str = "{}"
    id: str = ""


@dataclass(frozen=True)
class Turn:
    """One answer: `pieces` at `rate` a second (0: as fast as they are taken), then `calls` in fragments.

    `stamped`: in place of each piece its moment is written, time.monotonic_ns() and a space, for measurements.
    """

    pieces: Sequence[str] = ()
    calls: Sequence[Asked] = ()
    rate: float = 0.0
    ends: str | None = None  # the reason that it gives; None: the one that fits
    stamped: bool = False


@dataclass
class FakeProvider:
    """Writes what the module says. While `gate` is there, it stands still after the first piece.

    `refuses`: parameters that it does not know, each answered 400. `counts`: it tells the tokens of a turn where it is asked to.
    """

    pieces: Sequence[str] = ("Install it ", "with pip [1].")
    url: str = ""
    turns: Sequence[Turn] = ()
    stories: dict[str, Sequence[Turn]] = field(default_factory=dict[str, Sequence[Turn]])
    faults: deque[Fault] = field(default_factory=deque[Fault])
    refuses: set[str] = field(default_factory=set[str])
    counts: bool = True
    calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    keys: list[str | None] = field(default_factory=list[str | None])
    peers: set[object] = field(default_factory=set[object])  # one for each connection
    gate: asyncio.Event | None = None
    written: int = 0
    left: int = 0  # clients that hung up

    @property
    def text(self) -> str:
        """What `pieces` are together."""
        return "".join(self.pieces)

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.calls.append(body)
        self.keys.append(request.headers.get("Authorization"))
        self.peers.add(request.transport and request.transport.get_extra_info("peername"))
        refused = next((name for name in body if name in self.refuses), None)
        if refused is not None:
            return refusal(400, f"Unsupported parameter: '{refused}'", refused)
        problem = next(problems_of(body), None)
        if problem is not None:
            return refusal(400, problem, "messages")
        if self.faults:
            return await self.faults.popleft()(self, request)
        try:
            return await self._told(request, body, self._turn_of(body))
        except (ConnectionError, asyncio.CancelledError):
            self.left += 1
            raise

    def _turn_of(self, body: Mapping[str, Any]) -> Turn:
        said, spoken = "", 0
        for message in body["messages"]:
            if message["role"] == "user":
                said, spoken = message["content"], 0
            elif message["role"] == "assistant":
                spoken += 1
        story = next((turns for word, turns in self.stories.items() if word in said), self.turns)
        return story[min(spoken, len(story) - 1)] if story else Turn(self.pieces)

    async def _told(self, request: web.Request, body: Mapping[str, Any], turn: Turn) -> web.StreamResponse:
        response = await begun(request)
        start = time.monotonic()
        for number, piece in enumerate(turn.pieces):
            if number and self.gate is not None:
                await self.gate.wait()
            if turn.rate:
                await let_pass(max(0.0, start + number / turn.rate - time.monotonic()))
            await response.write(part({"content": f"{time.monotonic_ns()} " if turn.stamped else piece}))
            self.written += 1
        for delta in _fragments(turn.calls, len(self.calls)):
            await response.write(part(delta))
        await response.write(part({}, turn.ends or ("tool_calls" if turn.calls else "stop")))
        if self.counts and (body.get("stream_options") or {}).get("include_usage"):
            await response.write(event({"choices": [], "usage": usage_of(body, turn)}))
        await response.write(b"data: [DONE]\n\n")
        return response


def _fragments(calls: Sequence[Asked], salt: int) -> Iterator[dict[str, Any]]:
    """Give calls as providers do: the first part of each names it, others add to its arguments."""
    for index, call in enumerate(calls):
        first = {"id": call.id or f"call_{salt}_{index}", "type": "function"}
        yield {"tool_calls": [{"index": index, **first, "function": {"name": call.name, "arguments": ""}}]}
        for place in range(0, len(call.arguments), FRAGMENT):
            arguments = call.arguments[place : place + FRAGMENT]
            yield {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}


def usage_of(body: Mapping[str, Any], turn: Turn) -> dict[str, int]:
    """Count as the fake does: a word of a message, and a piece of an answer, is a token."""
    asked = sum(len((message.get("content") or "").split()) for message in body["messages"])
    told = len(turn.pieces) + len(turn.calls)
    return {"prompt_tokens": asked, "completion_tokens": told, "total_tokens": asked + told}


def problems_of(body: Mapping[str, Any]) -> Iterator[str]:
    """Say what a provider would refuse in a request."""
    unanswered: set[str] = set()
    for message in body["messages"]:
        if message["role"] == "tool":
            if message.get("tool_call_id") not in unanswered:
                yield "a tool's message follows no call of it"
            unanswered.discard(message.get("tool_call_id"))
            continue
        if unanswered:
            yield "a call has no result"
        yield from _problems_of_message(message)
        unanswered = {call["id"] for call in message.get("tool_calls", ())}
    if unanswered:
        yield "a call has no result"
    for tool in body.get("tools", ()):
        if tool["type"] != "function" or not tool["function"]["name"] or tool["function"]["parameters"] is None:
            yield "a tool is none"


def _problems_of_message(message: Mapping[str, Any]) -> Iterator[str]:
    calls = message.get("tool_calls", ())
    if not isinstance(message.get("content"), str) and not calls:
        yield "a message has no content"
    for call in calls:
        if call["type"] != "function" or not isinstance(orjson.loads(call["function"]["arguments"]), dict):
            yield "a call is none"


async def begun(request: web.Request) -> web.StreamResponse:
    """Begin a stream as a provider does, with its first part, which has no text."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(part({"role": "assistant", "content": ""}))
    return response


def part(delta: Mapping[str, Any], ends: str | None = None) -> bytes:
    """Return one part of an answer."""
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": ends}]})


def event(told: Any) -> bytes:
    """Return a part of a stream, whole as providers send it."""
    if isinstance(told, dict):
        told = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "tiny"} | told
    return b"data: " + orjson.dumps(told) + b"\n\n"


def refusal(code: int, message: str, param: str | None, **headers: str) -> web.Response:
    """Answer as a provider does that does not do what is asked."""
    error = {"error": {"message": message, "type": "error", "param": param, "code": None}}
    return web.json_response(error, status=code, headers=headers)


def status(code: int, *, param: str | None = None, **headers: str) -> Fault:
    """Refuse before anything is written."""

    async def fault(_provider: FakeProvider, _request: web.Request) -> web.StreamResponse:
        return refusal(code, "as the test wants", param, **headers)

    return fault


def after_one_word(raw: bytes | None) -> Fault:
    """Write a word, then `raw`, then end properly; None cuts the connection."""
    return instead(part({"content": "Half"}), raw)


def instead(*raw: bytes | None) -> Fault:
    """Begin, write each of `raw`, then end properly; None cuts the connection."""

    async def fault(_provider: FakeProvider, request: web.Request) -> web.StreamResponse:
        response = await begun(request)
        for each in raw:
            if each is None:
                assert request.transport is not None
                request.transport.abort()
            else:
                await response.write(each)
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


def endless(piece: str = "and so on ") -> Fault:
    """Write until the client leaves."""

    async def fault(provider: FakeProvider, request: web.Request) -> web.StreamResponse:
        response = await begun(request)
        try:
            while True:
                await response.write(part({"content": piece}))
                provider.written += 1
                await asyncio.sleep(0)
        except (ConnectionError, asyncio.CancelledError):
            provider.left += 1
            raise

    return fault


def page(text: str = "<html>as the test wants</html>", content_type: str = "text/html") -> Fault:
    """Answer 200 with something that is no stream, as gateways do."""

    async def fault(_provider: FakeProvider, _request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type=content_type)

    return fault


# By the names that a script has for them.
FAULTS: Mapping[str, Fault] = {
    "429": status(429, **{"Retry-After": "0.1"}),
    "500": status(500, **{"Retry-After": "0.1"}),
    "401": status(401),
    "error_in_stream": after_one_word(event({"error": {"message": "overloaded", "code": 500}})),
    "bad_json": after_one_word(b"data: {broken\n\n"),
    "cut": after_one_word(None),
    "ended_early": after_one_word(b""),
    "stall": still(part({"content": "Half"})),
    "silence": still(),
    "endless": endless(),
    "page": page(),
}


def words_of(text: str) -> list[str]:
    """Return a text in pieces that are its words, each with what stands before it."""
    words = text.split(" ")
    return words[:1] + [f" {word}" for word in words[1:]]


def turn_of(told: Mapping[str, Any]) -> Turn:
    """Read a turn of a script: {text | pieces | words (how many), calls: [{name, arguments}], rate, stamped, ends}."""
    pieces = told.get("pieces") or [f"word{number} " for number in range(told.get("words", 0))]
    if told.get("text"):
        pieces = words_of(told["text"])
    calls = [Asked(call["name"], orjson.dumps(call.get("arguments", {})).decode()) for call in told.get("calls", ())]
    return Turn(pieces, calls, told.get("rate", 0.0), told.get("ends"), told.get("stamped", False))


def take_script(provider: FakeProvider, script: Mapping[str, Any]) -> None:
    """Do as a script says: {turns, stories: {word: turns}, faults: [name], refuses: [parameter]}. The calls are forgotten."""
    provider.turns = [turn_of(turn) for turn in script.get("turns", ())]
    provider.stories = {word: [turn_of(turn) for turn in turns] for word, turns in script.get("stories", {}).items()}
    provider.faults = deque(FAULTS[name] for name in script.get("faults", ()))
    provider.refuses = set(script.get("refuses", ()))
    provider.calls.clear()
    provider.keys.clear()


def app_of(provider: FakeProvider) -> web.Application:
    """Return the provider's routes, and those that a test in another process tells it by."""

    async def take(request: web.Request) -> web.Response:
        take_script(provider, await request.json())
        return web.json_response({})

    async def tell(_request: web.Request) -> web.Response:
        told = {"calls": provider.calls, "written": provider.written, "left": provider.left}
        return web.json_response(told)

    app = web.Application(client_max_size=16 << 20)
    app.router.add_post("/v1/chat/completions", provider.completions)
    app.router.add_put("/script", take)
    app.router.add_get("/calls", tell)
    return app


@asynccontextmanager
async def serving(provider: FakeProvider, port: int = 0) -> AsyncGenerator[FakeProvider]:
    """Serve on 127.0.0.1; `url` is the provider's then."""
    runner = web.AppRunner(app_of(provider), handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    host, taken = runner.addresses[0][:2]
    provider.url = f"http://{host}:{taken}/v1"
    try:
        yield provider
    finally:
        if provider.gate is not None:
            provider.gate.set()
        await runner.cleanup()


async def _serve(port: int) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with serving(FakeProvider(), port) as provider:
        print(provider.url.rpartition(":")[2].partition("/")[0], flush=True)
        await ended.wait()


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description="A language model's provider, for tests.")
    _parser.add_argument("--port", type=int, default=0)
    asyncio.run(_serve(_parser.parse_args().port))
