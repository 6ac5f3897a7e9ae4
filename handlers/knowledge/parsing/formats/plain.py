"""Plain text: paragraphs between empty lines, headings that are underlined, with their lines. Also listings of code. No I/O."""

import re
from collections.abc import Iterator

from handlers.knowledge.parsing.blocks import Block, Outline, Readable

# reStructuredText and old Markdown: a line of one of these marks, as long as the title above it.
_UNDERLINE = re.compile(r"([=\-~^\"'*+#`:.])\1{2,}\s*")
_LONGEST_TITLE = 120


def read_plain(text: str) -> Readable:
    """Read prose as it stands: its lines are kept."""
    return Readable(None, _paragraphs(text.splitlines()))


def read_code(text: str) -> Readable:
    """Read a listing: parts between empty lines, cut only where they are too long."""
    return Readable(None, _listings(text.splitlines()))


def _paragraphs(lines: list[str]) -> Iterator[Block]:
    outline = Outline()
    levels: list[str] = []
    held: list[str] = []
    for number, line in enumerate([*lines, ""], 1):
        if (title := _title_over(line, held)) is not None:
            # Levels are told by the order in which the marks come up (reStructuredText, "Sections").
            mark = line[0] * len(held)
            if mark not in levels:
                levels.append(mark)
            outline.enter(levels.index(mark) + 1, title)
            held = []
        elif line.strip():
            held.append(line)
        elif held:
            yield from _paragraph(held, number - len(held), outline)
            held = []


def _title_over(line: str, held: list[str]) -> str | None:
    """Return the title that `line` is under: one line, or one with such a line above it too."""
    if not 1 <= len(held) <= 2 or _UNDERLINE.fullmatch(line) is None:
        return None
    title = held[-1].strip()
    is_framed = len(held) == 1 or held[0].strip() == line.strip()
    fits = 0 < len(title) <= min(_LONGEST_TITLE, len(line.rstrip()))
    return title if is_framed and fits and _UNDERLINE.fullmatch(title) is None else None


def _paragraph(lines: list[str], first: int, outline: Outline) -> Iterator[Block]:
    if len(lines) == 1 and _UNDERLINE.fullmatch(lines[0].strip()):
        return
    text = "\n".join(line.rstrip() for line in lines)
    last = first + len(lines) - 1
    yield Block("text", text, outline.path, first_line=first, last_line=last, by_line=len(lines) > 1)


def _listings(lines: list[str]) -> Iterator[Block]:
    held: list[str] = []
    for number, line in enumerate([*lines, ""], 1):
        if line.strip():
            held.append(line.rstrip())
        elif held:
            first = number - len(held)
            yield Block("code", "\n".join(held), first_line=first, last_line=number - 1, by_line=True)
            held = []
