"""What was said so far, for whoever joins a live room in the middle of it.

Whoever keeps what a room tells of (an answer that is being written) gives its text, and the place in the room up to which that text
is what was said there. A reader gets the text as one event, then what follows that place: nothing is missing, nothing comes twice.
"""

from dataclasses import dataclass, field
from typing import Protocol

from core.auth.caller import Caller
from core.errors import HubError
from core.events.event import namespace_of
from rooms.recovery import Bookmark

# No room has this place: it is not known where the text ends, and whoever writes will say so within a second.
UNKNOWN = Bookmark(0, "?")


@dataclass(frozen=True, slots=True)
class Beginning:
    """What was said so far.

    envelope  the event that tells it, as JSON; None where there is nothing to tell
    mark      where the last event was that it contains. Empty where nothing that it lacks has been said yet, also where all is
              said: what follows is what is published after it was asked for. UNKNOWN where more may have been said
    """

    envelope: str | None
    mark: Bookmark = field(default_factory=Bookmark)


class Beginnings(Protocol):
    """Who keeps what rooms tell of. Whoever writes keeps text and place at most a second after publishing."""

    def covers(self, namespace: str) -> bool:
        """Tell whether it knows the rooms of a namespace; none of these is shared (rooms/live_rules.py)."""
        ...

    async def find(self, caller: Caller, channel: str) -> Beginning:
        """Return what was said so far, as read after this call.

        Raises HubError CHANNEL_NOT_FOUND where there is no such room, or none that `caller` may know of. The caller's scope was
        checked; whether it may touch the resource that is spoken of was not.
        """
        ...


class JoinedBeginnings:
    """Several who keep what rooms tell of, each of its own namespaces. Implements Beginnings."""

    def __init__(self, *parts: Beginnings) -> None:
        self._parts = parts

    def covers(self, namespace: str) -> bool:
        """Tell whether one of them knows the rooms of a namespace."""
        return any(part.covers(namespace) for part in self._parts)

    async def find(self, caller: Caller, channel: str) -> Beginning:
        """Return what the one says that knows the room; raises as that does, and HubError CHANNEL_NOT_FOUND where there is none."""
        namespace = namespace_of(channel)
        for part in self._parts:
            if part.covers(namespace):
                return await part.find(caller, channel)
        raise HubError("CHANNEL_NOT_FOUND")
