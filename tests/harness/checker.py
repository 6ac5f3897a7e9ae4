"""The checker of the fault tests: what was sent against what every client was told.

    rule                                                              of
    an event goes on from the last one, or a reset says from where    live rooms (offsets are dense)
    every event of the log, once, in order, byte for byte             log channels
    a client that returns is recovered to where it was, or reset      both
    an epoch that was left never comes back; a reset has its reason   both
    an offset of an epoch is one event, whoever is told               live rooms
    nothing that nobody sent; nothing of another organisation         both
    resets only where something was lost that could not be kept       both, by `may_reset`

A client that was told `recovered: false` after it had given an offset has been told of a loss, whether the `reset` that follows
still reaches it or not.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from tests.harness.ledger import Logged
from tests.harness.watcher import Told, Watcher

REASONS = {"log": {"epoch", "offset"}, "live": {"epoch", "offset", "history"}}
LOG_NAMESPACES = ("agents", "knowledge", "twins", "events")

Place = tuple[str, str, int]  # channel, epoch, offset


def is_log(channel: str) -> bool:
    """Tell a channel of the log from a live room."""
    return channel.partition(":")[0] in LOG_NAMESPACES


@dataclass
class LiveBooks:
    """What was published into live rooms. `sent` holds all, `placed` where those stand whose answer came."""

    sent: dict[str, str] = field(default_factory=dict[str, str])
    placed: dict[Place, str] = field(default_factory=dict[Place, str])
    uncertain: int = 0
    refused: int = 0


@dataclass
class Totals:
    """The ledger of a run, summed over every client and channel."""

    schedules: int = 0
    faults: int = 0
    sent: int = 0
    uncertain: int = 0
    received: int = 0
    connections: int = 0
    recovered: int = 0
    resets: int = 0
    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    foreign: int = 0

    def add(self, other: "Totals") -> None:
        """Add another run's."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def lines(self) -> str:
        """Return it for a person, one line each."""
        return "\n".join(f"{each.name:>12} {getattr(self, each.name):>12,}" for each in fields(self))


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

    def check(self, watchers: Iterable[Watcher]) -> None:
        """Check what each was told. What is wrong stands in `problems` afterwards."""
        for number, watcher in enumerate(watchers):
            self.problems += [f"client {number}: {each}" for each in watcher.problems]
            self.totals.connections += watcher.connections
            for channel in watcher.channels:
                at = len(self.problems)
                self._check_channel(watcher.told(channel), channel)
                self.problems[at:] = [f"client {number}, {channel}: {each}" for each in self.problems[at:]]

    def _check_channel(self, told: Sequence[Told], channel: str) -> None:
        if not told or told[0].kind != "joined":
            self._wrong("never joined" if not told else f"begins with {told[0]}")
            return
        self._check_returns(told, channel)
        lives = lives_of(told)
        self._check_epochs(lives)
        self._check_doubles(told)
        for index, life in enumerate(lives):
            events = [each for each in life if each.kind == "event"]
            self.totals.received += len(events)
            if is_log(channel):
                self._check_log(life[0], events, channel, is_last=index == len(lives) - 1)
            else:
                self._check_room(life[0], events)

    def _check_returns(self, told: Sequence[Told], channel: str) -> None:
        kind = "log" if is_log(channel) else "live"
        for index, each in enumerate(told):
            if each.kind == "reset":
                self.totals.resets += 1
                if each.reason not in REASONS[kind]:
                    self._wrong(f"a reset without a known reason: {each}")
            elif each.kind == "joined" and each.asked is not None and each.asked.offset is not None:
                if each.recovered:
                    self.totals.recovered += 1
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
            self.totals.doubled += doubled
            self._wrong(f"{doubled} events came twice")

    def _check_log(self, start: Told, events: Sequence[Told], channel: str, *, is_last: bool) -> None:
        if start.epoch not in self._logs:
            if events:
                self._wrong(f"events of an epoch that nobody kept: {start}")
            return
        upto = None if is_last else (events[-1].offset if events else start.offset)
        wanted = {
            entry.position: entry
            for entry in self._logs[start.epoch]
            if entry.position > start.offset and (upto is None or entry.position <= upto) and entry.belongs_to(channel)
        }
        last = start.offset
        for each in events:
            self._check_order(each, last)
            last = max(last, each.offset)
            entry = wanted.get(each.offset)
            if entry is None:
                self.totals.foreign += 1
                self._wrong(f"{each} is no event of this channel since {start.offset}")
            elif entry.event != each.event:
                self._wrong(f"{each} differs from the log: {entry.event}")
        missed = sorted(wanted.keys() - {each.offset for each in events})
        if missed:
            self.totals.lost += len(missed)
            self._wrong(f"{len(missed)} of {len(wanted)} events missed, such as {missed[:5]}, after {start}")

    def _check_room(self, start: Told, events: Sequence[Told]) -> None:
        last = start.offset
        for each in events:
            self._check_order(each, last)
            if each.offset > last + 1:
                self.totals.lost += each.offset - last - 1
                self._wrong(f"{each.offset} came after {last}, in {each.epoch}")
            last = max(last, each.offset)
            event_id = event_id_of(each)
            if event_id not in self._live.sent:
                self.totals.foreign += 1
                self._wrong(f"nobody sent {each}")
            known = self._seen.setdefault((each.channel, each.epoch, each.offset), event_id)
            if known != event_id:
                self._wrong(f"{each} is {known} elsewhere")

    def _check_order(self, each: Told, last: int) -> None:
        if each.offset <= last:
            self.totals.disordered += 1
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
