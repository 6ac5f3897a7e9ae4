"""What the audit calls the things that were touched, over REST."""

import pytest

from tests.harness.organisations import Organisation
from tests.rest.server import RestServer


@pytest.mark.parametrize(
    ("made", "then", "operation"),
    [
        ("webhooks", None, "webhooks.create"),
        ("webhooks", "deliveries", "webhook_deliveries.list"),
        ("subscriptions", None, "subscriptions.create"),
        ("subscriptions", "dead-letters/purge", "dead_letters.purge"),
        ("subscriptions", "replay", "replays.create"),
    ],
)
async def test_target_is_what_has_the_id(
    rest: RestServer, organisation: Organisation, made: str, then: str | None, operation: str
):
    """Of what belongs to another thing it is that, whose id the path has; of what is new, its own."""
    key = await organisation.key()
    body = {"url": "https://93.184.215.14/", "events": ["*"]} if made == "webhooks" else {"name": "a"}
    answer = await rest.call("POST", f"/v2/{made}", key, body=body)
    assert answer.status == 201, answer
    made_id = answer.json()["id"]
    path = f"/v2/{made}/{made_id}/{then}"
    if then == "deliveries":
        assert (await rest.call("GET", path, key)).status == 200
    elif then is not None:
        told = {"from": {"position": "0"}} if then == "replay" else {}
        assert (await rest.call("POST", path, key, body=told)).status in (200, 201)
    await rest.trail.flush()
    audit = await rest.call("GET", f"/v2/audit?operation={operation}", key)
    assert [each["target"] for each in audit.json()["data"]] == [f"{made}/{made_id}"]
