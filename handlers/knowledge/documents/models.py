"""Documents as clients write and see them."""

import base64
import binascii
import re
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    WithJsonSchema,
    field_serializer,
    model_validator,
)

from core.errors import Detail, HubError
from handlers.described import WITHOUT_NUL
from handlers.lists.models import Phrase, Sorted, Word
from handlers.resources.models import Body, GetInput, KeptMetadata, Text
from handlers.resources.shown import EXAMPLE_ID, EXAMPLE_TIME

MOST_AT_ONCE = 100
MOST_BYTES = 32 << 20
MOST_BYTES_AT_ONCE = 64 << 20
LONGEST_WAIT_SECONDS = 25
LONGEST_NAME = 500
_DOCUMENT_ID = "01978f3e-5a75-7c3d-9b42-6f0d2c1e8a55"
_OR_NULL: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}(?:\s*;[ -~]{0,100})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_EXAMPLE: dict[str, JsonValue] = {
    "id": _DOCUMENT_ID,
    "knowledge_id": EXAMPLE_ID,
    "name": "docs/install.md",
    "version": 1,
    "status": "ready",
    "content_type": "text/markdown",
    "url": None,
    "bytes": 5120,
    "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "metadata": {"team": "docs"},
    "title": "Installation",
    "language": "english",
    "pages": None,
    "chunks": 6,
    "error": None,
    "created_at": EXAMPLE_TIME,
    "updated_at": EXAMPLE_TIME,
}
_TAKEN: dict[str, JsonValue] = {
    **_EXAMPLE,
    "status": "pending",
    "title": None,
    "language": None,
    "chunks": 0,
    "unchanged": False,
}

Status = Literal["pending", "ready", "failed"]


def _is_name(text: str) -> str:
    # A name is a label, never a place: but what downloads it by its name should not be led astray either.
    if _CONTROL.search(text) or any(part == ".." for part in re.split(r"[/\\]", text)):
        raise ValueError("Control characters and .. are not allowed")
    return text


def is_media_type(text: str) -> bool:
    """Tell whether a text is a media type, with parameters or without."""
    return _MEDIA_TYPE.fullmatch(text) is not None


def _is_media_type(text: str) -> str:
    if not is_media_type(text):
        raise ValueError("Must be a media type, such as text/markdown")
    return text


DocumentName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_NAME),
    AfterValidator(_is_name),
    WITHOUT_NUL,
]
MediaType = Annotated[str, StringConstraints(max_length=300), AfterValidator(_is_media_type)]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class NewDocument(Body):
    """A document: its `content` as text, or as bytes in `content_base64`, or a `url` that it is fetched from."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "docs/install.md",
                    "content": "# Installation\n\nRun `make run`.",
                    "content_type": "text/markdown",
                    "metadata": {"team": "docs"},
                }
            ]
        },
    )

    name: DocumentName | None = None
    # Bytes come out of uploads only: JSON has none.
    content: Annotated[str | bytes | None, WithJsonSchema(_OR_NULL)] = None
    content_base64: str | None = None
    content_type: MediaType | None = None
    url: Text | None = None
    # Not given, those of the version before stay.
    metadata: KeptMetadata | None = None

    @field_serializer("content", when_used="json")
    def _content_for_keys(self, content: str | bytes | None) -> str | None:
        # Written only to be hashed (core/operations/idempotency.py).
        return sha256(content).hexdigest() if isinstance(content, bytes) else content

    @property
    def data(self) -> bytes | None:
        """The content; None where it is to be fetched. Raises ValueError for what is no base64."""
        if self.content_base64 is not None:
            try:
                return base64.b64decode(self.content_base64, validate=True)
            except binascii.Error as error:
                raise ValueError("Must be base64 (RFC 4648, section 4)") from error
        return self.content.encode() if isinstance(self.content, str) else self.content


class DocumentError(BaseModel):
    """Why a document could not be read."""

    code: str
    message: str


class Document(BaseModel):
    """A document of a knowledge base; `title` to `chunks` are known once it is `ready`.

    `version` counts its contents. Until a new one is `ready`, the one before is found.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: UUID
    knowledge_id: UUID
    name: str
    version: int = Field(ge=1)
    status: Status
    content_type: str
    url: str | None
    bytes: int = Field(ge=0)
    hash: str
    metadata: dict[str, Any]
    title: str | None
    language: str | None
    pages: int | None
    chunks: int = Field(ge=0)
    error: DocumentError | None
    created_at: datetime
    updated_at: datetime


class Uploaded(Document):
    """A document as it was taken; `unchanged`: it was there already, the same."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TAKEN]})

    unchanged: bool


class UploadedDocuments(BaseModel):
    """What was taken, in the order in which it was sent."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"data": [_TAKEN]}]})

    data: list[Uploaded]


class CreateDocuments(NewDocument):
    """One document, or up to 100 as `documents`; `wait` is for how many seconds the answer may wait until they are ready."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "documents": [
                        {
                            "name": "docs/install.md",
                            "content": "# Installation\n\nRun `make run`.",
                            "metadata": {"team": "docs"},
                        },
                        {"name": "contacts.json", "content": '[{"name": "Jane Doe", "company": "Acme"}]'},
                    ]
                }
            ]
        },
    )

    id: str
    documents: Annotated[list[NewDocument], Field(min_length=1, max_length=MOST_AT_ONCE)] | None = None
    wait: int = Field(0, ge=0, le=LONGEST_WAIT_SECONDS)

    @model_validator(mode="after")
    def _one_form(self) -> "CreateDocuments":
        single = self.model_fields_set & NewDocument.model_fields.keys()
        if self.documents is not None and single:
            detail = Detail(min(single), "INVALID_FORMAT", "With documents, it belongs to one of them")
            raise HubError("VALIDATION_ERROR", details=[detail])
        return self

    @property
    def all(self) -> list[NewDocument]:
        """The documents, one or many."""
        return [self] if self.documents is None else self.documents


class ListDocuments(Sorted):
    """A page of a base's documents, newest first; `q` is a part of the name."""

    id: str
    status: Status | None = None
    name: Word | None = None
    q: Phrase | None = None


class GetDocument(GetInput):
    """One document of a base."""

    document: str


class GetContent(GetDocument):
    """A document's content, of its last version or an earlier one."""

    version: int | None = Field(None, ge=1, le=2**62)


class ChangeDocument(GetDocument):
    """A JSON Merge Patch of a document's metadata."""

    body: dict[str, Any]


class DocumentChange(Body):
    """What of a document can be changed: its metadata, by JSON Merge Patch (RFC 7396)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"metadata": {"team": "support"}}]})

    metadata: KeptMetadata | None = None


class Version(BaseModel):
    """A version of a document that is kept; its `id`, its number, is one among those of the document."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "1",
                    "version": 1,
                    "content_type": "text/markdown",
                    "bytes": 5120,
                    "hash": _EXAMPLE["hash"],
                    "created_at": EXAMPLE_TIME,
                }
            ]
        }
    )

    id: str
    version: int
    content_type: str
    bytes: int
    hash: str
    created_at: datetime


class ManifestEntry(Body):
    """A file that the client has: its name, and the SHA-256 of its content in hexadecimal."""

    name: DocumentName
    hash: Hash


class Manifest(BaseModel):
    """What the client has; with `delete_missing` documents that it has not are deleted."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"documents": [{"name": "docs/install.md", "hash": _EXAMPLE["hash"]}], "delete_missing": False}
            ]
        },
    )

    id: str
    documents: list[ManifestEntry] = Field(max_length=10_000)
    delete_missing: bool = False


class ManifestAnswer(BaseModel):
    """What is to be uploaded, what is the same, and what is only here, which `delete_missing` deletes."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"upload": ["docs/install.md"], "unchanged": 12, "missing": [], "deleted": 0}]}
    )

    upload: list[str]
    unchanged: int
    missing: list[str]
    deleted: int
