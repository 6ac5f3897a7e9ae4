"""A room on this node: the members of one channel whose frames have one form, and what it needs of them.

Plain members stand here: all get the same bytes, so nothing is decided for each. What shapes what a member gets stands apart, with
its writer: those who do not want all of it as it is stand in `views` (view_rooms.py); of rooms that deliver the newest of each key,
those who are slow stand beside `members` too (latest.py).
"""

from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from hub.stream.wires import Wire

if TYPE_CHECKING:
    from hub.stream.view_rooms import ViewRooms


class Writes(Protocol):
    """A member's way out."""

    def write(self, data: bytes) -> bool:
        """Send or queue; False when the member reads too slowly. Raises nothing."""
        ...

    def write_if_free(self, data: bytes) -> bool:
        """Send where the member has taken all that was sent before; False where it has not: nothing is queued. Raises nothing."""
        ...


class Member(Protocol):
    """A connection as rooms see it; hashed by identity."""

    @property
    def outbound(self) -> Writes:
        """Where its frames go. Only the fan-out writes there; others call Fanout.say."""
        ...

    @property
    def wire(self) -> Wire:
        """The form of its frames, the same for its life."""
        ...

    @property
    def org_id(self) -> UUID | None:
        """Whose rooms it may be in; None while nobody knows who it speaks for."""
        ...

    def cut_slow(self) -> None:
        """End the connection, which reads too slowly; it leaves its rooms before this returns."""
        ...

    def on_room_reset(self, channel: str, epoch: str, offset: int, reason: str) -> None:
        """Go on from `offset` of a live room that has a beginning, which it has been told; it may leave the room."""
        ...

    def on_new_epoch(self, epoch: str, position: int, reason: str) -> None:
        """Go on from `position` of a log with a new epoch."""
        ...


class Room:
    """The members of one channel on this node whose frames have one form; hashed by identity."""

    __slots__ = ("members", "prefix", "views")

    def __init__(self, channel: str, wire: Wire) -> None:
        self.prefix = wire.event_prefix(channel)
        self.members: dict[Member, None] = {}
        self.views: ViewRooms | None = None


def masks_of(rooms: dict[Room, int]) -> dict[Member, int]:
    """Return which of the rooms each member is in, by the bits that the rooms have: each member once."""
    first, *others = sorted(rooms, key=lambda room: len(room.members), reverse=True)
    # The largest by itself: a room of 50,000 costs a copy of a dict.
    masks = dict.fromkeys(first.members, rooms[first])
    for room in others:
        bit = rooms[room]
        for member in room.members:
            masks[member] = masks.get(member, 0) | bit
    return masks
