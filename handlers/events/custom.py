"""Events of applications as clients write them, and what is answered when they are appended."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from core.errors import Detail, HubError
from core.events.event import APPLICATION_SUBJECT
from core.operations.validation import invalid
from handlers.described import Described
from handlers.keys.models import Moment
from handlers.resources.models import Body

MOST_EVENTS = 500
_LONGEST_TYPE = 200
_TYPE = re.compile(r"custom(\.[A-Za-z0-9_-]+)+")
# Years of four digits, whatever the offset is.
_FIRST_YEAR, _LAST_YEAR = 1000, 9998
_EXAMPLE: dict[str, JsonValue] = {
    "type": "custom.order.placed",
    "subject": "order-17",
    "data": {"total": 99.5, "currency": "EUR"},
}
_EVENT_ID = "01978f3e-5a74-7c3d-9b42-6f0d2c1e8a55"


def is_custom_type(text: str) -> bool:
    """Tell whether an application's events can have this type."""
    return len(text) <= _LONGEST_TYPE and _TYPE.fullmatch(text) is not None


def _is_type(text: str) -> str:
    if not is_custom_type(text):
        raise ValueError(
            "Events of applications have types such as custom.order.placed: custom, then words of letters, digits, hyphens and "
            f"underscores, each behind a dot; at most {_LONGEST_TYPE} characters"
        )
    return text


def _is_subject(text: str) -> str:
    if APPLICATION_SUBJECT.fullmatch(text) is None:
        raise ValueError(
            "1 to 128 of the characters A-Z a-z 0-9 . _ : @ -; subjects with a slash are those of the hub's own events"
        )
    return text


def _in_utc(moment: datetime) -> datetime:
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        years = {"first": _FIRST_YEAR, "last": _LAST_YEAR}
        raise PydanticCustomError("time_out_of_range", "A year from {first} to {last}", years)
    return moment.astimezone(UTC)


CustomType = Annotated[
    str,
    AfterValidator(_is_type),
    Described("pattern", f"^{_TYPE.pattern}$"),
    Described("maxLength", _LONGEST_TYPE),
]
CustomSubject = Annotated[str, AfterValidator(_is_subject), Described("pattern", f"^{APPLICATION_SUBJECT.pattern}$")]
Happened = Annotated[Moment, AfterValidator(_in_utc)]
ExpectedVersion = Annotated[int, Field(ge=0, le=2**63 - 1)]


class NewEvent(Body):
    """An event of an application. `time` is when it happened, else now.

    `expected_version` is how many events of the application its subject has before this one; 0: it is the first.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    type: CustomType
    subject: CustomSubject
    data: dict[str, Any]
    time: Happened = Field(default_factory=lambda: datetime.min)
    expected_version: ExpectedVersion = Field(default_factory=int)

    @property
    def happened(self) -> datetime | None:
        """When it happened, None where nothing is said."""
        return self.time if "time" in self.model_fields_set else None

    @property
    def expected(self) -> int | None:
        """The version that is expected, None where any will do."""
        return self.expected_version if "expected_version" in self.model_fields_set else None


class AppendEvents(Body):
    """One event, or up to 500 as `events`, of which all are appended or none."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["events"], "maxProperties": 1},
                {"required": ["type", "subject", "data"], "not": {"required": ["events"]}},
            ],
            "examples": [_EXAMPLE],
        }
    )

    events: list[NewEvent] = Field(default_factory=list[NewEvent], min_length=1, max_length=MOST_EVENTS)
    # What one event has stands here to be described: it becomes the only one of `events`.
    type: CustomType = Field(default_factory=str)
    subject: CustomSubject = Field(default_factory=str)
    data: dict[str, Any] = Field(default_factory=dict[str, Any])
    time: Happened = Field(default_factory=lambda: datetime.min)
    expected_version: ExpectedVersion = Field(default_factory=int)

    _is_one: bool = PrivateAttr(default=False)

    @model_validator(mode="wrap")
    @classmethod
    def _as_events(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(given, Mapping) or "events" in given:
            both = sorted(cls.model_fields.keys() & given.keys() - {"events"}) if isinstance(given, Mapping) else []
            if both:
                message = "Beside events stands nothing: each has its own"
                raise HubError("VALIDATION_ERROR", details=[Detail(name, "INVALID_FORMAT", message) for name in both])
            return handler(given)
        try:
            return handler({"events": [NewEvent.model_validate(given)]}).by_itself()
        except ValidationError as error:
            raise invalid(given, error) from error

    def by_itself(self) -> Self:
        """Note that the one event has come in no list, and return self."""
        self._is_one = True
        return self

    @property
    def places(self) -> list[str]:
        """What stands before the names of each event's fields, as the client has sent them."""
        return [""] if self._is_one else [f"events[{index}]." for index in range(len(self.events))]


class AppendedEvent(BaseModel):
    """An event that was appended; `version` is that of its subject with it."""

    id: UUID
    type: str
    subject: str
    version: int = Field(ge=1)


class Appended(BaseModel):
    """The events that were appended, in their order, and the version that each subject has now."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "events": [{"id": _EVENT_ID, "type": "custom.order.placed", "subject": "order-17", "version": 1}],
                    "subjects": {"order-17": 1},
                }
            ]
        }
    )

    events: list[AppendedEvent]
    subjects: dict[str, int]
