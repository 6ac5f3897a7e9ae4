"""The routes of webhooks and of their deliveries."""

from collections.abc import Mapping
from typing import Any

from rest import answers
from rest.asked import Asked
from rest.routes import (
    Route,
    of_body,
    of_id,
    of_id_and_match,
    of_id_match_and_body,
    of_id_match_and_fields,
    of_query,
)

_ONE = "/webhooks/{id}"


def _of_id_and_query(asked: Asked) -> Mapping[str, Any]:
    return {**asked.query, **of_id(asked)}


def _of_delivery(asked: Asked) -> Mapping[str, Any]:
    return {**of_id(asked), "delivery": asked.params["delivery"]}


WEBHOOKS = (
    Route("GET", "/webhooks", "webhooks.list", of_query, answers.page, query=frozenset({"page", "per_page", "status"})),
    Route("POST", "/webhooks", "webhooks.create", of_body, answers.created_with_secret, takes_body=True),
    Route("GET", _ONE, "webhooks.get", of_id, answers.resource),
    Route("PATCH", _ONE, "webhooks.update", of_id_match_and_body, answers.changed, takes_body=True),
    Route("DELETE", _ONE, "webhooks.delete", of_id_and_match, answers.gone),
    Route(
        "POST",
        f"{_ONE}/rotate",
        "webhooks.rotate",
        of_id_match_and_fields,
        answers.changed_with_secret,
        takes_body=True,
    ),
    Route("POST", f"{_ONE}/pause", "webhooks.pause", of_id_and_match, answers.changed),
    Route("POST", f"{_ONE}/enable", "webhooks.enable", of_id_and_match, answers.changed),
    Route("POST", f"{_ONE}/test", "webhooks.test", of_id, answers.done),
    Route(
        "GET",
        f"{_ONE}/deliveries",
        "webhook_deliveries.list",
        _of_id_and_query,
        answers.page,
        query=frozenset({"page", "per_page", "status"}),
    ),
    Route(
        "POST",
        f"{_ONE}/deliveries/{{delivery}}/resend",
        "webhook_deliveries.resend",
        _of_delivery,
        answers.done,
    ),
)
