"""What a route answers when it is not refused, by how it renders: status, headers, and the schema of the body."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rest import answers
from rest.jsonapi.errors import JSONAPI
from rest.openapi import jsonapi
from rest.openapi.headers import DEBUGGED, LIMITS, named
from rest.openapi.schemas import Schema, Schemas, page_of
from rest.routes import Bound, Version

_WRITTEN = ("ETag", "Last-Modified", "X-Event-Id", "Idempotent-Replayed")
_PACKED = ("Content-Encoding", "Vary")
_READ = ("ETag", "Cache-Control", *_PACKED)


@dataclass(frozen=True, slots=True)
class Success:
    """An answer: its status, what it is, and the headers that it may have beside those of all answers."""

    status: int
    description: str
    headers: tuple[str, ...] = ()
    body: str = "one"  # or page, none
    also: int | None = None  # another status with the same answer
    is_kept: bool = True  # by the client, which asks with the tag whether it has changed
    streams: bool = False  # where the request asks for it
    also_as: str | None = None  # another media type, unless the request asks for JSON


BY_RENDER: Mapping[answers.Render, Success] = {
    answers.resource: Success(200, "It", (*_READ, "Last-Modified")),
    answers.of_this_moment: Success(200, "How it is at this moment", ("ETag", "Cache-Control"), is_kept=False),
    answers.picture: Success(200, "A picture", _READ, also_as=answers.PICTURE),
    answers.created: Success(201, "What was made", ("Location", *_WRITTEN, *_PACKED)),
    answers.created_below: Success(201, "What was made", ("Location", *_WRITTEN, *_PACKED)),
    answers.executed: Success(
        200, "What has ended", ("Cache-Control", "X-Event-Id", "Idempotent-Replayed"), also=202, streams=True
    ),
    answers.of_this_moment_or_streamed: Success(
        200, "How it is at this moment", ("ETag", "Cache-Control"), is_kept=False, streams=True
    ),
    answers.changed: Success(200, "How it is now", (*_WRITTEN, *_PACKED)),
    answers.created_with_secret: Success(
        201, "What was made, with its secret", ("Location", *_WRITTEN, "Cache-Control")
    ),
    answers.changed_with_secret: Success(200, "How it is now, with its secret", (*_WRITTEN, "Cache-Control")),
    answers.made: Success(201, "What was made; the hub does not keep it", ("Cache-Control", "Idempotent-Replayed")),
    answers.shown: Success(200, "How it is at this moment", ("Cache-Control",)),
    answers.shown_or_streamed: Success(200, "How it is at this moment", ("Cache-Control",), streams=True),
    answers.done: Success(200, "What was done", ("Cache-Control", "X-Event-Id", "Idempotent-Replayed")),
    answers.begun: Success(201, "What was begun", ("Cache-Control", "X-Event-Id", "Idempotent-Replayed")),
    answers.appended: Success(
        201, "What was appended", ("X-Event-Id", "Location", "Cache-Control", "Idempotent-Replayed")
    ),
    answers.taken: Success(
        202, "What was taken, and is read soon", ("Cache-Control", "X-Event-Id", "Idempotent-Replayed"), also=201
    ),
    answers.taken_one: Success(202, "What will be read", ("Cache-Control", "X-Event-Id", "Idempotent-Replayed")),
    answers.gone: Success(204, "It is gone", ("X-Event-Id", "Idempotent-Replayed"), body="none"),
    answers.page: Success(200, "A page of the list", ("Link", *_READ), body="page"),
}


def success_of(bound: Bound) -> Success:
    """Return what the route answers; raises LookupError for a render that is not described here."""
    found = BY_RENDER.get(bound.route.render)
    if found is None:
        raise LookupError(f"{bound.route.method} {bound.route.path}: its render is not in rest/openapi/successes.py")
    return found


def answers_of(bound: Bound, version: Version, schemas: Schemas) -> dict[str, Any]:
    """Return the successful answers of a route, by status."""
    success = success_of(bound)
    every = named("X-Request-Id", *DEBUGGED, *LIMITS, *version.headers)
    written: dict[str, Any] = {"description": success.description, "headers": {**named(*success.headers), **every}}
    if success.body != "none":
        content: dict[str, Any] = {"schema": _schema(bound, success, schemas)}
        example = example_of_answer(bound, success)
        written["content"] = {
            "application/json": {**content, "examples": {"example": {"value": example}}},
            JSONAPI: jsonapi.answered_content(bound, version, schemas, is_page=success.body == "page"),
        }
        if success.also_as is not None:
            written["content"][success.also_as] = {"schema": {"type": "string"}}
        if success.streams:
            # What the events are stands in docs/knowledge.md: a schema would be of each, which 3.1 has no way to say.
            written["content"]["text/event-stream"] = {}
        if bound.route.method == "POST" and success.headers[:1] == ("Location",):
            written["links"] = _links(bound, version)
    found = {str(success.status): written}
    if success.also is not None:
        found[str(success.also)] = {**written, "description": "The same, when there is nothing to wait for"}
    if bound.route.method == "GET" and "ETag" in success.headers and success.is_kept:
        said = [name for name in success.headers if name != "Content-Encoding"]
        unchanged = {"description": "The client has this version", "headers": {**named(*said), **every}}
        found["304"] = unchanged
    return found


def example_of_answer(bound: Bound, success: Success) -> Any:
    """Return an example of the body, made of the model's own."""
    model = bound.operation.shows
    if model is None:
        raise LookupError(f"{bound.operation.name} does not say what it shows")
    extra: Any = model.model_config.get("json_schema_extra") or {}
    if "examples" not in extra:
        raise LookupError(f"{model.__name__} has no example")
    one = extra["examples"][0]
    return _page_with(bound, one) if success.body == "page" else one


def _page_with(bound: Bound, one: Any) -> dict[str, Any]:
    here = f"{bound.route.path}?page=1&per_page=20"
    return {
        "data": [one],
        "pagination": {"page": 1, "per_page": 20, "total": 1},
        "links": {"first": f"/v2{here}", "last": f"/v2{here}"},
    }


def _schema(bound: Bound, success: Success, schemas: Schemas) -> Schema:
    model = bound.operation.shows
    assert model is not None  # noqa: S101 - example_of_answer has looked
    one = schemas.some_of(model) if "fields" in bound.route.query else schemas.shown(model)
    return schemas.keep(f"{model.__name__}Page", page_of(one)) if success.body == "page" else one


def _links(bound: Bound, version: Version) -> dict[str, Any]:
    """Tell what can be done with what was made."""
    kind = bound.operation.name.partition(".")[0]
    made = [route for route in version.routes if route.path == f"{bound.route.path}/{{id}}"]
    return {
        route.operation: {
            "operationId": operation_id(version, route.operation, kind),
            "parameters": {"id": "$response.body#/id"},
        }
        for route in made
    }


def operation_id(version: Version, operation: str, _kind: str = "") -> str:
    """Return the operation's name; in another version than the default, behind the version's."""
    return operation if version.name == "v2" else f"{version.name}.{operation}"
