"""The routes of open streams."""

from rest import answers
from rest.filters import list_input_of
from rest.routes import SELECTING, Route, of_id

_QUERY = SELECTING | {"subject", "channel", "node"}

CONNECTIONS = (
    Route("GET", "/connections", "connections.list", list_input_of("connections"), answers.page, query=_QUERY),
    Route("GET", "/connections/{id}", "connections.get", of_id, answers.shown),
    Route("DELETE", "/connections/{id}", "connections.delete", of_id, answers.gone),
)
