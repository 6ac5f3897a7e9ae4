"""The checker of the fault tests: what was sent against what every client was told.

    rule                                                              of
    an event goes on from the last one, or a reset says from where    live rooms (offsets are dense)
    every event of the log, once, in order, byte for byte             log channels
    what matches its filter, and nothing else; what it made of        both, by `views`
      patches is what the log has at that position
    a client that returns is recovered to where it was, or reset      both
    an epoch that was left never comes back; a reset has its reason   both
    an offset of an epoch is one event, whoever is told               live rooms
    nothing that nobody sent; nothing of another organisation         both
    resets only where something was lost that could not be kept       both, by `may_reset`

A client that was told `recovered: false` after it had given an offset has been told of a loss, whether the `reset` that follows
still reaches it or not.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from tests.harness.ledger import Logged
from tests.harness.totals import Counts, Totals
from tests.harness.views import PLAIN, View, due_of, kinds_of
from tests.harness.watcher import Told

REASONS = {"log": {"epoch", "offset"}, "live": {"epoch", "offset", "history"}}
LOG_NAMESPACES = ("agents", "knowledge", "twins", "events")

Place = tuple[str, str, int]  # channel, epoch, offset


def is_log(channel: str) -> bool:
    """Tell a channel of the log from a live room."""
    return channel.partition(":")[0] in LOG_NAMESPACES


@dataclass
class LiveBooks:
    """What was published into live rooms.

    `sent` holds all, `placed` where those stand whose answer came, `kinds` the `kind` that filters look at, all by their marks.
    """

    sent: dict[str, str] = field(default_factory=dict[str, str])
    kinds: dict[str, str] = field(default_factory=dict[str, str])
    placed: dict[Place, str] = field(default_factory=dict[Place, str])
    uncertain: int = 0
    refused: int = 0


class Recorded(Protocol):
    """A reader with an exact record of what it was told; `way` is how it comes, `views` how it sees some of its channels."""

    way: ClassVar[str]

    @property
    def channels(self) -> Sequence[str]:
        """What it follows."""
        ...

    @property
    def views(self) -> Mapping[str, View]:
        """Of channels that it does not see as they are."""
        ...

    @property
    def connections(self) -> int:
        """How often it came."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """What it should not have met."""
        ...

    def told(self, channel: str) -> Sequence[Told]:
        """Return the record of one channel."""
        ...


class Checker:
    """Checks the clients of one organisation. `logs` holds the log by epoch, `live` what was published into live rooms.

    Resets of the log are allowed where `log_may_reset`, of live rooms where `live_may_reset`.
    """

    def __init__(
        self,
        logs: Mapping[str, Sequence[Logged]],
        live: LiveBooks,
        *,
        log_may_reset: bool = False,
        live_may_reset: bool = False,
    ) -> None:
        self.problems: list[str] = []
        self.totals = Totals()
        self._logs = logs
        self._live = live
        self._may_reset = {"log": log_may_reset, "live": live_may_reset}
        self._seen: dict[Place, str] = dict(live.placed)
        # Of the channel that is checked now.
        self._counts = Counts()

    def check(self, readers: Sequence[Recorded]) -> None:
        """Check what each was told. What is wrong stands in `problems` afterwards."""
        for number, reader in enumerate(readers):
            self.problems += [f"client {number}, by {reader.way}: {each}" for each in reader.problems]
            for counts in (self.totals, self.totals.of(reader.way)):
                counts.readers += 1
                counts.connections += reader.connections
        # Who sees all of a room first: of a room that was hurt, others may know what stands where nobody was answered.
        for is_whole in (True, False):
            for number, reader in enumerate(readers):
                for channel in reader.channels:
                    view = reader.views.get(channel, PLAIN)
                    if view.is_whole is is_whole:
                        self._check_one(number, reader, channel, view)

    def _check_one(self, number: int, reader: Recorded, channel: str, view: View) -> None:
        at = len(self.problems)
        self._counts = Counts()
        self._check_channel(reader.told(channel), channel, view)
        for counts in (self.totals, self.totals.of(reader.way)):
            counts.count(self._counts)
        for kind in kinds_of(channel, view):
            self.totals.of(kind).count(self._counts)
            self.totals.of(kind).readers += 1
        options = f" {view.options}" if view.options else ""
        self.problems[at:] = [
            f"client {number}, by {reader.way}, {channel}{options}: {each}" for each in self.problems[at:]
        ]

    def _check_channel(self, told: Sequence[Told], channel: str, view: View) -> None:
        if not told or told[0].kind != "joined":
            self._wrong("never joined" if not told else f"begins with {told[0]}")
            return
        self._check_returns(told, channel)
        lives = lives_of(told)
        self._check_epochs(lives)
        self._check_doubles(told)
        for index, life in enumerate(lives):
            events = [each for each in life if each.kind == "event"]
            self._counts.received += len(events)
            if is_log(channel):
                self._check_log(life[0], events, channel, view, is_last=index == len(lives) - 1)
            else:
                self._check_room(life[0], events, view)

    def _check_returns(self, told: Sequence[Told], channel: str) -> None:
        kind = "log" if is_log(channel) else "live"
        for index, each in enumerate(told):
            if each.kind == "reset":
                self._counts.resets += 1
                if each.reason not in REASONS[kind]:
                    self._wrong(f"a reset without a known reason: {each}")
            elif each.kind == "joined" and each.asked is not None and each.asked.offset is not None:
                if each.recovered:
                    self._counts.recovered += 1
                else:
                    self._check_reset_follows(each, told[index + 1 : index + 2])
            if begins_life(each) and index and not self._may_reset[kind]:
                self._wrong(f"nothing was lost, but: {each}")

    def _check_reset_follows(self, joined: Told, following: Sequence[Told]) -> None:
        if following and following[0].connection == joined.connection and following[0].kind != "reset":
            self._wrong(f"not recovered, and no reset but {following[0]} after {joined}")

    def _check_epochs(self, lives: Sequence[Sequence[Told]]) -> None:
        left: set[str] = set()
        epoch = ""
        for life in lives:
            if life[0].epoch != epoch:
                left.add(epoch)
                epoch = life[0].epoch
            if epoch in left:
                self._wrong(f"epoch {epoch} came back: {life[0]}")

    def _check_doubles(self, told: Sequence[Told]) -> None:
        # A restored log may give an event that it had not placed yet: to the client that is another life.
        ids = [(each.epoch if is_log(each.channel) else "", event_id_of(each)) for each in told if each.kind == "event"]
        doubled = len(ids) - len(set(ids))
        if doubled:
            self._counts.doubled += doubled
            self._wrong(f"{doubled} events came twice")

    def _check_log(self, start: Told, events: Sequence[Told], channel: str, view: View, *, is_last: bool) -> None:
        if start.epoch not in self._logs:
            if events:
                self._wrong(f"events of an epoch that nobody kept: {start}")
            return
        upto = None if is_last else (events[-1].offset if events else start.offset)
        due = due_of(view, self._logs[start.epoch], channel, after=start.offset, upto=upto)
        last = start.offset
        for each in events:
            self._check_order(each, last)
            last = max(last, each.offset)
            shown = due.must.get(each.offset) or due.may.get(each.offset)
            if shown is None:
                self._counts.foreign += 1
                self._wrong(f"{each} is no event of this channel since {start.offset}")
            elif shown != (each.event, each.left):
                self._wrong(f"{each} differs from the log: {shown}")
        missed = sorted(due.must.keys() - {each.offset for each in events})
        if missed:
            self._counts.lost += len(missed)
            self._wrong(f"{len(missed)} of {len(due.must)} events missed, such as {missed[:5]}, after {start}")

    def _check_room(self, start: Told, events: Sequence[Told], view: View) -> None:
        last = start.offset
        for each in events:
            self._check_order(each, last)
            missed = [offset for offset in range(last + 1, each.offset) if self._must_come(each, offset, view)]
            if missed:
                self._counts.lost += len(missed)
                self._wrong(f"{each.offset} came after {last}, in {each.epoch}; {missed[:5]} should have")
            last = max(last, each.offset)
            event_id = event_id_of(each)
            if self._live.sent.get(event_id) != each.channel or not view.wants(each.event or {}):
                self._counts.foreign += 1
                self._wrong(f"nobody sent {each}" if view.is_whole else f"nobody sent, or asked for {each}")
            known = self._seen.setdefault((each.channel, each.epoch, each.offset), event_id)
            if known != event_id:
                self._wrong(f"{each} is {known} elsewhere")

    def _must_come(self, before: Told, offset: int, view: View) -> bool:
        """Tell whether what stands at a place of a room is known to be wanted."""
        mark = self._seen.get((before.channel, before.epoch, offset))
        if view.is_whole or mark is None:
            return view.is_whole
        return view.wants({"data": {"kind": self._live.kinds[mark]}})

    def _check_order(self, each: Told, last: int) -> None:
        if each.offset <= last:
            self._counts.disordered += 1
            self._wrong(f"{each.offset} came after {last}, in {each.epoch}")

    def _wrong(self, what: str) -> None:
        self.problems.append(what)


def begins_life(each: Told) -> bool:
    """Tell whether the client was told that what follows does not go on from what it has."""
    returned = each.asked is not None and each.asked.offset is not None
    return each.kind == "reset" or (each.kind == "joined" and not (returned and each.recovered))


def lives_of(told: Sequence[Told]) -> list[list[Told]]:
    """Split a channel's record where it does not go on from what was before; each part begins with where it starts."""
    lives: list[list[Told]] = []
    for each in told:
        if begins_life(each):
            lives.append([each])
        else:
            lives[-1].append(each)
    return lives


def event_id_of(told: Told) -> str:
    """Return what makes an event one: what its sender wrote into a live room, the id in the log."""
    event: Mapping[str, Any] = told.event or {}
    if is_log(told.channel):
        return str(event["id"])
    return str(event["data"]["mark"])


def report(problems: Collection[str], seed: object, context: Iterable[str] = ()) -> None:
    """Raise AssertionError with what is wrong, the seed, and what was done."""
    if not problems:
        return
    some = [*problems][:20]
    more = [f"... {len(problems)} in all"] if len(problems) > len(some) else []
    raise AssertionError(f"seed {seed}:\n  " + "\n  ".join([*some, *more, "what happened:", *context]))
