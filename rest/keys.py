"""The routes of credentials: keys, tokens, tickets."""

from rest import answers
from rest.filters import list_input_of
from rest.routes import (
    SELECTING,
    Route,
    of_body,
    of_id,
    of_id_and_match,
    of_id_match_and_body,
    of_id_match_and_fields,
    of_nothing,
)

_ONE = "/keys/{id}"

KEYS = (
    Route("GET", "/keys", "keys.list", list_input_of("keys"), answers.page, query=SELECTING | {"status"}),
    Route("POST", "/keys", "keys.create", of_body, answers.created_with_secret, takes_body=True),
    Route("GET", _ONE, "keys.get", of_id, answers.resource),
    Route("PATCH", _ONE, "keys.update", of_id_match_and_body, answers.changed, takes_body=True),
    Route("DELETE", _ONE, "keys.delete", of_id_and_match, answers.gone),
    Route(
        "POST", f"{_ONE}/rotate", "keys.rotate", of_id_match_and_fields, answers.changed_with_secret, takes_body=True
    ),
    Route("POST", "/tokens", "tokens.create", of_body, answers.made, takes_body=True),
    Route("POST", "/stream/tickets", "tickets.create", of_nothing, answers.made),
)
