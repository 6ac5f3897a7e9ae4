"""`POST /v2/operations`: JSON:API's atomic operations. They are an atomic batch; its results are written as resource objects."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web

from core.auth.caller import Caller
from core.errors import Detail, HubError
from rest.asked import Answer
from rest.atomic.reading import OPERATIONS, kind_at, read_operations
from rest.batch.batches import Batches, Begun
from rest.batch.endpoint import BatchEndpoint
from rest.batch.operations import Batch
from rest.endpoints import FORM, Parts
from rest.jsonapi.errors import JSONAPI, VERSION, JsonApiErrors
from rest.jsonapi.incoming import existing, pointer_of
from rest.jsonapi.kinds import Kind, kind_of
from rest.negotiation import spoken_of
from rest.patience import patience_of
from rest.requests import body_of
from rest.routes import Version

PATH = "/operations"
EXTENSION = "https://jsonapi.org/ext/atomic"
MEDIA_TYPE = f'{JSONAPI}; ext="{EXTENSION}"'
_IN_BATCH = re.compile(r"operations\[(\d+)\].*")


class _Errors(JsonApiErrors):
    """Refusals that point into the document."""

    sent: Mapping[str, Any] | None = None

    def source(self, detail: Detail) -> dict[str, str]:
        """Return where in the document a detail belongs, also one that is of a batch."""
        matched = _IN_BATCH.fullmatch(detail.field)
        place = f"/{OPERATIONS}/{matched[1]}" if matched else detail.field
        return {"pointer": existing(place, self.sent)} if place.startswith("/") else super().source(detail)


class AtomicEndpoint(BatchEndpoint):
    """The atomic operations of one version, on the resources that it makes by POST."""

    def __init__(self, parts: Parts, version: Version, batches: Batches) -> None:
        super().__init__(parts, version, batches)
        made = {route.operation: route.path for route in version.routes if route.method == "POST"}
        self._kinds: Mapping[str, Kind] = {
            type: kind_of(type, parts.registry[name].shows, version.prefix)
            for name, path in made.items()
            for type, _, what in [name.partition(".")]
            if what == "create" and path == f"/{type}" and parts.registry[name].transaction == "write"
        }

    async def read(self, request: web.Request, request_id: str, caller: Caller) -> Batch:
        """Return the operations of a document as a batch."""
        errors = request[FORM] = _Errors()
        spoken = spoken_of(request.headers, EXTENSION)
        spoken.check()
        if not spoken.is_extended:
            raise HubError("UNSUPPORTED_MEDIA_TYPE", f"Send {MEDIA_TYPE}")
        sent = errors.sent = await body_of(request, self._parts.clock)
        keys = request.headers.getall("Idempotency-Key", ())
        return Batch(
            read_operations(sent, self._kinds, self.version.prefix),
            caller,
            self.version.name,
            request_id,
            is_atomic=True,
            key=", ".join(keys) if keys else None,
            seconds=patience_of(request.headers.get("X-Request-Timeout")),
        )

    async def write(
        self, request: web.Request, batch: Batch, begun: Begun, headers: dict[str, str]
    ) -> web.StreamResponse:
        """Answer with a result for each operation, or with the one refusal."""
        answers = [answer async for answer in begun.results()]
        kinds = [kind_at(each, self._kinds, self.version.prefix) for each in batch.operations]
        _check(answers, kinds)
        results = [_result(answer, kind) for answer, kind in zip(answers, kinds, strict=True)]
        headers["Content-Type"] = MEDIA_TYPE
        document = {"jsonapi": {**VERSION, "ext": [EXTENSION]}, "atomic:results": results}
        return web.Response(body=orjson.dumps(document), headers=headers)


def _check(answers: Sequence[Answer], kinds: Sequence[Kind]) -> None:
    """Raise what one operation was refused with; the others were not done because of it."""
    for index, answer in enumerate(answers):
        if answer.status >= 400:
            error = orjson.loads(answer.body)["error"]
            if error["code"] != "FAILED_DEPENDENCY":
                raise _of_one(error, answer, index, kinds[index])


def _of_one(error: Mapping[str, Any], answer: Answer, index: int, kind: Kind) -> HubError:
    place = f"/{OPERATIONS}/{index}"
    details = [
        Detail(f"{place}{pointer_of(each['field'], kind)}", each["code"], each["message"]) for each in error["details"]
    ]
    retry_after = answer.headers.get("Retry-After")
    return HubError(
        error["code"],
        error["message"],
        details=details or [Detail(place, error["code"], error["message"])],
        retry_after=None if retry_after is None else int(retry_after),
    )


def _result(answer: Answer, kind: Kind) -> dict[str, Any]:
    return {"data": kind.resource(orjson.loads(answer.body))} if answer.body else {}
