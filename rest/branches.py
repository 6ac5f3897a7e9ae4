"""The routes of branches: below their twin what makes and lists them, one by its own id."""

from collections.abc import Mapping
from typing import Any

from rest import answers
from rest.asked import Asked
from rest.filters import list_input_of
from rest.routes import SORTING, Route, of_id, of_id_and_fields, of_id_and_match, of_id_match_and_change

_ALL = "/twins/{id}/branches"
_ONE = "/branches/{id}"
_list = list_input_of("branches")


def _of_list(asked: Asked) -> Mapping[str, Any]:
    return {**_list(asked), **of_id(asked)}


BRANCHES = (
    Route("POST", _ALL, "branches.create", of_id_and_fields, answers.created, takes_body=True),
    Route("GET", _ALL, "branches.list", _of_list, answers.page, query=SORTING),
    Route("GET", _ONE, "branches.get", of_id, answers.resource),
    Route("PATCH", _ONE, "branches.update", of_id_match_and_change, answers.changed, takes_body=True, takes_patch=True),
    Route("DELETE", _ONE, "branches.delete", of_id_and_match, answers.gone),
    Route("GET", f"{_ONE}/diff", "branches.diff", of_id, answers.shown),
    Route("POST", f"{_ONE}/apply", "branches.apply", of_id_and_match, answers.changed),
    Route(
        "POST",
        f"{_ONE}/simulate",
        "branches.simulate",
        of_id_and_fields,
        answers.executed,
        takes_body=True,
        goes_on="begun",
    ),
)
