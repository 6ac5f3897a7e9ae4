"""A worker's part in metrics of all workers: it tells what it counted, and hears what the others did, through the parent."""

import asyncio
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client.core import Metric

from core.clock import Clock
from core.deadline import ended_within
from core.errors import HubError
from hub.insight.merged import Part, Totals, packed, unpacked
from hub.insight.metrics import Family, Place
from hub.workers.messages import Head

# The parent gives up on a worker that is silent before that.
ANSWER_SECONDS = 2.0


class Tell(Protocol):
    """Sends a message to the parent; False where it cannot be sent."""

    def __call__(self, head: Head, body: bytes = b"") -> bool: ...  # noqa: D102


@dataclass(slots=True)
class _Question:
    whole: asyncio.Future[Family]
    parts: list[Part] = field(default_factory=list[Part])


class Siblings:
    """`collect_by` first; `heard` gets the parent's messages about counts."""

    def __init__(self, tell: Tell, clock: Clock) -> None:
        self._tell = tell
        self._clock = clock
        self._collect: Callable[[], Iterable[Metric]] = tuple
        # What workers before this one, in its place, had counted.
        self._carried = Totals()
        self._absorbed = 0
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Question] = {}

    def collect_by(self, collect: Callable[[], Iterable[Metric]]) -> None:
        """Count by `collect` from now on."""
        self._collect = collect

    async def counted(self) -> Family:
        """Return what all workers counted, this one too; who is silent is not waited for.

        Raises SERVICE_UNAVAILABLE where the parent does not answer within two seconds.
        """
        number = next(self._numbers)
        question = self._questions[number] = _Question(asyncio.get_running_loop().create_future())
        try:
            self._tell({"say": "ask", "id": number})
            if await ended_within(self._clock, ANSWER_SECONDS, question.whole):
                return question.whole.result()
        finally:
            del self._questions[number]
        # Its own counts alone would look like those of all, and go up and down.
        raise HubError("SERVICE_UNAVAILABLE", "The parent of the workers does not answer", retry_after=1)

    def tell_last(self) -> None:
        """Leave the counts to who comes after."""
        self._report(0, 0)

    def heard(self, head: Head, body: bytes) -> None:
        """Take a message of the parent."""
        match head.get("do"):
            case "carry":
                self._carried.add(unpacked(body), gauges=False)
                self._absorbed += 1
                self._report(0, 0)
            case "ask":
                self._report(int(head["id"]), int(head["to"]))
            case "part":
                self._take_part(head, body)
            case "all":
                self._take_all(head)
            case _:
                pass

    def _take_part(self, head: Head, body: bytes) -> None:
        question = self._questions.get(int(head["id"]))
        if question is not None:
            part = Part(int(head["worker"]), leaving=bool(head["leaving"]), fresh=bool(head["fresh"]), body=body)
            question.parts.append(part)

    def _take_all(self, head: Head) -> None:
        question = self._questions.get(int(head["id"]))
        if question is None or question.whole.done():
            return
        # What is shown is told to the parent as well: it must not be forgotten when this worker is.
        own = Part(int(head["worker"]), leaving=bool(head["leaving"]), fresh=True, body=self._report(0, 0))
        places = [
            Place(int(each["worker"]), is_up=bool(each["up"]), starts=int(each["starts"])) for each in head["workers"]
        ]
        question.whole.set_result(Family([*question.parts, own], places))

    def _report(self, number: int, asker: int) -> bytes:
        head = {"say": "counts", "id": number, "to": asker, "absorbed": self._absorbed}
        body = packed([*self._collect(), *self._carried.metrics()])
        self._tell(head, body)
        return body
