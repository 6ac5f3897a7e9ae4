"""Following a run without Redis: who waits for it, and who reads it by server-sent events, comes to its end all the same."""

import asyncio
from typing import Any

import pytest

from core.store.engines import EngineUrls
from tests.faults.executing import Cast, Events, cast
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually


async def begun(at: Cast, query: str) -> str:
    """Return the id of the run that this query has begun."""

    async def it() -> str | None:
        rows = await at.organisation.rows("SELECT id FROM executions WHERE query = $1", query)
        return str(rows[0]["id"]) if rows else None

    return await eventually(it)


async def waited(at: Cast, query: str) -> Any:
    """Have a run begun, wait for it in the same request, and return it as that is answered."""
    answer = await at.rest.call("POST", f"/v2/agents/{at.agent}/execute", {"query": query})
    # A Redis that stands still holds a worker up for 5 s with each thing that it says: 25 s may be too short on a slow machine.
    assert answer.status in (200, 202), answer
    return answer.body if answer.status == 200 else await at.ended(answer.body["id"])


@pytest.mark.deadline(120)
@pytest.mark.parametrize("how", ["killed", pytest.param("stands still", marks=pytest.mark.slow)])
async def test_end_is_found_while_redis_is_away(
    engines: EngineUrls, organisation: Organisation, own_redis: OwnRedis, hubs: HubProcesses, how: str
):
    """Of a run that it left in mid-answer, and of one that was begun without it; each reader, on one connection, has one answer."""
    urls = EngineUrls(organisation.database_url, engines.superuser_url, own_redis.url)
    async with cast(hubs, urls, organisation, workers=1) as at, asyncio.TaskGroup() as tasks:
        first, second = [at.script(words=words, pause=0.01).text() for words in (200, 60)]
        waiting = [tasks.create_task(waited(at, first))]
        execution = await begun(at, first)
        readers = [Events([node.base_url], at.key, execution) for node in at.nodes]
        reading = [tasks.create_task(readers[0].follow())]
        await eventually(lambda: readers[0].transcript.place[1] > 1, what="a part of the answer was read")
        if how == "killed":
            own_redis.kill()
        else:
            own_redis.pause()
        reading.append(tasks.create_task(readers[1].follow()))
        waiting.append(tasks.create_task(waited(at, second)))
        readers.append(Events([at.nodes[1].base_url], at.key, await begun(at, second)))
        reading.append(tasks.create_task(readers[2].follow()))
        answers = [await each for each in waiting]
        await asyncio.gather(*reading)
        if how == "killed":
            own_redis.start()
        else:
            own_redis.resume()
        for reader, answer in zip(readers, [answers[0], *answers], strict=True):
            assert reader.connections == 1
            assert reader.problems + reader.transcript.check(answer) == []
            assert await at.shown(answer["id"]) == answer
        assert [answer["status"] for answer in answers] == ["completed", "completed"]
