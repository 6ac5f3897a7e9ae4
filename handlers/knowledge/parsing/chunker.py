"""Blocks become chunks: about 200 words each, along the structure of the document. No I/O.

A chunk never goes across a top heading, a page or a record. Tiny sections under the same heading share one, with their own
headings in its text. Where one section is several chunks, each begins with the last words of the one before, so that what is
said across the cut is found. 200 words are what passages of the usual collections for retrieval have (100 to 250).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from handlers.knowledge.parsing.blocks import Block
from handlers.knowledge.parsing.parsed import ChunkKind, Place
from handlers.knowledge.parsing.pieces import TARGET, WHOLE_TEXT, Piece, pieces_of
from handlers.knowledge.parsing.sentences import sentences_of, words_of
from handlers.knowledge.parsing.unparsable import Unparsable

MOST_CHUNKS = 20_000
MOST_CHARACTERS = 8_000
# A section below this says too little to be found alone.
TINY = 60
# What a chunk repeats of the one before.
OVERLAP_SENTENCES, OVERLAP_WORDS = 2, 40
# Of a heading that is a paragraph by mistake, this much is kept; and of a path, its last parts.
LONGEST_HEADING, DEEPEST_PATH = 200, 8

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """A chunk without its terms."""

    kind: ChunkKind
    text: str
    place: Place


@dataclass(slots=True)
class _Section:
    headings: Path
    page: int | None
    pieces: list[Piece]
    size: int


def chunks_of(blocks: Iterable[Block]) -> Iterator[Draft]:
    """Return the chunks of a document in its order. Raises Unparsable when there are more than a document may have."""
    for number, draft in enumerate(_chunks_of(blocks)):
        if number >= MOST_CHUNKS:
            raise Unparsable("DOCUMENT_TOO_LARGE", f"The document has more than {MOST_CHUNKS:,} chunks: split it.")
        yield draft


def _chunks_of(blocks: Iterable[Block]) -> Iterator[Draft]:
    waiting: list[_Section] = []
    for (headings, page, is_record), group in groupby(blocks, _section_of):
        if is_record:
            yield from _chunks_of_group(waiting)
            waiting = []
            for block in group:
                yield from _chunks_of_record(block, headings)
            continue
        section = _section(headings, page, group)
        if waiting and not _may_join(waiting, section):
            yield from _chunks_of_group(waiting)
            waiting = []
        waiting.append(section)
    yield from _chunks_of_group(waiting)


def _section_of(block: Block) -> tuple[Path, int | None, bool]:
    return block.headings, block.page, block.kind == "record"


def _section(headings: Path, page: int | None, blocks: Iterable[Block]) -> _Section:
    pieces = [piece for block in blocks for piece in pieces_of(block)]
    return _Section(headings, page, pieces, sum(piece.size for piece in pieces))


def _may_join(waiting: list[_Section], section: _Section) -> bool:
    size = sum(each.size for each in waiting)
    if size + section.size > TARGET or min(size, section.size) > TINY:
        return False
    shared = _shared_path([*waiting, section])
    # Under the same heading: each is that heading's own text, or a section right below it.
    return bool(shared) and waiting[0].page == section.page and len(section.headings) <= len(shared) + 1


def _shared_path(sections: list[_Section]) -> Path:
    paths = [section.headings for section in sections]
    length = min(map(len, paths))
    while any(path[:length] != paths[0][:length] for path in paths):
        length -= 1
    return paths[0][:length]


def _chunks_of_record(block: Block, headings: Path) -> Iterator[Draft]:
    for piece in pieces_of(block):
        place = Place(_bounded(headings), block.page, piece.first_line, piece.last_line, block.record)
        yield Draft("record", piece.text[:MOST_CHARACTERS], place)


def _chunks_of_group(sections: list[_Section]) -> Iterator[Draft]:
    if not sections:
        return
    shared = _shared_path(sections)
    pieces = [piece for section in sections for piece in _with_heading(section, shared)]
    # Shared out evenly, so that no section ends in a chunk of three words.
    left = sum(piece.size for piece in pieces)
    target = left / max(1, -(-left // WHOLE_TEXT))
    held: list[Piece] = []
    overlap = ""
    total = 0
    for piece in pieces:
        if held and total + piece.size / 2 > target and min(total, left) > TINY // 2:
            yield _draft(held, overlap, shared, sections[0].page)
            overlap = _end_of(held[-1])
            held, total = [], 0
        held.append(piece)
        total += piece.size
        left -= piece.size
    yield _draft(held, overlap, shared, sections[0].page)


def _with_heading(section: _Section, shared: Path) -> Iterator[Piece]:
    own = section.headings[len(shared) :]
    if own:
        text = _bounded(own)[-1]
        line = section.pieces[0].first_line if section.pieces else None
        yield Piece("text", text, words_of(text), line, line)
    yield from section.pieces


def _draft(pieces: list[Piece], overlap: str, headings: Path, page: int | None) -> Draft:
    lines = [line for piece in pieces for line in (piece.first_line, piece.last_line) if line is not None]
    place = Place(_bounded(headings), page, min(lines, default=None), max(lines, default=None))
    return Draft(_kind_of(pieces), _joined(pieces, overlap)[:MOST_CHARACTERS], place)


def _kind_of(pieces: list[Piece]) -> ChunkKind:
    sizes: dict[ChunkKind, int] = {}
    for piece in pieces:
        sizes[piece.kind] = sizes.get(piece.kind, 0) + piece.size
    return max(sizes, key=sizes.__getitem__)


def _joined(pieces: list[Piece], overlap: str) -> str:
    text = overlap
    for before, piece in zip((None, *pieces), pieces, strict=False):
        is_list = before is not None and before.is_item and piece.is_item
        text += (("\n" if is_list else "\n\n") if text else "") + piece.text
    return text


def _end_of(piece: Piece) -> str:
    if piece.kind != "text" or piece.is_item:
        return ""
    end = ""
    for sentence in reversed(sentences_of(piece.text)[-OVERLAP_SENTENCES:]):
        if words_of(sentence) + words_of(end) > OVERLAP_WORDS or len(sentence) > OVERLAP_WORDS * 10:
            break
        end = f"{sentence} {end}".strip()
    return end


def _bounded(headings: Path) -> Path:
    return tuple(heading[:LONGEST_HEADING] for heading in headings[-DEEPEST_PATH:])
