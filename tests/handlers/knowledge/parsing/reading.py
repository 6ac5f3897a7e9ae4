"""Documents for the tests of parsing, and what comes of them, without a process."""

from collections.abc import Generator
from contextlib import contextmanager

import pytest

from handlers.knowledge.parsing.chunker import Draft, chunks_of
from handlers.knowledge.parsing.reader import read
from handlers.knowledge.parsing.unparsable import Unparsable

TYPES = {
    "md": "text/markdown",
    "html": "text/html",
    "txt": "text/plain",
    "csv": "text/csv",
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}


def chunks(document: str | bytes, kind: str) -> list[Draft]:
    """Return the chunks of a document of such a kind."""
    content = document.encode() if isinstance(document, str) else document
    return list(chunks_of(read(content, TYPES[kind], f"document.{kind}").blocks))


@contextmanager
def refused(code: str) -> Generator[None]:
    """Hold that the block refuses a document with this code."""
    with pytest.raises(Unparsable) as refusal:
        yield
    assert refusal.value.code == code


def title(document: str | bytes, kind: str) -> str | None:
    """Return its title."""
    content = document.encode() if isinstance(document, str) else document
    return read(content, TYPES[kind], f"document.{kind}").title


def pdf(*pages: str, title: str = "", outline: tuple[tuple[str, int], ...] = ()) -> bytes:
    """Return a PDF with a line of text for each line of each page; `outline` names headings with their page (from 0)."""
    objects = [
        "<</Type/Catalog/Pages 2 0 R/Outlines 4 0 R>>",
        "",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        "",
    ]
    kids: list[int] = []
    for page in pages:
        lines = "".join(f"({_escaped(line)}) Tj 0 -14 Td " for line in page.split("\n"))
        stream = f"BT /F 12 Tf 50 750 Td {lines}ET"
        objects.append(f"<</Length {len(stream)}>>\nstream\n{stream}\nendstream")
        resources = "/Resources<</Font<</F 3 0 R>>>>"
        objects.append(f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents {len(objects)} 0 R{resources}>>")
        kids.append(len(objects))
    objects[1] = f"<</Type/Pages/Count {len(kids)}/Kids[{' '.join(f'{kid} 0 R' for kid in kids)}]>>"
    first = len(objects) + 1
    for number, (heading, page) in enumerate(outline):
        onward = f"/Next {first + number + 1} 0 R" if number + 1 < len(outline) else ""
        objects.append(f"<</Title({_escaped(heading)})/Parent 4 0 R/Dest[{kids[page]} 0 R/Fit]{onward}>>")
    objects[3] = (
        f"<</Type/Outlines/First {first} 0 R/Last {len(objects)} 0 R/Count {len(outline)}>>" if outline else "<<>>"
    )
    objects.append(f"<</Title({_escaped(title)})>>")
    return _file(objects)


def _file(objects: list[str]) -> bytes:
    written = bytearray(b"%PDF-1.4\n")
    places: list[int] = []
    for number, body in enumerate(objects, 1):
        places.append(len(written))
        written += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    trailer = (
        f"trailer<</Size {len(objects) + 1}/Root 1 0 R/Info {len(objects)} 0 R>>\nstartxref\n{len(written)}\n%%EOF"
    )
    return bytes(written) + (end + trailer).encode()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
