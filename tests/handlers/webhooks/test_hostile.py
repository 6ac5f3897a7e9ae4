"""Receivers that mean no good: each is bounded, what may not be called is refused, all is recorded, and nobody waits for it."""

import asyncio

from aiohttp import web

from core.store.engines import EngineUrls
from handlers.webhooks.policy import KEPT_BYTES, TIMEOUT_SECONDS
from tests.handlers.webhooks.pushing import Made, deliveries, make_agents, make_webhook
from tests.handlers.webhooks.receiver import receiving
from tests.harness.hub_process import HubProcess, HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.waiting import eventually, let_pass

MEGABYTE = b"y" * 1024 * 1024


async def _attempt(rest: RestClient, webhook: Made) -> Made:
    """Return the first attempt of the only delivery, once it is recorded."""

    async def recorded() -> list[Made]:
        found = await deliveries(rest, webhook)
        return found[0]["attempts"] if found else []

    return (await eventually(recorded, within=60, every=0.1, what="an attempt is recorded"))[0]


async def test_receivers_that_hang_or_trickle_fail_when_their_time_is_up(rest: RestClient):
    """A byte a second is no answer either. The one that answers has its events long before."""
    over = asyncio.Event()

    async def hang(_request: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    async def trickle(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while not over.is_set():
            await answer.write(b"a")
            await let_pass(1)
        return answer

    async with receiving(hang) as silent, receiving(trickle) as slow, receiving() as well:
        webhooks = [await make_webhook(rest, each) for each in (silent, slow, well)]
        (event,) = await make_agents(rest, 1)
        await eventually(lambda: well.ids == [event], what="the one that answers has it")
        assert (await _attempt(rest, webhooks[2]))["outcome"] == "acknowledged"
        for webhook in webhooks[:2]:
            attempt = await _attempt(rest, webhook)
            assert (attempt["outcome"], attempt["status"]) == ("refused", None)
            assert "no answer within 15 s" in attempt["answer"]
            assert attempt["duration_ms"] >= TIMEOUT_SECONDS * 1000
        over.set()


async def test_answer_of_many_megabytes_is_cut(rest: RestClient):
    """Its status counts, 4 KiB of it are recorded, and the rest is not taken."""
    refused: list[Exception] = []

    async def pour(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(status=503)
        await answer.prepare(request)
        try:
            for _ in range(64):
                await answer.write(MEGABYTE)
        except ConnectionError as error:
            refused.append(error)
            raise
        return answer

    async with receiving(pour) as receiver:
        webhook = await make_webhook(rest, receiver)
        await make_agents(rest, 1)
        attempt = await _attempt(rest, webhook)
        await eventually(lambda: refused, what="the receiver has noticed")
    assert (attempt["outcome"], attempt["status"]) == ("refused", 503)
    assert attempt["answer"] == "y" * KEPT_BYTES


async def test_redirect_is_not_followed(rest: RestClient):
    """Not even to what may be called: it is recorded as the failure that it is."""
    async with receiving() as inside:

        async def elsewhere(_request: web.Request) -> web.Response:
            return web.Response(status=307, headers={"Location": inside.url}, text="over there")

        async with receiving(elsewhere) as receiver:
            webhook = await make_webhook(rest, receiver)
            await make_agents(rest, 1)
            attempt = await _attempt(rest, webhook)
    assert (attempt["outcome"], attempt["status"], attempt["answer"]) == ("refused", 307, "over there")
    assert inside.bodies == []


async def test_address_that_may_no_longer_be_called_is_refused(
    rest: RestClient,
    hub: HubProcess,
    hubs: HubProcesses,
    organisation: Organisation,
    database_url: str,
    redis_url: str,
    engines: EngineUrls,
):
    """A webhook that was made while its network was allowed: nothing is sent, and the log says why."""
    async with receiving() as receiver:
        webhook = await make_webhook(rest, receiver)
        hub.kill()
        stricter = await hubs.start(urls=EngineUrls(database_url, engines.superuser_url, redis_url))
        async with RestClient(stricter.base_url, await organisation.key()) as again:
            await make_agents(again, 1)
            attempt = await _attempt(again, webhook)
            tried = (await again.call("POST", f"/v2/webhooks/{webhook['id']}/test")).body
    assert (attempt["outcome"], attempt["status"]) == ("refused", None)
    assert "127.0.0.1 is not a public address" in attempt["answer"]
    assert (tried["outcome"], tried["answer"]) == ("failed", attempt["answer"])
    assert receiver.bodies == []
