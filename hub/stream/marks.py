"""Where in the log a channel of a subscribe frame wants to go on, whichever way the frame says it."""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

from core.errors import HubError
from hub.stream.commands import Wanted
from hub.stream.subscription import Sources
from rooms.org_feed import OrgFeed
from rooms.recovery import Bookmark

# How long an event is waited for that has no position yet.
EVENT_PATIENCE_SECONDS = 10.0
FIRST_LOOK_SECONDS = 0.02
MOST_LOOK_SECONDS = 0.5


async def marks_of(
    feed: OrgFeed, sources: Sources, wanted: Sequence[Wanted]
) -> tuple[Mapping[str, Bookmark], Mapping[str, HubError]]:
    """Return the bookmark of each channel, and the refusals of those whose event did not come in time.

    Raises HubError while PostgreSQL is away and is needed.
    """
    events = {each.after_event for each in wanted if each.after_event is not None}
    found = await asyncio.gather(*(_position_of(feed, sources, event) for event in events))
    positions = dict(zip(events, found, strict=True))
    marks: dict[str, Bookmark] = {}
    refused: dict[str, HubError] = {}
    for each in wanted:
        if each.since is not None:
            marks[each.channel] = Bookmark(await sources.moments.position_at(feed.org_id, each.since), feed.epoch)
        elif each.after_event is None:
            marks[each.channel] = Bookmark(each.offset, each.epoch)
        elif (position := positions[each.after_event]) is not None:
            marks[each.channel] = Bookmark(position, feed.epoch)
        else:
            refused[each.channel] = HubError("TIMEOUT", "The log had no such event within 10 s")
    return marks, refused


async def _position_of(feed: OrgFeed, sources: Sources, event_id: UUID) -> int | None:
    """Wait for the event's position; None where it does not come."""
    clock = sources.clock
    until = clock.monotonic() + EVENT_PATIENCE_SECONDS
    pause = FIRST_LOOK_SECONDS
    while True:
        position = await sources.moments.position_of(feed.org_id, event_id)
        if position is not None or clock.monotonic() >= until:
            return position
        await clock.sleep(pause)
        pause = min(pause * 2, MOST_LOOK_SECONDS)
