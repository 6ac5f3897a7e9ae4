"""What the hub and its parsers say to each other (core/processes/framing.py). No I/O.

To the parser: [content_type, name, content]. Back: any number of ["chunks", [chunk, ...]], and at the end one of
    ["parsed", title, language, pages, metadata, is_last]
    ["unparsable", code, message, is_last]
    ["crashed", what]
A parser whose answer says `is_last` ends after it. Chunks come in small parts: who decodes them can do other things in between.
"""

from collections.abc import Iterator
from dataclasses import astuple
from typing import Any

from handlers.knowledge.parsing.parsed import Chunk, Parsed, Place, Written
from handlers.knowledge.retrieval.lexemes import literal

# About a millisecond to decode.
CHUNKS_A_FRAME = 32


def answers_of(parsed: Parsed, *, is_last: bool) -> Iterator[list[Any]]:
    """Yield the answer for a document that was parsed."""
    for begin in range(0, len(parsed.chunks), CHUNKS_A_FRAME):
        yield ["chunks", [_packed(chunk) for chunk in parsed.chunks[begin : begin + CHUNKS_A_FRAME]]]
    yield ["parsed", parsed.title, parsed.language, parsed.pages, dict(parsed.metadata), is_last]


def chunk_from(packed: list[Any]) -> Chunk:
    """Return the chunk that was packed by `answers_of`."""
    kind, text, (headings, *place), terms = packed
    return Chunk(kind, text, Place(tuple(headings), *place), Written(*terms))


def _packed(chunk: Chunk) -> list[Any]:
    terms = chunk.terms
    return [chunk.kind, chunk.text, astuple(chunk.place), [literal(terms), terms.length, list(terms.lexemes)]]
