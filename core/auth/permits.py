"""What a node knows of an organisation's limit, and the answers that follow from it. No I/O, no clock."""

import asyncio
from dataclasses import dataclass, field, replace
from math import ceil

from core.auth.allowance import Allowance, part_of, wait_for
from core.quota import WINDOW_SECONDS, Quota

# A refusal is repeated from memory while nothing can have changed but the limit itself, and no longer than this.
REPEATED_SECONDS = 1.0

Future = asyncio.Future[Quota]


@dataclass(slots=True)
class Counts:
    """Requests by what became of them; `alone` were decided without Redis, and are among the others too."""

    granted: int = 0
    refused: int = 0
    grace: int = 0
    alone: int = 0


@dataclass(eq=False, slots=True)
class Share:
    """One organisation on this node.

    `known` is what Redis said last, of a key `made` then (unix microseconds); `alone` counts without it, this node's part (one of
    `nodes`) of what was left. `owed` was granted so, and Redis is to be told; `is_doubted`: Redis may have lost what it said.
    """

    key: str
    slot: int
    per_hour: int = 0
    burst: int = 0
    known: Allowance = field(default_factory=Allowance)
    made: int = 0
    alone: Allowance | None = None
    nodes: int = 1
    owed: int = 0
    is_doubted: bool = False
    asks: list["Ask"] = field(default_factory=list["Ask"])
    # The call for one permit of weight 1, packed, and the limits in it.
    command: tuple[int, int, bytes] = (-1, -1, b"")
    refusal: Quota | None = None
    refused_until: float = 0.0

    def heard(self, used: int, debt: float, start: int, now: float, made: int) -> Allowance:
        """Note what Redis says."""
        known, self.made = self.known, made
        known.start, known.used, known.debt, known.at = start, used, debt, now
        self.alone = None
        return known

    def remembered(self, now: float) -> tuple[str, str, str, str]:
        """Return what Redis may have lost, for limiter.lua: a window, its use, the debt of now, and the key that said so."""
        known = self.known
        lent = known if self.alone is None else self.alone
        debt = lent.debt * (1 if self.alone is None else self.nodes)
        moved = Allowance(known.start, known.used, debt, lent.at)
        moved.move(now, self.per_hour)
        return str(known.start), str(known.used), f"{moved.debt:.3f}", str(self.made)

    def take_alone(self, count: int, weight: int, now: float, nodes: int) -> int:
        """Take permits out of this node's part; return how many there were."""
        if self.alone is None:
            self.nodes = nodes
            known = self.known
            self.alone = Allowance(known.start, known.used + self.owed, known.debt, known.at).part(nodes)
        self.is_doubted = True
        per_hour, burst = self.limits_alone
        self.alone.move(now, per_hour)
        before = self.alone.used
        granted = self.alone.take(per_hour, burst, count, weight)
        self.owed += self.alone.used - before
        return granted

    @property
    def has_plenty(self) -> bool:
        """Whether half the bucket, and a tenth of the window, were left when Redis was heard last."""
        known = self.known
        return known.at > 0 and known.debt * 2 < self.burst and known.used * 10 < self.per_hour * 9

    @property
    def limits_alone(self) -> tuple[int, int]:
        """The limits of this node's part."""
        return part_of(self.per_hour, self.nodes), part_of(self.burst, self.nodes)


@dataclass(eq=False, slots=True)
class Ask:
    """One question: permits of one weight for those who wait, which is over when they are answered; `owed` went with it."""

    share: Share
    weight: int
    by_grace: bool
    futures: list[Future]
    owed: int = 0
    is_over: bool = False


@dataclass(eq=False, slots=True)
class Ruling:
    """What was decided of an Ask: the first `granted` are, then `by_grace`, the others are refused; `left` is what then is used."""

    granted: int
    by_grace: int
    left: Allowance
    per_hour: int
    burst: int

    def answer(self, ask: Ask, counts: Counts) -> Quota | None:
        """Give everybody an answer; return the refusal, where there was one."""
        ask.is_over = True
        futures, granted = ask.futures, self.granted
        counts.granted += granted
        each = min(ask.weight, self.per_hour, self.burst)
        for index in range(granted):
            _give(futures[index], self._quota(ask.share, (granted - 1 - index) * each))
        if granted == len(futures):
            return None
        refusal = self._quota(ask.share, 0)
        refusal.retry_after = max(1, ceil(self.wait(ask.weight)))
        graced = granted + self.by_grace
        for future in futures[granted:graced]:
            counts.grace += 1
            _give(future, replace(refusal, is_grace=True))
        for future in futures[graced:]:
            counts.refused += 1
            _give(future, refusal)
        return refusal

    def wait(self, weight: int) -> float:
        """Return in how many seconds there is a permit."""
        return wait_for(self.per_hour, self.burst, weight, self.left)

    def _quota(self, share: Share, later: int) -> Quota:
        """Return where the organisation stood when `later` permits had not been given yet."""
        left = self.left
        reset = left.start + WINDOW_SECONDS
        return Quota(
            share.per_hour,
            max(0, self.per_hour - left.used + later),
            reset,
            max(1, ceil(reset - left.at)),
            share.burst,
            max(0, int(self.burst - left.debt + 1e-6) + later),
        )


def _give(future: Future, quota: Quota) -> None:
    if not future.done():  # who asked may have gone
        future.set_result(quota)
