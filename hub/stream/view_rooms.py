"""Views on this node: who shares one, and what its members get of an event. No I/O here.

    Watches     of the fan-out: the watch of each view of an organisation, for all forms of frames
    ViewRooms   of one room and form: the views of its channel, each with its members

What a view shows is decided once an event. Members of a view with deltas stand in *cohorts*, by the position after which each has
been shown everything: a patch is for those who were shown what it changes, the others get the whole. There are few cohorts: the two
oldest become one, in which more is told whole than had to be.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import orjson

from core.errors import HubError
from core.events.event import Entry
from hub.stream.room import Member, Room
from hub.stream.wires import Wire
from rooms.views import LEFT, WHOLE, Shown, Sight, View, Watch

# What the views of one channel may cost together, in tests of a filter an event: about 100 microseconds.
MOST_COST = 1_024
MOST_COHORTS = 8


class Watches:
    """By organisation and view. `hold` before a subscription has a view, `drop` after."""

    def __init__(self) -> None:
        self._watches: dict[UUID, dict[View, Watch]] = {}
        self._holders: dict[tuple[UUID, View], int] = {}
        self._cost: dict[tuple[UUID, str], int] = {}

    def hold(self, org_id: UUID, view: View) -> None:
        """Count one who wants the view. Raises HubError TOO_MANY_FILTERS where its channel has all the views that it may have."""
        key, channel = (org_id, view), (org_id, view.source)
        holders = self._holders.get(key, 0)
        if not holders:
            cost = self._cost.get(channel, 0) + view.cost
            if cost > MOST_COST:
                raise HubError("TOO_MANY_FILTERS")
            self._cost[channel] = cost
        self._holders[key] = holders + 1

    def drop(self, org_id: UUID, view: View) -> None:
        """Count one less, who has left its room."""
        key, channel = (org_id, view), (org_id, view.source)
        self._holders[key] -= 1
        if self._holders[key]:
            return
        del self._holders[key]
        self._cost[channel] -= view.cost
        if not self._cost[channel]:
            del self._cost[channel]

    def join(self, org_id: UUID, view: View) -> Watch:
        """Return the watch of a view, for one member more."""
        watches = self._watches.setdefault(org_id, {})
        watch = watches.get(view)
        if watch is None:
            watch = watches[view] = Watch(view)
        watch.members += 1
        return watch

    def leave(self, org_id: UUID, watch: Watch) -> None:
        """Forget a watch with its last member: what happens meanwhile nobody looks at."""
        watch.members -= 1
        if not watch.members:
            watches = self._watches[org_id]
            del watches[watch.view]
            if not watches:
                del self._watches[org_id]

    def reset(self, org_id: UUID) -> None:
        """Begin all of an organisation's anew: its log has another life."""
        for watch in self._watches.get(org_id, {}).values():
            watch.forget()


class _Cohort(Room):
    """Members who were shown everything after the position `since`."""

    __slots__ = ("since",)

    def __init__(self, name: str, wire: Wire, since: int) -> None:
        super().__init__(name, wire)
        self.since = since


class ViewRooms:
    """The views of one room: cohorts of members, the oldest first."""

    __slots__ = ("_cohorts", "_watches", "_wire")

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._watches: dict[View, Watch] = {}
        self._cohorts: dict[Watch, list[_Cohort]] = {}

    def __bool__(self) -> bool:
        """Tell whether somebody has a view of the room."""
        return bool(self._cohorts)

    def rooms(self) -> Iterator[Room]:
        """Go through the members, by those who get the same."""
        for cohorts in self._cohorts.values():
            yield from cohorts

    def watch_of(self, view: View, member: Member) -> Watch | None:
        """Return the watch of a view, None where `member` does not have it here."""
        watch = self._watches.get(view)
        has_it = watch is not None and any(member in cohort.members for cohort in self._cohorts[watch])
        return watch if has_it else None

    def crowded(self, watch: Watch) -> list[Room]:
        """Return the cohorts that become one with the next join: what waits for their members must be written before."""
        cohorts = self._cohorts.get(watch, [])
        return list(cohorts[:2]) if len(cohorts) >= MOST_COHORTS else []

    def join(self, watch: Watch, member: Member, since: int) -> None:
        """Let `member`, which was shown everything after `since`, have the view."""
        since = since if watch.view.delta else 0
        self._watches[watch.view] = watch
        cohorts = self._cohorts.setdefault(watch, [])
        place = next((place for place, each in enumerate(cohorts) if each.since >= since), len(cohorts))
        if place == len(cohorts) or cohorts[place].since != since:
            if len(cohorts) >= MOST_COHORTS:
                _merge_oldest(cohorts)
                place = max(0, place - 1)
            cohorts.insert(place, _Cohort(watch.view.name, self._wire, since))
        cohorts[place].members[member] = None

    def leave(self, watch: Watch, member: Member) -> None:
        """Take a member out."""
        cohorts = self._cohorts[watch]
        for cohort in cohorts:
            cohort.members.pop(member, None)
        cohorts[:] = [cohort for cohort in cohorts if cohort.members]
        if not cohorts:
            del self._cohorts[watch], self._watches[watch.view]

    def show(self, sight: Sight) -> Iterator[tuple[Room, bytes | None]]:
        """Return who gets something of an event, and the frame; None stands for that of the whole event."""
        for watch, cohorts in self._cohorts.items():
            shown = shown_by(watch, sight)
            if shown is None:
                continue
            frame = None if shown is WHOLE else frame_of(self._wire, watch.view.name, sight, shown)
            for cohort in cohorts:
                yield cohort, None if shown.patch and shown.base <= cohort.since else frame


def shown_by(watch: Watch, sight: Sight) -> Shown | None:
    """Return what a watch shows of an event; it is asked once, for whichever form of frames comes first."""
    if watch not in sight.shown:
        sight.shown[watch] = watch.look(sight)
    return sight.shown[watch]


def frame_of(wire: Wire, name: str, sight: Sight, shown: Shown, **marks: Any) -> bytes:
    """Return the event frame of the channel `name`, with what tells it from a plain one."""
    if shown.patch:
        patched = {"patch": orjson.Fragment(shown.patch), "event": orjson.Fragment(sight.without_data())}
        return wire.shown(sight.entry, name, **marks, **patched)
    if shown == LEFT:
        return wire.shown(sight.entry, name, **marks, left=True, event=orjson.Fragment(sight.left()))
    return wire.shown(sight.entry, name, **marks, event=orjson.Fragment(sight.entry.envelope))


def sight_of(sights: dict[int, Sight], entry: Entry) -> Sight:
    """Return the sight of an entry of one delivery, the same for all rooms and forms."""
    sight = sights.get(id(entry))
    if sight is None:
        sight = sights[id(entry)] = Sight(entry)
    return sight


def _merge_oldest(cohorts: list[_Cohort]) -> None:
    """Make one of the two oldest: all of it has been shown what the younger one was."""
    older, younger = cohorts[:2]
    larger, smaller = (older, younger) if len(older.members) >= len(younger.members) else (younger, older)
    larger.members.update(smaller.members)
    larger.since = younger.since
    cohorts[:2] = [larger]
