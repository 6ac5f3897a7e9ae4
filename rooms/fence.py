"""Who may still speak in a live room: a number that rises with each taker of a work, kept beside the room and compared there.

    Outrun      somebody with a higher number has spoken, or this was said before
    RoomLost    Redis has lost what the speaker built on: the room has another epoch

In both cases nothing was published.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fence:
    """What an event is let through by.

    key      whose numbers are compared. Where a room has many, those of the smallest keys are forgotten: let keys rise with time
    number   dropped below the highest that was let through for `key`
    once     dropped where the highest is the same, too
    epoch    the epoch that the room must have; None: any
    """

    key: str
    number: int
    once: bool = False
    epoch: str | None = None


class Outrun(Exception):
    """The fence has dropped the event."""


class RoomLost(Exception):
    """The room has another epoch than the fence names; `epoch` is what it has."""

    def __init__(self, epoch: str) -> None:
        super().__init__(f"The room has the epoch {epoch}")
        self.epoch = epoch
