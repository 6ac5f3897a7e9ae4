"""HTML: its text as a browser would show it, by selectolax, without scripts, styles and what leads elsewhere. No I/O.

Nothing that a page refers to is fetched. Where a page says what is its main part, only that is read.
"""

import re
from collections.abc import Callable, Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from handlers.knowledge.parsing.blocks import Block, Outline, Readable
from handlers.knowledge.parsing.unparsable import Unparsable


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DROPPED = _words(
    "script style noscript template nav footer svg math iframe object embed canvas audio video map head title button select "
    "textarea input datalist dialog"
)
_BLOCKS = _words(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure form header "
    "hr html li main menu ol p section summary ul"
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_CELLS = frozenset(("td", "th"))
# A table with one of these in it is there for the layout of a page.
_LAYOUT = "table h1, table h2, table h3, table h4, table table, table pre, table ul table"
_MAIN = "main, [role=main]"
# The sign that generators put at a heading as a link to itself.
_ANCHOR = re.compile(r"^\s*[#§]\s*(?=\S)|\s*[¶#§]\s*$")
# What is in scripts and comments are no elements, however much it looks like some.
_TAG = re.compile(
    r"<(script|style)\b.*?(?:</\1|\Z)|<!--.*?(?:-->|\Z)|<(/?)([a-zA-Z][a-zA-Z0-9-]*)[^<>]*?(/?)>",
    re.DOTALL | re.IGNORECASE,
)
# HTML, 13.1.2.4: these are closed by others, or have no end, so they do not nest by being left open.
_UNNESTED = _words(
    "area base br col embed hr img input link meta source track wbr p li dt dd tr td th thead tbody tfoot option optgroup colgroup "
    "caption rp rt"
)
_OPEN = _BLOCKS | _words("a abbr b big cite code em font i kbd q s samp small span strike strong sub sup tt u var")
# The parser's time grows with the square of the depth: this much takes it 50 ms.
DEEPEST = 5_000


def read_html(text: str) -> Readable:
    """Read a page; its first heading of the first level is the title, else what <title> says."""
    _refuse_depth(text)
    parser = LexborHTMLParser(text)
    reader = _Reader(parser)
    blocks = list(reader.blocks(_main_of(parser)))
    named = parser.css_first("title")
    title = _line(named.text()) if named is not None else ""
    return Readable(reader.title or title or None, blocks)


def _refuse_depth(text: str) -> None:
    depth = 0
    for tag in _TAG.finditer(text):
        name = (tag[3] or "").lower()
        # Only SVG's elements end in the sign for it; all others are open.
        if name and name not in _UNNESTED and not (tag[4] and name not in _OPEN):
            depth = max(depth - 1, 0) if tag[2] else depth + 1
            if depth > DEEPEST:
                raise Unparsable("DOCUMENT_TOO_LARGE", f"The document has elements nested deeper than {DEEPEST:,}.")


def _main_of(parser: LexborHTMLParser) -> LexborNode | None:
    found = parser.css(_MAIN)
    return found[0] if len(found) == 1 else parser.body


def _line(text: str) -> str:
    return " ".join(text.split())


def _shown(root: LexborNode) -> str:
    """Return the text in `root`, without what is dropped."""
    texts: list[str] = []
    node: LexborNode | None = root
    while node is not None:
        if node.is_text_node:
            texts.append(node.text_content or "")
        elif node.tag == "br":
            texts.append("\n")
        child = node.first_child if node.is_element_node and node.tag not in _DROPPED else None
        node = child or _next_outside(node, root)
    return "".join(texts)


def _next_outside(
    node: LexborNode, root: LexborNode, leave: Callable[[LexborNode], object] | None = None
) -> LexborNode | None:
    """Return the node that comes after all that is in `node`, within `root`; tells `leave` of each that ends before it."""
    # Nodes are compared by their ids: == compares all that is in them.
    while node.mem_id != root.mem_id:
        if leave is not None:
            leave(node)
        if node.next is not None:
            return node.next
        parent = node.parent
        if parent is None:
            return None
        node = parent
    return None


class _Reader:
    """One walk through the tree, without recursion: it may be deep."""

    def __init__(self, parser: LexborHTMLParser) -> None:
        self._layout = {node.mem_id for node in _tables_of_layout(parser)}
        self._outline = Outline()
        self.title: str | None = None
        self._found: list[Block] = []
        self._text: list[str] = []
        self._marker = ""
        self._numbers: list[
            int | None
        ] = []  # of the lists that are open: the last item's number, None where they have none
        self._rows: list[list[str]] | None = None  # of the table that is open
        self._has_header = False

    def blocks(self, root: LexborNode | None) -> Iterator[Block]:
        """Yield what is in `root`."""
        node = root
        while node is not None and root is not None:
            if self._enter(node) and (child := node.first_child) is not None:
                node = child
                continue
            node = _next_outside(node, root, self._leave)
        self._flush()
        yield from self._found

    def _enter(self, node: LexborNode) -> bool:
        """Take what begins here; tells whether to go into it."""
        if node.is_text_node:
            self._text.append(node.text_content or "")
            return False
        tag = node.tag or ""
        if tag in _DROPPED or not node.is_element_node:
            return False
        if tag in _HEADINGS and self._rows is None:
            self._flush()
            self._heading(_HEADINGS[tag], _line(_shown(node)))
            return False
        if tag == "pre" and self._rows is None:
            self._flush()
            self._listing(_shown(node))
            return False
        self._begin(node, tag)
        return True

    def _begin(self, node: LexborNode, tag: str) -> None:
        if tag == "table" and self._rows is None and node.mem_id not in self._layout:
            self._flush()
            self._rows, self._has_header = [], False
        elif self._rows is not None:
            self._in_table(tag)
        elif tag in ("ul", "ol"):
            self._flush()
            self._numbers.append(0 if tag == "ol" else None)
        elif tag == "li":
            self._flush()
            self._marker = self._next_marker()
        elif tag == "br":
            self._text.append("\n")
        elif tag in _BLOCKS or tag in _CELLS or tag == "tr":
            self._flush()

    def _in_table(self, tag: str) -> None:
        if tag == "tr" and self._rows is not None:
            self._rows.append([])
        self._has_header = self._has_header or tag in ("th", "thead")
        if tag in _CELLS:
            self._text.clear()
        else:
            self._text.append(" ")

    def _leave(self, node: LexborNode) -> None:
        tag = node.tag
        if tag in _CELLS and self._rows is not None:
            if not self._rows:
                self._rows.append([])
            self._rows[-1].append(_line("".join(self._text)))
            self._text.clear()
        elif tag == "table" and self._rows is not None:
            self._table(self._rows)
            self._rows = None
        elif tag in ("ul", "ol") and self._rows is None:
            self._flush()
            self._numbers = self._numbers[:-1]
        elif self._rows is None and (tag in _BLOCKS or tag in _CELLS):
            self._flush()

    def _next_marker(self) -> str:
        if not self._numbers or (number := self._numbers[-1]) is None:
            return "- "
        self._numbers[-1] = number + 1
        return f"{number + 1}. "

    def _heading(self, level: int, text: str) -> None:
        text = _ANCHOR.sub("", text)
        if text:
            self._outline.enter(level, text)
            if level == 1 and self.title is None:
                self.title = text

    def _listing(self, text: str) -> None:
        text = text.strip("\n").rstrip()
        if text:
            self._found.append(Block("code", text, self._outline.path))

    def _table(self, rows: list[list[str]]) -> None:
        lines = [" | ".join(row) for row in rows if any(row)]
        header = lines[0] if self._has_header and len(lines) > 1 else ""
        if lines:
            body = "\n".join(lines[1:] if header else lines)
            self._found.append(Block("table", body, self._outline.path, header=header))
        self._text.clear()

    def _flush(self) -> None:
        text = _line("".join(self._text))
        self._text.clear()
        if text:
            self._found.append(Block("text", self._marker + text, self._outline.path))
            self._marker = ""


def _tables_of_layout(parser: LexborHTMLParser) -> Iterator[LexborNode]:
    for inner in parser.css(_LAYOUT):
        # All tables around it; what is deeper than any page nests them is data again.
        node, steps = inner.parent, 0
        while node is not None and steps < 100:
            if node.tag == "table":
                yield node
            node, steps = node.parent, steps + 1
