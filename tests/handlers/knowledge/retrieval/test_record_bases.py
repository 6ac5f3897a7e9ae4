"""Records: a contact that was posted is found from its 201 on, by any of its fields, and gone with its base."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from core.ids import new_id
from core.operations.results import Document
from core.store.database import Database
from handlers.knowledge.retrieval.index import recorded
from tests.handlers.house import House
from tests.handlers.knowledge.retrieval.library import Library

FIRST = ["Anna", "Boris", "Chiara", "Dmitri", "Elena", "Farid", "Greta", "Hugo", "Irina", "Jonas"]
LAST = ["Kowalski", "Schmidt", "Fernandez", "Okonkwo", "Lindgren", "Moreau", "Petrov", "Yamamoto", "Haddad", "Novak"]
COMPANIES = ["Contoso", "Northwind", "Initech", "Umbrella", "Globex", "Stark", "Wayne", "Hooli", "Vandelay", "Tyrell"]


def contact(number: int) -> dict[str, Any]:
    """Return a contact as a CRM has it; each of a thousand is another."""
    first, last = FIRST[number % 10], LAST[number // 10 % 10]
    return {
        "Id": f"0035g{number:07}",
        "Name": f"{first} {last}",
        "Company": f"{COMPANIES[number // 100 % 10]} {number // 1000 or ''}".strip(),
        "Email": f"{first}.{last}{number}@example.com".lower(),
        "Phone": f"+49 30 {number:06}",
    }


@dataclass
class Posting:
    """The operations of knowledge bases, and what is found of what they did."""

    house: House
    library: Library

    async def post(self, data: Any, **more: Any) -> Document:
        return await self.house.run("knowledge.create", type="contact", data=data, source="salesforce", **more)

    async def names(self, question: str) -> list[str]:
        return await self.library.names(question)


@pytest.fixture
async def posting(house: House, database_url: str) -> AsyncIterator[Posting]:
    database = Database(database_url, role="hub_app", size=2)
    yield Posting(house, Library(database, house.caller.org_id))
    await database.close()


async def test_contact_is_found_as_soon_as_it_is_answered(posting: Posting):
    """By name, company, address, number, and with a typo."""
    await posting.post(contact(11))
    await posting.post(contact(345))
    for question in (
        "Boris Schmidt",
        "schmidt",
        "Contoso",
        "boris.schmidt11@example.com",
        "000011",
        "0035g0000011",
        "Bors Schmitd",
    ):
        assert (await posting.names(question))[0] == "Boris Schmidt", question
    found = await posting.library.find("What is the email of Boris Schmidt?")
    assert "Email: boris.schmidt11@example.com" in found.hits[0].text
    assert found.hits[0].document_id is None
    assert found.hits[0].kind == "record"


async def test_changed_record_is_found_as_it_is_now(posting: Posting):
    """Update, replace and delete take what was out; a change of something else leaves it."""
    made = await posting.post({"Name": "Ada", "City": "London"})
    id = str(made.id)
    await posting.house.run("knowledge.update", id=id, body={"data": {"City": "Paris"}})
    assert await posting.names("London") == []
    assert await posting.names("Paris") == ["Ada"]
    await posting.house.run("knowledge.update", id=id, body={"metadata": {"seen": True}})
    assert await posting.names("Paris") == ["Ada"]
    await posting.house.run("knowledge.update", id=id, body={"name": "Countess"})
    assert await posting.names("countess") == ["Countess"]
    await posting.house.run("knowledge.replace", id=id, body={"name": "Empty"})
    assert await posting.names("Paris countess") == []
    await posting.house.run("knowledge.replace", id=id, body={"data": ["Rome", "Oslo"], "name": "List"})
    assert await posting.names("Oslo") == ["List"]
    await posting.house.run("knowledge.delete", id=id)
    assert await posting.names("Oslo") == []
    await posting.library.fold()
    assert await posting.library.rows("SELECT 1 FROM knowledge_lexemes") == []


async def test_base_without_a_record_leaves_nothing_in_the_index(posting: Posting):
    """Nothing is paid for what is not there."""
    await posting.house.run("knowledge.create", name="Docs")
    assert await posting.library.rows("SELECT 1 FROM knowledge_scopes") == []


@pytest.mark.parametrize(
    "data", [{}, [], {"k": None}, {"k\0": "a\0b"}, [[[]]], {"k": "x" * 500_000}, [{"n": n} for n in range(5_000)]]
)
async def test_any_record_is_taken(posting: Posting, data: Any):
    """What a record may be, the index takes; of a very large one the first 64 KiB."""
    made = await posting.post(data, name="Thing")
    await posting.house.run("knowledge.update", id=str(made.id), body={"name": "Other"})
    await posting.library.fold()
    assert await posting.library.rows("SELECT 1 FROM knowledge_scopes WHERE chunks < 0 OR length < 0") == []


async def test_contacts_among_two_thousand(library: Library):
    """The right one comes first; two letters swapped change nothing."""
    async with library.database.transaction(library.org_id) as db:
        for number in range(2_000):
            beside = recorded(new_id(), (data := contact(number))["Name"], data)
            await db.execute(beside.query, *beside.args)
    await library.fold()
    dice = random.Random(5)
    for number in dice.sample(range(2_000), 12):
        wanted = contact(number)
        name = wanted["Name"].split()
        swapped = f"{name[0]} {name[1][0]}{name[1][2]}{name[1][1]}{name[1][3:]}"
        for question in (
            f"{wanted['Name']} {wanted['Company']}",
            wanted["Email"],
            wanted["Id"],
            f"{swapped} {wanted['Company']}",
        ):
            texts = [hit.text for hit in (await library.find(question, limit=3)).hits]
            same = [text for text in texts if f"Name: {wanted['Name']}" in text]
            assert same[:1] == texts[:1] != [], (question, texts)
        assert orjson.dumps(wanted["Email"]).decode().strip('"') in (await library.find(wanted["Email"])).hits[0].text
