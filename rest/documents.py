"""The routes of documents of knowledge bases; their contents go by rest/moving/poured.py."""

import re
from collections.abc import Mapping
from typing import Any

from core.content.fields import list_header
from handlers.knowledge.documents.models import LONGEST_WAIT_SECONDS
from rest import answers
from rest.asked import Asked
from rest.filters import list_input_of
from rest.routes import SORTING, Route, of_id
from rest.uploads import Uploads

_ALL = "/knowledge/{id}/documents"
_ONE = f"{_ALL}/{{document}}"
# RFC 7240, section 4.3.
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,4})\"?\s*(?:[,;]|$)", re.IGNORECASE)
_UPLOADS = Uploads()
# Ten thousand names with their hashes are over a MiB.
_LISTS = Uploads(64 << 20, takes_files=False)
_list = list_input_of("documents")


def _of_list(asked: Asked) -> Mapping[str, Any]:
    return {**_list(asked), **of_id(asked)}


def _of_upload(asked: Asked) -> Mapping[str, Any]:
    prefers = list_header(asked.headers, "Prefer")
    wait = None if prefers is None else _WAIT.search(prefers)
    # A preference is a wish: what is too long is as long as it can be.
    waiting = {} if wait is None else {"wait": min(int(wait[1]), LONGEST_WAIT_SECONDS)}
    return {**asked.body, **waiting, **of_id(asked)}


def _of_fields(asked: Asked) -> Mapping[str, Any]:
    return {**asked.body, **of_id(asked)}


def _of_document(asked: Asked) -> Mapping[str, Any]:
    return {**of_id(asked), "document": asked.params["document"]}


def _of_document_and_body(asked: Asked) -> Mapping[str, Any]:
    return {**_of_document(asked), "body": asked.body}


DOCUMENTS = (
    Route("GET", _ALL, "documents.list", _of_list, answers.page, query=SORTING | {"status", "name", "q"}),
    Route("POST", _ALL, "documents.create", _of_upload, answers.taken, takes_body=True, reads=_UPLOADS),
    Route("POST", f"{_ALL}/manifest", "documents.manifest", _of_fields, answers.done, takes_body=True, reads=_LISTS),
    Route("GET", _ONE, "documents.get", _of_document, answers.shown),
    Route("PATCH", _ONE, "documents.update", _of_document_and_body, answers.done, takes_body=True),
    Route("DELETE", _ONE, "documents.delete", _of_document, answers.gone),
    Route("GET", f"{_ONE}/versions", "documents.versions", _of_document, answers.page),
    Route("POST", f"{_ONE}/refresh", "documents.refresh", _of_document, answers.taken_one),
)
