"""How readers of a fault test see a channel, and what of a log each view must and may show, worked out without the hub's filters.

an event                       of a filter of resources       of a filter of events, or of none
matches                        whole                          whole
a change that does not match   `left`, where the state        nothing
                               before did; else perhaps
the end of what matched        whole                          whole, where it matches
the end of another             whole, perhaps                 whole, where it matches
anything else                  nothing                        nothing
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import jsonpatch

from tests.harness.ledger import Logged

Event = Mapping[str, Any]
# An event as it is told, and whether it says that a resource has left.
Shown = tuple[Event, bool]
# Half of what writers draw for `metadata.value` is not less.
HALF = 2**47
ALARM = "alarm"
CREATED = ["agent.created", "knowledge.created", "twin.created"]


def _all(_: Event) -> bool:
    return True


@dataclass(frozen=True)
class View:
    """What stands beside a channel when it is subscribed; `wants` is the same in Python.

    `tells_resources`: its filter is of data alone, so that what stops to match is told. `kinds` are its lines of the ledger.
    """

    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    wants: Callable[[Event], bool] = _all
    _: KW_ONLY
    tells_resources: bool = False
    kinds: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether it shows all events."""
        return self.wants is _all


@dataclass(frozen=True)
class Due:
    """What a view shows of a stretch of the log, by position."""

    must: Mapping[int, Shown]
    may: Mapping[int, Shown]


def _value(event: Event) -> int:
    return int(event["data"]["metadata"]["value"])


def _is_large(event: Event) -> bool:
    return _value(event) >= HALF


def _is_small_or_first(event: Event) -> bool:
    return _value(event) < HALF // 2 or str(event["data"]["name"]).startswith("Nr. 1")


def _is_birth(event: Event) -> bool:
    return event["type"] in CREATED


def _is_alarm(event: Event) -> bool:
    return event["data"]["kind"] == ALARM


_LARGE = {"metadata.value": {"$gte": HALF}}
_SMALL_OR_FIRST = {"$or": [{"metadata.value": {"$lt": HALF // 2}}, {"name": {"$prefix": "Nr. 1"}}]}
PLAIN = View()
OF_RESOURCES = (
    View({"filter": _LARGE}, _is_large, tells_resources=True, kinds=("filters",)),
    View({"filter": _SMALL_OR_FIRST}, _is_small_or_first, tells_resources=True, kinds=("filters",)),
    View({"filter": {"$type": {"$in": CREATED}}}, _is_birth, kinds=("filters",)),
    View({"delta": True}, kinds=("deltas",)),
    View({"filter": _LARGE, "delta": True}, _is_large, tells_resources=True, kinds=("filters", "deltas")),
)
OF_ROOMS = (View({"filter": {"kind": ALARM}}, _is_alarm, kinds=("filters",)),)


def views_of(channels: Sequence[str], rng: random.Random) -> dict[str, View]:
    """Draw a view for some of the channels."""
    drawn: dict[str, View] = {}
    for channel in channels:
        if rng.random() < 0.5:
            drawn[channel] = rng.choice(OF_ROOMS if channel.startswith(("chat:", "users:")) else OF_RESOURCES)
    return drawn


def kinds_of(channel: str, view: View) -> tuple[str, ...]:
    """Return the lines of the ledger that a channel counts for."""
    return (*view.kinds, "wildcards") if channel.endswith(":*") else view.kinds


def due_of(view: View, log: Sequence[Logged], channel: str, *, after: int, upto: int | None = None) -> Due:
    """Return what is shown of `channel` behind `after`, up to `upto` or the end; `log` is the whole one, from its beginning."""
    must: dict[int, Shown] = {}
    may: dict[int, Shown] = {}
    matching: set[str] = set()
    for entry in log:
        if not entry.belongs_to(channel):
            continue
        if view.tells_resources:
            shown, is_due = _shown_of_resource(view, entry.event, matching)
        else:
            shown, is_due = ((entry.event, False) if view.wants(entry.event) else None), True
        if shown is not None and entry.position > after and (upto is None or entry.position <= upto):
            (must if is_due else may)[entry.position] = shown
    return Due(must, may)


def _shown_of_resource(view: View, event: Event, matching: set[str]) -> tuple[Shown | None, bool]:
    """Return how an event is shown, and whether it must be; `matching` are the resources that match, and is kept up to date."""
    subject, what = str(event["subject"]), str(event["type"]).rpartition(".")[2]
    did_match = subject in matching
    matching.discard(subject)
    if what == "deleted":
        return (event, False), did_match
    if view.wants(event):
        matching.add(subject)
        return (event, False), True
    if what == "created":
        return None, False
    data: Event = event["data"]
    return ({**event, "data": {name: data[name] for name in ("id", "version") if name in data}}, True), did_match


@dataclass
class Brought:
    """What a channel has brought whole since it was subscribed, by subject: what came by what changed is made whole by it."""

    states: dict[str, Any] = field(default_factory=dict[str, Any])

    def anew(self) -> None:
        """The channel is subscribed anew, or was reset: what it brought counts no more."""
        self.states.clear()

    def whole(self, frame: Mapping[str, Any]) -> Event:
        """Return the frame's event with all of its data. Raises LookupError where nothing was brought that it could change."""
        event: Event = frame["event"]
        subject, what = str(event["subject"]), str(event["type"]).rpartition(".")[2]
        if "patch" in frame:
            try:
                data = jsonpatch.apply_patch(self.states[subject], frame["patch"])
            except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
                raise LookupError(str(error)) from error
            self.states[subject] = data
            return {**event, "data": data}
        if what == "deleted" or "left" in frame:
            self.states.pop(subject, None)
        elif what in ("created", "updated"):
            self.states[subject] = event["data"]
        return event
