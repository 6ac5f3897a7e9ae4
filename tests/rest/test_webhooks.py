"""/v2/webhooks: what is made, changed, rotated, refused; who may, and where webhooks may lead."""

from typing import Any

import pytest

from tests.harness.organisations import Organisation, Organisations
from tests.rest.server import Answer, RestServer

URL = "https://hooks.example.com/in?token=1"


async def _made(rest: RestServer, key: str, **fields: Any) -> dict[str, Any]:
    answer = await rest.call("POST", "/v2/webhooks", key, body={"url": URL, "events": ["agent.*"], **fields})
    assert answer.status == 201, answer
    return answer.json()


async def _post(rest: RestServer, key: str, body: Any) -> Answer:
    return await rest.call("POST", "/v2/webhooks", key, body=body)


async def test_webhook_is_made_with_a_secret_that_is_told_once(rest: RestServer, key: str):
    """And kept nowhere as it is."""
    answer = await _post(rest, key, {"url": URL, "events": ["agent.*", "twin.created"]})
    made = answer.json()
    assert (answer.status, answer.headers["Location"]) == (201, f"/v2/webhooks/{made['id']}")
    assert (answer.headers["ETag"], answer.headers["Cache-Control"]) == ('"1"', "no-store")
    assert made["secret"].startswith("whsec_")
    assert (made["url"], made["events"], made["status"]) == (URL, ["agent.*", "twin.created"], "active")
    got = (await rest.call("GET", f"/v2/webhooks/{made['id']}", key)).json()
    assert got == {name: value for name, value in made.items() if name != "secret"}
    listed = (await rest.call("GET", "/v2/webhooks", key)).json()
    assert (listed["data"], listed["pagination"]["total"]) == ([got], 1)


async def test_secret_stands_in_no_table(rest: RestServer, key: str, organisation: Organisation):
    """Neither with the webhook nor with the first result of its idempotency key."""
    sent = {"url": URL, "events": ["*"]}
    answers = [
        await rest.call("POST", "/v2/webhooks", key, body=sent, headers={"Idempotency-Key": "once"}) for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    secret = answers[0].json()["secret"].removeprefix("whsec_")
    for table in ("webhooks", "idempotency", "subscriptions", "audit"):
        rows = await organisation.rows(f"SELECT t::text AS row FROM {table} t")  # noqa: S608 - a table's name
        assert rows
        assert not [row for row in rows if secret in row["row"]], table


@pytest.mark.parametrize(
    "url",
    ["http://8.8.8.8/", "https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1/", "https://169.254.169.254/latest",
     "https://[::ffff:127.0.0.1]/", "http://localhost/", "https://localhost/", "ftp://a.example/", "https://u:p@a.example/", "x", "https://"],
)  # fmt: skip
async def test_address_that_may_not_be_called_is_refused(rest: RestServer, key: str, url: str):
    """When a webhook is made as when it is changed; the field is named."""
    error = (await _post(rest, key, {"url": url, "events": ["agent.*"]})).error(422, "VALIDATION_ERROR")
    assert [each["field"] for each in error["details"]] == ["url"]
    webhook = await _made(rest, key)
    changed = await rest.call("PATCH", f"/v2/webhooks/{webhook['id']}", key, body={"url": url})
    assert [each["field"] for each in changed.error(422, "VALIDATION_ERROR")["details"]] == ["url"]


@pytest.mark.parametrize(
    ("body", "field"),
    [({"events": ["a"]}, "url"), ({"url": URL}, "events"), ({"url": URL, "events": []}, "events"),
     ({"url": URL, "events": ["agent created"]}, "events[0]"), ({"url": URL, "events": ["\x00"]}, "events[0]"),
     ({"url": "https://a.example/ b", "events": ["*"]}, "url"),
     ({"url": URL, "events": ["*"], "max_per_second": 0}, "max_per_second"),
     ({"url": URL, "events": ["*"], "secret": "whsec_mine"}, "secret")],
)  # fmt: skip
async def test_what_is_no_webhook_is_refused(rest: RestServer, key: str, body: Any, field: str):
    """Each field by its name."""
    error = (await _post(rest, key, body)).error(422, "VALIDATION_ERROR")
    assert field in [each["field"] for each in error["details"]]


async def test_change_makes_a_version_and_meets_its_condition(rest: RestServer, key: str):
    """Whatever of it changes; what is left out stays."""
    webhook = await _made(rest, key, description="first", max_per_second=5)
    path = f"/v2/webhooks/{webhook['id']}"
    for fields in (
        {"events": ["twin.*"]},
        {"description": "second"},
        {"max_per_second": None},
        {"url": "https://b.example/"},
    ):
        before = await rest.call("GET", path, key)
        held = {"If-Match": before.headers["ETag"]}
        changed = await rest.call("PATCH", path, key, body=fields, headers=held)
        assert changed.json() == before.json() | fields | {
            "version": before.json()["version"] + 1,
            "updated_at": changed.json()["updated_at"],
        }
        stale = await rest.call("PATCH", path, key, body=fields, headers=held)
        stale.error(412, "PRECONDITION_FAILED")


async def test_rotation_keeps_the_old_secret_for_the_overlap(rest: RestServer, key: str):
    """A new one is told once; with no overlap the old one ends at once."""
    webhook = await _made(rest, key)
    path = f"/v2/webhooks/{webhook['id']}/rotate"
    rotated = (await rest.call("POST", path, key, body={"overlap_seconds": 3600})).json()
    assert rotated["secret"] != webhook["secret"]
    assert rotated["old_secret_until"] is not None
    assert (await rest.call("POST", path, key, body={"overlap_seconds": 0})).json()["old_secret_until"] is None
    (await rest.call("POST", path, key, body={"overlap_seconds": 700_000})).error(422, "VALIDATION_ERROR")


async def test_webhook_is_paused_and_goes_on(rest: RestServer, key: str):
    """To say it twice changes nothing; what is disabled is not paused."""
    webhook = await _made(rest, key)
    path = f"/v2/webhooks/{webhook['id']}"
    for verb, status in (("pause", "paused"), ("enable", "active")):
        said = [await rest.call("POST", f"{path}/{verb}", key) for _ in range(2)]
        assert [each.json()["status"] for each in said] == [status] * 2
        assert said[0].headers["ETag"] == said[1].headers["ETag"]
    assert (await rest.call("GET", path, key)).json()["version"] == webhook["version"] + 2


async def test_webhook_begins_where_it_is_to(rest: RestServer, key: str, organisation: Organisation):
    """Behind a position, behind a time, or with what comes; where that is, its subscription shows."""
    await organisation.rows("UPDATE heads SET position = 9")
    begins = [
        ("now", "9"),
        ({"position": "4"}, "4"),
        ({"time": "2020-01-01T00:00:00Z"}, "0"),
        ({"position": "12"}, "9"),
    ]
    for start, position in begins:
        webhook = await _made(rest, key, start=start, ordered=start == "now")
        assert webhook["ordered"] == (start == "now")
        subscription = (await rest.call("GET", f"/v2/subscriptions/{webhook['id']}", key)).json()
        assert (subscription["delivery"], subscription["position"]) == ("push", position)
        assert subscription["ordered"] == webhook["ordered"]


async def test_deleted_webhook_is_gone_with_its_subscription(rest: RestServer, key: str, organisation: Organisation):
    """Nothing of it is left."""
    webhook = await _made(rest, key)
    assert (await rest.call("DELETE", f"/v2/webhooks/{webhook['id']}", key)).status == 204
    (await rest.call("GET", f"/v2/webhooks/{webhook['id']}", key)).error(404, "RESOURCE_NOT_FOUND")
    for table in ("webhooks", "subscriptions", "deliveries"):
        assert await organisation.rows(f"SELECT 1 FROM {table}") == []  # noqa: S608 - a table's name


async def test_others_see_nothing_of_a_webhook(rest: RestServer, key: str, organisations: Organisations):
    """Another organisation, and who is for some resources only."""
    webhook = await _made(rest, key)
    foreign = await (await organisations.create()).key()
    one = f"/v2/webhooks/{webhook['id']}"
    for method, path, body in (
        ("GET", one, None),
        ("PATCH", one, {"description": "mine"}),
        ("POST", f"{one}/rotate", {"overlap_seconds": 0}),
        ("POST", f"{one}/pause", None),
        ("POST", f"{one}/enable", None),
        ("POST", f"{one}/test", None),
        ("GET", f"{one}/deliveries", None),
        ("POST", f"{one}/deliveries/1/resend", None),
        ("DELETE", one, None),
    ):
        (await rest.call(method, path, foreign, body=body)).error(404, "RESOURCE_NOT_FOUND")
    assert (await rest.call("GET", "/v2/webhooks", foreign)).json()["data"] == []
    assert (await rest.call("GET", one, key)).json()["version"] == 1


async def test_who_may_not_read_events_sends_none_anywhere(rest: RestServer, organisation: Organisation):
    """A webhook is a way to read them; a credential for some resources would read of others."""
    writes = await organisation.key(["read:webhooks", "write:webhooks"])
    sent = {"url": URL, "events": ["*"]}
    (await _post(rest, writes, sent)).error(403, "INSUFFICIENT_SCOPE")
    some = await organisation.key(resource_ids=[organisation.id])
    (await _post(rest, some, sent)).error(403, "FORBIDDEN")
    (await rest.call("GET", "/v2/webhooks", some)).error(403, "FORBIDDEN")
    reads = await organisation.key(["read:webhooks", "read:events"])
    (await _post(rest, reads, sent)).error(403, "INSUFFICIENT_SCOPE")


async def test_subscription_that_is_no_webhook_is_none(rest: RestServer, key: str):
    """Both have ids of one kind; each answers to its own paths."""
    made = await rest.call("POST", "/v2/subscriptions", key, body={"name": "pulled", "types": ["agent.*"]})
    assert made.status == 201, made
    (await rest.call("GET", f"/v2/webhooks/{made.json()['id']}", key)).error(404, "RESOURCE_NOT_FOUND")
