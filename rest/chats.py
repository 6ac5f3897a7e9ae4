"""The routes of chats: messages that are changed or removed, mutes and bans."""

from collections.abc import Mapping
from typing import Any

from rest import answers
from rest.asked import Asked
from rest.routes import Route, of_id

_ONE = "/chats/{id}"
_MESSAGE = f"{_ONE}/messages/{{message}}"


def _of_message(asked: Asked) -> Mapping[str, Any]:
    return {**of_id(asked), "message": asked.params["message"]}


def _of_message_and_body(asked: Asked) -> Mapping[str, Any]:
    return {**_of_message(asked), "body": asked.body}


def _of_id_and_body(asked: Asked) -> Mapping[str, Any]:
    return {**of_id(asked), "body": asked.body}


def _of_id_and_query(asked: Asked) -> Mapping[str, Any]:
    return {**asked.query, **of_id(asked)}


def _of_sanction(asked: Asked) -> Mapping[str, Any]:
    return {**of_id(asked), "sanction": asked.params["sanction"]}


CHATS = (
    Route("PATCH", _MESSAGE, "chats.edit", _of_message_and_body, answers.changed, takes_body=True),
    Route("DELETE", _MESSAGE, "chats.delete", _of_message, answers.gone),
    Route("POST", f"{_ONE}/mutes", "chats.mute", _of_id_and_body, answers.changed, takes_body=True),
    Route("POST", f"{_ONE}/bans", "chats.ban", _of_id_and_body, answers.changed, takes_body=True),
    Route(
        "GET",
        f"{_ONE}/sanctions",
        "chats.sanctions",
        _of_id_and_query,
        answers.page,
        query=frozenset({"page", "per_page", "kind", "subject"}),
    ),
    Route("DELETE", f"{_ONE}/sanctions/{{sanction}}", "chats.lift", _of_sanction, answers.gone),
)
