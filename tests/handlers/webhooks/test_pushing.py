"""A hub that pushes, over real sockets: what happens reaches the receivers, and one that is dead slows none of the others."""

import asyncio

from aiohttp import web

from core.store.database import connect_as
from tests.handlers.webhooks.pushing import all_delivered, dead, make_agents, make_webhook
from tests.handlers.webhooks.receiver import receiving, refusing
from tests.harness.hub_process import HubProcess
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.waiting import eventually

_POISON = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$refused by the test$$; END';
CREATE TRIGGER refuse BEFORE INSERT ON deliveries FOR EACH ROW WHEN (NEW.subscription_id = '{id}') EXECUTE FUNCTION refuse();
"""


async def test_what_happens_is_posted_once_and_verified(rest: RestClient):
    """To the webhooks whose events match, each with its own secret; the log of deliveries has every attempt."""
    async with receiving() as agents, receiving() as twins:
        webhook = await make_webhook(rest, agents)
        await make_webhook(rest, twins, events=["twin.created"])
        events = await make_agents(rest, 20)
        await eventually(lambda: len(agents.bodies) >= 20, what="all are there")
        assert agents.times == dict.fromkeys(events, 1)
        assert {body["type"] for body in agents.bodies} == {"agent.created"}
        assert twins.bodies == []
        log = await eventually(lambda: all_delivered(rest, webhook, 20), what="the log has them")
    assert {each["event_id"] for each in log} == set(events)
    for each in log:
        (attempt,) = each["attempts"]
        assert (attempt["number"], attempt["outcome"], attempt["status"], attempt["answer"]) == (
            1,
            "acknowledged",
            200,
            "OK",
        )


async def test_event_over_what_travels_is_posted_whole(rest: RestClient):
    """Though streams get the short form of it."""
    async with receiving() as receiver:
        await make_webhook(rest, receiver)
        await rest.call("POST", "/v2/agents", {"name": "Large", "metadata": {"text": "x" * 100_000}})
        await eventually(lambda: receiver.bodies)
    assert len(receiver.bodies[0]["data"]["metadata"]["text"]) == 100_000


async def test_failure_is_tried_again_under_the_same_id(rest: RestClient):
    """After five seconds, give or take one; each attempt stands in the log with what was answered."""
    async with receiving(refusing) as receiver:
        webhook = await make_webhook(rest, receiver)
        (event,) = await make_agents(rest, 1)
        await eventually(lambda: receiver.bodies, what="the first attempt")
        receiver.answer = None
        log = await eventually(lambda: all_delivered(rest, webhook, 1), every=0.1, what="the second attempt")
        assert receiver.ids == [event, event]
    assert [(each["number"], each["status"], each["answer"]) for each in log[0]["attempts"]] == [
        (1, 500, "broken"),
        (2, 200, "OK"),
    ]


async def test_endpoint_that_hangs_slows_no_other(rest: RestClient):
    """Several of them hang, and the one that answers gets everything at once."""
    may_end = asyncio.Event()

    async def hang(_request: web.Request) -> web.Response:
        await may_end.wait()
        return web.Response()

    async with receiving(hang) as dead, receiving() as alive:
        for _ in range(5):
            await make_webhook(rest, dead)
        dead.secret = ""
        await make_webhook(rest, alive)
        events = await make_agents(rest, 40)
        await eventually(lambda: len(alive.bodies) == 40, what="the one that answers has all")
        assert alive.times == dict.fromkeys(events, 1)
        assert len(dead.bodies) <= 5 * 4
        may_end.set()


async def test_410_disables_and_is_told(rest: RestClient):
    """The notice is an event like any other; what is outstanding waits, and comes once the webhook is enabled."""

    async def gone(_request: web.Request) -> web.Response:
        return web.Response(status=410)

    async with receiving(gone) as receiver, receiving() as notices:
        webhook = await make_webhook(rest, receiver)
        await make_webhook(rest, notices, events=["webhook.*"])
        (event,) = await make_agents(rest, 1)
        await eventually(lambda: notices.bodies, what="the notice")
        assert notices.bodies[0]["type"] == "webhook.disabled"
        assert (notices.bodies[0]["data"]["id"], notices.bodies[0]["data"]["reason"]) == (webhook["id"], "gone")
        told = (await rest.call("GET", f"/v2/webhooks/{webhook['id']}")).body
        assert (told["status"], told["status_reason"]) == ("disabled", "gone")
        receiver.answer = None
        assert (await rest.call("POST", f"/v2/webhooks/{webhook['id']}/enable")).body["status"] == "active"
        (later,) = await make_agents(rest, 1)
        await eventually(lambda: receiver.times == {event: 2, later: 1}, what="both come")


async def test_five_days_of_failure_disable(rest: RestClient, organisation: Organisation):
    """Counted from the first failure after the last success; the next failure behind them ends it."""
    async with receiving(refusing) as receiver, receiving() as notices:
        webhook = await make_webhook(rest, receiver)
        await make_webhook(rest, notices, events=["webhook.disabled"])
        await make_agents(rest, 1)
        await eventually(
            lambda: organisation.rows("SELECT 1 FROM webhooks WHERE failing_since IS NOT NULL"), what="it is failing"
        )
        assert (await rest.call("GET", f"/v2/webhooks/{webhook['id']}")).body["failing_since"] is not None
        await organisation.rows("UPDATE webhooks SET failing_since = failing_since - interval '5 days'")
        await eventually(lambda: notices.bodies, what="the notice")
    assert notices.bodies[0]["data"]["reason"] == "failing"


async def test_last_attempt_ends_in_a_dead_letter(rest: RestClient, organisation: Organisation):
    """It is kept with its attempts, and can be sent again."""
    async with receiving(refusing) as receiver:
        webhook = await make_webhook(rest, receiver)
        (event,) = await make_agents(rest, 1)
        await eventually(lambda: organisation.rows("SELECT 1 FROM attempts"), what="the first attempt is noted")
        await organisation.rows("UPDATE deliveries SET attempt = 7")
        log = await eventually(lambda: dead(rest, webhook), every=0.1, what="a dead letter")
        receiver.answer = None
        resend = f"/v2/webhooks/{webhook['id']}/deliveries/{log[0]['id']}/resend"
        assert (await rest.call("POST", resend)).body["event_id"] == event
        await eventually(lambda: receiver.times[event] == 3, what="it was sent again")


async def test_hub_that_is_killed_in_mid_delivery_loses_nothing(
    rest: RestClient, hub: HubProcess, organisation: Organisation
):
    """What it had on its way comes again when the lease has ended, under the same id."""
    may_end = asyncio.Event()

    async def hang(_request: web.Request) -> web.Response:
        await may_end.wait()
        return web.Response()

    async with receiving(hang) as receiver:
        webhook = await make_webhook(rest, receiver)
        events = await make_agents(rest, 10)
        await eventually(lambda: receiver.bodies, what="some are on their way")
        hub.kill()
        receiver.answer = None
        # Time passes for leases alone: PostgreSQL judges them.
        await organisation.rows("UPDATE deliveries SET due_at = due_at - interval '1 minute' WHERE lease IS NOT NULL")
        # Not before: what the hub had sent when it was killed lay in the receiver's sockets, and has been read by now.
        was_sent = set(receiver.ids)
        await hub.start()
        async with RestClient(hub.base_url, await organisation.key()) as again:
            await eventually(lambda: set(receiver.times) == set(events), what="all came")
            await eventually(lambda: all_delivered(again, webhook, 10), what="all are noted")
        may_end.set()
    assert {id for id, times in receiver.times.items() if times > 1} <= was_sent


async def test_rate_is_kept(rest: RestClient, organisation: Organisation):
    """So many a second from when it was made, with at most a second's worth saved up."""
    async with receiving() as receiver:
        webhook = await make_webhook(rest, receiver, max_per_second=4)
        await make_agents(rest, 10)
        await eventually(lambda: all_delivered(rest, webhook, 10), every=0.1, what="all came")
        (row,) = await organisation.rows(
            "SELECT extract(epoch FROM clock_timestamp() - created_at) AS took FROM webhooks"
        )
    assert row["took"] >= 10 / 4
    assert max(receiver.times.values()) == 1


async def test_webhook_that_postgresql_cannot_serve_stops_no_other(
    rest: RestClient, hub: HubProcess, database_url: str
):
    """Its deliveries are refused by the database: that is logged with its id, and the others get theirs."""
    async with receiving() as poisoned, receiving() as sound:
        broken = await make_webhook(rest, poisoned)
        await make_webhook(rest, sound)
        owner = await connect_as(database_url, "hub_owner")
        try:
            await owner.execute(_POISON.format(id=broken["id"]))
        finally:
            await owner.close()
        await make_agents(rest, 3)
        await eventually(lambda: len(sound.bodies) == 3, what="the sound one has all")
        await eventually(lambda: "webhook_set_aside" in hub.output(), what="it is logged")
        assert poisoned.bodies == []
    assert broken["id"] in hub.output()
