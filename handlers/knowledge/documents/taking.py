"""What clients send as documents, as contents to be kept. No I/O."""

import mimetypes
import re
from collections.abc import Sequence
from hashlib import sha256

from core.errors import Detail, HubError
from handlers.knowledge.documents.models import LONGEST_NAME, MOST_BYTES, MOST_BYTES_AT_ONCE, NewDocument
from handlers.knowledge.documents.store import Content

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNKNOWN = "application/octet-stream"
# What Python's table does not have, or has otherwise on some machines.
_TYPES = {
    "csv": "text/csv",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "htm": "text/html",
    "html": "text/html",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "markdown": "text/markdown",
    "md": "text/markdown",
    "ndjson": "application/x-ndjson",
    "pdf": "application/pdf",
    "rst": "text/plain",
    "txt": "text/plain",
}


def contents_of(given: Sequence[NewDocument], *, is_single: bool) -> list[Content]:
    """Return what was sent, ready to be kept.

    Raises HubError VALIDATION_ERROR with all that is wrong, PAYLOAD_TOO_LARGE beyond what a document or a request may have.
    """
    wrong: list[Detail] = []
    contents: list[Content] = []
    for number, each in enumerate(given):
        place = "" if is_single else f"documents[{number}]."
        content = _content(each, place, wrong)
        if content is not None:
            contents.append(content)
    names = [each.name for each in contents]
    if len(set(names)) < len(names):
        wrong.append(Detail("documents", "INVALID_FORMAT", "Two documents have one name"))
    if wrong:
        raise HubError("VALIDATION_ERROR", details=wrong)
    _check_sizes([len(each.data or b"") for each in contents])
    return contents


def type_of(name: str) -> str:
    """Return the media type that a name's ending stands for."""
    ending = name.rpartition(".")[2].lower()
    return _TYPES.get(ending) or mimetypes.guess_type(name)[0] or _UNKNOWN


def name_of(url: str) -> str:
    """Return what a document of a URL is called that has no other name: the URL without its scheme; empty for none."""
    return _CONTROL.sub("", url.partition("://")[2].partition("#")[0])[:LONGEST_NAME].strip()


def _content(given: NewDocument, place: str, wrong: list[Detail]) -> Content | None:
    sources = [name for name in ("content", "content_base64", "url") if getattr(given, name) is not None]
    if len(sources) != 1:
        code = "INVALID_FORMAT" if sources else "MISSING_REQUIRED_FIELD"
        message = "A document has one of content, content_base64 and url"
        wrong.append(Detail(f"{place}{sources[1] if sources else 'content'}", code, message))
        return None
    name = given.name or (None if given.url is None else name_of(given.url))
    if not name:
        wrong.append(Detail(f"{place}name", "MISSING_REQUIRED_FIELD", "Field required"))
        return None
    try:
        data = given.data
    except ValueError as error:
        wrong.append(Detail(f"{place}content_base64", "INVALID_FORMAT", str(error)))
        return None
    hash = b"" if data is None else sha256(data).digest()
    return Content(name, data, given.content_type or type_of(name), given.metadata, given.url, hash)


def _check_sizes(sizes: Sequence[int]) -> None:
    if max(sizes) > MOST_BYTES or sum(sizes) > MOST_BYTES_AT_ONCE:
        message = f"A document has at most {MOST_BYTES >> 20} MiB, a request {MOST_BYTES_AT_ONCE >> 20} MiB"
        raise HubError("PAYLOAD_TOO_LARGE", message)
