"""Which format a document has: by its content type, then by its name's extension, then by its first bytes. No I/O."""

import re
from collections.abc import Callable

from handlers.knowledge.parsing.blocks import Readable
from handlers.knowledge.parsing.charset import decoded
from handlers.knowledge.parsing.formats.markdown import read_markdown
from handlers.knowledge.parsing.formats.markup import read_html
from handlers.knowledge.parsing.formats.office import MAIN_PART, read_docx
from handlers.knowledge.parsing.formats.plain import read_code, read_plain
from handlers.knowledge.parsing.formats.portable import read_pdf
from handlers.knowledge.parsing.formats.records import read_csv, read_json, read_ndjson
from handlers.knowledge.parsing.unparsable import Unparsable

_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def _read_tsv(text: str) -> Readable:
    return read_csv(text, "\t")


OF_TEXT: dict[str, Callable[[str], Readable]] = {
    "text": read_plain,
    "code": read_code,
    "markdown": read_markdown,
    "html": read_html,
    "csv": read_csv,
    "tsv": _read_tsv,
    "json": read_json,
    "ndjson": read_ndjson,
}
OF_BYTES: dict[str, Callable[[bytes], Readable]] = {"pdf": read_pdf, "docx": read_docx}

_BY_TYPE = {
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/pdf": "pdf",
    "application/x-pdf": "pdf",
    _DOCX: "docx",
    "text/csv": "csv",
    "application/csv": "csv",
    "text/tab-separated-values": "tsv",
    "application/json": "json",
    "text/json": "json",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/x-jsonlines": "ndjson",
    "application/javascript": "code",
    "application/x-sh": "code",
    "application/yaml": "code",
    "application/x-yaml": "code",
    "application/toml": "code",
    "application/sql": "code",
    "application/xml": "code",
    "text/xml": "code",
    "text/javascript": "code",
    "text/css": "code",
}
_CODE = (
    "py pyi js mjs cjs ts tsx jsx java kt go rs c h cc cpp hpp cs rb php swift scala sh bash ps1 sql yaml yml toml ini cfg conf "
    "xml proto graphql lua r pl css scss tf"
)


def _each(words: str, kind: str) -> dict[str, str]:
    return dict.fromkeys(words.split(), kind)


_BY_EXTENSION = {
    **_each("txt text log rst adoc org", "text"),
    **_each("md markdown mdown mkd mdx", "markdown"),
    **_each("html htm xhtml", "html"),
    **_each("ndjson jsonl", "ndjson"),
    **_each(_CODE, "code"),
    **{each: each for each in ("pdf", "docx", "csv", "tsv", "json")},
}
# These say no more than that it is a file, or a text: its name knows better.
_UNSURE = ("", "application/octet-stream", "binary/octet-stream", "text/plain", "application/text")
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]+)\"?", re.IGNORECASE)
_HTML = re.compile(r"\s*(?:<!--.{0,2000}?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
# Control characters that no text has, besides tab, line ends, form feed, escape.
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_SNIFFED = 4096
_UTF_16_OR_32 = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


def read(content: bytes, content_type: str, name: str) -> Readable:
    """Read a document. Raises Unparsable, then or while its blocks are taken."""
    if not content.strip():
        raise Unparsable("NO_TEXT", "The document is empty.")
    declared = _CHARSET.search(content_type)
    kind = format_of(content, content_type, name, has_charset=declared is not None)
    if kind in OF_BYTES:
        return OF_BYTES[kind](content)
    text = decoded(content, declared and declared[1], is_html=kind == "html")
    return OF_TEXT[_told_by(text) if kind == "unknown" else kind](text)


def format_of(content: bytes, content_type: str, name: str, *, has_charset: bool = False) -> str:
    """Return the format's name, or "unknown" for a text of which nothing is said. Raises Unparsable for what is no document."""
    essence = content_type.partition(";")[0].strip().lower()
    extension = name.rpartition("/")[2].rpartition(".")[2].lower() if "." in name else ""
    kind = _BY_TYPE.get(essence) or _by_suffix(essence)
    if kind is None and (essence in _UNSURE or essence.startswith("text/")):
        kind = _BY_EXTENSION.get(extension)
    if kind is None and essence not in _UNSURE and not essence.startswith("text/"):
        raise Unparsable("UNSUPPORTED_FORMAT", f"Documents of the type {essence[:100]} cannot be read.")
    return _held_against(content, kind, has_charset=has_charset)


def _by_suffix(essence: str) -> str | None:
    return "json" if essence.endswith("+json") else "code" if essence.endswith("+xml") else None


def _held_against(content: bytes, kind: str | None, *, has_charset: bool) -> str:
    """Compare what was said with the first bytes, which no text has in common with these formats."""
    if b"%PDF-" in content[:1024]:
        return "pdf"
    if content.startswith(b"PK\x03\x04"):
        # The names of a ZIP's entries stand in it as they are.
        if kind == "docx" or MAIN_PART.encode() in content:
            return "docx"
        raise Unparsable("UNSUPPORTED_FORMAT", "The document is a ZIP, but no DOCX.")
    if kind in OF_BYTES:
        raise Unparsable("UNREADABLE_DOCUMENT", f"The document is no {kind.upper()}, or is broken.")
    # Half of the bytes of UTF-16 are NULs.
    if not has_charset and not content.startswith(_UTF_16_OR_32) and _is_binary(content):
        raise Unparsable("UNSUPPORTED_FORMAT", "The document is neither text nor a format that can be read.")
    return kind or "unknown"


def _is_binary(content: bytes) -> bool:
    # Some stray ones are forgiven: a text with a NUL in it is one without.
    sample = content[:_SNIFFED]
    return len(_BINARY.findall(sample)) > 4 + len(sample) // 50


def _told_by(text: str) -> str:
    if _HTML.match(text[:_SNIFFED]):
        return "html"
    start = text[:_SNIFFED].lstrip()
    if start.startswith(("{", "[")):
        try:
            read_json(text)
        except Unparsable:
            return "text"
        return "json"
    return "text"
