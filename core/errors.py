"""The catalogue of request errors: every code that a caller can meet, with its status, its meaning and the cure.

    HubError                what any part of the hub raises to refuse a request
      code -> ErrorKind     an entry of CATALOGUE: status, meaning, what to do

A request error leaves the connection alive; the close codes that end a stream stand in `hub/stream/codes.py`. What is not a
HubError leaves the hub as INTERNAL_ERROR without detail: its text may carry a secret.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from core.clock import rfc3339
from core.quota import Quota


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One code: its HTTP status, what it means, and what the caller does about it.

    `retry_after` is the seconds after which to try again, where a refusal says nothing else. `place` is where it
    stands: an answer is a request's error, a detail is of one field, a document is one that was taken and could not be read,
    an execution is a run of an agent, or a step of one, that failed, a frame is an answer of the stream only.
    """

    code: str
    status: int
    message: str
    cure: str
    retry_after: int | None = None
    place: Literal["answer", "detail", "document", "execution", "frame"] = "answer"

    def as_object(self) -> dict[str, Any]:
        """Return the entry of the list of all errors."""
        return {
            "code": self.code,
            "status": self.status,
            "meaning": self.message,
            "cure": self.cure,
            "place": self.place,
        }


CATALOGUE: Mapping[str, ErrorKind] = {
    kind.code: kind
    for kind in (
        ErrorKind("BAD_REQUEST", 400, "The request cannot be understood", "Mend the syntax that the message names."),
        ErrorKind(
            "UNKNOWN_PARAMETER",
            400,
            "The request names an unknown parameter",
            "Remove it, or see the documentation.",
        ),
        ErrorKind(
            "UNSUPPORTED_VERSION",
            400,
            "There is no such API version",
            "Use one of the versions that the message names.",
        ),
        ErrorKind(
            "AUTHENTICATION_REQUIRED",
            401,
            "Authentication is required",
            "Send Authorization: Bearer <key or token>.",
        ),
        ErrorKind("INVALID_API_KEY", 401, "The API key is not valid", "Use a key that exists and is not revoked."),
        ErrorKind("INVALID_TOKEN", 401, "The token is not valid", "Get a token from the configured issuer."),
        ErrorKind(
            "INVALID_TICKET", 401, "The ticket is not valid", "Get a new ticket: each opens one stream, within 30 s."
        ),
        ErrorKind("EXPIRED_TOKEN", 401, "The token has expired", "Get a new token and send it again."),
        ErrorKind(
            "INSUFFICIENT_SCOPE",
            403,
            "The credential lacks a scope",
            "Use a credential with the scope in the message.",
        ),
        ErrorKind("HTTPS_REQUIRED", 403, "This hub is reached by HTTPS only", "Send the same request to https://."),
        ErrorKind("FORBIDDEN", 403, "The credential may not do this", "Use a credential that may."),
        ErrorKind("MUTED", 403, "You may not speak in this chat", "Wait until it ends, or ask who moderates the chat."),
        ErrorKind("BANNED", 403, "You may not be in this chat", "Wait until it ends, or ask who moderates the chat."),
        ErrorKind("RESOURCE_NOT_FOUND", 404, "There is no such resource", "Check the path and the id."),
        ErrorKind("CHANNEL_NOT_FOUND", 404, "There is no such channel", "Check the channel's name."),
        ErrorKind(
            "METHOD_NOT_ALLOWED",
            405,
            "The resource does not have this method",
            "Use a method of the Allow header.",
        ),
        ErrorKind(
            "NOT_ACCEPTABLE",
            406,
            "The Accept header asks for what the hub cannot write",
            "Ask for a form that the message names.",
        ),
        ErrorKind(
            "RESOURCE_CONFLICT",
            409,
            "The request conflicts with what is stored",
            "Read it again, then decide.",
        ),
        ErrorKind("PATCH_TEST_FAILED", 409, "A test of the patch does not hold", "Read it again, then decide."),
        ErrorKind("RESOURCE_LOCKED", 409, "Another request holds this", "Send the same request again shortly."),
        ErrorKind(
            "VERSION_GONE",
            410,
            "This API version is no longer served",
            "Follow the migration guide of the Link header.",
        ),
        ErrorKind(
            "PRECONDITION_FAILED",
            412,
            "The resource is not the one that If-Match names",
            "Read it again, then decide.",
        ),
        ErrorKind("PAYLOAD_TOO_LARGE", 413, "The body is too large", "Send at most the size in the message."),
        ErrorKind("UNSUPPORTED_MEDIA_TYPE", 415, "The body has an unknown media type", "Send application/json."),
        ErrorKind("VALIDATION_ERROR", 422, "The request contains invalid parameters", "Mend the fields in details."),
        ErrorKind("MISSING_REQUIRED_FIELD", 422, "A required field is missing", "Send the field.", place="detail"),
        ErrorKind(
            "INVALID_FORMAT", 422, "A value has the wrong form", "Send the form that the message names.", place="detail"
        ),
        ErrorKind(
            "VALUE_OUT_OF_RANGE", 422, "A value is out of range", "Send a value within the range.", place="detail"
        ),
        ErrorKind("NOT_CHANGEABLE", 422, "This is not for anybody to set", "Leave the field out.", place="detail"),
        ErrorKind(
            "IDEMPOTENCY_KEY_REUSED",
            422,
            "The idempotency key was used with another input",
            "Use a new key for a new request.",
        ),
        ErrorKind(
            "FAILED_DEPENDENCY",
            424,
            "What this depends on has failed",
            "Mend the operation of the batch that has another status, and send the batch again.",
        ),
        ErrorKind("RATE_LIMIT_EXCEEDED", 429, "Rate limit exceeded", "Wait for Retry-After seconds.", retry_after=1),
        ErrorKind("INTERNAL_ERROR", 500, "Something went wrong on our side", "Try again; report the request id."),
        ErrorKind("BAD_GATEWAY", 502, "A service that the hub called failed", "Try again later."),
        ErrorKind(
            "SERVICE_UNAVAILABLE",
            503,
            "The service is not available for the moment",
            "Wait for Retry-After seconds.",
            retry_after=1,
        ),
        ErrorKind("TIMEOUT", 504, "The request took too long", "Try again, or ask for less."),
        # What a document has as its error, besides TIMEOUT. The statuses are what such a body would be answered.
        ErrorKind(
            "UNSUPPORTED_FORMAT",
            415,
            "The document has a format that is not read",
            "Send text, Markdown, HTML, PDF, DOCX, CSV or JSON, with its content type.",
            place="document",
        ),
        ErrorKind(
            "UNREADABLE_DOCUMENT",
            422,
            "The document is not what it says it is, or is broken",
            "Mend it, or name its format.",
            place="document",
        ),
        ErrorKind(
            "NOT_FETCHED",
            502,
            "The document could not be fetched from its URL",
            "See the message; refresh it later, or upload it.",
            place="document",
        ),
        ErrorKind("ENCRYPTED_DOCUMENT", 422, "The document is encrypted", "Send it decrypted.", place="document"),
        ErrorKind(
            "WRONG_CHARSET",
            422,
            "The document is not in the charset that it says",
            "Send UTF-8, or name the charset in its content type.",
            place="document",
        ),
        ErrorKind(
            "NO_TEXT", 422, "The document has no text", "Send one with text: images are not read.", place="document"
        ),
        ErrorKind("DOCUMENT_TOO_LARGE", 413, "The document holds too much", "Split it into several.", place="document"),
        ErrorKind(
            "PARSER_CRASHED",
            422,
            "The document has ended the process that read it",
            "Convert it to another format.",
            place="document",
        ),
        # What an execution or one of its steps has as its error, besides those of answers.
        ErrorKind(
            "LIMIT_EXCEEDED",
            422,
            "The execution or simulation has met a limit of what one may take",
            "Ask for less: a smaller model, fewer steps; or raise the limit in the agent's config.",
            place="execution",
        ),
        ErrorKind(
            "TOOL_FAILED",
            502,
            "A tool gave no result",
            "See the message; the model was told it too.",
            place="execution",
        ),
        ErrorKind(
            "DELEGATE_ENDED",
            424,
            "The other agent's execution has failed, or was cancelled",
            "See that execution.",
            place="execution",
        ),
        ErrorKind(
            "OUTPUT_INVALID",
            502,
            "The answer is not as the output schema says",
            "See the message and the steps; mend the schema, or use another model.",
            place="execution",
        ),
        # Answers to frames of the stream, besides those above.
        ErrorKind(
            "UNKNOWN_FRAME_TYPE",
            400,
            "There is no such frame type",
            "See docs/protocol.md for the types.",
            place="frame",
        ),
        ErrorKind(
            "TOO_MANY_CHANNELS",
            422,
            "The connection has all the channels it may have",
            "Unsubscribe, or open another.",
            place="frame",
        ),
        ErrorKind(
            "TOO_MANY_FILTERS",
            422,
            "The channel has all the different filters that it may have at once",
            "Use a filter that others use, or none.",
            place="frame",
        ),
        ErrorKind(
            "TOO_MANY_CALLS",
            429,
            "The connection has all the calls under way it may have",
            "Wait for a result.",
            place="frame",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Detail:
    """What is wrong with one field; `field` is a path such as `capabilities[2]`, `code` one of the catalogue."""

    field: str
    code: str
    message: str

    def __post_init__(self) -> None:
        if self.code not in CATALOGUE:
            raise LookupError(f"{self.code} is not in the catalogue of errors")

    def as_object(self) -> dict[str, str]:
        """Return the entry of `error.details`."""
        return {"field": self.field, "code": self.code, "message": self.message}


@dataclass(eq=False)
class HubError(Exception):
    """A refusal with a code of the catalogue.

    `message` and `retry_after` (seconds) replace the catalogue's; `headers` go with an HTTP answer. `quota` is where the caller's
    organisation stands, where that was asked.
    """

    code: str
    message: str | None = None
    details: Sequence[Detail] = ()
    retry_after: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    quota: Quota | None = None

    def __post_init__(self) -> None:
        if self.code not in CATALOGUE:
            raise LookupError(f"{self.code} is not in the catalogue of errors")
        if self.retry_after is None:
            self.retry_after = self.kind.retry_after
        super().__init__(self.code, self.text)

    @property
    def kind(self) -> ErrorKind:
        """The catalogue's entry."""
        return CATALOGUE[self.code]

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.kind.status

    @property
    def text(self) -> str:
        """What the caller reads."""
        return self.message or self.kind.message

    def as_object(self, *, request_id: str, now: datetime) -> dict[str, Any]:
        """Return what stands under `error` in an answer or a frame."""
        return {
            "code": self.code,
            "message": self.text,
            "details": [detail.as_object() for detail in self.details],
            "request_id": request_id,
            "timestamp": rfc3339(now),
        }
