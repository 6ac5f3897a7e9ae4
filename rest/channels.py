"""The routes of channels."""

from collections.abc import Mapping
from typing import Any

from core.errors import HubError
from rest import answers
from rest.asked import Asked
from rest.routes import Route

_ONE = "/channels/{channel}"


def _channel_of(asked: Asked) -> str:
    named = asked.params["channel"]
    if not named.isprintable():
        raise HubError("CHANNEL_NOT_FOUND")
    return named


def _of_channel_and_fields(asked: Asked) -> Mapping[str, Any]:
    return {**asked.body, "channel": _channel_of(asked)}


def _of_channel_and_query(asked: Asked) -> Mapping[str, Any]:
    return {**asked.query, "channel": _channel_of(asked)}


CHANNELS = (
    Route("POST", f"{_ONE}/publish", "channels.publish", _of_channel_and_fields, answers.begun, takes_body=True),
    Route(
        "GET",
        f"{_ONE}/history",
        "channels.history",
        _of_channel_and_query,
        answers.shown,
        query=frozenset({"after", "before", "epoch", "limit"}),
    ),
    Route(
        "GET",
        f"{_ONE}/presence",
        "channels.presence",
        _of_channel_and_query,
        answers.shown,
        query=frozenset({"after", "limit"}),
    ),
)
