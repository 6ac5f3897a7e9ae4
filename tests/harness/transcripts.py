"""The checker of what readers of a run were told: it reads as docs/protocol.md tells readers to, and finds what is not one answer.

rule                                                                     excused
a run begins with its start, or with a snapshot                          never
deltas of an attempt come once, in order, without a gap                  doubles after a reset or a fresh join
nothing of an attempt that was left comes any more                       after a reset, and behind a snapshot of what has ended
at one place of an attempt there is one text                             never
an attempt only grows                                                    where it says that it restarts, and after a reset
another attempt says from which text it goes on                          never
one end, and nothing behind it                                           the same end once more, after a reset or a fresh join
the answer that was read is the one that GET shows                       one that did not come to its end may have been longer
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.harness.checker import begins_life
from tests.harness.watcher import Told

ENDS = ("completed", "failed", "cancelled")
# What says from which text on a reader reads.
_WHOLE = ("run.snapshot", "run.restarted", "run.resumed")
_KINDS = ("run.started", "run.delta", "run.step", "run.requires_action", *_WHOLE, *(f"run.{each}" for each in ENDS))

Place = tuple[int, int]  # attempt, sequence


@dataclass
class Transcript:
    """What one reader has of one run: `place` and `text` as the reader's rule makes them, `problems` what it should not have met.

    Feed it `take` with each event in the order in which it came, and `begins_anew` where the reader was told that what follows does
    not go on from what it has; `check` at the end.
    """

    execution_id: str
    place: Place = (0, 0)
    text: str = ""
    status: str | None = None
    waits: int = 0
    restarts: int = 0
    ignored: int = 0
    problems: list[str] = field(default_factory=list[str])
    _has_begun: bool = False
    _has_end: bool = False
    _excused_to: Place = (-1, -1)
    _is_excused: bool = False
    _was_reset: bool = False
    _was_told_whole: bool = False  # its end, by a snapshot

    def begins_anew(self, *, was_reset: bool = False) -> None:
        """Note that what was told so far may come again; behind a reset also what the snapshot that follows it has."""
        self._excused_to = self.place
        self._is_excused = True
        self._was_reset = was_reset

    def take(self, kind: str, data: Mapping[str, Any]) -> None:
        """Read one event of the run."""
        if kind not in _KINDS:
            self._wrong(f"an event of an unknown type: {kind}")
            return
        place = (int(data["attempt"]), int(data.get("sequence", -1)))
        if kind in _WHOLE:
            self._take_whole(kind, place, data)
        elif kind.removeprefix("run.") in ENDS:
            self._take_end(kind.removeprefix("run."), place, data)
        elif self.status is not None:
            # Who joins as it ends is told how it ended, and then what the room was told before: the rule passes that over.
            if not self._is_old(place) and not (self._was_told_whole and place[0] < self.place[0]):
                self._wrong(f"{kind} at {place}, after it had ended as {self.status}")
        elif place[0] < self.place[0]:
            self._left(kind, place)
        else:
            self._take_part(kind, place, data)

    def check(self, answer: Mapping[str, Any]) -> list[str]:
        """Compare with the run as GET shows it, and return all that is wrong."""
        if self.status is None:
            self._wrong(f"no end; it stands at {self.place} with {self.text[-40:]!r}, GET says {answer['status']}")
        elif self.status != answer["status"]:
            self._wrong(f"two states: told {self.status}, GET says {answer['status']}")
        kept = str(answer["text"])
        if answer["status"] == "completed" and self.text != kept:
            self._wrong(f"{_difference(self.text, kept)}: not the answer that GET shows")
        elif not self.text.startswith(kept):
            self._wrong(f"{_difference(self.text, kept)}: not even the beginning is what GET shows")
        return self.problems

    def _take_part(self, kind: str, place: Place, data: Mapping[str, Any]) -> None:
        if kind == "run.started":
            self._take_start(place[0])
        elif kind == "run.delta":
            self._take_delta(place, str(data["text"]))
        elif not self._has_begun:
            self._wrong(f"begins with {kind}")
        elif kind == "run.requires_action":
            self.waits += 1
            self._check_whole(kind, place)

    def _take_start(self, attempt: int) -> None:
        if self.text:
            self._wrong(f"started, in attempt {attempt}, after {self.place} without a word of it")
        self.place, self._has_begun = (attempt, 0), True

    def _take_delta(self, place: Place, text: str) -> None:
        attempt, sequence = place
        if attempt > self.place[0] or not self._has_begun:
            self._wrong(f"a delta at {place}, but nothing has said from where this attempt goes on")
            self.place, self.text, self._has_begun = place, text, True
        elif sequence == self.place[1] + 1:
            self.place = place
            self.text += text
        elif sequence <= self.place[1]:
            self.ignored += 1
            if not self._is_old(place):
                self._wrong(f"the delta at {place} came again, at {self.place}")
        else:
            self._wrong(f"a gap: the delta at {place} came after {self.place}")
            self.place = place
            self.text += text

    def _take_whole(self, kind: str, place: Place, data: Mapping[str, Any]) -> None:
        text, status = str(data["text"]), data.get("status")
        if self._has_begun and place < self.place:
            self._left(kind, place)
            return
        if self._has_begun and place[0] == self.place[0]:
            self._check_same_attempt(kind, place, text)
        if kind == "run.resumed" and place[1] == self.place[1] and text != self.text:
            self._wrong(f"resumed at {place} from another text: {_difference(self.text, text)}")
        if kind != "run.snapshot" or status not in ENDS:
            if self.status is not None:
                self._wrong(f"{kind} at {place}, after it had ended as {self.status}")
        else:
            self._was_told_whole = self._was_told_whole or not self._has_begun
            self._end(str(status), is_snapshot=True)
        if self._was_reset and kind == "run.snapshot":
            # The room goes on from where the reset said; the snapshot may be of later.
            self._excused_to, self._was_reset = max(self._excused_to, place), False
        self.restarts += kind == "run.restarted"
        self.place, self.text, self._has_begun = place, text, True

    def _check_same_attempt(self, kind: str, place: Place, text: str) -> None:
        if place[1] == self.place[1] and text != self.text:
            self._wrong(f"{kind}: two texts at {place}: {_difference(self.text, text)}")
        elif kind == "run.snapshot" and not self._is_excused and not text.startswith(self.text):
            # A turn that is tried again begins with a restart of the same attempt; nothing else takes back what was said.
            self._wrong(f"{kind} at {place}: what attempt {place[0]} had said is gone: {_difference(self.text, text)}")

    def _take_end(self, status: str, place: Place, data: Mapping[str, Any]) -> None:
        if place[0] < self.place[0]:
            self._wrong(f"it ends as {status} in attempt {place[0]}, which was left for {self.place[0]}")
        if data.get("status", status) != status:
            self._wrong(f"run.{status} says {data['status']}")
        if status == "completed":
            self._check_whole("the end", place)
        self._end(status, is_snapshot=False)
        # Cancelling counts as an attempt, of which there is no text.
        self.place = (max(self.place[0], place[0]), self.place[1])

    def _end(self, status: str, *, is_snapshot: bool) -> None:
        if self.status is not None and self.status != status:
            self._wrong(f"two states: it ended as {self.status}, and then as {status}")
        elif self._has_end and not (is_snapshot or self._is_excused):
            self._wrong(f"it ended as {status} twice")
        self._has_end = self._has_end or not is_snapshot
        self.status, self._has_begun = status, True

    def _check_whole(self, what: str, place: Place) -> None:
        if not self._has_begun or place[1] != self.place[1]:
            self._wrong(f"{what} is at {place}, but the text that was told at {self.place}")

    def _left(self, kind: str, place: Place) -> None:
        self.ignored += 1
        if not self._is_excused:
            self._wrong(f"{kind} at {place}, which was left for {self.place}")

    def _is_old(self, place: Place) -> bool:
        return place <= self._excused_to

    def _wrong(self, what: str) -> None:
        self.problems.append(what)


def transcripts_of(told: Sequence[Told]) -> dict[str, Transcript]:
    """Return what one room's record says of each run, by execution."""
    found: dict[str, Transcript] = {}
    for index, each in enumerate(told):
        if each.kind != "event":
            if index and begins_life(each):
                for transcript in found.values():
                    transcript.begins_anew(was_reset=each.kind == "reset")
            continue
        event: Mapping[str, Any] = each.event or {}
        if str(event["type"]).startswith("run."):
            id = str(event["data"]["execution_id"])
            found.setdefault(id, Transcript(id)).take(event["type"], event["data"])
    return found


def transcript_of(execution_id: str, events: Iterable[Mapping[str, Any]]) -> Transcript:
    """Return what events that came one behind the other say of a run."""
    made = Transcript(execution_id)
    for event in events:
        made.take(event["type"], event["data"])
    return made


def _difference(one: str, other: str) -> str:
    """Say where two texts part."""
    at = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    begin = max(0, at - 20)
    return f"{one[begin : at + 30]!r} (of {len(one)}) and {other[begin : at + 30]!r} (of {len(other)}) from {begin} on"
