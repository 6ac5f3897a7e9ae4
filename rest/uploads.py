"""Documents in a request: as JSON like any other body, or as files of multipart/form-data (RFC 7578), read while they come.

A part with a file name is a document; the part `metadata` is a JSON object that all of them get. What is being read or kept of all
requests together is bounded: who comes beyond that is asked to come again.
"""

import contextlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import BadHttpMessage

from core import strict_json
from core.clock import Clock
from core.deadline import within
from core.errors import Detail, HubError
from handlers.knowledge.documents.models import MOST_AT_ONCE, MOST_BYTES, MOST_BYTES_AT_ONCE
from rest.requests import body_of, broken, continued

MULTIPART = "multipart/form-data"
# Of JSON, which is parsed as a whole: large files go as files.
MOST_JSON_BYTES = 8 << 20
# What stands around the files: heads and boundaries.
_AROUND_BYTES = 1 << 20
# For 64 MiB that is 2 Mbit/s.
SECONDS = 300.0
MOST_IN_FLIGHT = 256 << 20
_MOST_METADATA_BYTES = 256 << 10
_CHUNK_BYTES = 256 << 10
_MOST_HEADERS = 16
# What a client writes that knows no better: the name's ending tells more.
_NO_TYPE = frozenset({"", "application/octet-stream"})


_FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "array", "items": {"type": "string", "format": "binary"}, "maxItems": MOST_AT_ONCE},
        "metadata": {"type": "object", "description": "Of all of the files"},
    },
}


@dataclass
class Uploads:
    """Reads requests of documents. `most` are the bytes of all that is under way in this process."""

    most: int = MOST_IN_FLIGHT
    takes_files: bool = True
    held: int = field(default=0, init=False)

    @property
    def described(self) -> Mapping[str, Any]:
        """Tell of the form, where files are taken."""
        return {MULTIPART: {"schema": _FORM}} if self.takes_files else {}

    @contextlib.contextmanager
    def room(self, request: web.Request) -> Generator[None]:
        """Keep room for a body, until its documents are written; raises HubError SERVICE_UNAVAILABLE where there is none.

        Raises PAYLOAD_TOO_LARGE for one that says itself that it is.
        """
        most = (
            MOST_BYTES_AT_ONCE + _AROUND_BYTES
            if self.takes_files and request.content_type == MULTIPART
            else MOST_JSON_BYTES
        )
        size = most if request.content_length is None else request.content_length
        if size > most:
            raise _too_large()
        if self.held + size > self.most:
            raise HubError("SERVICE_UNAVAILABLE", "Too much is being uploaded at this moment", retry_after=2)
        self.held += size
        try:
            yield
        finally:
            self.held -= size

    async def read(self, request: web.Request, clock: Clock) -> dict[str, Any]:
        """Return the body as documents.create takes it; raises as `body_of`, and for what is wrong with files."""
        if request.content_type != MULTIPART or not self.takes_files:
            # Contents belong into no log.
            return await body_of(request, clock, MOST_JSON_BYTES, is_shown=False)
        if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise HubError("UNSUPPORTED_MEDIA_TYPE", "Files are taken without a content coding")
        try:
            return await within(clock, SECONDS, _files_of(request))
        except TimeoutError as error:
            raise HubError("TIMEOUT", f"The body was not there within {SECONDS:.0f} seconds") from error
        except (web.RequestPayloadError, ConnectionError, BadHttpMessage, ValueError, RuntimeError, EOFError) as error:
            raise broken("The body is no multipart/form-data as RFC 7578 has it, or it ends early") from error


async def _files_of(request: web.Request) -> dict[str, Any]:
    await continued(request)
    reader = MultipartReader(request.headers, request.content, max_headers=_MOST_HEADERS)
    files: list[dict[str, Any]] = []
    metadata: dict[str, Any] | None = None
    left = MOST_BYTES_AT_ONCE
    while (part := await reader.next()) is not None:
        if not isinstance(part, BodyPartReader) or "Content-Transfer-Encoding" in part.headers:
            raise HubError("BAD_REQUEST", "A part of the body is encoded; send files as they are")
        if part.filename is not None:
            if len(files) == MOST_AT_ONCE:
                raise HubError("PAYLOAD_TOO_LARGE", f"A request has at most {MOST_AT_ONCE} files")
            files.append(await _file(part, min(left, MOST_BYTES)))
            left -= len(files[-1]["content"])
        elif part.name == "metadata" and metadata is None:
            metadata = _metadata(await _read(part, _MOST_METADATA_BYTES))
        else:
            field = (part.name or "body")[:64]
            message = "A part is a file, with a file name, or metadata, once"
            raise HubError("VALIDATION_ERROR", details=[Detail(field, "INVALID_FORMAT", message)])
    if metadata is not None:
        files = [{**each, "metadata": metadata} for each in files]
    return {"documents": files}


async def _file(part: BodyPartReader, most: int) -> dict[str, Any]:
    told = part.headers.get("Content-Type", "").strip()
    content = await _read(part, most)
    document: dict[str, Any] = {"name": part.filename, "content": content}
    return document if told.lower() in _NO_TYPE else {**document, "content_type": told}


async def _read(part: BodyPartReader, most: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while chunk := await part.read_chunk(_CHUNK_BYTES):
        chunks.append(chunk)
        size += len(chunk)
        if size > most:
            raise _too_large()
    return b"".join(chunks)


def _metadata(text: bytes) -> dict[str, Any]:
    wrong = HubError("VALIDATION_ERROR", details=[Detail("metadata", "INVALID_FORMAT", "Must be a JSON object")])
    try:
        value = strict_json.loads(text)
    except orjson.JSONDecodeError as error:
        raise wrong from error
    if not isinstance(value, dict):
        raise wrong
    return value  # pyright: ignore[reportUnknownVariableType] - JSON's objects have string keys


def _too_large() -> HubError:
    sizes = f"A file has at most {MOST_BYTES >> 20} MiB, a request {MOST_BYTES_AT_ONCE >> 20} MiB, as JSON {MOST_JSON_BYTES >> 20}"
    return HubError("PAYLOAD_TOO_LARGE", sizes)
