"""What a document is once it is parsed: chunks with their places, ready for the index. No I/O.

Parsed
  Chunk
    Place     where it stands, for citations
    Terms     what it is found by
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

ChunkKind = Literal["text", "table", "code", "record"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chunk stands in its document; what its format does not have is empty.

    `headings` is the path from the title down; pages and lines count from 1; `record` names a row or an entry.
    """

    headings: tuple[str, ...] = ()
    page: int | None = None
    first_line: int | None = None
    last_line: int | None = None
    record: str | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """A chunk as the index takes it: the places of each lexeme (from 1, rising), and how many terms there are in all."""

    positions: dict[str, list[int]]
    length: int

    @property
    def lexemes(self) -> Iterable[str]:
        """Each lexeme once."""
        return self.positions.keys()


@dataclass(frozen=True, slots=True)
class Written:
    """Terms as PostgreSQL reads them (retrieval/lexemes.py): made by a parser, since for many chunks it takes long."""

    vector: str
    length: int
    lexemes: list[str]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a document that is found and cited by itself; `text` is without markup, its headings are in `place`."""

    kind: ChunkKind
    text: str
    place: Place
    terms: Terms | Written


@dataclass(frozen=True, slots=True)
class Parsed:
    """`language` is the name of its stemmer ("english"), or "simple" where none is known.

    `metadata` is what its front matter says.
    """

    title: str | None
    language: str
    pages: int | None = None
    chunks: list[Chunk] = field(default_factory=list[Chunk])
    metadata: Mapping[str, str | list[str]] = field(default_factory=dict[str, "str | list[str]"])
