"""The limit on requests as a client of REST meets it."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations
from tests.harness.waiting import eventually
from tests.rest.declared import NOWHERE_REDIS, operations
from tests.rest.server import Answer, RestServer, head, serve

AGENTS = "/v2/agents"
POLICY = re.compile(r'"hour";q=(\d+);w=3600, "burst";q=(\d+);w=(\d+)')
STATE = re.compile(r'"hour";r=(\d+);t=(\d+), "burst";r=(\d+)(?:;t=(\d+))?')


@pytest.fixture(params=["redis", "alone"])
async def rest(
    request: pytest.FixtureRequest, database_url: str, redis_url: str, clock: ManualClock
) -> AsyncIterator[RestServer]:
    """The door, with Redis and without: the same holds of one node."""
    url = redis_url if request.param == "redis" else NOWHERE_REDIS
    async with serve(database_url, clock, operations().values(), redis_url=url) as served:
        yield served


@pytest.fixture
async def limited(organisations: Organisations) -> Organisation:
    """An organisation with ten requests in an hour."""
    return await organisations.create(limits={"requests_per_hour": 10, "burst": 1000})


def told(answer: Answer) -> dict[str, int]:
    """Return what the headers say, after all that holds of them always was checked."""
    headers = answer.headers
    names = ("Limit", "Remaining", "Reset", "Window")
    limit, remaining, reset, window = (int(headers[f"X-RateLimit-{name}"]) for name in names)
    assert window == 3600
    assert 0 <= remaining <= limit
    assert reset % 3600 == 0
    policy, state = POLICY.fullmatch(headers["RateLimit-Policy"]), STATE.fullmatch(headers["RateLimit"])
    assert policy is not None
    assert state is not None, headers["RateLimit"]
    assert int(policy[1]) == limit
    assert int(state[1]) == remaining
    assert 1 <= int(state[2]) <= 3600
    assert int(state[3]) <= int(policy[2])
    return {"limit": limit, "remaining": remaining, "reset": reset, "burst": int(state[3])}


def is_untold(headers: Mapping[str, Any]) -> bool:
    return not any("ratelimit" in name.lower() for name in headers)


async def test_every_answer_to_a_caller_tells_the_limit(rest: RestServer, organisation: Organisation, key: str):
    """Success, 304, each kind of refusal; each counts once."""
    made = await rest.call("POST", AGENTS, key, body={"name": "Ada"})
    here = f"{AGENTS}/{made.json()['id']}"
    reader = await organisation.key(["read:knowledge"])
    answers = [
        made,
        await rest.call("GET", here, key),
        await rest.call("HEAD", here, key),
        await rest.call("GET", here, key, headers={"If-None-Match": made.headers["ETag"]}),
        await rest.call("GET", AGENTS, key),
        await rest.call("GET", f"{AGENTS}?nonsense=1", key),
        await rest.call("POST", AGENTS, key, data=b"{", headers={"Content-Type": "application/json"}),
        await rest.call("POST", AGENTS, key, data=b"{}", headers={"Content-Type": "text/plain"}),
        await rest.call("POST", AGENTS, key, body={}),
        await rest.call("GET", here, reader),
        await rest.call("GET", f"{AGENTS}/none", key),
        await rest.call("PATCH", here, key, body={"name": "B"}, headers={"If-Match": '"9"'}),
        await rest.call("DELETE", here, key),
    ]
    statuses = [201, 200, 200, 304, 200, 400, 400, 415, 422, 403, 404, 412, 204]
    assert [answer.status for answer in answers] == statuses
    left = [told(answer)["remaining"] for answer in answers]
    assert left == list(range(left[0], left[0] - len(answers), -1))


async def test_who_is_nobody_is_told_nothing(rest: RestServer):
    """Nor are probes, which have no limit."""
    for path in (AGENTS, "/livez", "/readyz", "/nowhere"):
        assert is_untold((await rest.call("GET", path)).headers), path


async def test_over_the_limit(rest: RestServer, limited: Organisation):
    """429 is the error object, says when to come again, and has the headers."""
    key = await limited.key()
    for left in range(9, -1, -1):
        assert told(await rest.call("GET", AGENTS, key))["remaining"] == left
    for answer in (
        await rest.call("GET", AGENTS, key),
        await rest.call("GET", f"{AGENTS}?nonsense=1", key),
        await rest.call("POST", AGENTS, key, body={"name": "x" * 100_000}),
        await rest.call("GET", AGENTS, await limited.key(["read:knowledge"])),
    ):
        error = answer.error(429, "RATE_LIMIT_EXCEEDED")
        assert error["message"] == "Rate limit exceeded"
        assert 1 <= int(answer.headers["Retry-After"]) <= 3600
        assert told(answer)["remaining"] == 0
    assert (await rest.call("GET", "/readyz")).status == 200
    assert (await rest.call("GET", AGENTS, await _of_somebody_else(limited))).status == 200


async def _of_somebody_else(organisation: Organisation) -> str:
    return await (await Organisations(organisation.database_url).create()).key()


async def test_bucket_binds(rest: RestServer, organisations: Organisations):
    """Then both fields speak of the same moment."""
    organisation = await organisations.create(limits={"requests_per_hour": 360, "burst": 2})
    key = await organisation.key()
    answers = await asyncio.gather(*(rest.call("GET", AGENTS, key) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 200, 429, 429, 429]
    refused = next(answer for answer in answers if answer.status == 429)
    assert told(refused)["remaining"] == 358
    assert told(refused)["burst"] == 0
    assert int(refused.headers["Retry-After"]) in (9, 10)
    assert refused.headers["RateLimit"].endswith(f'"burst";r=0;t={refused.headers["Retry-After"]}')
    assert refused.headers["RateLimit-Policy"] == '"hour";q=360;w=3600, "burst";q=2;w=20'


async def test_body_over_the_limit_is_not_waited_for(rest: RestServer, organisations: Organisations):
    """Who waits for 100-continue is refused at once."""
    organisation = await organisations.create(limits={"requests_per_hour": 0})
    key = await organisation.key()
    lines = ("Content-Type: application/json", "Content-Length: 500000")
    answer = await rest.send(head("POST", AGENTS, key, *lines))
    answer.error(429, "RATE_LIMIT_EXCEEDED")


async def test_new_limit_holds_within_two_seconds(
    rest: RestServer, organisations: Organisations, limited: Organisation, clock: ManualClock
):
    """As `orgs set` gives it, raised or cut, the window's or the bucket's."""
    key = await limited.key()
    assert told(await rest.call("GET", AGENTS, key))["remaining"] == 9
    await organisations.limit(limited, requests_per_hour=50, burst=30)
    await clock.advance(2)
    raised = told(await rest.call("GET", AGENTS, key))
    assert (raised["limit"], raised["remaining"], raised["burst"]) == (50, 48, 28)
    await organisations.limit(limited, requests_per_hour=2)
    await clock.advance(2)
    assert told(await rest.call("GET", AGENTS, key))["remaining"] == 0
    await organisations.limit(limited, requests_per_hour=1000, burst=0)
    await clock.advance(2)
    (await rest.call("GET", AGENTS, key)).error(429, "RATE_LIMIT_EXCEEDED")
    await organisations.limit(limited, burst=None)
    await clock.advance(2)
    assert (await rest.call("GET", AGENTS, key)).status == 200


async def test_what_has_not_changed_is_answered_out_of_the_grace_share(
    database_url: str, redis_url: str, clock: ManualClock, organisations: Organisations
):
    """Over the limit a 304 is still one, for a tenth of the limit; what has changed is 429."""
    organisation = await organisations.create(limits={"requests_per_hour": 40, "burst": 1000})
    key = await organisation.key()
    async with serve(database_url, clock, operations().values(), redis_url=redis_url) as rest:
        made = await rest.call("POST", AGENTS, key, body={"name": "Ada"})
        here, same = f"{AGENTS}/{made.json()['id']}", {"If-None-Match": made.headers["ETag"]}
        while (await rest.call("GET", AGENTS, key)).status == 200:
            pass
        (await rest.call("GET", here, key, headers={"If-None-Match": '"9"'})).error(429, "RATE_LIMIT_EXCEEDED")
        for _ in range(3):
            answer = await rest.call("GET", here, key, headers=same)
            assert (answer.status, told(answer)["remaining"]) == (304, 0)
        refused = await rest.call("GET", here, key, headers=same)
        refused.error(429, "RATE_LIMIT_EXCEEDED")
        assert int(refused.headers["Retry-After"]) >= 1


async def test_flood_over_the_limit_leaves_few_traces(
    rest: RestServer, organisations: Organisations, clock: ManualClock
):
    """A refusal that only repeats the last one is counted, and not written into the audit."""
    organisation = await organisations.create(limits={"requests_per_hour": 1})
    key = await organisation.key()
    for _ in range(30):
        await rest.call("GET", AGENTS, key)

    async def noted() -> list[tuple[str, int]]:
        await rest.trail.flush()
        return await organisations.audited(organisation)

    await eventually(noted)
    assert await noted() == [("RATE_LIMIT_EXCEEDED", 1), ("ok", 1)]
