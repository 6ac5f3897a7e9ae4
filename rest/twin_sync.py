"""The routes of the synchronisation of a twin."""

from rest import answers
from rest.routes import Route, of_id

_SYNC = "/twins/{id}/sync"

TWIN_SYNC = (
    Route("GET", _SYNC, "sync.get", of_id, answers.shown),
    Route("POST", _SYNC, "sync.run", of_id, answers.taken_one),
)
