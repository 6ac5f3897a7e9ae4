"""Records as text: a line for each value."""

from typing import Any

import orjson

from handlers.knowledge.retrieval.records import MOST_CHARACTERS, record_chunks, record_text

CONTACT = {
    "name": "Ada Lovelace",
    "tags": ["math", "vip"],
    "address": {"city": "London", "zip": None},
    "active": True,
    "score": 1.5,
}


def test_each_value_is_a_line_with_its_path():
    """A question for a field finds the field's name beside its value."""
    assert record_text(CONTACT).split("\n") == [
        "name: Ada Lovelace",
        "tags: math",
        "tags: vip",
        "address.city: London",
        "active: true",
        "score: 1.5",
    ]


def test_what_is_empty_has_no_line():
    """It says nothing that anybody could ask for."""
    assert record_text({"a": None, "b": "", "c": [], "d": {}, "e": "  "}) == ""
    assert record_chunks({}) == []


def test_line_breaks_and_nul_are_spaces():
    """PostgreSQL's text has no NUL, and a line is one value."""
    assert record_text({"a\0b": "x\ny\0z"}) == "a b: x y z"


def test_items_of_an_array_are_chunks_of_their_own():
    """A base may hold a list of contacts: the one that is asked for is found."""
    chunks = record_chunks([{"name": "Ada"}, {"name": "Bob"}])
    assert [(text, place.record) for text, place in chunks] == [("name: Ada", "1"), ("name: Bob", "2")]


def test_long_records_are_cut_between_lines():
    """No chunk is much longer than those of documents."""
    chunks = record_chunks({f"field{n}": "word " * 20 for n in range(100)})
    assert len(chunks) > 3
    assert all(len(text) < 2_200 for text, _ in chunks)


def test_records_are_bounded():
    """Neither depth nor size nor the number of items costs more than the bound."""
    deep: Any = "x"
    for _ in range(2_000):
        deep = {"k": deep}
    assert len(record_text(deep)) <= MOST_CHARACTERS
    assert len(record_text({"k": "y" * 200_000})) <= MOST_CHARACTERS
    assert sum(len(text) for text, _ in record_chunks([{"k": "z" * 50}] * 20_000)) <= MOST_CHARACTERS
    assert record_text(orjson.loads(b"[" * 500 + b"1" + b"]" * 500)) != "x"
