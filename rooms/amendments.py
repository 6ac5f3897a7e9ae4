"""What is said of an event after it was published: that it says something else now, or that it was removed.

The history shows the event changed, or what is left of it; members hear of it by an event of its own, `chat.edited` or
`chat.deleted`, whose `data` names the event that it is of.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from rooms.live_wire import LiveEntry

# Where the type ends in an envelope at the latest: before it stands the id alone.
_HEAD = 160
_TYPES = ('.edited","source"', '.deleted","source"')

Change = Literal["edited", "deleted"]


@dataclass(frozen=True, slots=True)
class Amendment:
    """`data` of the event that tells of it: the event's id and offset, how often it was changed, and what it says now.

    `by` is who has removed it, where that is not who had published it.
    """

    change: Change
    id: str
    offset: int
    revision: int
    data: Any = None
    by: str | None = None

    def told(self) -> bytes:
        """Return the JSON of `data`."""
        said: dict[str, Any] = {"id": self.id, "offset": str(self.offset), "revision": self.revision}
        if self.change == "edited":
            said["data"] = self.data
        elif self.by is not None:
            said["by"] = self.by
        return orjson.dumps(said)

    def applied(self, entry: LiveEntry) -> LiveEntry:
        """Return the entry as it is now; another than the one meant stays as it is, and so does one that says more already."""
        return replace(entry, envelope=self.envelope(entry.envelope))

    def envelope(self, before: str) -> str:
        """Return the envelope as it is now."""
        event = orjson.loads(before)
        if event["id"] != self.id or event.get("deleted") or event.get("revision", 0) >= self.revision:
            return before
        return orjson.dumps(self._changed(event)).decode()

    def _changed(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.change == "edited":
            return {**event, "data": self.data, "revision": self.revision}
        left = {**event, "data": None, "revision": self.revision, "deleted": True}
        return left if self.by is None else {**left, "deleted_by": self.by}


def amendment_of(envelope: str) -> Amendment | None:
    """Read an event that tells of one; None where it tells of something else. Cheap for those."""
    change = next((each for each in _TYPES if each in envelope[:_HEAD]), None)
    if change is None:
        return None
    said = orjson.loads(envelope)["data"]
    kind: Change = "edited" if change is _TYPES[0] else "deleted"
    return Amendment(kind, said["id"], int(said["offset"]), said["revision"], said.get("data"), said.get("by"))
