"""What a route is asked and what it answers, whichever way it came in: a request over HTTP, or one operation of a batch.

Asked    method, path, parameters, headers, body of one request, and the form that it wants its answer in
Answer   status, headers and body
Form     how results, pages and errors are written, and bodies read
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from multidict import MultiMapping

from core.errors import HubError
from core.operations.results import Document, Page

Body = Mapping[str, Any]
Query = Mapping[str, str]

NO_BODY: Body = {}
NO_QUERY: Query = {}


class Form(Protocol):
    """A representation, by its media type; chosen once for a request."""

    @property
    def media_type(self) -> str:
        """The Content-Type of what is written."""
        ...

    @property
    def variant(self) -> str:
        """What an entity tag of this form ends with; empty for the plain one."""
        ...

    def document(self, document: Document, asked: "Asked") -> bytes:
        """Write one resource."""
        ...

    def page(self, page: Page, asked: "Asked", links: Mapping[str, str]) -> bytes:
        """Write a page of a list; `links` are its neighbours, by relation (rest/links.py)."""
        ...

    def text(self, body: str, asked: "Asked") -> bytes:
        """Write what is no resource: the JSON text of a Made or a Shown."""
        ...

    def error(self, error: HubError, request_id: str, now: datetime) -> bytes:
        """Write a refusal."""
        ...


@dataclass(eq=False, slots=True)
class Asked:
    """One request to a route. `path` and `params` are of the resource, `prefix` is the version's; headers ignore case."""

    method: str
    path: str
    prefix: str
    params: Mapping[str, str]
    headers: MultiMapping[str]
    request_id: str
    form: Form
    query: Query = field(default_factory=dict[str, str])
    body: Body = field(default_factory=dict[str, Any])

    def list_header(self, name: str) -> str | None:
        """Return a header's value, None where it is not there; several of one name are one list (RFC 9110, section 5.3)."""
        values = self.headers.getall(name, ())
        return ", ".join(values) if values else None


@dataclass(eq=False, slots=True)
class Answer:
    """What a route answers; the body as it is sent."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
