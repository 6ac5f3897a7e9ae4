"""What the metrics tell of documents: of all organisations, by one who may see none of them."""

import asyncpg
import pytest

from core.store.database import Database
from handlers.knowledge.life.figures import Documents, KnowledgeFigures
from tests.handlers.house import House
from tests.handlers.knowledge.life.test_statistics import add


async def test_figures_follow_documents(house: House):
    base = (await house.create("knowledge", name="Docs")).id
    system = Database(house.url, role="hub_system", size=1)
    figures = KnowledgeFigures(system, house.clock)
    await figures.look()
    assert (figures.by_status, figures.chunks, figures.waiting_seconds) == ({}, 0, 0.0)
    ids = await add(house, base, ("ready", 5, "english"), ("pending", 7, None))
    await house.rows("UPDATE documents SET updated_at = $1", house.clock.now())
    await house.clock.advance(30)
    await figures.look()
    assert figures.by_status == {"ready": Documents(1, 5), "pending": Documents(1, 7)}
    assert figures.waiting_seconds == 30
    await house.rows("DELETE FROM documents WHERE id = $1", ids[1])
    await figures.look()
    assert figures.by_status == {"ready": Documents(1, 5), "pending": Documents(0, 0)}
    assert figures.waiting_seconds == 0
    await system.close()


async def test_requests_may_not_ask_for_figures(house: House):
    """They are of everybody."""
    database = Database(house.url, role="hub_app", size=1)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await KnowledgeFigures(database, house.clock).look()
    await database.close()
