"""The routes of namespaces: what goes for the channels of each."""

from rest import answers
from rest.routes import Route, of_id, of_id_and_match, of_id_match_and_body, of_query

_ONE = "/namespaces/{id}"

NAMESPACES = (
    Route("GET", "/namespaces", "namespaces.list", of_query, answers.page, query=frozenset({"page", "per_page"})),
    # The default can be another after a restart, and has no version.
    Route("GET", _ONE, "namespaces.get", of_id, answers.of_this_moment),
    Route("PUT", _ONE, "namespaces.replace", of_id_match_and_body, answers.changed, takes_body=True),
    Route("PATCH", _ONE, "namespaces.update", of_id_match_and_body, answers.changed, takes_body=True),
    Route("DELETE", _ONE, "namespaces.delete", of_id_and_match, answers.gone),
)
