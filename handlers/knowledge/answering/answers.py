"""What an extract says, as clients get it. No I/O."""

from collections.abc import Mapping, Sequence

from handlers.knowledge.answering.extractive import UNKNOWN, Extract, Quote
from handlers.knowledge.answering.models import Answer, Citation, ShownPlace
from handlers.knowledge.parsing.parsed import Place
from handlers.knowledge.retrieval.search import Hit


def quoted_answer(extract: Extract, given: Mapping[int, int] | None = None) -> Answer:
    """Return the answer that quotes, with a citation for each hit that it quotes.

    They count from 1, or have the numbers that are `given` for the ids of their chunks.
    """
    if not extract.is_supported:
        return Answer(text=UNKNOWN, supported=False, generated=False, citations=[])
    numbers: dict[int, int] = {}
    for quote in extract.quotes:
        id = quote.hit.chunk_id
        numbers.setdefault(id, len(numbers) + 1 if given is None else given[id])
    citations = [_citation(number, id, extract.quotes) for id, number in numbers.items()]
    marks = "".join(f"[{number}]" for number in numbers.values())
    text = _joined(extract.quotes, numbers) if extract.said is None else f"{extract.said} {marks}"
    return Answer(text=text, supported=True, generated=False, citations=citations)


def citation_of(number: int, hit: Hit, quote: str) -> Citation:
    """Return the citation of a hit."""
    return Citation(
        index=number,
        knowledge_id=hit.knowledge_id,
        document_id=hit.document_id,
        name=hit.name,
        title=hit.title,
        url=hit.url,
        place=shown_place(hit.place),
        quote=quote,
    )


def shown_place(place: Place) -> ShownPlace:
    """Return a place as clients see it."""
    return ShownPlace(
        headings=list(place.headings),
        page=place.page,
        first_line=place.first_line,
        last_line=place.last_line,
        record=place.record,
    )


def _citation(number: int, chunk_id: int, quotes: Sequence[Quote]) -> Citation:
    its = [quote for quote in quotes if quote.hit.chunk_id == chunk_id]
    return citation_of(number, its[0].hit, "\n".join(quote.text for quote in its))


def _joined(quotes: Sequence[Quote], numbers: dict[int, int]) -> str:
    """Join what is of one hit, then its number; blocks of lines stand by themselves."""
    parts: list[str] = []
    for place, quote in enumerate(quotes):
        is_last = place + 1 == len(quotes) or quotes[place + 1].hit.chunk_id != quote.hit.chunk_id
        mark = f" [{numbers[quote.hit.chunk_id]}]" if is_last else ""
        is_block = "\n" in quote.text
        parts.append(f"\n\n{quote.text}\n\n{mark.strip()}" if is_block else f"{quote.text}{mark}")
    return " ".join(parts).replace(" \n", "\n").replace("\n ", "\n").strip()
