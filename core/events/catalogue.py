"""What is told of a type of events: when there is one, what it is about, and what its data looks like."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class EventType:
    """A type of the platform's events.

    `subject` is as events have it, with `<id>` for the id; `schema` is the JSON Schema (draft 2020-12) of `data`; `example` is one.
    `is_planned`: no release emits it yet, but how it will look stands fast.
    """

    name: str
    summary: str
    subject: str
    schema: Mapping[str, Any]
    example: Mapping[str, Any]
    is_planned: bool = False

    def event(self, id: str, time: str, example_id: str) -> dict[str, Any]:
        """Return an example of a whole event, of these ids and this time."""
        return {
            "id": id,
            "type": self.name,
            "source": "aimatrix",
            "subject": self.subject.replace("<id>", example_id),
            "time": time,
            "data": dict(self.example),
        }
