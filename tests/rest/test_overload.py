"""What REST gives up when there is too much to do: detail for developers, and new streams of events; never a request."""

from collections.abc import AsyncGenerator

import aiohttp
import pytest
from aiohttp import web

from core.errors import HubError
from core.operations.results import Item, Streamed
from core.pressure import Part, Pressure, Scale
from rest.asked import Answer
from rest.sse import ServerSentEvents
from tests.harness.clock import ManualClock
from tests.rest.declared import operations
from tests.rest.server import serve


@pytest.fixture
def pressure(clock: ManualClock) -> Pressure:
    return Pressure(clock, {"work": Scale((1, 2, 3, 4, 5))})


async def test_detail_of_requests_is_left_out(database_url: str, clock: ManualClock, key: str, pressure: Pressure):
    """The answer is the same otherwise; also where every request is shown."""
    async with serve(database_url, clock, operations().values(), debug=True, pressure=pressure) as rest:
        assert "X-Debug" in (await rest.call("GET", "/v2/agents", key)).headers
        pressure.look({"work": Part.DEBUG})
        answer = await rest.call("GET", "/v2/agents", key)
        assert (answer.status, "X-Debug" in answer.headers) == (200, False)
        pressure.look({"work": Part.PUBLISHES})
        made = await rest.call("POST", "/v2/agents", key, body={"name": "Ada", "type": "assistant"})
        assert made.status == 201, "what has an event of the log is never given up"


@pytest.mark.parametrize(("method", "status"), [("GET", 503), ("POST", 200)])
async def test_new_stream_of_events_is_a_join(clock: ManualClock, pressure: Pressure, method: str, status: int):
    """What a POST has begun is told all the same: refused, it would be done twice."""
    events = ServerSentEvents(clock, lambda: True, pressure)
    closed: list[bool] = []

    async def parts() -> AsyncGenerator[Item]:
        try:
            yield Item("one", "{}")
        finally:
            closed.append(True)

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await events.send(request, Answer(200, {}), Streamed(parts()), "req_1")
        except HubError as refused:
            return web.Response(status=refused.status, headers={"Retry-After": str(refused.retry_after)})

    app = web.Application()
    app.router.add_route("*", "/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        pressure.look({"work": Part.JOINS})
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        async with aiohttp.ClientSession() as session, session.request(method, url) as told:
            assert told.status == status
            if status == 503:
                assert int(told.headers["Retry-After"]) >= 3
            else:
                assert b"event: one" in await told.read()
                assert closed
    finally:
        await runner.cleanup()
