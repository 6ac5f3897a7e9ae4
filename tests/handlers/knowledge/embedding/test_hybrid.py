"""Words and meaning together, through the one function that finds."""

import asyncio
from uuid import UUID

from core.ids import new_id
from handlers.knowledge.parsing.parsed import Chunk, Place
from handlers.knowledge.retrieval.analysis import analysed
from handlers.knowledge.retrieval.index import Index
from handlers.knowledge.retrieval.retriever import Retriever
from handlers.knowledge.retrieval.search import Hit, Search
from tests.core.jobs.house import House
from tests.handlers.knowledge.embedding.chunks import BASE, DOCUMENT
from tests.handlers.knowledge.embedding.endpoint import FakeEndpoint
from tests.handlers.knowledge.embedding.working import Working, working
from tests.harness.organisations import Organisation

CATS = "cats sleep all day"
OWLS = "The owls fly, the owls hunt."
FARM = "a farm has cats and dogs and horses and sheep"


async def _base(house: House, organisation: Organisation) -> UUID:
    knowledge_id = new_id()
    await house.rows(BASE, organisation.id, knowledge_id)
    return knowledge_id


async def _put(hub: Working, organisation: Organisation, knowledge_id: UUID, text: str) -> None:
    document_id = new_id()
    await hub.house.rows(f"{BASE} ON CONFLICT DO NOTHING", organisation.id, knowledge_id)
    await hub.house.rows(DOCUMENT, organisation.id, document_id, knowledge_id, text, "{}")
    chunk = Chunk("text", text, Place(), analysed(text, (), "english"))
    async with hub.house.database.transaction(organisation.id) as db:
        await Index().put(db, organisation.id, knowledge_id, document_id, "english", [chunk])
        await hub.jobs.ask(db, organisation.id, knowledge_id, document_id)
    hub.house.poke()


async def _find(hub: Working, organisation: Organisation, question: str) -> list[Hit]:
    retriever = Retriever(hub.vectors)
    await retriever.prepare(question)
    async with hub.house.database.read(organisation.id) as db:
        return (await retriever.find(db, Search(question), None)).hits


async def test_hits_tell_their_ranks_in_both(house: House, endpoint: FakeEndpoint, organisation: Organisation):
    """What has the words is first; what only means it is found too, and says so; before there are vectors words find alone."""
    knowledge_id = await _base(house, organisation)
    async with working(house, endpoint) as hub:
        endpoint.gate = asyncio.Event()
        for text in (CATS, OWLS, FARM):
            await _put(hub, organisation, knowledge_id, text)
        alone = await _find(hub, organisation, "cats")
        assert [(hit.text, hit.lexical, hit.vector) for hit in alone] == [(CATS, 1, None), (FARM, 2, None)]
        endpoint.gate.set()
        await hub.settled()
        both = await _find(hub, organisation, "cats sleep")
        assert [(hit.text, hit.lexical) for hit in both] == [(CATS, 1), (FARM, 2), (OWLS, None)]
        assert sorted(hit.vector or 0 for hit in both) == [1, 2, 3]


async def test_phrase_and_refused_word_are_obeyed(house: House, endpoint: FakeEndpoint, organisation: Organisation):
    """However near something is that has not the phrase, or has the word."""
    knowledge_id = await _base(house, organisation)
    async with working(house, endpoint) as hub:
        for text in (CATS, OWLS, FARM):
            await _put(hub, organisation, knowledge_id, text)
        await hub.settled()
        assert [hit.text for hit in await _find(hub, organisation, '"cats sleep"')] == [CATS]
        assert [hit.text for hit in await _find(hub, organisation, "cats -farm")] == [CATS]
