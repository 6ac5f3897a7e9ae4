"""Markdown (CommonMark with GFM's tables): blocks by markdown-it-py, with headings and lines. No I/O.

Only the rules for blocks run: those for inline markup take more than half of the time, and all that is wanted of it is its text.
Neither does the rule for tables, which goes through them character by character: to all other rules they are paragraphs.
"""

import html
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain, pairwise
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from handlers.knowledge.parsing.blocks import Block, Outline, Readable

_FRONT = re.compile(r"\A(---|\+\+\+)[ \t]*\n(.{0,20000}?)\n\1[ \t]*(?:\n|\Z)", re.DOTALL)
_FIELD = re.compile(r"([A-Za-z_][\w-]{0,63})\s*[:=]\s*(.*)")
_MOST_FIELDS = 50
# What an author says of the page in them is found as its text is.
_SAID = ("description", "summary", "subtitle", "keywords", "tags")

_DASHES = re.compile(r"\n *(\|? *:?-+:? *(?:\| *:?-+:? *)*\|?) *(?:\n|\Z)")
_CELL_END = re.compile(r"(?<!\\)\|")

_PLAIN = re.compile(r"[\\`*_~\[\]<>&!]")
# Bounds keep what has no end from costing the square of its length.
_IMAGE = re.compile(r"!\[([^\[\]]{0,500})\](?:\([^()\n]{0,2000}\)|\[[^\[\]]{0,200}\])")
_MARKUP = re.compile(
    r"\\([!-/:-@\[-`{-~])"  # 1: escaped
    r"|(?<!`)(`{1,8})(?!`)(.{1,1000}?)(?<!`)\2(?!`)"  # 3: code
    r"|\[([^\[\]]{0,1000})\](?:\((?:[^()\n]|\([^()\n]{0,500}\)){0,2000}\)|\[[^\[\]]{0,200}\])"  # 4: link
    r"|<((?:https?://|mailto:)?[^<>\s]{1,2000}[@:/.][^<>\s]{0,2000})>"  # 5: address
    r"|(<!--.{0,5000}?-->|</?[A-Za-z][^<>]{0,2000}>)"  # 6: HTML
    r"|(?<![\w*/])(\*{1,3})(?=[^\s*])(.{1,1000}?)(?<=[^\s*])\7(?![\w*])"  # 8: emphasis
    r"|(?<![\w_])(_{1,3})(?=[^\s_])(.{1,1000}?)(?<=[^\s_])\9(?![\w_])"  # 10: emphasis
    r"|~~(?=\S)(.{1,1000}?)(?<=\S)~~",  # 11: struck out
    re.DOTALL,
)
_HTML_TEXT = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>|<[^<>]*>", re.DOTALL | re.IGNORECASE)
_BREAK = re.compile(r"<br\b", re.IGNORECASE)


# Each rule is asked at each line, also whether it ends a paragraph: so one whose sign stands nowhere does not run.
_SIGNS = {
    "blockquote": re.compile(r"^[ \t\-*+.)\d]*>", re.MULTILINE),
    "fence": re.compile(r"```|~~~"),
    "hr": re.compile(r"^[ \t\-*+.)\d>]*([-*_])(?:[ \t]*\1){2}", re.MULTILINE),
    "html_block": re.compile(r"<"),
    "lheading": re.compile(r"^[ \t>]*(?:=+|-+)[ \t]*$", re.MULTILINE),
    "reference": re.compile(r"\]:"),
}


@cache
def _parser(without: tuple[str, ...]) -> MarkdownIt:
    parser = MarkdownIt("commonmark").disable(without)
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


def read_markdown(text: str) -> Readable:
    """Read a page; its front matter gives title and metadata, else the first heading of the first level is the title."""
    metadata, skipped = _front_matter(text)
    # Emptied, not cut off: so lines count from the top of the file.
    body = "\n" * text.count("\n", 0, skipped) + text[skipped:]
    tokens = _parser(tuple(rule for rule, sign in _SIGNS.items() if sign.search(body) is None)).parse(body)
    title = metadata.pop("title", None)
    blocks = chain(_said(metadata, text.count("\n", 0, skipped)), _Reader(tokens).blocks())
    return Readable(title if isinstance(title, str) else _title(tokens), blocks, metadata=metadata)


def plain(markup: str) -> str:
    """Return the text of inline markup."""
    if _PLAIN.search(markup) is None:
        return markup
    if "![" in markup:
        markup = _IMAGE.sub(r"\1", markup)
    text = _MARKUP.sub(_text_of, markup)
    return html.unescape(text) if "&" in text else text


def _text_of(found: re.Match[str]) -> str:
    match found.lastindex:
        case 1 | 5:
            return found[found.lastindex]
        case 3:
            return found[3].strip()
        case 6:
            return "\n" if _BREAK.match(found[6]) else ""
        case 4 | 8 | 10 | 11:
            # Each level of markup is shorter, so this ends.
            return plain(found[found.lastindex])
        case _:
            return found[0]


def _title(tokens: list[Token]) -> str | None:
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.tag == "h1":
            return plain(inline.content).strip() or None
    return None


def _front_matter(text: str) -> tuple[dict[str, Any], int]:
    """Return the simple fields of YAML or TOML on top, and where the page begins; nested ones are left out."""
    found = _FRONT.match(text.replace("\r\n", "\n")) if text.startswith(("---", "+++")) else None
    if found is None:
        return {}, 0
    fields: dict[str, Any] = {}
    name = ""
    for line in found[2].split("\n"):
        if (field := _FIELD.fullmatch(line)) is not None and len(fields) < _MOST_FIELDS:
            name = field[1]
            fields[name] = _value(field[2])
        elif name and line.lstrip().startswith("- ") and (not fields[name] or isinstance(fields[name], list)):
            fields[name] = [*(fields[name] or []), line.strip().removeprefix("- ").strip(" \"'")]
    return {name: value for name, value in fields.items() if value}, _end_of_line(text, found[0].count("\n"))


def _said(metadata: Mapping[str, Any], lines: int) -> Iterator[Block]:
    values = (metadata[name] for name in _SAID if name in metadata)
    text = "\n".join(", ".join(value) if isinstance(value, list) else value for value in values)
    if text:
        yield Block("text", text, first_line=1, last_line=lines)


def _value(written: str) -> str | list[str]:
    written = written.strip()
    if written.startswith("[") and written.endswith("]"):
        return [item for part in written[1:-1].split(",") if (item := part.strip(" \"'"))]
    return written.strip("\"'")


def _end_of_line(text: str, lines: int) -> int:
    at = 0
    for _ in range(lines):
        at = text.find("\n", at) + 1
    return at


class _Reader:
    """The tokens, once from top to bottom."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._outline = Outline()
        self._markers: list[str] = []  # of the list items that have begun, and have no text yet
        self._bare: Block | None = None  # a heading without any text so far

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks; a heading with nothing under it is one of its own."""
        at = 0
        while at < len(self._tokens):
            token = self._tokens[at]
            if token.type == "heading_open":
                yield from self._unused(int(token.tag[1]))
                self._enter(token, self._tokens[at + 1])
            elif token.type == "list_item_open":
                self._markers.append(f"{token.info}. " if token.info else "- ")
            elif token.type == "list_item_close":
                self._markers.clear()
            elif token.type in ("inline", "fence", "code_block", "html_block") and not self._is_heading(at):
                for block in self._blocks(token):
                    yield from self._used(block)
            at += 1
        yield from self._unused(0)

    def _enter(self, token: Token, inline: Token) -> None:
        heading = " ".join(plain(inline.content).split())
        if heading:
            self._outline.enter(int(token.tag[1]), heading)
            first, last = _lines(token)
            self._bare = Block("text", heading, self._outline.path, first_line=first, last_line=last)

    def _used(self, block: Block) -> Iterator[Block]:
        if block.text.strip():
            self._bare = None
            yield block

    def _unused(self, level: int) -> Iterator[Block]:
        # What a deeper heading follows is in its path.
        if self._bare is not None and level <= len(self._bare.headings):
            yield self._bare
        self._bare = None

    def _is_heading(self, at: int) -> bool:
        return at > 0 and self._tokens[at - 1].type == "heading_open"

    def _blocks(self, token: Token) -> Iterator[Block]:
        first, last = _lines(token)
        path = self._outline.path
        match token.type:
            case "fence":
                # The fences themselves are lines of the source, not of the text; the last one may be missing.
                code = token.content.rstrip("\n")
                last = first and first + 1 + code.count("\n")
                yield Block("code", code, path, None, first and first + 1, last, by_line=True)
            case "code_block":
                yield Block("code", token.content.rstrip("\n"), path, None, first, last, by_line=True)
            case "html_block":
                yield Block("text", html.unescape(_HTML_TEXT.sub(" ", token.content)).strip(), path, None, first, last)
            case _:
                yield from self._paragraph(token.content, first, last)

    def _paragraph(self, content: str, first: int | None, last: int | None) -> Iterator[Block]:
        table = _DASHES.search(content) if "|" in content else None
        if table is not None:
            # GFM, 4.10 "Tables (extension)": the header is the line above the dashes; what is above that is a paragraph.
            lines = content.split("\n")
            dashes = content.count("\n", 0, table.start(1))
            if len(_cells(lines[dashes - 1])) == len(_cells(lines[dashes])):
                yield from self._paragraph_of(lines[: dashes - 1], first, first and first + dashes - 2)
                yield self._table(lines[dashes - 1], lines[dashes + 1 :], first and first + dashes + 1, last)
                return
        yield from self._paragraph_of(content.split("\n"), first, last)

    def _paragraph_of(self, lines: list[str], first: int | None, last: int | None) -> Iterator[Block]:
        if lines:
            marker = self._markers[-1] if self._markers else ""
            self._markers.clear()
            yield Block(
                "text", marker + plain("\n".join(lines)).replace("\n", " "), self._outline.path, None, first, last
            )

    def _table(self, header: str, rows: list[str], first: int | None, last: int | None) -> Block:
        names, *body = (" | ".join(plain(cell) for cell in _cells(row)) for row in (header, *rows))
        path = self._outline.path
        if not body:
            return Block("table", names, path, None, first and first - 2, last)
        return Block("table", "\n".join(body), path, None, first, last, header=names, by_line=True)


def _cells(row: str) -> list[str]:
    row = row.strip().removeprefix("|")
    row = row[:-1] if row.endswith("|") and not row.endswith("\\|") else row
    cells = _CELL_END.split(row) if "\\" in row else row.split("|")
    return [cell.strip().replace("\\|", "|") for cell in cells]


def _lines(token: Token) -> tuple[int | None, int | None]:
    return (token.map[0] + 1, token.map[1]) if token.map else (None, None)
