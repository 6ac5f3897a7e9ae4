"""PDF by pypdfium2: the text of each page, under the headings of its outline. No I/O.

Scripts, attachments and forms are not looked at. A page that is an image only has no text; a document of such pages is refused.
"""

import re
from collections import Counter
from collections.abc import Iterator

import pypdfium2 as pdfium
from pypdfium2.raw import FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY

from handlers.knowledge.parsing.blocks import Block, Outline, Readable
from handlers.knowledge.parsing.unparsable import Unparsable

MOST_PAGES = 5_000
_MOST_MARKS = 20_000
# Lines that stand first or last on this share of all pages are headers and footers.
_REPEATED, _LEAST_PAGES = 0.5, 4
_DIGITS = re.compile(r"\d+")
# U+FFFE is what pdfium gives for a hyphen at the end of a line.
_HYPHEN = re.compile(r"(?<=[^\W\d_])(?:[-\u00ad\u2010]\n|\ufffe\n?)(?=[a-zß-ÿ])")
# What leads from an entry of a table of contents to its page.
_LEADERS = re.compile(r"(?: ?[.\u00b7]){4,} ?")
_SENTENCE_END = (".", "!", "?", ":", ".”", '."', "。")

_MARKS_LOOKED_AT = 8
_LEAST_BEGINNING = 20
_NUMBERS = "0123456789."

Marks = dict[int, list[tuple[int, str]]]


def read_pdf(content: bytes) -> Readable:
    """Read all pages. Raises Unparsable where it is broken, encrypted, of too many pages, or has no text."""
    document = _opened(content)
    count = len(document)
    if count > MOST_PAGES:
        raise Unparsable("DOCUMENT_TOO_LARGE", f"The document has {count:,} pages; at most {MOST_PAGES:,} are read.")
    pages = [_text_of(document, number) for number in range(count)]
    if not any(page.strip() for page in pages):
        raise Unparsable("NO_TEXT", "The document has no text: its pages are images, and must be read by OCR first.")
    title = " ".join(document.get_metadata_value("Title").split()) or None
    return Readable(title, _blocks(pages, _marks_of(document)), count)


def _opened(content: bytes) -> pdfium.PdfDocument:
    try:
        return pdfium.PdfDocument(content)
    except pdfium.PdfiumError as error:
        if error.err_code in (FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY):
            raise Unparsable("ENCRYPTED_DOCUMENT", "The PDF is encrypted: send it without a password.") from None
        raise Unparsable("UNREADABLE_DOCUMENT", "The PDF is broken, or ends too early.") from None


def _text_of(document: pdfium.PdfDocument, number: int) -> str:
    try:
        page = document[number]
    except pdfium.PdfiumError:
        # One page that cannot be read costs only itself.
        return ""
    text = page.get_textpage()
    found = text.get_text_range().replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    text.close()
    page.close()
    return found


def _marks_of(document: pdfium.PdfDocument) -> Marks:
    """Return the headings of the outline by the page on which they stand."""
    marks: Marks = {}
    for number, mark in enumerate(document.get_toc()):
        if number >= _MOST_MARKS:
            break
        target = mark.get_dest()
        page = target.get_index() if target is not None else None
        title = " ".join(mark.get_title().split())
        if page is not None and title:
            marks.setdefault(page, []).append((mark.level + 1, title))
    return marks


def _blocks(pages: list[str], marks: Marks) -> Iterator[Block]:
    repeated = _repeated(pages)
    outline = Outline()
    for number, page in enumerate(pages):
        text = "\n".join(line for line in page.split("\n") if _shape(line) not in repeated)
        waiting = marks.get(number, [])
        held: list[str] = []
        for line in _LEADERS.sub(" ", _HYPHEN.sub("", text)).split("\n"):
            found = _heading_at(line, waiting)
            if not found:
                held.append(line)
                continue
            yield from (Block("text", each, outline.path, number + 1) for each in _paragraphs(held))
            for level, title in waiting[:found]:
                outline.enter(level, title)
            held, waiting = [], waiting[found:]
        yield from (Block("text", each, outline.path, number + 1) for each in _paragraphs(held))
        for level, title in waiting:
            outline.enter(level, title)


def _heading_at(line: str, waiting: list[tuple[int, str]]) -> int:
    """Return how many of the headings that wait for their line have begun with this one."""
    if not waiting or not (seen := _squashed(line)):
        return 0
    for count, (_, title) in enumerate(waiting[:_MARKS_LOOKED_AT], 1):
        wanted = _squashed(title)
        # With its number or without; and a long one goes on in the next line.
        if seen in (wanted, wanted.lstrip(_NUMBERS)) or wanted in (seen, seen.lstrip(_NUMBERS)):
            return count
        if len(seen) >= _LEAST_BEGINNING and wanted.startswith(seen):
            return count
    return 0


def _squashed(text: str) -> str:
    return "".join(text.split()).casefold()


def _repeated(pages: list[str]) -> set[str]:
    if len(pages) < _LEAST_PAGES:
        return set()
    ends: Counter[str] = Counter()
    for page in pages:
        lines = [line for line in page.split("\n") if line.strip()]
        ends.update({_shape(line) for line in (*lines[:1], *lines[-1:])})
    return {shape for shape, count in ends.items() if shape and count >= max(len(pages) * _REPEATED, 3)}


def _shape(line: str) -> str:
    # "Page 7 of 12" and "Page 8 of 12" are the same footer.
    return _DIGITS.sub("0", line.strip())


def _paragraphs(lines: list[str]) -> Iterator[str]:
    """Put lines together; a line that ends a sentence and is shorter than the others ends a paragraph."""
    usual = sorted(len(line) for line in lines if line.strip())
    width = usual[len(usual) * 3 // 4] if usual else 0
    held: list[str] = []
    for line in lines:
        stripped = line.strip()
        if stripped:
            held.append(stripped)
        ends = not stripped or (len(stripped) < width * 0.8 and stripped.endswith(_SENTENCE_END))
        if held and ends:
            yield " ".join(held)
            held = []
    if held:
        yield " ".join(held)
