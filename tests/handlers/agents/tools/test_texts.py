"""Texts are processed by rules: the same each time, in time that grows with the text and no faster."""

import time

import pytest

from handlers.agents.tools.text_processing import LONGEST_TEXT, TextProcessing
from handlers.agents.tools.texts.extracting import KINDS, extracted
from handlers.agents.tools.texts.summarizing import summary_of
from handlers.agents.tools.tool import LONGEST_OUTPUT, ToolError
from tests.handlers.agents.tools.calls import called, given

TOOL = TextProcessing()
LETTER = (
    "Dear team, Jane Doe of Acme Rockets called on 3 March 2026 about invoice 4711. She paid 1,250.50 EUR on 2026-02-28, 20% less "
    "than agreed. Write to jane.doe@acme.example, or see https://acme.example/pay?id=7 (her account). Regards, John van Dyke"
)
STORY = (
    "The relay reads the log of events and publishes each event to its rooms. It was raining in Paris. Rooms deliver events to "
    "their members in order. The log keeps every event, so that a relay that dies loses nothing. My cat is called Tom."
)


async def test_summary_has_the_sentences_that_are_about_most():
    """Word for word, in the order of the text."""
    said = await given(TOOL, task="summarize", text=STORY, sentences=2)
    assert "relay" in said["summary"]
    assert "cat" not in said["summary"]
    assert "Paris" not in said["summary"]
    assert said == await given(TOOL, task="summarize", text=STORY, sentences=2)
    assert all(part in STORY for part in said["summary"].split(". "))


def test_short_text_is_its_own_summary():
    """What has no more sentences than are asked for stays whole."""
    assert summary_of("One thing only.", 3) == "One thing only."


async def test_extraction_finds_each_kind():
    """Dates that are unmistakable are normalised; parts of addresses and dates are no numbers."""
    found = await given(TOOL, task="extract", text=LETTER)
    assert found["emails"] == ["jane.doe@acme.example"]
    assert found["dates"] == ["2026-03-03", "2026-02-28"]
    assert found["urls"] == ["https://acme.example/pay?id=7"]
    assert found["numbers"] == ["4711", "1,250.50", "20%"]
    assert {"Jane Doe", "John van Dyke"} <= set(found["names"])
    assert await given(TOOL, task="extract", text=LETTER, kinds=["urls"]) == {"urls": found["urls"]}


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("due March 7th, 2026", ["2026-03-07"]),
        ("am 07.03.2026 um 10", ["2026-03-07"]),
        ("on 03/07/2026", ["03/07/2026"]),
        ("on 2026-02-30", []),
        ("version 1.2.2026-beta and 10.0.0.1", []),
    ],
)
def test_dates_of_several_forms(text: str, days: list[str]):
    """A day that no calendar has is none."""
    assert extracted(text, ["dates"])["dates"] == days


async def test_classification_by_common_words():
    """Words behind a colon speak for their label; where no label has a word of the text, none fits."""
    labels = ["billing: invoice, refund, paid", "shipping: parcel, delivery, truck", "other"]
    said = await given(TOOL, task="classify", text="I paid the invoices twice and want a refund", labels=labels)
    assert said["label"] == "billing"
    assert said["scores"]["billing"] == 1
    none = await given(TOOL, task="classify", text="zzz", labels=labels)
    assert none == {"label": None, "scores": {}}
    with pytest.raises(ToolError, match="labels"):
        await called(TOOL, task="classify", text="a text")


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "a@",
        "a.b@c.",
        "http://",
        "1,111",
        "A ",
        "Aa of ",
        "1/1/1111 ",
        "a.a.a.",
        "\n\n",
        "é ",
        "12 May ",
        ". ",
        "\u0000",
        "(((",
    ],
    ids=repr,
)
def test_no_text_takes_long(unit: str):
    """The largest texts of the worst units: a rule that went back and forth would take minutes."""
    text = (unit * LONGEST_TEXT)[:LONGEST_TEXT]
    began = time.thread_time()
    extracted(text, KINDS)
    summary_of(text, 10)
    assert time.thread_time() - began < 5


async def test_result_is_never_over_the_bound():
    """Long addresses, many of them."""
    urls = " ".join(f"https://a.example/{number}/{'x' * 1_500}" for number in range(40))
    result = await called(TOOL, task="extract", text=urls[:LONGEST_TEXT])
    assert len(getattr(result, "content", "")) <= LONGEST_OUTPUT
