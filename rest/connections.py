"""The routes of open streams."""

from rest import answers
from rest.routes import Route, of_id, of_query

_QUERY = frozenset({"page", "per_page", "subject", "channel", "node"})

CONNECTIONS = (
    Route("GET", "/connections", "connections.list", of_query, answers.page, query=_QUERY),
    Route("GET", "/connections/{id}", "connections.get", of_id, answers.shown),
    Route("DELETE", "/connections/{id}", "connections.delete", of_id, answers.gone),
)
