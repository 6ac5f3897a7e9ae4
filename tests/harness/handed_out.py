"""The books of durable subscriptions: what each was to hand out, what its consumers were given and said, what is wrong between.

    rule                                                              of
    every event that it is for was given, and acknowledged or buried  all
    nothing else was given; what was given is as the log has it       all
    the same event has the same id each time                          all
    what was told to be done never comes again                        pull, socket
    it comes again only after a refusal or the end of the lease,      pull, socket
      which by socket is at the latest that of the connection
    no lease is given twice; an attempt is left out only where an     pull, socket
      answer got lost
    it comes again only after a refusal, silence, or with a fault     webhook
      of the hub's about the time at which it was answered
    of a subject nothing comes before all before it is settled, and   ordered
      nothing after what follows it
    a dead letter was refused for good or as often as it may be, and  all
      is announced once

No I/O. Times are seconds of the wall clock, which PostgreSQL and the consumers of a test share.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from math import inf
from typing import Literal, NamedTuple

How = Literal["ack", "refuse", "bury"]
# A node notes what a receiver has answered a moment later, and has leased a moment before; on a slow machine these are long.
NOTED_SECONDS = 5.0
DEAD_LETTERED = "subscription.dead_lettered"


class Entry(NamedTuple):
    """An event as the log has it; `digest` is of its data. Of the announcement of a dead letter, `letter` is its id."""

    position: int
    event_id: str
    type: str
    subject: str
    digest: str
    letter: str = ""


@dataclass(frozen=True, slots=True)
class Promise:
    """What a subscription is to hand out: events of these types and subjects, behind a position, up to another.

    `replayed` is of a replay. `leases`: whether its consumers know of their leases; `attempts`: how often it tries at most. With
    `gives_back` a lease ends with the connection that has it.
    """

    name: str
    id: str
    types: Sequence[str] = ("*",)
    subjects: Sequence[str] = ()
    ordered: bool = False
    behind: int = 0
    upto: float = inf
    replayed: bool = False
    leases: bool = True
    attempts: int = 1_000
    gives_back: bool = False

    def wanted(self, log: Iterable[Entry]) -> list[Entry]:
        """Return what of the log it is for, in order."""
        is_type, is_subject = _matcher(self.types), _matcher(self.subjects or ("*",))
        return [
            each
            for each in log
            if self.behind < each.position <= self.upto
            and is_type(each.type)
            and is_subject(each.subject)
            and each.subject != f"subscriptions/{self.id}"
        ]


@dataclass(slots=True)
class Receipt:
    """An event in the hands of a consumer: when it came, until when it was leased, what was said to it and when, and the reply.

    `hold` names the lease, or the request of a webhook. `done` is None where no reply came, False where it came too late. `ended`
    is when the consumer's connection ended before it had one, as far as it could note that.
    """

    hold: str
    at: float
    position: int
    event_id: str
    digest: str
    replayed: bool = False
    attempt: int = 0
    until: float = inf
    how: How | None = None
    said_at: float = inf
    done: bool | None = None
    ended: float = inf

    @property
    def is_timely(self) -> bool:
        """Whether it came while the lease went on; a connection may have ended some time before its consumer saw that."""
        return self.at < self.until and (self.done is True or self.at < self.ended - NOTED_SECONDS)

    @property
    def settles_at(self) -> float:
        """From when on it may be settled by what was said to it; never: infinity."""
        return self.said_at if self.how in ("ack", "bury") and self.done is not False else inf


class Letter(NamedTuple):
    """A dead letter as it is kept."""

    id: str
    subscription_id: str
    position: int
    event_id: str
    replayed: bool
    reason: str
    attempts: int
    died_at: float


@dataclass(frozen=True)
class History:
    """What happened to a subscription. `unanswered` counts takes whose answer the consumer never had; `faults` are the times
    in which something of the hub was being killed and was on its way back."""

    receipts: Sequence[Receipt]
    letters: Sequence[Letter] = ()
    unanswered: int = 0
    faults: Sequence[tuple[float, float]] = ()

    @cached_property
    def by_position(self) -> Mapping[int, Sequence[Receipt]]:
        """The receipts of each event, in the order of attempts, or where they are not known of time."""
        found: dict[int, list[Receipt]] = defaultdict(list)
        for each in sorted(self.receipts, key=lambda each: (each.attempt, each.at)):
            found[each.position].append(each)
        return found

    def had_fault(self, begin: float, end: float) -> bool:
        """Tell whether a fault touches the time from `begin` to `end`."""
        return any(began <= end and begin <= ended for began, ended in self.faults)


@dataclass
class Totals:
    """What was counted: events that were to come, receipts, doubles that are as promised."""

    wanted: int = 0
    received: int = 0
    doubled: int = 0
    buried: int = 0
    unanswered: int = 0
    most_attempts: int = 0
    by_reason: Counter[str] = field(default_factory=Counter[str])

    def count(self, wanted: Sequence[Entry], history: History) -> None:
        """Add those of a subscription."""
        self.wanted += len(wanted)
        self.received += len(history.receipts)
        self.buried += len(history.letters)
        self.unanswered += history.unanswered
        for receipts in history.by_position.values():
            self.doubled += len(receipts) - 1
            self.most_attempts = max(self.most_attempts, *(each.attempt for each in receipts), len(receipts))
            self.by_reason.update(_reason(each) for each in receipts[:-1])

    def lines(self) -> str:
        """Return them as text."""
        why = ", ".join(f"{count} {reason}" for reason, count in self.by_reason.most_common())
        return (
            f"deliveries wanted {self.wanted}, received {self.received}, doubles {self.doubled} (after: {why or 'none'});"
            f" dead letters {self.buried}, answers to consumers lost {self.unanswered}, most attempts {self.most_attempts}"
        )


def problems_of(promise: Promise, log: Sequence[Entry], history: History) -> list[str]:
    """Return all that is wrong with what came of a subscription, against a log that is complete and a subscription at rest."""
    wanted = promise.wanted(log)
    found = [
        *_strangers(wanted, log, history),
        *_lost(promise, wanted, history),
        *_doubles(promise, history),
        *_graves(promise, wanted, log, history),
        *(_disorder(wanted, history) if promise.ordered else ()),
    ]
    return [f"{promise.name}: {each}" for each in found]


def _strangers(wanted: Sequence[Entry], log: Sequence[Entry], history: History) -> Iterator[str]:
    expected, known = {each.position: each for each in wanted}, {each.position for each in log}
    for each in history.receipts:
        entry = expected.get(each.position)
        if entry is None:
            where = "is not for it" if each.position in known else "is not in the log"
            yield f"{each.position} was given, and {where}"
        elif each.event_id != entry.event_id:
            yield f"{each.position} came as {each.event_id}, and is {entry.event_id} in the log"
        elif each.digest != entry.digest:
            yield f"{each.position} has other data than in the log"


def _lost(promise: Promise, wanted: Sequence[Entry], history: History) -> Iterator[str]:
    buried = {each.position for each in history.letters}
    for entry in wanted:
        receipts = history.by_position.get(entry.position, ())
        if entry.position in buried:
            continue
        if not receipts:
            yield f"{entry.position} ({entry.type}) was lost"
        elif not any(each.how == "ack" and each.done is not False for each in receipts):
            yield f"{entry.position} ({entry.type}) was given and not acknowledged, and never came again"


def _doubles(promise: Promise, history: History) -> Iterator[str]:
    for hold, times in Counter(each.hold for each in history.receipts).items():
        if times > 1:
            yield f"the lease {hold} was given {times} times"
    for position, receipts in history.by_position.items():
        if promise.leases:
            yield from _leased_wrongly(promise, position, receipts, history)
        else:
            yield from _posted_wrongly(position, receipts, history)


def _leased_wrongly(promise: Promise, position: int, receipts: Sequence[Receipt], history: History) -> Iterator[str]:
    missing = receipts[-1].attempt - len(receipts)
    if missing > history.unanswered:
        yield f"{position}: {missing} attempts reached nobody, and {history.unanswered} answers were lost"
    for one, next in pairwise(receipts):
        if one.attempt == next.attempt:
            yield f"{position}: attempt {one.attempt} was given twice"
        elif one.how in ("ack", "bury") and one.done:
            yield f"{position} came again, by attempt {next.attempt}, after it was done"
        elif next.at < one.until and not _is_free(promise, one, next, history):
            early = one.until - next.at
            yield f"{position}: attempt {next.attempt} was given {early:.3f} s before the lease of {one.attempt} ended"


def _is_free(promise: Promise, one: Receipt, next: Receipt, history: History) -> bool:
    """Tell whether it may come again before its lease has ended: it was refused, or given back with a connection."""
    if one.how == "refuse" and one.done is not False and one.said_at < next.at:
        return True
    return promise.gives_back and (one.ended - NOTED_SECONDS < next.at or history.had_fault(one.at, next.at))


def _posted_wrongly(position: int, receipts: Sequence[Receipt], history: History) -> Iterator[str]:
    for one, next in pairwise(receipts):
        answered = one.how == "ack" and one.said_at < next.at
        if answered and not history.had_fault(one.at - NOTED_SECONDS, one.said_at + NOTED_SECONDS):
            yield f"{position} was posted again {next.at - one.said_at:.3f} s after it was answered, for no reason"


def _graves(promise: Promise, wanted: Sequence[Entry], log: Sequence[Entry], history: History) -> Iterator[str]:
    told, expected = Counter(each.letter for each in log if each.letter), {each.position: each for each in wanted}
    for letter in history.letters:
        receipts, entry = history.by_position.get(letter.position, ()), expected.get(letter.position)
        if entry is None or letter.event_id != entry.event_id:
            yield f"{letter.position} is a dead letter, and not for it"
            continue
        if any(each.how == "ack" and each.done for each in receipts):
            yield f"{letter.position} is a dead letter, and was acknowledged"
        if letter.reason == "rejected" and not any(each.how == "bury" for each in receipts):
            yield f"{letter.position} is a dead letter, and nobody refused it for good"
        if letter.reason == "max_deliveries" and letter.attempts < promise.attempts:
            yield f"{letter.position} is a dead letter after {letter.attempts} of {promise.attempts} attempts"
        if told[letter.id] != (entry.type != DEAD_LETTERED):
            yield f"the dead letter of {letter.position} was announced {told[letter.id]} times"


def _disorder(wanted: Sequence[Entry], history: History) -> Iterator[str]:
    died = {each.position: each.died_at for each in history.letters}
    # What came when its lease had ended is somebody else's by then: no order is promised for it.
    timely = {
        position: [each for each in receipts if each.is_timely] for position, receipts in history.by_position.items()
    }
    before: dict[str, tuple[int, float, float]] = {}
    for entry in wanted:
        receipts = timely.get(entry.position, [])
        first = min((each.at for each in receipts), default=inf)
        if entry.subject in before:
            earlier, settled, last = before[entry.subject]
            if first < settled:
                yield f"{entry.position} of {entry.subject} came before {earlier} was settled"
            if first < last:
                yield f"{earlier} of {entry.subject} came after {entry.position}"
        settled = min((each.settles_at for each in history.by_position.get(entry.position, ())), default=inf)
        settled = min(settled, died.get(entry.position, inf))
        before[entry.subject] = (entry.position, settled, max((each.at for each in receipts), default=-inf))


def _reason(receipt: Receipt) -> str:
    match receipt.how:
        case "refuse":
            return "a refusal"
        case None:
            return "silence"
        case _:
            return "an answer too late" if receipt.done is False else "an answer of which nobody knows"


def _matcher(globs: Sequence[str]) -> Callable[[str], object]:
    return re.compile(
        "|".join(".*".join(re.escape(part) for part in each.split("*")) for each in globs), re.DOTALL
    ).fullmatch
