"""The routes of simulations."""

from collections.abc import Mapping
from typing import Any

from rest import answers
from rest.asked import Asked
from rest.filters import list_input_of
from rest.routes import SORTING, Route, of_id, of_id_and_fields

_ONE = "/simulations/{id}"
_QUERY = SORTING | {"status", "scenario"}
_list = list_input_of("simulations")


def _of_twin(asked: Asked) -> Mapping[str, Any]:
    return {**_list(asked), **of_id(asked)}


def _of_id_and_query(asked: Asked) -> Mapping[str, Any]:
    return {**asked.query, **of_id(asked)}


# As version 1 has it too.
SIMULATE = (
    Route(
        "POST",
        "/twins/{id}/simulate",
        "simulations.begin",
        of_id_and_fields,
        answers.executed,
        takes_body=True,
        goes_on="begun",
    ),
)
SIMULATIONS = (
    Route("GET", "/twins/{id}/simulations", "simulations.of_twin", _of_twin, answers.page, query=_QUERY),
    Route(
        "GET",
        "/twins/{id}/scenarios",
        "scenarios.list",
        _of_id_and_query,
        answers.page,
        query=frozenset({"page", "per_page"}),
    ),
    Route("GET", "/simulations", "simulations.list", _list, answers.page, query=_QUERY | {"twin_id"}),
    Route("GET", _ONE, "simulations.get", of_id, answers.of_this_moment_or_streamed, goes_on="seen"),
    Route("GET", f"{_ONE}/plot", "simulations.plot", _of_id_and_query, answers.picture, query=frozenset({"indicator"})),
    Route("POST", f"{_ONE}/cancel", "simulations.cancel", of_id, answers.changed),
)
