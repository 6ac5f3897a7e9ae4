"""The routes of what has happened: the log's events, which applications append to, and the audit."""

from collections.abc import Mapping
from typing import Any

from rest import answers
from rest.asked import Asked
from rest.filters import list_input_of
from rest.routes import SORTING, Route, of_body, of_id, of_query

_OF_EVENTS = list_input_of("events")


def _of_resource(asked: Asked) -> Mapping[str, Any]:
    """Input: the query, and `resource_id`."""
    return {**_OF_EVENTS(asked), "resource_id": asked.params["id"]}


def _of_id_and_body(asked: Asked) -> Mapping[str, Any]:
    """Input: `id` and `body`."""
    return {**of_id(asked), "body": asked.body}


READING = (
    Route("GET", "/events", "events.list", _OF_EVENTS, answers.page, query=SORTING | {"type", "subject"}),
    Route("POST", "/events", "events.append", of_body, answers.appended, takes_body=True),
    Route("GET", "/events/{id}", "events.get", of_id, answers.resource),
    *(
        Route(
            "GET", f"/{kind}/{{id}}/events", f"events.of_{kind}", _of_resource, answers.page, query=SORTING | {"type"}
        )
        for kind in ("agents", "knowledge", "twins")
    ),
    Route("GET", "/event-types", "event-types.list", of_query, answers.page, query=frozenset({"page", "per_page"})),
    Route("GET", "/event-types/{id}", "event-types.get", of_id, answers.shown),
    Route("PUT", "/event-types/{id}", "event-types.register", _of_id_and_body, answers.done, takes_body=True),
    Route("DELETE", "/event-types/{id}", "event-types.delete", of_id, answers.gone),
    Route(
        "GET",
        "/audit",
        "audit.list",
        list_input_of("audit"),
        answers.page,
        query=SORTING | {"subject", "operation", "target", "outcome"},
    ),
)
