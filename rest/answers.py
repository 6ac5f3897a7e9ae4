"""What an operation answers, as HTTP: status and headers; the body is the form's matter.

`headers` is the answer's own dict, which the door has begun.
"""

import re
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256

import orjson

from core.content.validators import http_date, tag_of
from core.operations.results import Deleted, Document, Made, Page, Shown, Streamed
from core.operations.run import Outcome
from handlers.resources.etag import etag
from rest.asked import Answer, Asked
from rest.conditions import is_held
from rest.forms import JSON
from rest.links import link_header, links_of
from rest.negotiation import accepts

PICTURE = "image/svg+xml"
# A millisecond's worth of hashing.
LONGEST_TAGGED = 1024 * 1024

# How an execution that has ended begins, before anything of its caller's stands in it.
_ENDED = re.compile(r'\A\{(?:"[a-z_]+":(?:null|"[0-9a-f-]{36}"),)+"status":"(?:completed|failed|cancelled)"')

Render = Callable[[Asked, Outcome, dict[str, str]], Answer]


def resource(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer a Document with 200, or with 304 where the client has it (rest/conditions.py)."""
    document = _document(outcome)
    if is_held(asked, headers, etag(document.version, _variant(asked)), _dated(asked, document, headers)):
        return Answer(304, headers)
    headers["Content-Type"] = asked.form.media_type
    return Answer(200, headers, asked.form.document(document, asked))


def of_this_moment(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer a Document that says more than its version: the tag is for If-Match, and nobody keeps the answer."""
    document = _document(outcome)
    headers["ETag"] = etag(document.version, asked.form.variant)
    headers["Cache-Control"] = "no-store"
    headers["Content-Type"] = asked.form.media_type
    return Answer(200, headers, asked.form.document(document, asked))


def picture(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer a Document that holds an SVG with the picture, or with 304 where the client has it.

    Who asks for JSON, and not for the picture, gets the Document.
    """
    document = _document(outcome)
    is_json = bool(asked.form.variant) or (accepts(asked.headers, JSON) and not accepts(asked.headers, PICTURE))
    if is_held(asked, headers, etag(document.version, asked.form.variant if is_json else "svg")):
        return Answer(304, headers)
    if is_json:
        headers["Content-Type"] = asked.form.media_type
        return Answer(200, headers, asked.form.document(document, asked))
    headers["Content-Type"] = PICTURE
    # Opened by itself it is a page of the hub's origin: it may load and run nothing.
    headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    return Answer(200, headers, orjson.loads(document.body)["svg"].encode())


def created(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer a new Document with 201, and where it is."""
    document = _document(outcome)
    headers["Location"] = f"{asked.prefix}/{document.kind}/{document.id}"
    return _written(asked, document, outcome, headers, 201)


def created_below(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer a new Document of another resource with 201; it is below the path that made it."""
    document = _document(outcome)
    path = asked.path.removeprefix(asked.prefix)  # which an unversioned request does not have
    headers["Location"] = f"{asked.prefix}{path}/{document.id}"
    return _written(asked, document, outcome, headers, 201)


def changed(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer a changed Document with 200."""
    return _written(asked, _document(outcome), outcome, headers, 200)


def executed(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer an execution: with 200 where it has ended, else with 202 and where it is looked at; a Streamed part by part."""
    if isinstance(outcome.result, Streamed):
        _tell_of_write(outcome, headers)
        return _streamed(outcome.result, headers)
    document = _document(outcome)
    headers["Cache-Control"] = "no-store"
    headers["Content-Type"] = asked.form.media_type
    _tell_of_write(outcome, headers)
    body = asked.form.document(document, asked)
    if _ENDED.search(document.body) is not None:
        return Answer(200, headers, body)
    # Only version 2 has executions.
    headers["Location"] = f"/v2/{document.kind}/{document.id}"
    return Answer(202, headers, body)


def of_this_moment_or_streamed(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer a Document as `of_this_moment`, a Streamed part by part."""
    if isinstance(outcome.result, Streamed):
        return _streamed(outcome.result, headers)
    return of_this_moment(asked, outcome, headers)


def created_with_secret(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer as `created`; the body has a secret, so nobody keeps it (RFC 9111, section 5.2.2.5)."""
    headers["Cache-Control"] = "no-store"
    return created(asked, outcome, headers)


def changed_with_secret(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer as `changed`; the body has a secret."""
    headers["Cache-Control"] = "no-store"
    return changed(asked, outcome, headers)


def made(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer what the hub does not keep with 201; the body has a secret, and there is no place to find it again."""
    if not isinstance(outcome.result, Made):
        raise TypeError(f"a making answered {type(outcome.result).__name__}")
    _tell_of_write(outcome, headers)
    return _unkept(asked, outcome.result.body, headers, 201)


def shown(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer a Shown with 200; it is true for this moment, so nobody keeps it."""
    if not isinstance(outcome.result, Shown):
        raise TypeError(f"a look answered {type(outcome.result).__name__}")
    return _unkept(asked, outcome.result.body, headers, 200)


def shown_or_streamed(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer a Shown as `shown`, a Streamed part by part (rest/sse.py)."""
    if not isinstance(outcome.result, Streamed):
        return shown(asked, outcome, headers)
    return _streamed(outcome.result, headers)


def done(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer a Shown of what was done with 200."""
    _tell_of_write(outcome, headers)
    return shown(asked, outcome, headers)


def begun(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer a Shown of what was begun with 201; how it goes on is asked again."""
    answer = done(asked, outcome, headers)
    answer.status = 201
    return answer


def appended(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer a Shown of what was put into the log with 201; its last event is found there, as soon as the relay has moved it."""
    headers["Location"] = f"{asked.prefix}/events/{outcome.event_id}"
    return begun(asked, outcome, headers)


def taken(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer documents that were taken: 202 while any is to be read, else 201."""
    answer = done(asked, outcome, headers)
    answer.status = 202 if b'"status":"pending"' in answer.body else 201
    return answer


def taken_one(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer a Shown of what will be read with 202."""
    answer = done(asked, outcome, headers)
    answer.status = 202
    return answer


def gone(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer a Deleted with 204."""
    if not isinstance(outcome.result, Deleted):
        raise TypeError(f"a deletion answered {type(outcome.result).__name__}")
    _tell_of_write(outcome, headers)
    return Answer(204, headers)


def page(asked: Asked, outcome: Outcome, headers: dict[str, str]) -> Answer:
    """Answer a Page with 200, and where its neighbours are (RFC 8288); or with 304 where the client has it."""
    if not isinstance(outcome.result, Page):
        raise TypeError(f"a list answered {type(outcome.result).__name__}")
    links = links_of(outcome.result, asked)
    # A version may have a link of its own in all its answers.
    headers["Link"] = f"{headers['Link']}, {link_header(links)}" if "Link" in headers else link_header(links)
    body = asked.form.page(outcome.result, asked, links)
    # A list has no version: its tag is made of what it says, in whichever form; of a long one that would hold the loop.
    if is_held(asked, headers, tag_of(body) if len(body) <= LONGEST_TAGGED else None):
        return Answer(304, headers)
    headers["Content-Type"] = asked.form.media_type
    return Answer(200, headers, body)


def _streamed(streamed: Streamed, headers: dict[str, str]) -> Answer:
    headers["Cache-Control"] = "no-store"
    headers["Content-Type"] = "text/event-stream"
    return Answer(200, headers, stream=streamed)


def _variant(asked: Asked) -> str:
    """Return what tells this representation from others of its version: the form, and the fields that were asked for."""
    fields = next((value for name, value in asked.query.items() if name.startswith("fields")), None)
    if fields is None:
        return asked.form.variant
    named = ",".join(sorted({each.strip() for each in fields.split(",")}))
    return f"fields.{sha256(named.encode()).hexdigest()[:12]}"


def _document(outcome: Outcome) -> Document:
    if not isinstance(outcome.result, Document):
        raise TypeError(f"a resource answered {type(outcome.result).__name__}")
    return outcome.result


def _dated(asked: Asked, document: Document, headers: dict[str, str]) -> datetime | None:
    """Put Last-Modified into `headers` and return it; a form of more than the document changes without it, so it has none."""
    if asked.form.variant:
        return None
    headers["Last-Modified"] = http_date(document.updated_at)
    return document.updated_at


def _written(asked: Asked, document: Document, outcome: Outcome, headers: dict[str, str], status: int) -> Answer:
    headers["ETag"] = etag(document.version, asked.form.variant)
    _dated(asked, document, headers)
    headers["Content-Type"] = asked.form.media_type
    _tell_of_write(outcome, headers)
    return Answer(status, headers, asked.form.document(document, asked))


def _unkept(asked: Asked, body: str, headers: dict[str, str], status: int) -> Answer:
    headers["Cache-Control"] = "no-store"
    headers["Content-Type"] = asked.form.media_type
    return Answer(status, headers, asked.form.text(body, asked))


def _tell_of_write(outcome: Outcome, headers: dict[str, str]) -> None:
    if outcome.event_id is not None:
        headers["X-Event-Id"] = str(outcome.event_id)
    if outcome.replayed:
        headers["Idempotent-Replayed"] = "true"
