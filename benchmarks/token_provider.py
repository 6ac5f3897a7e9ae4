"""A provider of a language model, as far as measuring needs one: `python -m benchmarks.token_provider PORT`.

It writes as many tokens as the query's `tokens` says, `rate` a second (0: all at once); each is its moment in ns, of the clock that
all of a machine share.
"""

import asyncio
import sys
import time
from collections.abc import Mapping
from typing import Any

import orjson
import uvloop
from aiohttp import web

from benchmarks.peers.naive import serve

MODEL = "tokens"
_HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}


def query(tokens: int, rate: float) -> str:
    """Return what asks for so many tokens."""
    return orjson.dumps({"tokens": tokens, "rate": rate}).decode()


async def complete(request: web.Request) -> web.StreamResponse:
    """Answer one turn."""
    body = orjson.loads(await request.read())
    said = next(each["content"] for each in reversed(body["messages"]) if each["role"] == "user")
    asked = orjson.loads(said[said.index("{") : said.rindex("}") + 1])
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    begin = time.monotonic()
    for number in range(asked["tokens"]):
        if asked["rate"]:
            await asyncio.sleep(max(0.0, begin + number / asked["rate"] - time.monotonic()))
        await response.write(_chunk({"content": f"{time.monotonic_ns()} "}, None))
    await response.write(_chunk({}, "stop"))
    await response.write(b"data: [DONE]\n\n")
    return response


def _chunk(delta: Mapping[str, Any], reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return b"data: " + orjson.dumps({**_HEAD, "choices": [choice]}) + b"\n\n"


async def _main(port: int) -> None:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    await serve(app, port=port)


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1])))
