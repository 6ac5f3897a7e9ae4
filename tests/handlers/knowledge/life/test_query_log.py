"""What knowledge bases were asked: noted in passing, listed, counted, judged, forgotten."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest

from core.ids import new_id
from core.store.database import Database
from core.store.noted import MOST_WAITING
from handlers.knowledge.life.query_log import Keep, Query, QueryLog, storable_beginning
from handlers.knowledge.life.sweeping import sweep_queries
from tests.handlers.house import House, refused


def query(house: House, *bases: UUID, **changes: Any) -> Query:
    asked = Query(
        id=new_id(),
        org_id=house.caller.org_id,
        time=house.clock.now(),
        caller="user:ada",
        knowledge=bases,
        question="How do I install the SDK?",
        mode="search",
        results=1,
        found=(new_id(),),
        best_score=1.5,
        took_ms=10.0,
    )
    return replace(asked, **changes)


async def log_of(house: House, *queries: Query, keep: Keep = "on") -> QueryLog:
    """Write these queries."""
    log = QueryLog(house.url, house.clock, keep)
    for each in queries:
        log.note(each)
    await log.close()
    return log


async def base(house: House) -> UUID:
    return (await house.create("knowledge", name="Docs")).id


async def listed(house: House, id: UUID, **wanted: Any) -> list[dict[str, Any]]:
    page = await house.run("knowledge_queries.list", id=str(id), **wanted)
    return [orjson.loads(item) for item in page.items]


async def statistics(house: House, id: UUID) -> dict[str, Any]:
    return orjson.loads((await house.run("knowledge.statistics", id=str(id))).body)


async def test_query_is_listed_as_it_was_asked(house: House):
    id, asked = await base(house), new_id()
    await log_of(house, query(house, id, id=asked, found=(id, id)))
    (found,) = await listed(house, id)
    assert found["id"] == str(asked)
    assert found["documents"] == [str(id)], "each once"
    assert (found["question"], found["results"], found["subject"]) == ("How do I install the SDK?", 1, "user:ada")
    assert (found["best_score"], found["took_ms"], found["feedback"]) == (1.5, 10.0, None)


async def test_newest_first_by_pages_and_filters(house: House):
    id = await base(house)
    moments = [house.clock.now() + timedelta(seconds=number) for number in range(5)]
    await log_of(
        house,
        *(query(house, id, time=time, question=f"{n}", results=n % 2) for n, time in enumerate(moments)),
    )
    assert [each["question"] for each in await listed(house, id, per_page=2)] == ["4", "3"]
    assert [each["question"] for each in await listed(house, id, per_page=2, page=2)] == ["2", "1"]
    assert [each["question"] for each in await listed(house, id, without_results=True)] == ["4", "2", "0"]
    assert await listed(house, id, subject="user:bob") == []
    page = await house.run("knowledge_queries.list", id=str(id), page=9)
    assert (page.items, page.total) == ([], 5)


async def test_question_to_several_bases_is_in_the_log_of_each(house: House):
    one, other, third = await base(house), await base(house), await base(house)
    await log_of(house, query(house, one, other), query(house))
    assert [len(await listed(house, each)) for each in (one, other, third)] == [1, 1, 0]


async def test_log_is_kept_without_questions_or_not_at_all(house: House):
    """The counts are kept in any case."""
    id = await base(house)
    await log_of(house, query(house, id), keep="without_text")
    await log_of(house, query(house, id), keep="off")
    (found,) = await listed(house, id)
    assert (found["question"], found["results"]) == (None, 1)
    assert (await statistics(house, id))["queries"]["day"]["count"] == 2


async def test_counts_of_day_and_week(house: House):
    """Of several writers and hours, with the times that they took."""
    id = await base(house)
    before = house.clock.now() - timedelta(days=3)
    await log_of(
        house, *(query(house, id, took_ms=10.0) for _ in range(18)), query(house, id, took_ms=500.0, results=0)
    )
    await log_of(house, query(house, id, took_ms=10.0), query(house, id, time=before, results=0))
    await log_of(house, query(house, id, time=house.clock.now() - timedelta(days=9)))
    told = (await statistics(house, id))["queries"]
    assert (told["day"]["count"], told["day"]["without_results"]) == (20, 1)
    assert (told["week"]["count"], told["week"]["without_results"]) == (21, 2)
    assert told["day"]["median_ms"] == pytest.approx(10, rel=0.1)
    assert told["day"]["p95_ms"] == pytest.approx(10, rel=0.1)


async def test_batch_that_is_written_twice_is_there_once(house: House):
    id, asked = await base(house), new_id()
    await log_of(house, query(house, id, id=asked))
    await log_of(house, query(house, id, id=asked))
    assert len(await listed(house, id)) == 1


async def test_what_is_odd_in_a_question_loses_no_batch(house: House):
    id = await base(house)
    odd = query(house, id, question="a\x00b\ud800" + "c" * 5000, best_score=float("nan"), found=(), results=0)
    log = await log_of(house, odd, query(house, id), query(house, id, org_id=new_id()))
    assert (log.lost, log.answered["without_results"], log.answered["found"]) == (0, 1, 2)
    assert len(await listed(house, id)) == 2


def test_beginning_of_a_question_is_kept():
    assert storable_beginning("ä" * 2000) == "ä" * 1000
    assert storable_beginning("\ud800") == "?"


async def test_log_is_bounded_and_counts_what_it_loses(house: House):
    """A PostgreSQL that is away costs no query anything, and the log no more than its bound."""
    log = QueryLog("postgresql://nobody@/none?host=/nowhere", house.clock)
    asked = query(house)
    for _ in range(MOST_WAITING + 5):
        log.note(asked)
    await log.flush()
    assert log.lost == 5
    await log.close()


async def test_feedback_is_kept_and_changed(house: House):
    id, asked, helped = await base(house), new_id(), new_id()
    await log_of(house, query(house, id, id=asked))
    await house.run("knowledge_queries.judge", id=str(id), query=str(asked), body={"helpful": False})
    body = {"helpful": True, "document_id": str(helped)}
    await house.run("knowledge_queries.judge", id=str(id), query=str(asked), body=body)
    (found,) = await listed(house, id, helpful=True)
    assert found["feedback"]["document_id"] == str(helped)
    assert await listed(house, id, helpful=False) == []


async def test_feedback_needs_a_query_of_this_base(house: House):
    id, other, asked = await base(house), await base(house), new_id()
    await log_of(house, query(house, id, id=asked))
    for base_id, named in ((other, asked), (id, new_id()), (id, "nonsense")):
        work = house.run("knowledge_queries.judge", id=str(base_id), query=str(named), body={"helpful": True})
        assert (await refused(work)).code == "RESOURCE_NOT_FOUND"


async def test_log_is_for_those_who_may_change_the_base(house: House):
    id = await base(house)
    reader = replace(house.caller, scopes=frozenset({"read:knowledge"}))
    work = house.run("knowledge_queries.list", reader, id=str(id))
    assert (await refused(work)).code == "INSUFFICIENT_SCOPE"
    assert (await house.run("knowledge.statistics", reader, id=str(id))).body


async def test_base_of_others_does_not_exist(house: House):
    id = await base(house)
    foreigner = replace(house.caller, resource_ids=frozenset({new_id()}))
    for name in ("knowledge.statistics", "knowledge_queries.list"):
        assert (await refused(house.run(name, foreigner, id=str(id)))).code == "RESOURCE_NOT_FOUND"
        assert (await refused(house.run(name, id=str(new_id())))).code == "RESOURCE_NOT_FOUND"


async def test_old_queries_are_forgotten(house: House):
    """By PostgreSQL's day, which is the real one."""
    id = await base(house)
    await log_of(house, query(house, id), query(house, id))
    await house.rows("UPDATE knowledge_queries SET time = now()")
    old = (await house.rows("SELECT id FROM knowledge_queries LIMIT 1"))[0]["id"]
    await house.rows("UPDATE knowledge_queries SET time = now() - interval '31 days' WHERE id = $1", old)
    await house.rows("UPDATE knowledge_usage SET hour = now() - interval '31 days'")
    database = Database(house.url, role="hub_app", size=1)
    assert await sweep_queries(database, 30) == 2
    assert await sweep_queries(database, 30) == 0
    await database.close()
    assert len(await listed(house, id)) == 1
