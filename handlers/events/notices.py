"""Events by which the platform itself says that something has come to an end that somebody may want to see to."""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from core.events.catalogue import EventType
from handlers.resources.shown import EXAMPLE_ID, example_of

_LETTER = "01978f3e-5a74-7c3d-9b42-6f0d2c1e8a55"
_EVENT = "01978f3e-5a71-7c3d-9b42-6f0d2c1e8a55"


class DeadLettered(BaseModel):
    """An event that is delivered no more, after its last attempt or since it was `rejected` for good, and where it is kept."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "subscription_id": EXAMPLE_ID,
                    "dead_letter_id": _LETTER,
                    "event_id": _EVENT,
                    "event_type": "agent.created",
                    "event_subject": "agents/01978f3e-5a73-7c3d-9b42-6f0d2c1e8a55",
                    "position": "42",
                    "attempts": 8,
                    "reason": "max_deliveries",
                    "href": f"/v2/subscriptions/{EXAMPLE_ID}/dead-letters/{_LETTER}",
                }
            ]
        }
    )

    subscription_id: UUID
    dead_letter_id: UUID
    event_id: UUID
    event_type: str
    event_subject: str
    position: str
    attempts: int
    reason: Literal["max_deliveries", "rejected"]
    href: str


class WebhookDisabled(BaseModel):
    """A webhook that is sent nothing more: its receiver is `gone` (410), or has been `failing` for five days."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": EXAMPLE_ID, "reason": "failing", "href": f"/v2/webhooks/{EXAMPLE_ID}"}]}
    )

    id: UUID
    reason: Literal["gone", "failing"]
    href: str


NOTICES = (
    EventType(
        "subscription.dead_lettered",
        "An event was given up for a subscription, and is kept as a dead letter",
        "subscriptions/<id>",
        DeadLettered.model_json_schema(mode="serialization"),
        example_of(DeadLettered),
    ),
    EventType(
        "webhook.disabled",
        "A webhook is sent nothing more until it is enabled",
        "webhooks/<id>",
        WebhookDisabled.model_json_schema(mode="serialization"),
        example_of(WebhookDisabled),
    ),
)
