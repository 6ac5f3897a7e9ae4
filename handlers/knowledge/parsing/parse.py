"""A document from its bytes to chunks with their terms. No I/O; for the worker processes, since it may take long, or all memory."""

from dataclasses import replace

from handlers.knowledge.parsing.chunker import Draft, chunks_of
from handlers.knowledge.parsing.language import language_of
from handlers.knowledge.parsing.parsed import Chunk, Parsed
from handlers.knowledge.parsing.reader import read
from handlers.knowledge.parsing.unparsable import Unparsable
from handlers.knowledge.retrieval.analysis import analysed
from handlers.knowledge.retrieval.lexemes import written

LONGEST_TITLE = 500


def parse(content: bytes, content_type: str, name: str) -> Parsed:
    """Parse a document. Raises Unparsable; RecursionError and MemoryError may come of hostile ones."""
    readable = read(content, content_type, name)
    title = readable.title[:LONGEST_TITLE] if readable.title else None
    drafts = [_titled(draft, title) for draft in chunks_of(readable.blocks) if draft.text.strip()]
    if not drafts:
        raise Unparsable("NO_TEXT", "The document has no text.")
    language = language_of(draft.text for draft in drafts)
    chunks = [
        Chunk(draft.kind, draft.text, draft.place, written(analysed(draft.text, draft.place.headings, language)))
        for draft in drafts
    ]
    return Parsed(title, language, readable.pages, chunks, readable.metadata)


def _titled(draft: Draft, title: str | None) -> Draft:
    headings = draft.place.headings
    if title is None or (headings and headings[0] == title):
        return draft
    return replace(draft, place=replace(draft.place, headings=(title, *headings)))
