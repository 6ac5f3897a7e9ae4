"""What tests of pushing do at the hub's REST door: webhooks and events are made, and the log of deliveries is read."""

from typing import Any

from tests.handlers.webhooks.receiver import Receiver
from tests.harness.rest_client import RestClient

Made = dict[str, Any]


async def make_webhook(rest: RestClient, receiver: Receiver, **fields: Any) -> Made:
    """Make a webhook that leads to a receiver, which knows its secret from now on."""
    answer = await rest.call("POST", "/v2/webhooks", {"url": receiver.url, "events": ["agent.*"], **fields})
    assert answer.status == 201, answer
    receiver.secret = answer.body["secret"]
    return answer.body


async def make_agents(rest: RestClient, count: int) -> list[str]:
    """Make agents; returns the ids of their events."""
    answers = [await rest.call("POST", "/v2/agents", {"name": f"Agent {number}"}) for number in range(count)]
    return [answer.headers["X-Event-Id"] for answer in answers]


async def deliveries(rest: RestClient, webhook: Made, query: str = "") -> list[Made]:
    """Return the log of deliveries, newest first."""
    answer = await rest.call("GET", f"/v2/webhooks/{webhook['id']}/deliveries?per_page=100{query}")
    assert answer.status == 200, answer
    return answer.body["data"]


async def all_delivered(rest: RestClient, webhook: Made, count: int) -> list[Made] | None:
    """Return those that were delivered, once there are so many."""
    found = await deliveries(rest, webhook, "&status=delivered")
    return found if len(found) == count else None


async def dead(rest: RestClient, webhook: Made) -> list[Made]:
    """Return those that were given up."""
    return await deliveries(rest, webhook, "&status=dead_lettered")
