"""What a consumer of a fault test notes, line by line, before it does what it notes: it may be killed at any moment.

Each life of a consumer has a file of its own. A line is a JSON array, the first of it its kind:

    taking    subscription                      it asks for events, or waits for them
    taken     subscription                      the answer has come, with what the lines before say
    given     subscription, receipt             an event came
    said      how, holds                        an answer is about to be sent
    done      holds                             what the hub has replied: these are done
    lost      holds                             and these it did not take
    ended     holds                             the connection that had them is no more
    wrong     subscription, words               what must not happen has
"""

import hashlib
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.harness.handed_out import How, Receipt


class Journal:
    """A consumer's own. Each call is on disk, as far as a killed process is concerned, when it returns."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(
            folder / f"{time.time_ns()}-{os.getpid()}.jsonl", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644
        )

    def taking(self, subscription: str) -> None:
        """Note that events are asked for."""
        self._write(["taking", subscription])

    def taken(self, subscription: str, receipts: Sequence[Receipt]) -> None:
        """Note what has come as the answer."""
        self._write(*(["given", subscription, asdict(each)] for each in receipts), ["taken", subscription])

    def given(self, subscription: str, receipt: Receipt) -> None:
        """Note what has come unasked."""
        self._write(["given", subscription, asdict(receipt)])

    def said(self, how: How, holds: Sequence[str]) -> None:
        """Note an answer that is about to be sent."""
        self._write(["said", how, list(holds), time.time()])

    def replied(self, done: Sequence[str], lost: Sequence[str] = ()) -> None:
        """Note what the hub has said to an answer."""
        self._write(["done", list(done)], ["lost", list(lost)])

    def ended(self, holds: Sequence[str]) -> None:
        """Note that a connection has ended, or is about to, without a reply to these."""
        self._write(["ended", list(holds), time.time()])

    def wrong(self, subscription: str, words: str) -> None:
        """Note what must not happen."""
        self._write(["wrong", subscription, words])

    def _write(self, *lines: Any) -> None:
        os.write(self._file, "".join(f"{json.dumps(line)}\n" for line in lines).encode())


@dataclass
class Noted:
    """What all journals of a test say, by subscription."""

    receipts: dict[str, list[Receipt]] = field(default_factory=lambda: defaultdict[str, list[Receipt]](list))
    unanswered: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])

    @classmethod
    def of(cls, folder: Path) -> "Noted":
        """Read all journals of a folder."""
        noted = cls()
        for path in sorted(folder.glob("*.jsonl")):
            noted._read(_lines(path))
        return noted

    def _read(self, lines: Iterator[Any]) -> None:
        held: dict[str, Receipt] = {}
        for kind, *rest in lines:
            match kind, rest:
                case "taking", [name]:
                    self.unanswered[name] += 1
                case "taken", [name]:
                    self.unanswered[name] -= 1
                case "given", [name, receipt]:
                    held[receipt["hold"]] = Receipt(**receipt)
                    self.receipts[name].append(held[receipt["hold"]])
                case "wrong", _:
                    self.wrong.append(f"{rest}")
                case _:
                    _note(held, kind, rest)


def _note(held: Mapping[str, Receipt], kind: str, rest: Sequence[Any]) -> None:
    """Note what was said to what is held, or came of it."""
    match kind, rest:
        case "said", [how, holds, at]:
            for hold in holds:
                held[hold].how, held[hold].said_at = how, at
        case (("done" | "lost"), [holds]):
            for hold in holds:
                held[hold].done = kind == "done"
        case "ended", [holds, at]:
            for hold in holds:
                held[hold].ended = at
        case _:
            raise ValueError(f"{kind} {rest}")


def received(hold: str, event: Mapping[str, Any], position: str, *, replayed: bool, **more: Any) -> Receipt:
    """Return what stands in a journal of an event that came just now."""
    return Receipt(hold, time.time(), int(position), event["id"], digest_of(event["data"]), replayed, **more)


def digest_of(data: Any) -> str:
    """Return what tells an event's data from other data."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def seconds_of(moment: str) -> float:
    """Return a moment of the hub's answers as seconds of the wall clock."""
    return datetime.fromisoformat(moment).timestamp()


def _lines(path: Path) -> Iterator[Any]:
    text = path.read_text()
    # A line that its writer did not end was not written.
    for line in text[: text.rfind("\n") + 1].splitlines():
        yield json.loads(line)
