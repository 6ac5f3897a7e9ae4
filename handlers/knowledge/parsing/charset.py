"""Bytes to text: by a byte order mark, the charset that was declared, UTF-8, else what charset-normalizer finds. No I/O."""

import codecs
import re

from charset_normalizer import from_bytes

from handlers.knowledge.parsing.unparsable import Unparsable

# The longest first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# HTML, 13.2.3.2 "Determining the character encoding": within the first 1024 bytes.
_META = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
META_BYTES = 1024
# Guessing looks at so much: it takes about 10 ms, and the rest is in the same charset.
SAMPLE_BYTES = 32_768


def decoded(content: bytes, declared: str | None, *, is_html: bool = False) -> str:
    """Return the text, without byte order mark and NULs. Raises Unparsable where the declared charset is none, or is wrong."""
    for mark, charset in _MARKS:
        if content.startswith(mark):
            return _strictly(content[len(mark) :], charset)
    if declared is not None:
        return _strictly(content, _known(declared))
    meta = _META.search(content[:META_BYTES]) if is_html else None
    if meta is not None and (text := _tried(content, meta[1].decode("ascii"))) is not None:
        return text
    text = _tried(content, "utf-8")
    return _guessed(content) if text is None else text


def _known(declared: str) -> str:
    try:
        info = codecs.lookup(declared)
    except LookupError:
        raise Unparsable("WRONG_CHARSET", f"There is no charset {declared[:40]!r}.") from None
    # Some of Python's codecs are no charsets: base64, zip.
    if not getattr(info, "_is_text_encoding", True):
        raise Unparsable("WRONG_CHARSET", f"There is no charset {declared[:40]!r}.")
    # WHATWG Encoding, 4.2 "Names and labels": what calls itself ISO-8859-1 or ASCII is windows-1252 on the web.
    return "cp1252" if info.name == "iso8859-1" else info.name


def _strictly(content: bytes, charset: str) -> str:
    try:
        return _without_nul(content.decode(charset))
    except UnicodeDecodeError as error:
        where = f"byte {error.start + 1} (0x{content[error.start]:02X})"
        raise Unparsable("WRONG_CHARSET", f"The document is not {charset}: {where} cannot be read.") from None
    except UnicodeError:
        raise Unparsable("WRONG_CHARSET", f"The document is not {charset}.") from None


def _tried(content: bytes, charset: str) -> str | None:
    try:
        return _strictly(content, _known(charset))
    except Unparsable:
        return None


def _guessed(content: bytes) -> str:
    best = from_bytes(content[:SAMPLE_BYTES], steps=5, chunk_size=512).best()
    if best is None:
        raise Unparsable("WRONG_CHARSET", "The charset of the document is unknown: declare it, or send UTF-8.")
    # Single bytes that the guess has no letter for stand behind the sample only.
    return _without_nul(content.decode(best.encoding, errors="replace"))


def _without_nul(text: str) -> str:
    return text.replace("\0", "") if "\0" in text else text
