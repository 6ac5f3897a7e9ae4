"""A node dies in the middle of a batch: the batch is sent again under its key, and everything in it has happened once."""

import asyncio
from typing import Any

import aiohttp
import pytest

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.waiting import eventually

OPERATIONS = 40
STOPS_AT = 20
# A session of this database that waits for a row of another.
WAITING = """
SELECT 1 FROM pg_locks AS waiting JOIN pg_locks AS its USING (pid)
WHERE NOT waiting.granted AND its.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
WRITTEN = """
SELECT type, count(*), count(DISTINCT subject) FROM (
    SELECT type, subject FROM events WHERE org_id = $1 UNION ALL SELECT type, subject FROM outbox WHERE org_id = $1
) AS every GROUP BY type ORDER BY type
"""


def operations(target: str) -> list[dict[str, Any]]:
    """Return many creates, with a change of `target` among them."""
    several = [{"method": "POST", "path": "/v2/agents", "body": {"name": f"Nr. {n}"}} for n in range(OPERATIONS)]
    several[STOPS_AT] = {"method": "PATCH", "path": target, "body": {"status": "paused"}}
    return several


@pytest.mark.parametrize("atomic", [False, True], ids=["one by one", "atomic"])
async def test_batch_that_was_killed_half_way_is_sent_again(
    atomic: bool,
    engines: EngineUrls,
    organisation: Organisation,
    redis_url: str,
    hubs: HubProcesses,
):
    """Kill -9 while one operation waits: those before it have happened, or in an atomic batch none; the repeat does the rest."""
    hub = await hubs.start(urls=EngineUrls(organisation.database_url, engines.superuser_url, redis_url))
    async with RestClient(hub.base_url, await organisation.key()) as client:
        target = (await client.call("POST", "/v2/agents", {"name": "target"})).headers["Location"]
        body = {"operations": operations(target), "atomic": atomic}
        async with organisation.holding("agents"):
            sent = asyncio.create_task(client.call("POST", "/v2/batch", body, Idempotency_Key="night-run"))

            async def half_way() -> bool:
                # One by one is tried in one transaction first.
                there = len(await agents_of(organisation)) == (1 if atomic else STOPS_AT + 1)
                return there and bool(await organisation.rows(WAITING))

            await eventually(half_way, what="the operation waits for its row")
            hub.kill()
            with pytest.raises(aiohttp.ClientError):
                await sent
            assert len(await agents_of(organisation)) == (1 if atomic else STOPS_AT + 1)
        await hub.start()

        async def again() -> list[dict[str, Any]]:
            answer = await client.call("POST", "/v2/batch", body, base_url=hub.base_url, Idempotency_Key="night-run")
            assert answer.status == 200, answer
            results = answer.body["results"]
            # PostgreSQL may still be at what the dead node asked for.
            assert {each["status"] for each in results} <= {200, 201}, results
            return results

        results = await eventually(again, retry_on=(AssertionError,), what="all has happened")
    names = [name for _, name in await agents_of(organisation)]
    assert sorted(names) == sorted(["target", *(f"Nr. {n}" for n in range(OPERATIONS) if n != STOPS_AT)])
    assert {each["body"]["id"] for each in results} == {str(id) for id, _ in await agents_of(organisation)}
    if not atomic:
        assert all(each["headers"]["Idempotent-Replayed"] == "true" for each in results[:STOPS_AT])
    written = [tuple(row) for row in await organisation.rows(WRITTEN, organisation.id)]
    assert written == [("agent.created", OPERATIONS, OPERATIONS), ("agent.updated", 1, 1)]


async def agents_of(organisation: Organisation) -> list[Any]:
    """Return the agents that are committed."""
    return await organisation.rows("SELECT id, name FROM agents WHERE org_id = $1", organisation.id)
