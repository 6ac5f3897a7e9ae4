"""The routes of sessions and their messages, below their agents'."""

from collections.abc import Mapping
from typing import Any

from core.errors import HubError
from rest import answers
from rest.asked import Asked
from rest.filters import list_input_of
from rest.routes import SORTING, Route, of_id, of_id_and_fields

_ALL = "/agents/{id}/sessions"
_ONE = f"{_ALL}/{{session}}"
_MESSAGES = f"{_ONE}/messages"
_list = list_input_of("sessions")


def _of_list(asked: Asked) -> Mapping[str, Any]:
    return {**_list(asked), **of_id(asked)}


def _of_session(asked: Asked) -> Mapping[str, Any]:
    """Input: `id` of the session, `agent` of whom it is."""
    session = asked.params["session"]
    if not session.isprintable():
        raise HubError("RESOURCE_NOT_FOUND")
    return {"id": session, "agent": of_id(asked)["id"]}


def _of_session_and_match(asked: Asked) -> Mapping[str, Any]:
    return {**_of_session(asked), "if_match": asked.list_header("If-Match")}


def _of_session_match_and_body(asked: Asked) -> Mapping[str, Any]:
    return {**_of_session_and_match(asked), "body": asked.body}


def _of_session_and_query(asked: Asked) -> Mapping[str, Any]:
    return {**asked.query, **_of_session(asked)}


def of_message(asked: Asked) -> Mapping[str, Any]:
    """Input: the body's fields, and the session."""
    return {**asked.body, **_of_session(asked)}


def of_one_message(asked: Asked) -> Mapping[str, Any]:
    """Input: the session, and `message`."""
    return {**_of_session(asked), "message": asked.params["message"]}


SESSIONS = (
    Route("GET", _ALL, "sessions.list", _of_list, answers.page, query=SORTING),
    Route("POST", _ALL, "sessions.create", of_id_and_fields, answers.created_below, takes_body=True),
    Route("GET", _ONE, "sessions.get", _of_session, answers.of_this_moment),
    Route("PATCH", _ONE, "sessions.update", _of_session_match_and_body, answers.changed, takes_body=True),
    Route("DELETE", _ONE, "sessions.delete", _of_session_and_match, answers.gone),
    Route(
        "GET",
        _MESSAGES,
        "sessions.messages",
        _of_session_and_query,
        answers.page,
        query=frozenset({"page", "per_page", "branch"}),
    ),
    Route("POST", _MESSAGES, "sessions.send", of_message, answers.executed, takes_body=True, goes_on="begun"),
    Route(
        "POST", f"{_MESSAGES}/{{message}}/retry", "sessions.retry", of_one_message, answers.executed, goes_on="begun"
    ),
    Route("POST", f"{_ONE}/cancel", "sessions.cancel", _of_session, answers.executed),
)
