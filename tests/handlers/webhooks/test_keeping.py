"""What its owner does with a webhook: it is rotated, tested, paused, told where to begin, and what it lost is sent again."""

from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from core.operations.housekeeping import sweep_attempts
from core.store.database import Database
from tests.handlers.webhooks.pushing import all_delivered, dead, deliveries, make_agents, make_webhook
from tests.handlers.webhooks.receiver import Receiver, receiving, refusing
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.waiting import eventually


def _verifies(receiver: Receiver, secret: str) -> bool:
    """Tell whether the last delivery is one of this secret."""
    try:
        Webhook(secret).verify(receiver.texts[-1], receiver.headers[-1])
    except WebhookVerificationError:
        return False
    return True


async def test_rotation_loses_no_delivery(rest: RestClient):
    """While both secrets live, a receiver with either verifies what comes; afterwards the new one does alone."""
    async with receiving() as receiver:
        webhook = await make_webhook(rest, receiver)
        old, receiver.secret = receiver.secret, ""
        rotate = f"/v2/webhooks/{webhook['id']}/rotate"
        new = (await rest.call("POST", rotate, {"overlap_seconds": 3600})).body["secret"]
        await make_agents(rest, 1)
        await eventually(lambda: len(receiver.bodies) == 1, what="one of both")
        assert (_verifies(receiver, old), _verifies(receiver, new)) == (True, True)
        newest = (await rest.call("POST", rotate, {"overlap_seconds": 0})).body["secret"]
        await make_agents(rest, 1)
        await eventually(lambda: len(receiver.bodies) == 2, what="one of the newest")
        assert [_verifies(receiver, each) for each in (old, new, newest)] == [False, False, True]


async def test_test_message_is_sent_whatever_the_status(rest: RestClient):
    """Once, signed, and with no position; how it went is the answer, and no delivery."""
    async with receiving() as receiver:
        webhook = await make_webhook(rest, receiver)
        await rest.call("POST", f"/v2/webhooks/{webhook['id']}/pause")
        tried = (await rest.call("POST", f"/v2/webhooks/{webhook['id']}/test")).body
        assert (tried["outcome"], tried["status"], tried["answer"]) == ("delivered", 200, "OK")
        (body,) = receiver.bodies
        assert (body["type"], body["id"], body["position"]) == ("webhook.test", tried["event_id"], None)
        receiver.answer = refusing
        tried = (await rest.call("POST", f"/v2/webhooks/{webhook['id']}/test")).body
        assert (tried["outcome"], tried["status"], tried["answer"]) == ("failed", 500, "broken")
        assert await deliveries(rest, webhook) == []
        assert (await rest.call("GET", f"/v2/webhooks/{webhook['id']}")).body["failing_since"] is None


async def test_paused_webhook_misses_nothing(rest: RestClient):
    """What comes meanwhile is sent once it goes on."""
    async with receiving() as receiver, receiving() as other:
        webhook = await make_webhook(rest, receiver)
        await make_webhook(rest, other)
        await rest.call("POST", f"/v2/webhooks/{webhook['id']}/pause")
        events = await make_agents(rest, 3)
        await eventually(lambda: len(other.bodies) == 3, what="the other has them")
        assert receiver.bodies == []
        await rest.call("POST", f"/v2/webhooks/{webhook['id']}/enable")
        await eventually(lambda: receiver.times == dict.fromkeys(events, 1), what="all come")


async def test_past_is_sent_from_the_start_and_by_a_replay(rest: RestClient):
    """A webhook that begins at the log's beginning gets all; a replay sends it again, marked, under the same ids."""
    async with receiving() as receiver:
        events = await make_agents(rest, 3)
        webhook = await make_webhook(rest, receiver, start={"position": "0"})
        await eventually(lambda: receiver.times == dict.fromkeys(events, 1), what="the past comes")
        await eventually(lambda: all_delivered(rest, webhook, 3), what="it is noted")
        begun = await rest.call("POST", f"/v2/subscriptions/{webhook['id']}/replay", {"from": {"position": "1"}})
        assert begun.status == 201
        await eventually(lambda: len(receiver.bodies) == 5, what="a part of it comes again")
    again = receiver.headers[3:]
    assert {each["webhook-id"] for each in again} == set(events[1:])
    assert [each.get("webhook-replayed") for each in again] == ["true"] * 2


async def test_ordered_webhook_sends_one_of_a_subject_at_a_time(rest: RestClient):
    """The next waits for the one before, also while that fails; other subjects do not."""
    async with receiving(refusing) as receiver:
        await make_webhook(rest, receiver, ordered=True)
        one = await rest.call("POST", "/v2/agents", {"name": "0"})
        path = f"/v2/agents/{one.body['id']}"
        for name in ("1", "2"):
            assert (await rest.call("PATCH", path, {"name": name})).status == 200
        await eventually(lambda: receiver.bodies, what="the first fails")
        (other,) = await make_agents(rest, 1)
        await eventually(lambda: other in receiver.ids, what="another subject is sent")
        assert "1" not in {body["data"]["name"] for body in receiver.bodies}
        receiver.answer = None
        await eventually(lambda: _names(receiver, one.body["id"])[-2:] == ["1", "2"], what="all came in order")
    assert _names(receiver, one.body["id"]) == ["0"] * (len(_names(receiver, one.body["id"])) - 2) + ["1", "2"]


def _names(receiver: Receiver, id: str) -> list[str]:
    return [body["data"]["name"] for body in receiver.bodies if body["data"]["id"] == id]


async def test_what_was_delivered_or_given_up_is_sent_once_more(rest: RestClient, organisation: Organisation):
    """One by a resend, the other by a redrive: each under its own id; both stand in the log of deliveries."""
    async with receiving() as receiver:
        webhook = await make_webhook(rest, receiver)
        (well,) = await make_agents(rest, 1)
        (delivered,) = await eventually(lambda: all_delivered(rest, webhook, 1), what="one is delivered")
        again = await rest.call("POST", f"/v2/webhooks/{webhook['id']}/deliveries/{delivered['id']}/resend")
        assert (again.status, again.body["event_id"]) == (200, well)
        await eventually(lambda: receiver.times[well] == 2, what="it is sent again")
        await eventually(lambda: all_delivered(rest, webhook, 2), what="that is noted")
        receiver.answer = refusing
        (lost,) = await make_agents(rest, 1)
        await eventually(
            lambda: organisation.rows("SELECT 1 FROM attempts WHERE outcome = 'refused'"), what="one fails"
        )
        await organisation.rows("UPDATE deliveries SET attempt = 8, due_at = clock_timestamp()")
        (given_up,) = await eventually(lambda: dead(rest, webhook), what="it is given up")
        assert (given_up["event_id"], given_up["next_attempt_at"]) == (lost, None)
        receiver.answer = None
        redriven = await rest.call(
            "POST", f"/v2/subscriptions/{webhook['id']}/dead-letters/redrive", {"type": "agent.*"}
        )
        assert redriven.status == 200
        await eventually(lambda: receiver.times[lost] == 2, what="it is sent again")
        await eventually(lambda: all_delivered(rest, webhook, 3), what="that is noted")
        assert await dead(rest, webhook) == []


async def test_log_of_deliveries_forgets_after_a_week(rest: RestClient, organisation: Organisation, database_url: str):
    """What was delivered, not what is outstanding or was given up: these have every attempt for as long as they are there."""
    async with receiving() as receiver:
        webhook = await make_webhook(rest, receiver)
        await make_agents(rest, 1)
        await eventually(lambda: all_delivered(rest, webhook, 1), what="one is delivered")
        receiver.answer = refusing
        await make_agents(rest, 2)
        refused = "SELECT 1 FROM attempts WHERE outcome = 'refused' HAVING count(DISTINCT delivery) = 2"
        await eventually(lambda: organisation.rows(refused), what="two fail")
        await organisation.rows(
            "UPDATE deliveries SET attempt = 8, due_at = clock_timestamp() WHERE id = (SELECT min(id) FROM deliveries)"
        )
        await eventually(lambda: dead(rest, webhook), what="one is given up")
        await rest.call("POST", f"/v2/webhooks/{webhook['id']}/pause")
        await organisation.rows("UPDATE attempts SET ended_at = ended_at - interval '8 days'")
        database = Database(database_url, role="hub_app", size=1)
        try:
            assert await sweep_attempts(database) == 1
        finally:
            await database.close()
        left = await deliveries(rest, webhook)
    assert {each["status"] for each in left} == {"pending", "dead_lettered"}
    assert all(each["attempts"] for each in left)
