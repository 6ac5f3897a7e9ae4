"""What a route is asked and what it answers, whichever way it came in: a request over HTTP, or one operation of a batch.

Asked    method, path, parameters, headers, body of one request, and the form that it wants its answer in
Answer   status, headers and body
Form     how results, pages and errors are written
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from multidict import MultiMapping

from core.content.fields import list_header
from core.errors import HubError
from core.operations.results import Document, Page, Streamed
from core.operations.run import Outcome
from core.quota import Quota

Body = Mapping[str, Any]
Query = Mapping[str, str]

NO_BODY: Body = {}
NO_QUERY: Query = {}


@dataclass(frozen=True, slots=True)
class Paging:
    """What a form calls the parameters of pages: `names` as they are, each other one as it stands in a link."""

    names: frozenset[str]
    page: str
    size: str
    after: str
    before: str
    limit: str


class ErrorForm(Protocol):
    """How a refusal is written."""

    @property
    def media_type(self) -> str:
        """The Content-Type of what is written."""
        ...

    def error(self, error: HubError, request_id: str, now: datetime) -> bytes:
        """Write a refusal."""
        ...


class Form(ErrorForm, Protocol):
    """A representation, by its media type; chosen once for a request (rest/negotiation.py)."""

    @property
    def paging(self) -> Paging:
        """The parameters that links to other pages have."""
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


@dataclass(eq=False, slots=True)
class Asked:
    """One request to a route. `path` and `params` are of the resource, `prefix` is the version's; headers ignore case.

    `query` and `body` are as operations know them, and `patch` is in place of a body where that is a JSON Patch. `given` is the
    query as the client wrote it, where that is another. `completed` finds what the answer has beside the operation's result; it
    returns the limit where it has asked again. `goes_on` waits for what the operation has begun, and gives what is answered then.
    """

    method: str
    path: str
    prefix: str
    params: Mapping[str, str]
    headers: MultiMapping[str]
    request_id: str
    form: Form
    query: Query = field(default_factory=dict[str, str])
    body: Body = field(default_factory=dict[str, Any])
    patch: Sequence[Any] | None = None
    given: Query | None = None
    completed: Callable[[Any], Awaitable[Quota | None]] | None = None
    goes_on: Callable[[Outcome], Awaitable[Outcome]] | None = None

    def list_header(self, name: str) -> str | None:
        """Return a header's value, None where it is not there; several of one name are one list (RFC 9110, section 5.3)."""
        return list_header(self.headers, name)


@dataclass(eq=False, slots=True)
class Answer:
    """What a route answers; the body as it is sent, or what it comes from part by part: whoever does not send that closes it."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    stream: Streamed | None = None
