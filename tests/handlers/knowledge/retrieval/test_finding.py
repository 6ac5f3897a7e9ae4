"""What questions find: words, phrases, beginnings, refusals, typos, languages, and nobody else's."""

from dataclasses import replace

import pytest

from core.ids import new_id
from tests.handlers.knowledge.retrieval.library import Library, chunk
from tests.harness.organisations import Organisations


async def test_best_match_comes_first(library: Library):
    """A rare word says more than a common one, and a heading more than a text."""
    base = new_id()
    await library.document(base, "install.md", chunk("Run pip install hub-sdk to get the SDK.", "Installing"))
    await library.document(base, "limits.md", "The SDK has limits. They are the same in each SDK.")
    await library.document(base, "other.md", "Nothing that anybody would ask for.")
    await library.fold()
    found = await library.find("How do I install the SDK?", base)
    assert [hit.name for hit in found.hits] == ["install.md", "limits.md"]
    first = found.hits[0]
    assert first.place.headings == ("Installing",)
    assert first.matched == ("install", "hub-sdk", "SDK")
    assert first.lexical == 1
    assert first.score > found.hits[1].score
    assert not found.corrected


async def test_what_is_put_is_found_before_it_is_counted(library: Library):
    """Nothing waits for the counts, also not in a base that has none yet."""
    base = new_id()
    await library.document(base, "a", "alpha beta")
    assert await library.names("beta", base) == ["a"]
    await library.fold()
    await library.document(base, "b", "gamma beta")
    assert await library.names("gamma", base) == ["b"]


async def test_syntax(library: Library):
    """Phrases are required, refused words are not there, beginnings stand for all their words; all else is words."""
    base = new_id()
    await library.document(base, "tour", "getting started with the hub")
    await library.document(base, "other", "started getting configured for docker")
    await library.document(base, "code", "call os.path.join or setTimeout in v3.11.2")
    for _ in range(2):  # the second time counted
        assert await library.names('"getting started"', base) == ["tour"]
        assert await library.names('"started with the hub"', base) == ["tour"]
        assert await library.names("getting -docker", base) == ["tour"]
        assert await library.names('getting -"getting started"', base) == ["other"]
        assert await library.names("config*", base) == ["other"]
        assert await library.names('"path join"', base) == ["code"]
        assert await library.names("set_timeout", base) == ["code"]
        assert await library.names("3.11", base) == ["code"]
        assert await library.names('"started getting" -docker', base) == []
        assert await library.names('"nowhere said" getting', base) == []
        assert set(await library.names('docker "tour', base)) == {"other"}
        await library.fold()


@pytest.mark.parametrize(
    "question",
    [
        "",
        "   ",
        '"',
        '""',
        "-",
        "*",
        "the of and",
        "!&|():*<->",
        "\0\x01",
        "'; DROP TABLE chunks; --",
        "\\",
        "1.gamma:A",
        "a" * 65_536,
    ],
)
async def test_question_without_anything_to_find_finds_nothing(library: Library, question: str):
    """Whatever is asked, it is not an error."""
    base = new_id()
    await library.document(base, "a", "alpha beta")
    assert await library.names(question, base) == []


async def test_typo_is_corrected_where_no_text_has_the_word(library: Library):
    """And the answer says so, in the text's own form."""
    base = new_id()
    await library.document(base, "a", "Configuration of webhooks: retries and signatures")
    await library.document(base, "b", "Nothing of that")
    await library.fold()
    found = await library.find("webhoks signatrue", base)
    assert [hit.name for hit in found.hits] == ["a"]
    assert found.corrected == {"webhoks": "webhooks", "signatrue": "signatures"}
    assert not (await library.find("configuration 2024 xyz", base)).corrected


async def test_several_languages_in_one_base(library: Library):
    """A text is found by its own language's forms, whatever else is in its base."""
    base = new_id()
    await library.document(base, "de", chunk("Die Häuser stehen am Fluss", language="german"), language="german")
    await library.document(base, "en", "The houses stand by the river")
    await library.document(base, "ja", chunk("東京都に住む犬", language="simple"), language="simple")
    await library.fold()
    assert await library.names("Haus", base) == ["de"]
    assert await library.names("house", base) == ["en"]
    assert await library.names("東京", base) == ["ja"]


async def test_bases_that_are_named_are_searched_and_no_others(library: Library):
    """None named is all of the organisation's, as far as the caller may read."""
    one, two, three = new_id(), new_id(), new_id()
    for base, name in ((one, "one"), (two, "two"), (three, "three")):
        await library.document(base, name, "alpha")
    record = await library.record("Ada", {"word": "alpha"})
    await library.fold()
    assert sorted(await library.names("alpha")) == ["Ada", "one", "three", "two"]
    assert sorted(await library.names("alpha", one, record)) == ["Ada", "one"]
    assert await library.names("alpha", record) == ["Ada"]
    assert sorted(await library.names("alpha", allowed=frozenset((two, record)))) == ["Ada", "two"]
    assert await library.names("alpha", one, allowed=frozenset((two,))) == []
    assert await library.names("alpha", new_id()) == []


async def test_another_organisation_finds_nothing(library: Library, organisations: Organisations):
    """Also not by the id of a base."""
    base = new_id()
    await library.document(base, "a", "alpha alphabet")
    record = await library.record("Ada", {"word": "alpha"})
    await library.fold()
    other = replace(library, org_id=(await organisations.create()).id)
    for question in ("alpha", '"alpha alphabet"', "alph*", "alhpa"):
        assert await other.names(question) == []
        assert await other.names(question, base, record) == []
        assert await other.names(question, base, filter={"a": 1}) == []


async def test_replaced_and_removed_texts_are_gone_at_once(library: Library):
    """What is committed is what is found."""
    base = new_id()
    id = await library.document(base, "a", "alpha", "beta")
    await library.fold()
    assert await library.put(base, id, "gamma")
    assert await library.names("alpha", base) == []
    assert await library.names("gamma", base) == ["a"]
    async with library.database.transaction(library.org_id) as db:
        await library.index.remove(db, base, id)
    assert await library.names("gamma", base) == []
    await library.document(base, "b", "delta")
    async with library.database.transaction(library.org_id) as db:
        await library.index.drop(db, base)
    assert await library.names("delta") == []
    await library.fold()
    assert await library.rows("SELECT 1 FROM knowledge_lexemes") == []


async def test_filter_must_all_hold(library: Library):
    """In a document's metadata, or in a record's data or metadata."""
    base = new_id()
    await library.document(base, "a", "alpha", metadata={"team": "docs", "tags": ["x", "y"]})
    await library.document(base, "b", "alpha", metadata={"team": "sales"})
    await library.document(base, "c", "alpha")
    ada = await library.record("Ada", {"word": "alpha", "team": "docs"})
    assert await library.names("alpha", base, filter={"team": "docs"}) == ["a"]
    assert await library.names("alpha", base, filter={"team": "docs", "tags": ["y"]}) == ["a"]
    assert await library.names("alpha", base, filter={"team": "nobody"}) == []
    assert sorted(await library.names("alpha", filter={"team": "docs"})) == ["Ada", "a"]
    assert await library.names("alpha", ada, filter={"team": "docs"}) == ["Ada"]
    assert await library.names("alpha", ada, base, filter={"team": "sales"}) == ["b"]


async def test_filter_that_leaves_very_many_still_holds(library: Library, monkeypatch: pytest.MonkeyPatch):
    """Then chunks are found by words first, and each is asked."""
    monkeypatch.setattr("handlers.knowledge.retrieval.reach.MOST_FILTERED", 1)
    base = new_id()
    for name, team in (("a", "docs"), ("b", "docs"), ("c", "sales")):
        await library.document(base, name, "alpha", metadata={"team": team})
    assert sorted(await library.names("alpha", base, filter={"team": "docs"})) == ["a", "b"]
    assert await library.names("alpha", base, filter={"team": "sales"}) == ["c"]


async def test_one_document_does_not_take_all_places(library: Library):
    """Unless there is nothing else."""
    base = new_id()
    await library.document(base, "long", *[f"alpha alpha {n}" for n in range(8)])
    await library.document(base, "short", "alpha and much else that is said here, so that it is a worse match for it")
    await library.fold()
    assert await library.names("alpha", base, limit=4) == ["long", "long", "long", "short"]
    assert await library.names("alpha -said", base, limit=4) == ["long"] * 4
