"""The routes of questions to knowledge bases."""

from rest import answers
from rest.routes import Route, of_body, of_id_and_fields

# As version 1 has it too.
QUERY = (
    Route(
        "POST", "/knowledge/{id}/query", "knowledge.query", of_id_and_fields, answers.shown_or_streamed, takes_body=True
    ),
)
QUERY_ALL = (
    Route("POST", "/knowledge/query", "knowledge.query_all", of_body, answers.shown_or_streamed, takes_body=True),
)
EVALUATE = (
    Route("POST", "/knowledge/{id}/evaluate", "knowledge.evaluate", of_id_and_fields, answers.shown, takes_body=True),
)
