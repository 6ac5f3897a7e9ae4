"""The peer of streamed answers: aiohttp that hands on a provider's stream. `python -m benchmarks.token_relay URL`.

No credentials, no log, no second reader, nothing that is left when it dies.
"""

import sys

import aiohttp
import orjson
import uvloop
from aiohttp import web

from benchmarks.peers.naive import serve

_DATA = b"data: "


class Relay:
    """Asks the provider at `url`."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def execute(self, request: web.Request) -> web.StreamResponse:
        """Ask, and hand on each piece of text as an event."""
        asked = orjson.loads(await request.read())
        body = {"model": "tokens", "stream": True, "messages": [{"role": "user", "content": asked["query"]}]}
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        async with self._session.post(f"{self._url}/chat/completions", json=body) as answer:
            async for line in answer.content:
                if not line.startswith(_DATA) or line.startswith(b"data: [DONE]"):
                    continue
                text = orjson.loads(line[len(_DATA) :])["choices"][0]["delta"].get("content")
                if text:
                    await response.write(b"event: delta\ndata: " + orjson.dumps({"text": text}) + b"\n\n")
        await response.write(b"event: run.completed\ndata: {}\n\n")
        return response


async def _main(url: str) -> None:
    # As many streams at once as are measured.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        app = web.Application()
        app.router.add_post("/execute", Relay(url, session).execute)
        await serve(app)


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1]))
