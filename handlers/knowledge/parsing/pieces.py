"""Blocks are cut where they are too long for one chunk: text at sentences, code and tables at lines, records at fields. No I/O."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from handlers.knowledge.parsing.blocks import Block
from handlers.knowledge.parsing.parsed import ChunkKind
from handlers.knowledge.parsing.sentences import cut_at_spaces, sentences_of, words_of

# What a chunk is meant to have, in words: long enough to be understood alone, short enough to be about one thing.
TARGET = 200
# A paragraph stays whole up to the first; listings, tables and records, which are hard to read in parts, up to the second.
WHOLE_TEXT, WHOLE_LINES = 260, 400
# Text without spaces is measured by its length: no word of a language is longer on average. It also bounds a chunk's characters.
CHARACTERS_A_WORD = 10
LONGEST_HEADER = 500
_ITEM = re.compile(r"(?:-|\d{1,9}\.) ")


@dataclass(frozen=True, slots=True)
class Piece:
    """A block, or a part of one, that stands in one chunk. `size` is in words."""

    kind: ChunkKind
    text: str
    size: int
    first_line: int | None
    last_line: int | None
    is_item: bool = False


def size_of(text: str) -> int:
    """Return how long `text` is, in words."""
    return max(words_of(text), len(text) // CHARACTERS_A_WORD)


def pieces_of(block: Block) -> Iterator[Piece]:
    """Cut `block`; most stay whole."""
    size = size_of(block.text)
    text = f"{block.header}\n{block.text}" if block.header else block.text
    if size <= (WHOLE_TEXT if block.kind == "text" else WHOLE_LINES):
        yield Piece(block.kind, text, size, block.first_line, block.last_line, _ITEM.match(text) is not None)
    elif block.kind == "text" and not block.by_line:
        for part, part_size in _filled(_short(sentences_of(block.text)), " "):
            yield Piece("text", part, part_size, block.first_line, block.last_line)
    else:
        yield from _cut_at_lines(block)


def _cut_at_lines(block: Block) -> Iterator[Piece]:
    header = f"{block.header}\n" if 0 < len(block.header) <= LONGEST_HEADER else ""
    line = block.first_line
    for part, size in _filled(_short(block.text.split("\n")), "\n"):
        last = block.last_line
        if line is not None and block.by_line:
            last = line + part.count("\n")
        # A line that was too long to stay whole has parts on the same line, so the count may run ahead of the block's end.
        first, last = _not_after(line, block.last_line), _not_after(last, block.last_line)
        yield Piece(block.kind, header + part, size, first, last)
        if line is not None and block.by_line and last is not None:
            line = last + 1


def _not_after(line: int | None, last: int | None) -> int | None:
    return min(line, last) if line is not None and last is not None else line


def _short(parts: list[str]) -> Iterator[str]:
    for part in parts:
        if len(part) <= TARGET * CHARACTERS_A_WORD and size_of(part) <= TARGET:
            yield part
        else:
            yield from _cut_long(part)


def _cut_long(part: str) -> Iterator[str]:
    # Words of a sentence that never ends, or of a script without spaces; then by characters what has no words.
    characters = max(200, len(part) * TARGET // max(size_of(part), 1))
    yield from cut_at_spaces(part, min(characters, TARGET * CHARACTERS_A_WORD))


def _filled(parts: Iterator[str], between: str) -> Iterator[tuple[str, int]]:
    """Join `parts` up to the target; yields each text with its size."""
    held: list[str] = []
    total = 0
    for part in parts:
        size = size_of(part)
        if held and total + size > TARGET:
            yield between.join(held), total
            held, total = [], 0
        held.append(part)
        total += size
    if held:
        yield between.join(held), total
