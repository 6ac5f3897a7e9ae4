"""Chunks get their vectors in the background: with their document, later where a model was away, and anew with another model."""

import asyncio
from dataclasses import replace

from core.deadline import end_tasks
from handlers.knowledge.embedding import store
from tests.core.jobs.house import House, error_of
from tests.handlers.knowledge.embedding.chunks import Chunks
from tests.handlers.knowledge.embedding.endpoint import FakeEndpoint, status
from tests.handlers.knowledge.embedding.working import Working, working
from tests.harness.organisations import Organisations
from tests.harness.waiting import eventually

PETS = ("the cat sleeps", "the dog barks", "a bird sings")


async def test_document_is_found_by_its_vectors_soon_after(house: House, endpoint: FakeEndpoint, chunks: Chunks):
    """What is embedded of a chunk has the headings above it."""
    async with working(house, endpoint) as hub:
        document_id = await chunks.add(*PETS, headings=["Pets", "Sounds"])
        assert await hub.found(chunks, "dog barks") == []
        await hub.ask(chunks, document_id)
        await hub.settled()
        assert (await hub.found(chunks, "which dog barks"))[0] == "the dog barks"
    assert "Pets > Sounds\nthe cat sleeps" in endpoint.texts
    (told,) = await chunks.progress()
    assert (told.name, told.dimensions, told.embedded, told.refused, told.is_asked) == ("tiny", 8, 3, 0, True)


async def test_large_document_goes_by_steps(house: House, endpoint: FakeEndpoint, chunks: Chunks):
    """However many its chunks are, few are in memory, and none is sent twice."""
    async with working(house, endpoint) as hub:
        document_id = await chunks.add(*(f"chunk {number}" for number in range(150)))
        await hub.ask(chunks, document_id)
        await hub.settled()
    sent = [text for text in endpoint.texts if text.startswith("chunk")]
    assert sorted(sent) == sorted(set(sent))
    assert (await chunks.progress())[0].embedded == 150


async def test_chunk_that_the_model_refuses_is_left_out(house: House, endpoint: FakeEndpoint, chunks: Chunks):
    """The others have theirs, and nobody tries again and again."""
    endpoint.refuses = "bird"
    async with working(house, endpoint) as hub:
        await hub.ask(chunks, await chunks.add(*PETS))
        await hub.settled()
        assert await hub.jobs.sweep() == 0
    (told,) = await chunks.progress()
    assert (told.embedded, told.refused) == (2, 1)


async def test_endpoint_that_refuses_everything_is_misconfigured(house: House, endpoint: FakeEndpoint, chunks: Chunks):
    """No chunk is marked: with the right settings all get their vectors."""
    async with working(house, endpoint) as hub:
        await hub.ask(chunks, await chunks.add("first"))
        await hub.settled()
        endpoint.refuses = ""
        await hub.ask(chunks, await chunks.add(*PETS))
        await house.eventually(lambda: _has_error(house))
        endpoint.refuses = None
        assert await hub.jobs.sweep() == 1
        await house.eventually(lambda: _embedded(chunks, 4))


async def test_model_that_is_away_is_awaited(house: House, endpoint: FakeEndpoint, chunks: Chunks):
    """The job says why it waits; what its tries could not do the sweep has done."""
    endpoint.faults.append(status(401))
    async with working(house, endpoint) as hub:
        await hub.ask(chunks, await chunks.add(*PETS))
        await house.eventually(lambda: _has_error(house))
        (job,) = await house.rows("SELECT * FROM jobs WHERE kind = 'knowledge.embed'")
        assert error_of(job) == {
            "code": "SERVICE_UNAVAILABLE",
            "message": "tiny gives no vectors: the endpoint answers 401",
        }
        assert await hub.jobs.sweep() == 1
        await house.eventually(lambda: _embedded(chunks, 3))


async def test_document_that_is_replaced_meanwhile_leaves_nothing(house: House, endpoint: FakeEndpoint, chunks: Chunks):
    """Vectors of chunks that are gone are left out; those of others in the same step are kept."""
    async with working(house, endpoint) as hub:
        await hub.ask(chunks, await chunks.add("first"))
        await hub.settled()
        endpoint.gate = asyncio.Event()
        await hub.ask(chunks, await chunks.add(*PETS))
        await eventually(lambda: PETS[0] in endpoint.texts)
        await house.rows("DELETE FROM chunks WHERE text = $1", PETS[0])
        endpoint.gate.set()
        await hub.settled()
    assert (await chunks.progress())[0].embedded == 3


async def test_worker_that_was_lost_in_a_step_writes_nothing_more(house: House, endpoint: FakeEndpoint, chunks: Chunks):
    """Another does its step again; what the first comes back with is refused."""
    endpoint.gate = asyncio.Event()
    async with working(house, endpoint) as hub:
        await hub.ask(chunks, await chunks.add(*PETS))
        await eventually(lambda: len(endpoint.calls) == 1)
        await house.rows("UPDATE jobs SET attempt = attempt + 1, lease_until = now() + interval '1 h', worker = 12345")
        endpoint.gate.set()
        await eventually(lambda: PETS[0] in endpoint.texts)
        await house.eventually(lambda: _lost(hub.house))
        assert await chunks.progress() == []


async def test_another_model_takes_over_without_a_gap(house: House, endpoint: FakeEndpoint, chunks: Chunks):
    """Questions are asked by the old model until the scope is complete in the new one; the old vectors then go."""
    async with working(house, endpoint) as old:
        await old.ask(chunks, await chunks.add(*PETS, *(f"filler {number}" for number in range(200))))
        await old.settled()
        assert await old.jobs.sweep() == 0
    by_models: set[str] = set()
    async with working(house, endpoint, "larger") as new:
        await new.found(chunks, "by which model?")  # it learns that the scope is asked by the one before
        asking = asyncio.create_task(_keep_asking(new, chunks, by_models))
        assert await new.jobs.sweep() == 1
        await new.settled()
        await eventually(lambda: "larger" in by_models or asking.done())
        assert not asking.done()
        await end_tasks([asking])
        assert await new.jobs.sweep() == 0
    assert by_models == {"tiny", "larger"}
    (told,) = await chunks.progress()
    assert (told.name, told.embedded, told.is_asked) == ("larger", 203, True)


async def _keep_asking(hub: Working, chunks: Chunks, by_models: set[str]) -> None:
    """Ask without a pause; fails by the first answer that misses what is there."""
    while True:
        async with hub.house.database.read(chunks.org_id) as db:
            before = set(await store.asked_by(db, [chunks.scope]))
        assert (await hub.found(chunks, "the dog barks"))[0] == "the dog barks"
        by_models |= {model.name for model in before}


async def test_foreign_organisation_finds_nothing(
    house: House, endpoint: FakeEndpoint, chunks: Chunks, organisations: Organisations
):
    """Whatever scope it names, a session sees its own vectors only."""
    other = await organisations.create()
    async with working(house, endpoint) as hub:
        await hub.ask(chunks, await chunks.add(*PETS))
        await hub.settled()
        assert len(await hub.found(chunks, "the dog barks")) == 3
        assert await hub.found(replace(chunks, org_id=other.id), "the dog barks") == []
        assert await replace(chunks, org_id=other.id).progress() == []


async def test_filters(house: House, endpoint: FakeEndpoint, chunks: Chunks):
    """Whatever is not among these chunks, or whose document has other metadata, is not found; what is left fills the places."""
    async with working(house, endpoint) as hub:
        await hub.ask(chunks, await chunks.add(*PETS, metadata={"kind": {"of": "pets"}, "n": 1}))
        await hub.ask(chunks, await chunks.add("the wolf barks", metadata={"kind": {"of": "wild"}}))
        await hub.settled()
        assert await hub.found(chunks, "the dog barks", 1, filter='{"kind": {"of": "wild"}}') == ["the wolf barks"]
        ids = [row["id"] for row in await house.rows("SELECT id FROM chunks WHERE text LIKE '%s%' ORDER BY id LIMIT 2")]
        assert await hub.found(chunks, "the dog barks", 9, ids) == ["the dog barks", "the cat sleeps"]
        assert await hub.found(chunks, "the dog barks", 9, []) == []


async def _has_error(house: House) -> bool:
    return bool(await house.rows("SELECT FROM jobs WHERE error IS NOT NULL"))


async def _embedded(chunks: Chunks, count: int) -> bool:
    return sum(each.embedded for each in await chunks.progress()) == count


async def _lost(house: House) -> bool:
    return any(workers.ended.get(("knowledge.embed", "lost")) for workers in house.workers)
