"""The routes of what twins measure."""

from collections.abc import Mapping
from typing import Any

from rest import answers
from rest.asked import Asked
from rest.routes import Route, of_body, of_id, of_id_and_fields

_OF_TWIN = "/twins/{id}/telemetry"


def _of_id_and_query(asked: Asked) -> Mapping[str, Any]:
    return {**asked.query, **of_id(asked)}


TELEMETRY = (
    Route("POST", "/telemetry", "telemetry.append_many", of_body, answers.done, takes_body=True),
    Route("POST", _OF_TWIN, "telemetry.append", of_id_and_fields, answers.done, takes_body=True),
    Route(
        "GET",
        _OF_TWIN,
        "telemetry.query",
        _of_id_and_query,
        answers.shown,
        query=frozenset({"metric", "from", "to", "step", "points"}),
    ),
    Route("GET", f"{_OF_TWIN}/latest", "telemetry.latest", of_id, answers.shown),
    Route(
        "GET",
        "/twins/{id}/alerts",
        "alerts.list",
        _of_id_and_query,
        answers.page,
        query=frozenset({"page", "per_page", "status"}),
    ),
)
