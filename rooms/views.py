"""What a subscriber gets of a channel that does not get all of it as it is: a *view*. Pure; wire form: docs/views.md.

    View     what was asked for; equal ones are shared
    Sight    an event as it is looked at, parsed at most once for all views
    Watch    what a view has shown so far, and what it shows of the next event

A filter that names `data` alone tells resources apart. Of a resource's changes it hides those of which subscribers need not know:
one that does not match is told as `left`, unless it is known that the resource did not match before. So whoever holds a resource
that matched always hears when it does no more; that one is told to have left which was not there may happen.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from core.events.event import Entry, channel_of, namespace_of
from rooms.filters import Filter
from rooms.patches import patch_between

# Resources that a view remembers not to match, and those whose last state it keeps to tell what changed.
MOST_OUT = 4_096
MOST_BASES = 1_024
# Of the envelopes of those, in characters.
MOST_BASE_SIZE = 2 * 1024 * 1024
# What a patch costs, in tests of a filter.
COST_OF_DELTA = 32
# A patch of less is not looked for: the whole is short.
LEAST_DATA = 128

# Events that carry a resource, by the namespace of their channel.
_KINDS = {"agents": "agent", "knowledge": "knowledge", "twins": "twin"}
STATE_NAMESPACES = frozenset(_KINDS)
_CHANGES = frozenset({"created", "updated", "deleted"})


@dataclass(frozen=True, slots=True)
class View:
    """What a subscriber wants of the channel `source`, and the `name` under which it gets that.

    prefix   what the events' own channels begin with
    only     which of those it may have; None: all
    """

    name: str
    source: str
    filter: Filter | None = None
    delta: bool = False
    prefix: str = ""
    only: frozenset[str] | None = None

    @property
    def cost(self) -> int:
        """What an event of the channel costs for it, in tests."""
        return 1 + (0 if self.filter is None else self.filter.cost) + COST_OF_DELTA * self.delta

    def covers(self, channel: str) -> bool:
        """Tell whether events of this channel, which belong to `source`, may be shown."""
        return channel.startswith(self.prefix) and (self.only is None or channel in self.only)


@dataclass(frozen=True, slots=True)
class Shown:
    """How an event is shown: whole; as `left`; or by what changed since the event at `base`, `patch` being JSON."""

    left: bool = False
    base: int = 0
    patch: str = ""


WHOLE: Final = Shown()
LEFT: Final = Shown(left=True)


class Sight:
    """One event; what is asked more than once is made once."""

    __slots__ = ("_change", "_event", "_patches", "entry", "shown")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        # By the watches that were asked already.
        self.shown: dict[Watch, Shown | None] = {}
        self._event: Mapping[str, Any] | None = None
        self._change: str | None = None
        self._patches: dict[int, str] = {}

    @property
    def event(self) -> Mapping[str, Any]:
        """The envelope with its data."""
        if self._event is None:
            event: Mapping[str, Any] = orjson.loads(self.entry.envelope)
            self._event = event
            return event
        return self._event

    @property
    def change(self) -> str:
        """What happened to the resource: created, updated or deleted; nothing where it is no event of a resource's state."""
        if self._change is None:
            kind, _, what = str(self.event.get("type")).partition(".")
            is_of_kind = kind == _KINDS.get(namespace_of(self.entry.channel)) and what in _CHANGES
            is_its_own = is_of_kind and channel_of(str(self.event.get("subject"))) == self.entry.channel
            self._change = what if is_its_own else ""
        return self._change

    @property
    def is_whole(self) -> bool:
        """Whether its data is the whole resource: of what is gone, or too large to travel, it is not."""
        data = self.event.get("data")
        return isinstance(data, dict) and "truncated" not in data and self.change != "deleted"

    def left(self) -> str:
        """Return the event as JSON without its data but id and version, as it is told of what has left."""
        data = self.event.get("data")
        kept = {name: data[name] for name in ("id", "version") if name in data} if isinstance(data, dict) else {}
        return orjson.dumps({**self.event, "data": kept}).decode()

    def without_data(self) -> str:
        """Return the event as JSON without its data."""
        return orjson.dumps({name: value for name, value in self.event.items() if name != "data"}).decode()

    def patch_since(self, base: Entry) -> str:
        """Return what changed of the data since `base`, as JSON; nothing where the whole is not longer."""
        found = self._patches.get(base.position)
        if found is None:
            found = self._patches[base.position] = self._patch_since(base)
        return found

    def _patch_since(self, base: Entry) -> str:
        data = orjson.dumps(self.event["data"])
        if len(data) < LEAST_DATA:
            return ""
        patch = orjson.dumps(patch_between(orjson.loads(base.envelope)["data"], self.event["data"]))
        return patch.decode() if len(patch) < len(data) else ""


class Watch:
    """Of one view; `look` is called with each event of its source, in order, once.

    `members` is the count of those who share it.
    """

    __slots__ = ("_base_size", "_bases", "_out", "members", "view")

    def __init__(self, view: View) -> None:
        self.view = view
        self.members = 0
        # Subjects whose last state did not match, and the last states that were shown.
        self._out: OrderedDict[str, None] = OrderedDict()
        self._bases: OrderedDict[str, Entry] = OrderedDict()
        self._base_size = 0

    def forget(self) -> None:
        """Begin anew: events were not looked at, or positions are of another life."""
        self._out.clear()
        self._bases.clear()
        self._base_size = 0

    def look(self, sight: Sight) -> Shown | None:
        """Return how the event is shown; None: not at all."""
        view = self.view
        if not view.covers(sight.entry.channel):
            return None
        shown = WHOLE if view.filter is None else self._filtered(sight, view.filter)
        return self._changed(sight, shown) if view.delta else shown

    def _filtered(self, sight: Sight, wanted: Filter) -> Shown | None:
        if not wanted.is_of_state or not sight.change:
            return WHOLE if wanted.matches(sight.event) else None
        subject = sight.event["subject"]
        if not sight.is_whole:
            # Nobody can tell. What is known not to have matched is no loss when it is gone; what is too large to travel is read.
            was_out = self._out.pop(subject, self) is None
            return None if was_out and sight.change == "deleted" else WHOLE
        if wanted.matches(sight.event):
            self._out.pop(subject, None)
            return WHOLE
        was_out = subject in self._out or sight.change == "created"
        self._out[subject] = None
        self._out.move_to_end(subject)
        if len(self._out) > MOST_OUT:
            self._out.popitem(last=False)
        return None if was_out else LEFT

    def _changed(self, sight: Sight, shown: Shown | None) -> Shown | None:
        """Show an event by what changed where that is shorter, and keep its state for the next one."""
        if not sight.change:
            return shown
        base = self._take_base(sight.event["subject"])
        if shown is not WHOLE or not sight.is_whole:
            return shown
        self._keep_base(sight.event["subject"], sight.entry)
        patch = "" if base is None else sight.patch_since(base)
        return Shown(base=base.position, patch=patch) if base is not None and patch else WHOLE

    def _take_base(self, subject: str) -> Entry | None:
        base = self._bases.pop(subject, None)
        self._base_size -= 0 if base is None else len(base.envelope)
        return base

    def _keep_base(self, subject: str, entry: Entry) -> None:
        self._bases[subject] = entry
        self._base_size += len(entry.envelope)
        while len(self._bases) > MOST_BASES or self._base_size > MOST_BASE_SIZE:
            _, oldest = self._bases.popitem(last=False)
            self._base_size -= len(oldest.envelope)
