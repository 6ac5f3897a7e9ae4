"""Runs of agents while all that they depend on is hurt: each ends once, in one state, and whoever reads it reads one answer."""

import asyncio
import random
from contextlib import AsyncExitStack
from typing import Any

import pytest

from core.store.engines import EngineUrls
from tests.faults.agent_provider import FAULTS, Fault, words_of
from tests.faults.executing import Cast, Readers, balance, cast, harm, problems_of, readers
from tests.harness.checker import report
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.valkey import OwnRedis
from tests.harness.waiting import eventually, let_pass

RUNS = 20
AT_ONCE = 5


@pytest.fixture
def urls(engines: EngineUrls, database_url: str, redis_url: str) -> EngineUrls:
    """A database of the test's own, and the session's Redis, emptied."""
    return EngineUrls(database_url, engines.superuser_url, redis_url)


@pytest.mark.slow
@pytest.mark.deadline(400)
async def test_runs_whose_workers_are_killed_and_stopped(
    seed: int, organisation: Organisation, urls: EngineUrls, hubs: HubProcesses
):
    """SIGKILL, SIGSTOP for longer than a lease, and drains, at random points of runs."""
    async with cast(hubs, urls, organisation) as at:
        happened = await runs_are_hurt(at, random.Random(seed), RUNS, AT_ONCE)
    assert "killed" in happened


async def runs_are_hurt(at: Cast, rng: random.Random, runs: int, at_once: int) -> list[str]:
    """Have runs done while workers are hurt, and check them. Raises AssertionError with all that is wrong."""
    happened: list[str] = ["killed"]
    for first in range(0, runs, at_once):
        hurting = asyncio.create_task(_hurt(at, rng, happened))
        some = [_hurt_run(at, rng) for _ in range(min(at_once, runs - first))]
        found = await asyncio.gather(*some)
        # Whoever was stopped goes on, whoever was killed is there again.
        await hurting
        report([each for problems in found for each in problems], "above", [str(happened)])
    await balance(at.organisation)
    print(f"{len(happened)} faults: {happened}")
    return happened


async def _hurt(at: Cast, rng: random.Random, happened: list[str]) -> None:
    for number in range(3):
        await let_pass(rng.uniform(0.2, 1.2))
        # The one that this test is most about comes first.
        happened.append(await harm(at, rng, ("killed",) if not number else ("killed", "killed", "drained", "stopped")))


async def _hurt_run(at: Cast, rng: random.Random) -> list[str]:
    await let_pass(rng.random())
    script = at.script(tools=rng.choice((0, 1, 2, 3)), words=rng.randrange(20, 120), pause=rng.choice((0.001, 0.01)))
    execution = await at.begin(script)
    async with readers(at, execution, rng) as its:
        answer = await at.ended(execution)
        await its.have_ended()
        problems = its.check(await at.shown(execution))
    return [*problems, *await problems_of(at, script.run, answer, stages=script.tools + 1)]


@pytest.mark.slow
@pytest.mark.deadline(240)
@pytest.mark.parametrize("empty", [False, True], ids=["kept", "emptied"])
async def test_redis_is_restarted_in_mid_stream(
    *,
    seed: int,
    empty: bool,
    engines: EngineUrls,
    database_url: str,
    organisation: Organisation,
    own_redis: OwnRedis,
    hubs: HubProcesses,
):
    """What it forgets is told again: every reader has the whole answer."""
    urls = EngineUrls(database_url, engines.superuser_url, own_redis.url)
    async with cast(hubs, urls, organisation) as at:
        done = [await _begun(at, stack_of, random.Random(seed), words=300) for stack_of in await _stacks(2)]
        await let_pass(0.5)
        own_redis.restart(empty=empty)
        for its, stack in done:
            answer = await at.ended(its.execution)
            await its.have_ended()
            problems = its.check(await at.shown(its.execution))
            await stack.aclose()
            report(problems, seed)
            assert words_of(answer["text"]) == [300]
        await balance(organisation)


async def _stacks(count: int) -> list[AsyncExitStack]:
    return [AsyncExitStack() for _ in range(count)]


async def _begun(at: Cast, stack: AsyncExitStack, rng: random.Random, **fields: Any) -> tuple[Readers, AsyncExitStack]:
    execution = await at.begin(at.script(**fields))
    return await stack.enter_async_context(readers(at, execution, rng)), stack


@pytest.mark.slow
@pytest.mark.deadline(240)
async def test_node_is_restarted_in_mid_stream(
    seed: int, organisation: Organisation, urls: EngineUrls, hubs: HubProcesses
):
    """Its readers come again at the other node and go on where they were."""
    async with cast(hubs, urls, organisation) as at:
        execution = await at.begin(at.script(words=400, pause=0.008))
        async with readers(at, execution, random.Random(seed)) as its:
            await eventually(lambda: all(each.place[1] > 3 for each in its.transcripts()), what="all read")
            at.nodes[1].kill()
            await at.ended(execution)
            await its.have_ended()
            report(its.check(await at.shown(execution)), seed)
        await balance(organisation)


@pytest.mark.slow
@pytest.mark.deadline(240)
async def test_provider_that_fails(seed: int, organisation: Organisation, urls: EngineUrls, hubs: HubProcesses):
    """A turn that fails once is tried again; one that always fails ends the run, with an error that has no secret."""
    async with cast(hubs, urls, organisation, workers=1) as at:
        rng = random.Random(seed)
        found: list[str] = []
        for fault in FAULTS:
            found += await _failing(at, rng, fault, times=1)
            found += await _failing(at, rng, fault, times=1000)
        report(found, seed)
        await balance(organisation)


async def _failing(at: Cast, rng: random.Random, fault: Fault, *, times: int) -> list[str]:
    script = at.script(fault=fault, faults=times, words=20)
    # Each time by an agent that is new: the last one's failures are nothing to it, but a provider's are.
    execution = await at.begin(script)
    async with readers(at, execution, rng) as its:
        answer = await at.ended(execution)
        await its.have_ended()
        problems = [f"{fault} {times} times: {each}" for each in its.check(await at.shown(execution))]
    if times > 1:
        if answer["status"] != "failed" or not answer["error"]["code"]:
            problems.append(f"{fault} without end: {answer['status']}, {answer['error']}")
    elif answer["status"] == "completed":
        problems += await problems_of(at, script.run, answer, stages=1)
    elif answer["status"] != "failed":
        problems.append(f"{fault} once: {answer['status']}")
    return problems


@pytest.mark.slow
@pytest.mark.deadline(240)
async def test_cancel_that_races_the_end(seed: int, organisation: Organisation, urls: EngineUrls, hubs: HubProcesses):
    """Whichever comes first is the end, for everybody."""
    rng = random.Random(seed)
    async with cast(hubs, urls, organisation) as at:
        found = await asyncio.gather(*(_raced(at, rng) for _ in range(12)))
        report([each for problems, _ in found for each in problems], seed)
        print(f"ended as {[status for _, status in found]}")
        await balance(organisation)


async def _raced(at: Cast, rng: random.Random) -> tuple[list[str], str]:
    execution = await at.begin(at.script(words=30, pause=0.004))
    async with readers(at, execution, rng) as its:
        await let_pass(rng.uniform(0, 0.6))
        cancels = (at.rest.call("POST", f"/v2/executions/{execution}/cancel") for _ in range(2))
        answers = await asyncio.gather(*cancels)
        problems = [f"cancel answers {each}" for each in answers if each.status not in (200, 202, 409)]
        await at.ended(execution)
        await its.have_ended()
        answer = await at.shown(execution)
        return [*problems, *its.check(answer)], answer["status"]


@pytest.mark.deadline(180)
async def test_two_clients_send_at_once(seed: int, organisation: Organisation, urls: EngineUrls, hubs: HubProcesses):
    """One message is taken, the other refused as long as it is being answered; the room tells one answer."""
    rng = random.Random(seed)
    async with cast(hubs, urls, organisation, workers=1) as at:
        path = f"/v2/agents/{at.agent}/sessions"
        session = (await at.rest.call("POST", path, {})).body["id"]
        for number in range(3):
            bodies = [{"text": at.script(words=40, pause=0.01).text()} for _ in range(2)]
            answers = await asyncio.gather(
                *(
                    at.rest.call(
                        "POST",
                        f"{path}/{session}/messages",
                        body,
                        base_url=at.nodes[n % 2].base_url,
                        Prefer="respond-async",
                    )
                    for n, body in enumerate(bodies)
                )
            )
            assert sorted(each.status for each in answers) == [202, 409], answers
            refused = next(each for each in answers if each.status == 409)
            assert refused.code == "RESOURCE_LOCKED"
            taken = next(each for each in answers if each.status == 202)
            execution = taken.headers["Location"].rpartition("/")[2]
            async with readers(at, execution, rng, channel=f"sessions:{session}") as its:
                await at.ended(execution)
                await its.have_ended()
                report(its.check(await at.shown(execution)), seed)
            messages = (await at.rest.call("GET", f"{path}/{session}/messages")).body["data"]
            assert [each["role"] for each in messages] == ["user", "assistant"] * (number + 1)
        await balance(organisation)


@pytest.mark.deadline(180)
async def test_delegates_that_recurse(seed: int, organisation: Organisation, urls: EngineUrls, hubs: HubProcesses):
    """An agent that has itself asked, again and again, comes to an end; so do all that it has asked."""
    async with cast(hubs, urls, organisation, workers=1) as at:
        script = at.script(tools=1, words=10, tool="delegate", arguments={"agent": at.agent})
        execution = await at.begin(script)
        async with readers(at, execution, random.Random(seed)) as its:
            await at.ended(execution)
            await its.have_ended()
            report(its.check(await at.shown(execution)), seed)
        rows = await organisation.rows("SELECT depth, status FROM executions ORDER BY depth")
        assert 2 <= len(rows) <= 9, rows
        assert {row["status"] for row in rows} <= {"completed", "failed"}
        await balance(organisation)


@pytest.mark.deadline(180)
async def test_prompt_over_the_limit(organisation: Organisation, urls: EngineUrls, hubs: HubProcesses):
    """It is refused before anything is kept of it."""
    async with cast(hubs, urls, organisation, workers=1) as at:
        path = f"/v2/agents/{at.agent}/execute"
        for size in (64 * 1024 + 1, 900_000):
            answer = await at.rest.call("POST", path, {"query": "x" * size})
            assert answer.status in (413, 422), answer
            assert "text" not in answer.body
        assert await organisation.rows("SELECT FROM executions") == []


@pytest.mark.slow
@pytest.mark.deadline(240)
async def test_redis_stands_still_until_the_end(
    seed: int,
    engines: EngineUrls,
    database_url: str,
    organisation: Organisation,
    own_redis: OwnRedis,
    hubs: HubProcesses,
):
    """It has lost nothing, so nobody is reset: what could not be told meanwhile is told with the end."""
    urls = EngineUrls(database_url, engines.superuser_url, own_redis.url)
    async with cast(hubs, urls, organisation, workers=1) as at:
        execution = await at.begin(at.script(words=200, pause=0.005))
        async with readers(at, execution, random.Random(seed)) as its:
            await eventually(lambda: all(each.place[1] > 1 for each in its.transcripts()), what="all read")
            own_redis.pause()

            async def is_over() -> bool:
                return not await organisation.rows("SELECT FROM executions WHERE finished_at IS NULL")

            try:
                await eventually(is_over, within=60, every=0.1)
            finally:
                own_redis.resume()
            await its.have_ended()
            report(its.check(await at.shown(execution)), seed)
        await balance(organisation)
