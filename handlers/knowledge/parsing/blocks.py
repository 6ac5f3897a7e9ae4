"""What a reader of a format gives: the document as a row of blocks, in their order. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from handlers.knowledge.parsing.parsed import ChunkKind


@dataclass(slots=True)
class Block:
    """A paragraph, list item, table, listing or record, with its place.

    `text` is without markup. Lines of a table are its rows, and `header` is repeated above each part of it; lines of code are
    its own. `first_line` is of the first line of `text`; `by_line` says that each further line of `text` is one of the source's.
    """

    kind: ChunkKind
    text: str
    headings: tuple[str, ...] = ()
    page: int | None = None
    first_line: int | None = None
    last_line: int | None = None
    record: str | None = None
    header: str = ""
    by_line: bool = False


@dataclass(slots=True)
class Readable:
    """A document as its format is read. `blocks` may be made while they are taken, so reading may fail there too."""

    title: str | None
    blocks: Iterable[Block]
    pages: int | None = None
    metadata: Mapping[str, str | list[str]] = field(default_factory=dict[str, "str | list[str]"])


class Outline:
    """The path of headings while a document is read from its top."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []
        self.path: tuple[str, ...] = ()

    def enter(self, level: int, heading: str) -> None:
        """Begin a section: it ends all those of its own level and below."""
        self._open = [each for each in self._open if each[0] < level]
        self._open.append((level, heading))
        self.path = tuple(text for _, text in self._open)
