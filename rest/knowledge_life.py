"""The routes of a knowledge base's life: its statistics, and what it was asked."""

from collections.abc import Mapping
from typing import Any

from rest import answers
from rest.asked import Asked
from rest.routes import Route, of_id

_ONE = "/knowledge/{id}"


def _of_id_and_query(asked: Asked) -> Mapping[str, Any]:
    """Input: the query, and `id`."""
    return {**asked.query, **of_id(asked)}


def _of_query_and_body(asked: Asked) -> Mapping[str, Any]:
    """Input: `id`, `query`, the id of one that was asked, and `body`."""
    return {**of_id(asked), "query": asked.params["query"], "body": asked.body}


KNOWLEDGE_LIFE = (
    Route("GET", f"{_ONE}/statistics", "knowledge.statistics", of_id, answers.shown),
    Route(
        "GET",
        f"{_ONE}/queries",
        "knowledge_queries.list",
        _of_id_and_query,
        answers.page,
        query=frozenset({"page", "per_page", "without_results", "helpful", "subject"}),
    ),
    Route(
        "POST",
        f"{_ONE}/queries/{{query}}/feedback",
        "knowledge_queries.judge",
        _of_query_and_body,
        answers.done,
        takes_body=True,
    ),
)
