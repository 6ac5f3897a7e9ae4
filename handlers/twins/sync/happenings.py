"""The types of events that the synchronisation of twins has."""

from core.events.catalogue import EventType
from handlers.resources.shown import example_of
from handlers.twins.sync.models import SyncFailed, Synchronised

_SUBJECT = "twins/<id>"

SYNCS = (
    EventType(
        "twin.synchronised",
        "Its data was fetched from its source, and has changed, or is there again after failures",
        _SUBJECT,
        Synchronised.model_json_schema(mode="serialization"),
        example_of(Synchronised),
    ),
    EventType(
        "twin.sync.failed",
        "Its data could not be fetched, or is none that it may have: the first time of several, and each tenth",
        _SUBJECT,
        SyncFailed.model_json_schema(mode="serialization"),
        example_of(SyncFailed),
    ),
)
