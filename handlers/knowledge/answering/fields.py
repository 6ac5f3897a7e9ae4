"""Questions to records: "What is Jane Doe's email?" is answered by that field's value, and nothing else. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from handlers.knowledge.answering.units import words_in
from handlers.knowledge.retrieval.search import AskedWord, Found, Hit

MOST_RECORDS = 3
MOST_FIELDS = 3
# Of the weight of the words that name no field: they must stand in the record's values.
_LEAST_NAMED = 0.75


@dataclass(frozen=True, slots=True)
class FieldAnswer:
    """The lines that answer, with their records, and what they say."""

    lines: list[tuple[Hit, str]]
    said: str


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    value: str
    named: frozenset[int]
    has: frozenset[int]


def field_answer(found: Found) -> FieldAnswer | None:
    """Return the values that are asked for; None where the best hit is no record, or the question names no field of one."""
    records = [hit for hit in found.hits if hit.kind == "record"]
    if not records or found.hits[0].kind != "record":
        return None
    answers = [(hit, lines) for hit in records if (lines := _asked_of(hit, found.words))]
    if not answers:
        return None
    best = answers[:MOST_RECORDS]
    lines = [(hit, line) for hit, each in best for line in each]
    if len(best) == 1 and len(lines) == 1:
        return FieldAnswer([(lines[0][0], lines[0][1].text)], lines[0][1].value)
    said = "; ".join(_said(hit, each, is_one=len(best) == 1) for hit, each in best)
    return FieldAnswer([(hit, line.text) for hit, line in lines], said)


def _said(hit: Hit, lines: Sequence[_Line], *, is_one: bool) -> str:
    values = ", ".join(line.text if len(lines) > 1 else line.value for line in lines)
    return values if is_one else f"{hit.name}: {values}"


def _asked_of(hit: Hit, words: Sequence[AskedWord]) -> list[_Line]:
    """Return the lines of a record that are asked for: their fields are named, and the other words are who or what it is."""
    lines = [_line(text, hit.language, words) for text in hit.text.split("\n") if ": " in text]
    fields = frozenset[int]().union(*(line.named for line in lines))
    values = words_in(hit.name, hit.language, words).union(*(line.has for line in lines))
    rest = frozenset(range(len(words))) - fields
    total = sum(words[number].weight for number in rest)
    if not fields or not total or sum(words[number].weight for number in rest & values) < _LEAST_NAMED * total:
        return []
    best = max(sum(words[number].weight for number in line.named) for line in lines)
    return [line for line in lines if line.named and sum(words[n].weight for n in line.named) == best][:MOST_FIELDS]


def _line(text: str, language: str, words: Sequence[AskedWord]) -> _Line:
    name, _, value = text.partition(": ")
    return _Line(text, value, words_in(name, language, words), words_in(value, language, words))
