"""Statements that go together: fewer round trips, the same order, all or nothing."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import asyncpg
import pytest

from core.store.database import Connection, connect_as
from core.store.joined import Joined, joined
from tests.harness.waiting import eventually

MARKER = "SELECT 'that was all'"
INSERT = "INSERT INTO notes (text) VALUES ($1::text)"
MARK = "UPDATE notes SET marks = marks + 1 WHERE text = $1::text"
# As what ends a piece of work is written.
FINISH = "-- Why.\nWITH noted AS (\n    INSERT INTO notes (text) SELECT $1::text\n)\nINSERT INTO notes (text) VALUES ($2::text)"
CONSTRAINED = "INSERT INTO notes (text) VALUES (NULLIF($1::text, ''))"


@dataclass
class Notes:
    """A connection, and what was sent over it."""

    connection: Connection
    logged: list[str] = field(default_factory=list[str])

    def open(self, opening: str = "") -> Joined:
        self.logged.clear()
        return Joined(self.connection, opening)

    async def sent(self) -> list[str]:
        """Return what was sent; asyncpg tells of it a little later."""
        await self.connection.execute(MARKER)
        await eventually(lambda: MARKER in self.logged)
        return self.logged[: self.logged.index(MARKER)]

    async def texts(self) -> list[str]:
        return [text for (text,) in await self.connection.fetch("SELECT text FROM notes ORDER BY id")]


@pytest.fixture
async def notes(database_url: str) -> AsyncIterator[Notes]:
    connection = await connect_as(database_url, "hub_owner")
    await connection.execute(
        "CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY, text text NOT NULL, marks int DEFAULT 0)"
    )
    made = Notes(connection)

    def log(record: asyncpg.connection.LoggedQuery) -> None:
        made.logged.append(record.query)

    connection.add_query_logger(log)
    yield made
    await connection.close()


async def test_one_piece_of_work_is_one_statement(notes: Notes):
    """Without BEGIN and COMMIT, which it is by itself."""
    writes = notes.open()
    writes.later(INSERT, "a")
    writes.finish(FINISH, "b", "c")
    assert await notes.sent() == []
    notes.logged.clear()
    await writes.end()
    assert (len(await notes.sent()), writes.has_begun) == (1, False)
    assert sorted(await notes.texts()) == ["a", "b", "c"]


async def test_transaction_begins_when_something_is_asked(notes: Notes):
    """What waits goes before; what ends the work goes with what was written last."""
    writes = notes.open("SELECT set_config('hub.org_id', '', false)")
    writes.later(INSERT, "a")
    assert await writes.fetchval("SELECT count(*) FROM notes") == 1
    writes.later(INSERT, "b")
    writes.finish(FINISH, "c", "d")
    await writes.end()
    sent = await notes.sent()
    assert sent[0] == "SELECT set_config('hub.org_id', '', false); BEGIN"
    assert (len(sent), sent[-1]) == (5, "COMMIT")
    assert len(await notes.texts()) == 4


async def test_many_of_one_text_are_sent_at_once(notes: Notes):
    """And neighbours only: the order is that in which they were written."""
    writes = notes.open()
    for number in range(50):
        writes.later(INSERT, f"{number}")
        writes.finish(FINISH, "x", "y")
    writes.later(MARK, "49")
    writes.later(INSERT, "49")
    await writes.end()
    assert len(await notes.sent()) == 5
    rows = await notes.connection.fetch("SELECT marks FROM notes WHERE text = '49' ORDER BY id")
    assert [marks for (marks,) in rows] == [1, 0]
    written = [text for text in await notes.texts() if text.isdigit()]
    assert written == [*(f"{number}" for number in range(50)), "49"]


async def test_work_is_ended_with_its_own_writes_only(notes: Notes):
    """One that wrote nothing itself is joined with nobody's."""
    writes = notes.open()
    writes.later(INSERT, "a")
    writes.finish(FINISH, "b", "c")
    writes.finish(FINISH, "d", "e")
    await writes.end()
    assert len(await notes.texts()) == 5


async def test_error_leaves_nothing(notes: Notes):
    """Alone, and among many."""
    writes = notes.open()
    writes.later(CONSTRAINED, "")
    writes.finish(FINISH, "b", "c")
    with pytest.raises(asyncpg.NotNullViolationError):
        await writes.end()
    assert await notes.texts() == []
    writes = notes.open()
    for text in ("a", "", "b"):
        writes.later(CONSTRAINED, text)
    with pytest.raises(asyncpg.NotNullViolationError):
        await writes.end()
    assert writes.has_begun
    await notes.connection.execute("ROLLBACK")
    assert await notes.texts() == []


async def test_nothing_asks_nothing(notes: Notes):
    """A piece of work that was refused before its first statement costs no round trip."""
    await notes.open("SELECT 1").end()
    assert await notes.sent() == []


def test_places_of_arguments_are_moved():
    """Those of the last come first; a WITH of the first becomes a part."""
    first = "WITH made AS (\n  SELECT $2\n)\nINSERT INTO t SELECT $1, $11"
    last = "-- Why.\nWITH a AS (\n  SELECT $1\n)\nSELECT $2"
    assert joined(first, last, 2) == (
        "WITH made AS (\n  SELECT $4\n), before_it AS (\nINSERT INTO t SELECT $3, $13\n), a AS (\n  SELECT $1\n)\nSELECT $2"
    )


@pytest.mark.parametrize(
    ("first", "last"), [("SELECT (\n1\n)\n", "WITH a AS (SELECT 1) SELECT 1"), ("SELECT 1", "SELECT 1")]
)
def test_what_cannot_be_joined_is_refused(first: str, last: str):
    """Rather than sent as something else."""
    with pytest.raises(ValueError, match="WITH"):
        joined(first, last, 0)
