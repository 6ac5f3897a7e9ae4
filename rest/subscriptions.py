"""The routes of subscriptions, their dead letters and their replays."""

from collections.abc import Mapping
from typing import Any

from core.errors import HubError
from rest import answers
from rest.asked import Asked
from rest.routes import (
    Route,
    Shape,
    of_body,
    of_id,
    of_id_and_fields,
    of_id_and_match,
    of_id_match_and_body,
    of_query,
)

_ALL, _ONE = "/subscriptions", "/subscriptions/{id}"
_LETTERS, _REPLAYS = f"{_ONE}/dead-letters", f"{_ONE}/replays"
_PAGE = frozenset({"page", "per_page"})


def of_id_and_query(asked: Asked) -> Mapping[str, Any]:
    """Input: `id`, and the query beside it."""
    return {**asked.query, **of_id(asked)}


def of_id_and(name: str) -> Shape:
    """Input: `id`, and another of the path's parameters."""

    def shape(asked: Asked) -> Mapping[str, Any]:
        named = asked.params[name]
        if not named.isprintable():
            raise HubError("RESOURCE_NOT_FOUND")
        return {**of_id(asked), name: named}

    return shape


def _post(path: str, operation: str, shape: Shape, render: answers.Render = answers.done) -> Route:
    return Route("POST", path, operation, shape, render, takes_body=shape is of_id_and_fields)


SUBSCRIPTIONS = (
    Route("GET", _ALL, "subscriptions.list", of_query, answers.page, query=_PAGE | {"status", "delivery"}),
    Route("POST", _ALL, "subscriptions.create", of_body, answers.created, takes_body=True),
    Route("GET", _ONE, "subscriptions.get", of_id, answers.of_this_moment),
    Route("PATCH", _ONE, "subscriptions.update", of_id_match_and_body, answers.changed, takes_body=True),
    Route("DELETE", _ONE, "subscriptions.delete", of_id_and_match, answers.gone),
    _post(f"{_ONE}/pause", "subscriptions.pause", of_id_and_match, answers.changed),
    _post(f"{_ONE}/resume", "subscriptions.resume", of_id_and_match, answers.changed),
    _post(f"{_ONE}/pull", "subscriptions.pull", of_id_and_fields),
    _post(f"{_ONE}/ack", "subscriptions.ack", of_id_and_fields),
    _post(f"{_ONE}/nack", "subscriptions.nack", of_id_and_fields),
    _post(f"{_ONE}/extend", "subscriptions.extend", of_id_and_fields),
    Route(
        "GET",
        _LETTERS,
        "dead_letters.list",
        of_id_and_query,
        answers.page,
        query=_PAGE | {"type", "subject", "since", "until"},
    ),
    _post(f"{_LETTERS}/redrive", "dead_letters.redrive", of_id_and_fields),
    _post(f"{_LETTERS}/purge", "dead_letters.purge", of_id_and_fields),
    # Behind those, whose paths it would match.
    Route("GET", f"{_LETTERS}/{{letter}}", "dead_letters.get", of_id_and("letter"), answers.shown),
    _post(f"{_ONE}/replay", "replays.create", of_id_and_fields, answers.begun),
    Route("GET", _REPLAYS, "replays.list", of_id_and_query, answers.page, query=_PAGE),
    Route("GET", f"{_REPLAYS}/{{replay}}", "replays.get", of_id_and("replay"), answers.shown),
    _post(f"{_REPLAYS}/{{replay}}/pause", "replays.pause", of_id_and("replay")),
    _post(f"{_REPLAYS}/{{replay}}/resume", "replays.resume", of_id_and("replay")),
    _post(f"{_REPLAYS}/{{replay}}/cancel", "replays.cancel", of_id_and("replay")),
)
