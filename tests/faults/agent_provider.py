"""What runs of agents need from outside, fakes: a model's provider, and an endpoint of a tool.

`python -m tests.faults.agent_provider` serves both, and prints its address. The model does what the user's text asks, a JSON
object (`Script`). It writes words `<call>.<number>`, where each call of the provider has a number of its own: so a text tells by
itself whether it is whole, and of which calls. The endpoint of the tool takes `POST /tool/<run>`, with an idempotency key. What
was called stands in `GET /calls`, in order.
"""

import asyncio
import json
import random
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import count, groupby, pairwise
from typing import Any, Literal

from aiohttp import web

from tests.harness.waiting import let_pass

Fault = Literal["429", "500", "cut", "broken", "bad_json", "stall"]
FAULTS: tuple[Fault, ...] = ("429", "500", "cut", "broken", "bad_json")
# Written before a tool is called.
WORDS_BEFORE_A_CALL = 4


@dataclass(frozen=True, slots=True)
class Script:
    """What one run's model does: so many calls of the tool, then as many words, `pause` seconds apart.

    `fault` is what its first calls meet, as many as `faults`.
    """

    run: int
    tools: int = 0
    words: int = 30
    pause: float = 0.004
    fault: Fault | None = None
    faults: int = 1
    tool: str = "http_request"
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])

    def text(self) -> str:
        """Return it as the user's text."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Call:
    """One call: of the model at `stage` (so many results of tools it has), or of the tool with `key`."""

    run: int
    stage: int = -1
    key: str = ""


class Provider:
    """Both fakes."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._numbers = count(1)
        self._faults = Counter[int]()

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Answer a call of the model."""
        messages = (await request.json())["messages"]
        script = _script_of(messages)
        stage = _stage_of(messages)
        self.calls.append(Call(script.run, stage))
        number = next(self._numbers)
        if script.fault is not None and self._faults[script.run] < script.faults:
            self._faults[script.run] += 1
            return await _fail(request, script, number)
        response = await _begun(request)
        await _say(response, script, number, WORDS_BEFORE_A_CALL if stage < script.tools else script.words)
        if stage < script.tools:
            await _call(response, script, f"call-{number}")
        reason = "tool_calls" if stage < script.tools else "stop"
        await response.write(_chunk({}, finish_reason=reason))
        await response.write(_data({**_HEAD, "choices": [], "usage": _usage(script)}))
        await response.write(b"data: [DONE]\n\n")
        return response

    async def use(self, request: web.Request) -> web.Response:
        """Answer a call of the tool."""
        await request.read()
        self.calls.append(Call(int(request.match_info["run"]), key=request.headers.get("Idempotency-Key", "")))
        await let_pass(random.random() * 0.03)
        return web.json_response({"done": True})

    async def told(self, _request: web.Request) -> web.Response:
        """Tell what was called."""
        return web.json_response([asdict(each) for each in self.calls])


def words_of(text: str) -> list[int]:
    """Return how many words each call of the provider has in an answer. Raises AssertionError where they are mixed or not whole."""
    words = [tuple(map(int, word.split("."))) for word in text.split()]
    found: list[int] = []
    seen: set[int] = set()
    for call, group in groupby(words, key=lambda word: word[0]):
        numbers = [number for _, number in group]
        assert call not in seen, f"call {call} goes on behind another: {text}"
        assert numbers == list(range(len(numbers))), f"call {call} is not whole: {numbers}"
        seen.add(call)
        found.append(len(numbers))
    return found


def again(calls: list[Call], run: int) -> int:
    """Return how often a run has done again what it had gone on from."""
    stages = [each.stage for each in calls if each.run == run and not each.key]
    keys = [each.key for each in calls if each.run == run and each.key]
    back = sum(later < earlier for earlier, later in pairwise(stages))
    return back + len(list(groupby(keys))) - len(set(keys))


_HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "of-a-fault-test"}


def _script_of(messages: list[dict[str, Any]]) -> Script:
    said = next(each["content"] for each in reversed(messages) if each["role"] == "user")
    return Script(**json.JSONDecoder().raw_decode(said[said.index("{") :])[0])


def _stage_of(messages: list[dict[str, Any]]) -> int:
    last = max(at for at, each in enumerate(messages) if each["role"] == "user")
    return sum(each["role"] == "tool" for each in messages[last:])


def _usage(script: Script) -> dict[str, int]:
    return {"prompt_tokens": 10, "completion_tokens": script.words, "total_tokens": 10 + script.words}


async def _begun(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(_chunk({"role": "assistant", "content": ""}))
    return response


async def _say(response: web.StreamResponse, script: Script, number: int, words: int) -> None:
    for at in range(words):
        await let_pass(script.pause * 2 * random.random())
        await response.write(_chunk({"content": f"{number}.{at} "}))


async def _call(response: web.StreamResponse, script: Script, id: str) -> None:
    # Whom it delegates to is told the same.
    more = {"query": script.text()} if script.tool == "delegate" else {}
    arguments = json.dumps({**script.arguments, **more})
    half = len(arguments) // 2
    first = {"index": 0, "id": id, "type": "function", "function": {"name": script.tool, "arguments": arguments[:half]}}
    await response.write(_chunk({"tool_calls": [first]}))
    await response.write(_chunk({"tool_calls": [{"index": 0, "function": {"arguments": arguments[half:]}}]}))


async def _fail(request: web.Request, script: Script, number: int) -> web.StreamResponse:
    if script.fault == "429":
        return web.json_response({"error": {"message": "later"}}, status=429, headers={"Retry-After": "0"})
    if script.fault == "500":
        return web.json_response({"error": {"message": "broken"}}, status=500)
    response = await _begun(request)
    await _say(response, script, number, 3)
    match script.fault:
        case "cut":
            assert request.transport is not None
            request.transport.abort()
        case "broken":
            await response.write(_data({"error": {"message": "broken", "code": 500}}))
        case "bad_json":
            await response.write(b"data: {no json\n\n")
        case _:
            await let_pass(3600)
    return response


def _chunk(delta: dict[str, Any], *, finish_reason: str | None = None) -> bytes:
    return _data({**_HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})


def _data(content: Any) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


async def serve() -> None:
    """Serve until the process is ended."""
    provider = Provider()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", provider.complete)
    app.router.add_post("/tool/{run}", provider.use)
    app.router.add_get("/calls", provider.told)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print("http://{}:{}".format(*runner.addresses[0][:2]), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
