"""The routes of a twin's state: the difference from what is desired, and its relationships."""

from collections.abc import Mapping
from typing import Any

from rest import answers
from rest.asked import Asked
from rest.routes import Route, of_id

_ONE = "/twins/{id}"


def _of_id_and_query(asked: Asked) -> Mapping[str, Any]:
    return {**asked.query, **of_id(asked)}


TWINS = (
    Route("GET", f"{_ONE}/difference", "twins.difference", of_id, answers.shown),
    Route(
        "GET",
        f"{_ONE}/neighbours",
        "twins.neighbours",
        _of_id_and_query,
        answers.page,
        query=frozenset({"direction", "name", "page", "per_page"}),
    ),
    Route(
        "GET",
        f"{_ONE}/paths",
        "twins.paths",
        _of_id_and_query,
        answers.shown,
        query=frozenset({"to", "direction", "name", "depth"}),
    ),
    Route(
        "GET", f"{_ONE}/subtree", "twins.subtree", _of_id_and_query, answers.shown, query=frozenset({"name", "depth"})
    ),
)
