"""Answers as JSON:API documents."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import orjson

from core.errors import Detail
from core.operations.results import Document, Page
from rest.asked import NO_QUERY, Asked, Body
from rest.jsonapi.errors import VERSION, JsonApiErrors, in_header
from rest.jsonapi.incoming import existing, pointer_of
from rest.jsonapi.kinds import Kind
from rest.jsonapi.query import PAGING, Wanted

_NOTHING = Wanted(NO_QUERY, NO_QUERY)


class JsonApi(JsonApiErrors):
    """The form of one request's answer. Who reads the request says what it asks for, and what else the answer has.

    `wanted` is what the query asks for; `sent` the body, as a document or plain; `included` the related resources, by kind.
    """

    paging = PAGING

    def __init__(self, kind: Kind, *, takes_body: bool, reads_documents: bool) -> None:
        self.kind = kind
        self.wanted = _NOTHING
        self.sent: Body | None = None
        self._included: list[dict[str, Any]] | None = None
        self._takes_body = takes_body
        self._reads_documents = reads_documents

    @property
    def variant(self) -> str:
        """What is included changes without the resource, so its state is in the tag."""
        if self._included is None:
            return "jsonapi"
        return f"jsonapi.{sha256(orjson.dumps(self._included)).hexdigest()[:20]}"

    def include(self, kind: Kind, documents: Sequence[str]) -> None:
        """Take related resources, which nobody else has given yet."""
        only = self.wanted.fields.get(kind.type)
        made = [kind.resource(orjson.loads(each), only) for each in documents]
        self._included = [*(self._included or ()), *made]

    def document(self, document: Document, asked: Asked) -> bytes:
        """Write a resource as the primary data."""
        return self._of_one(orjson.loads(document.body), asked)

    def page(self, page: Page, asked: Asked, links: Mapping[str, str]) -> bytes:
        """Write a page's resources as the primary data, its neighbours as links, its numbers as `meta`."""
        meta: dict[str, Any] = {"pagination": page.pagination()}
        if not page.is_whole:
            meta["incomplete"] = True
        data = [self._resource(orjson.loads(each)) for each in page.items]
        return self._written({"links": {**_own_link(asked), **links}, "data": data, "meta": meta})

    def text(self, body: str, asked: Asked) -> bytes:
        """Write what has an id as a resource; what has none, such as a token, is `meta`."""
        shown = orjson.loads(body)
        return self._of_one(shown, asked) if "id" in shown else self._written({"meta": shown})

    def _of_one(self, fields: Mapping[str, Any], asked: Asked) -> bytes:
        return self._written({"links": _own_link(asked), "data": self._resource(fields)})

    def _resource(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return self.kind.resource(fields, self.wanted.fields.get(self.kind.type))

    def _written(self, document: dict[str, Any]) -> bytes:
        if document.get("links") == {}:
            del document["links"]
        if self._included is not None:
            document["included"] = self._included
        return orjson.dumps({"jsonapi": VERSION, **document})

    def source(self, detail: Detail) -> dict[str, str]:
        """Return where in the request, as this client has sent it, a detail belongs."""
        header = in_header(detail)
        if header is not None:
            return header
        field = detail.field
        if not self._takes_body or detail.code == "UNKNOWN_PARAMETER":
            return {"parameter": self._parameter(field)}
        if not self._reads_documents:
            pointer = "" if field == "body" else "/" + field.replace("]", "").replace("[", "/").replace(".", "/")
        else:
            pointer = pointer_of(field, self.kind)
        return {"pointer": existing(pointer, self.sent)}

    def _parameter(self, field: str) -> str:
        """Return how the client called a parameter; of `sort[1]` and of a filter's operator too."""
        names = self.wanted.names
        if self.wanted is _NOTHING:
            return field  # the query was refused while it was read, in its own words
        first, bracket, rest = field.partition("[")
        if field in names:
            return names[field]
        if first == "filter":
            plain, _, operator = rest.partition("]")
            return names.get(f"filter[{plain}]", field) + operator
        return names.get(first, field if bracket else _PAGED.get(field, field))


# A limit that the client has not named can be what is too much.
_PAGED: Mapping[str, str] = {"per_page": "page[size]", "limit": "page[limit]", "page": "page[number]"}


def _own_link(asked: Asked) -> dict[str, str]:
    """Return the link to this very answer, which only a GET has."""
    if asked.method not in ("GET", "HEAD"):
        return {}
    return {"self": f"{asked.path}?{urlencode(asked.given)}" if asked.given else asked.path}
