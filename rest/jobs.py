"""The routes of jobs."""

from rest import answers
from rest.routes import Route, of_id, of_query

_QUERY = frozenset({"page", "per_page", "kind", "status"})

JOBS = (
    Route("GET", "/jobs", "jobs.list", of_query, answers.page, query=_QUERY),
    Route("GET", "/jobs/{id}", "jobs.get", of_id, answers.shown),
    Route("POST", "/jobs/{id}/cancel", "jobs.cancel", of_id, answers.done),
)
