"""Where a channel begins, over server-sent events: what a poll may answer."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from aimatrix.live.clock import SystemClock
from aimatrix.live.server_sent import EventsLink, open_events

PASSING = {"code": "SERVICE_UNAVAILABLE", "message": "Not now"}
WRONG = {"code": "VALIDATION_ERROR", "message": "No time"}


class PollingHub:
    """A hub whose polls answer `polled`; `cursors` are those with which a stream was asked for."""

    def __init__(self) -> None:
        self.polled: Any = None
        self.cursors: asyncio.Queue[str | None] = asyncio.Queue()
        self.url = ""

    async def ready(self, request: web.Request) -> web.Response:
        """Say that HTTP comes through."""
        return web.Response()

    async def poll(self, request: web.Request) -> web.Response:
        """Answer as the test wants."""
        return web.json_response(self.polled, status=422 if "error" in self.polled else 200)

    async def stream(self, request: web.Request) -> web.Response:
        """Note where it is to go on."""
        self.cursors.put_nowait(request.headers.get("Last-Event-ID"))
        return web.Response(content_type="text/event-stream")


@pytest.fixture
async def hub() -> AsyncIterator[PollingHub]:
    """One that is served."""
    hub, app = PollingHub(), web.Application()
    app.router.add_get("/readyz", hub.ready)
    app.router.add_get("/v2/stream/poll", hub.poll)
    app.router.add_get("/v2/stream/events", hub.stream)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield hub
    await runner.cleanup()


def placed(item: dict[str, Any]) -> dict[str, Any]:
    """Return the frame of a poll that has a place, or a refusal."""
    return {"type": "subscribed", "channels": [{"channel": "agents", **item}]}


async def subscribed(hub: PollingHub) -> EventsLink:
    """Ask for a channel since a time."""
    link = await open_events(hub.url, tls=None, clock=SystemClock())
    await link.send({"type": "authenticate", "id": 1, "token": "key"})
    assert (await link.receive())["type"] == "welcome"
    await link.send(
        {"type": "subscribe", "id": 2, "channels": [{"channel": "agents", "since": "2026-01-01T00:00:00Z"}]}
    )
    return link


@pytest.mark.parametrize(
    ("polled", "told"),
    [
        ({"frames": []}, "SERVICE_UNAVAILABLE"),
        ({"frames": [{"type": "disconnect", "code": 4000, "reconnect": True}]}, "SERVICE_UNAVAILABLE"),
        ({"frames": [{"type": "error", "error": PASSING}]}, "SERVICE_UNAVAILABLE"),
        ({"frames": [{"type": "subscribed", "channels": []}]}, "SERVICE_UNAVAILABLE"),
        ({"frames": [placed({"error": WRONG})]}, "VALIDATION_ERROR"),
        ({"error": WRONG}, "VALIDATION_ERROR"),
    ],
    ids=["nothing", "disconnect", "error", "no channel", "refused", "refused whole"],
)
async def test_poll_without_a_place_is_a_refusal(hub: PollingHub, polled: Any, told: str):
    """One that passes where the hub has said nothing of the channel, and the connection lives; else the hub's own."""
    hub.polled = polled
    link = await subscribed(hub)
    frames = [await link.receive()]
    while frames[-1]["type"] != "subscribed":
        frames.append(await link.receive())
    (item,) = frames[-1]["channels"]
    assert (frames[-1]["id"], item["channel"], item["error"]["code"]) == (2, "agents", told)
    await link.close(1000)


async def test_place_is_taken_from_the_frame_that_has_it(hub: PollingHub):
    """Others may stand before it."""
    hub.polled = {"frames": [{"type": "event", "channel": "agents"}, placed({"offset": "5", "epoch": "k"})]}
    link = await subscribed(hub)
    while await asyncio.wait_for(hub.cursors.get(), 10) != "5.k":
        pass
    await link.close(1000)
