"""The routes of executions."""

from collections.abc import Mapping
from typing import Any

from rest import answers
from rest.asked import Asked
from rest.filters import list_input_of
from rest.routes import SORTING, Route, of_body, of_id, of_id_and_fields

_ONE = "/executions/{id}"
_QUERY = SORTING | {"agent_id", "status"}
_list = list_input_of("executions")


def _of_agent(asked: Asked) -> Mapping[str, Any]:
    return {**_list(asked), **of_id(asked)}


def _of_id_and_query(asked: Asked) -> Mapping[str, Any]:
    return {**asked.query, **of_id(asked)}


# As version 1 has it too.
EXECUTE = (
    Route(
        "POST",
        "/agents/{id}/execute",
        "agents.execute",
        of_id_and_fields,
        answers.executed,
        takes_body=True,
        goes_on="begun",
    ),
)
# Before the routes of one agent, whose paths it would match.
EXECUTE_INPUT = (
    Route(
        "POST", "/agents/execute", "agents.execute_input", of_body, answers.executed, takes_body=True, goes_on="begun"
    ),
)
EXECUTIONS = (
    Route("GET", "/agents/{id}/executions", "executions.of_agent", _of_agent, answers.page, query=SORTING | {"status"}),
    Route("GET", "/executions", "executions.list", _list, answers.page, query=_QUERY),
    Route("GET", _ONE, "executions.get", of_id, answers.of_this_moment_or_streamed, goes_on="seen"),
    Route(
        "GET",
        f"{_ONE}/steps",
        "executions.steps",
        _of_id_and_query,
        answers.page,
        query=frozenset({"page", "per_page"}),
    ),
    Route("POST", f"{_ONE}/cancel", "executions.cancel", of_id, answers.changed),
    Route(
        "POST",
        f"{_ONE}/answers",
        "executions.answer",
        of_id_and_fields,
        answers.executed,
        takes_body=True,
        goes_on="begun",
    ),
)
