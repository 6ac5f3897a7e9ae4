"""DOCX: judged as a ZIP first, then to HTML by mammoth. No I/O: images are left out, external ones are not looked at."""

import io
import zipfile
import zlib
from typing import Any
from xml.parsers.expat import ExpatError

import mammoth

from handlers.knowledge.parsing.blocks import Readable
from handlers.knowledge.parsing.formats.markup import read_html
from handlers.knowledge.parsing.unparsable import Unparsable

MAIN_PART = "word/document.xml"
MOST_ENTRIES = 5_000
# Of the parts that are read. The tree of XML takes thirty times as much, and a worker has about 1 GiB.
MOST_XML = 24 << 20
MOST_TOTAL = 512 << 20
# Text in XML packs 10 to 30 times; what packs like this is there to fill the memory.
MOST_RATIO, RATIO_FROM = 200, 1 << 20


def read_docx(content: bytes) -> Readable:
    """Read a document of Word. Raises Unparsable where it is none, or unpacks to more than it may."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _judge(archive.infolist())
        html = mammoth.convert_to_html(
            io.BytesIO(content), convert_image=mammoth.images.img_element(_no_image), external_file_access=False
        ).value
    except (zipfile.BadZipFile, zlib.error, ExpatError, EOFError, KeyError, ValueError, NotImplementedError) as error:
        raise Unparsable("UNREADABLE_DOCUMENT", "The DOCX is broken, or is none.") from error
    return read_html(html)


def _no_image(_image: Any) -> dict[str, str]:
    return {}


def _judge(entries: list[zipfile.ZipInfo]) -> None:
    if MAIN_PART not in {entry.filename for entry in entries}:
        raise Unparsable("UNREADABLE_DOCUMENT", f"The DOCX has no {MAIN_PART}.")
    if any(entry.flag_bits & 0x1 for entry in entries):
        raise Unparsable("ENCRYPTED_DOCUMENT", "The DOCX is encrypted: send it without a password.")
    # zipfile unpacks no more of an entry than it says here, so that what lies is broken, and no bomb.
    total = sum(entry.file_size for entry in entries)
    xml = sum(entry.file_size for entry in entries if not entry.filename.startswith("word/media/"))
    bombs = [
        entry
        for entry in entries
        if entry.file_size > RATIO_FROM and entry.file_size > MOST_RATIO * max(entry.compress_size, 1)
    ]
    if bombs or len(entries) > MOST_ENTRIES or total > MOST_TOTAL or xml > MOST_XML:
        raise Unparsable("DOCUMENT_TOO_LARGE", "The DOCX unpacks to more than a document may have.")
