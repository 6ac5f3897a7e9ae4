"""How many requests an organisation may make, exact on all nodes together.

    ask() ... ask()   -> at the end of the loop's turn one script call for each organisation, one write for each server
                      -> a Quota for each who asked: granted, or refused and when to come again

Redis has the counts and the clock (limiter.lua). Who does not hear from it within a tenth of a second is answered from a count of
this node's own, and so is everybody until it answers again: the node's part of what was left when Redis was heard last. What was
granted so is charged afterwards. So the limit holds without Redis, nearly, and nobody waits for it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import hiredis
import structlog

from core.auth.permits import REPEATED_SECONDS, Ask, Counts, Future, Ruling, Share
from core.auth.tiers import Limits
from core.clock import Clock
from core.deadline import ended_within
from core.store.pipes import Pipe, Pipes, packed
from core.store.redis import Redis, Script
from core.store.slot_map import slot_of

BEGIN_SECONDS = 1.0
# Looked at twice before a server is taken for silent: nobody waits longer than both.
LOOK_SECONDS = 0.045
# Our own loop may have stood still: what has come meanwhile is read before Redis is judged.
READ_SECONDS = 0.005
# Organisations whose counts this node remembers, in case that Redis goes away.
MOST_SHARES = 20_000
_SCRIPT = Path(__file__).with_name("limiter.lua")
# It was not done, and may be done elsewhere, or in another way.
_NOT_DONE = ("MOVED", "ASK", "TRYAGAIN", "NOSCRIPT")
_NOTHING_LOST = ("0", "0", "0", "0")

Sent = tuple[Ask, Pipe | None]


class Limiter:
    """One of a node; `run()` must run, and `close()` comes last. `nodes` tells how many nodes there are.

    `look` is in place of LOOK_SECONDS, and `time` (unix microseconds) in place of Redis' clock, for tests.
    """

    def __init__(
        self,
        url: str,
        redis: Redis,
        clock: Clock,
        *,
        nodes: Callable[[], int] = lambda: 1,
        look: float = LOOK_SECONDS,
        time: Callable[[], int] | None = None,
    ) -> None:
        self._redis = redis
        self._look_seconds = look
        self._clock = clock
        self._nodes = nodes
        self._time = time
        self._script = Script(_SCRIPT)
        script = ("SCRIPT", "LOAD", _SCRIPT.read_text())
        self._pipes = Pipes(url, redis, clock, greeting=[script], on_answering=self._report)
        self._shares: dict[UUID, Share] = {}
        self._due: list[Share] = []
        # Sent, and not answered at the last look; and since then.
        self._older: list[Sent] = []
        self._newer: list[Sent] = []
        self._timer: asyncio.TimerHandle | None = None
        self._astray: list[Ask] = []
        self._something_is_astray = asyncio.Event()
        # Redis' time less this node's monotonic one.
        self._ahead: float | None = None
        self._is_alone = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.counts = Counts()
        self._log = structlog.get_logger()

    @property
    def connected(self) -> bool:
        """Whether every server has answered on its present connection."""
        return self._pipes.connected

    async def begin(self) -> None:
        """Wait a moment for Redis, while `run()` runs: so that the first requests of a node are not counted by it alone."""
        begun = asyncio.ensure_future(self._pipes.begun())
        try:
            await ended_within(self._clock, BEGIN_SECONDS, begun)
        finally:
            begun.cancel()

    def ask(self, org_id: UUID, limits: Limits, weight: int = 1, *, by_grace: bool = False) -> Future:
        """Ask for permission for one request; the future gets a Quota, and no exception.

        `by_grace`: where the limit is reached, the grace share may give it, to be answered only if that is cheap.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()  # up to Python 3.11 a system call
        future: Future = self._loop.create_future()
        share = self._shares.get(org_id) or self._new_share(org_id)
        if share.refusal is not None and not by_grace and self._is_refused(share, limits):
            self.counts.refused += 1
            future.set_result(share.refusal)
            return future
        share.per_hour, share.burst = limits.requests_per_hour, limits.burst
        for ask in share.asks:
            if ask.weight == weight and ask.by_grace == by_grace:
                ask.futures.append(future)
                return future
        self._is_due(Ask(share, weight, by_grace, [future]))
        return future

    def has_plenty(self, org_id: UUID) -> bool:
        """Tell whether an organisation is far from its limit, as was heard last: a refusal would be a surprise."""
        share = self._shares.get(org_id)
        return share is not None and share.has_plenty

    async def run(self) -> None:
        """Keep the connections, and ask again what went to the wrong place; until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pipes.run())
            group.create_task(self._bring_back())

    def close(self) -> None:
        """Answer whoever still waits, without Redis."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for ask, _ in (*self._older, *self._newer):
            if not ask.is_over:
                self._decide(ask, "closed")
        self._older, self._newer = [], []

    def _new_share(self, org_id: UUID) -> Share:
        if len(self._shares) >= MOST_SHARES:
            del self._shares[next(iter(self._shares))]  # what is under way has a hold of it
        key = f"limit:{{{org_id}}}"
        share = self._shares[org_id] = Share(key, slot_of(key))
        return share

    def _is_refused(self, share: Share, limits: Limits) -> bool:
        """Tell whether the last refusal still holds."""
        is_same = share.per_hour == limits.requests_per_hour and share.burst == limits.burst
        if is_same and self._clock.monotonic() < share.refused_until:
            return True
        share.refusal = None
        return False

    def _is_due(self, ask: Ask) -> None:
        asks = ask.share.asks
        if not asks:
            if not self._due:
                asyncio.get_running_loop().call_soon(self._send)
            self._due.append(ask.share)
        asks.append(ask)

    def _report(self) -> None:
        """Tell Redis, which answers again, what was granted without it: other nodes must know before they grant the same.

        It may have been started anew, so that it is told of everything that is remembered with the next question.
        """
        for share in self._shares.values():
            share.is_doubted = True
            if share.owed and not share.asks:
                self._is_due(Ask(share, 1, by_grace=False, futures=[]))

    def _send(self) -> None:
        """Send what one turn has brought."""
        due, self._due = self._due, []
        writes: dict[Pipe, tuple[list[bytes], list[Callable[[Any], None]]]] = {}
        for share in due:
            asks, share.asks = share.asks, []
            pipe = self._pipes.at(share.slot)
            if pipe is None or pipe.is_silent:
                for ask in asks:
                    self._decide(ask, "not connected" if pipe is None else "silent")
                continue
            commands, answered = writes.setdefault(pipe, ([], []))
            for ask in asks:
                commands.append(self._command(share, ask))
                answered.append(partial(self._answered, ask))
                self._newer.append((ask, pipe))
        if self._newer and self._timer is None:
            self._look_in(self._look_seconds)
        for pipe, (commands, answered) in writes.items():
            pipe.send(commands[0] if len(commands) == 1 else b"".join(commands), answered)

    def _command(self, share: Share, ask: Ask) -> bytes:
        is_plain = len(ask.futures) == 1 and ask.weight == 1 and not ask.by_grace
        if not is_plain or share.owed or share.is_doubted or self._time is not None:
            return packed(("EVALSHA", self._script.hash, "1", share.key, *self._arguments(ask)))
        # Most are this one: one permit for the same organisation with the same limits.
        per_hour, burst, command = share.command
        if per_hour != share.per_hour or burst != share.burst:
            command = packed(("EVALSHA", self._script.hash, "1", share.key, *self._arguments(ask)))
            share.command = (share.per_hour, share.burst, command)
        return command

    def _arguments(self, ask: Ask) -> tuple[str, ...]:
        share = ask.share
        ask.owed, share.owed = share.owed, 0
        lost = _NOTHING_LOST
        if share.is_doubted:
            share.is_doubted = False
            lost = share.remembered(self._now())
        return (
            str(share.per_hour),
            str(share.burst),
            str(len(ask.futures)),
            str(ask.weight),
            "1" if ask.by_grace else "0",
            str(ask.owed),
            *lost,
            "" if self._time is None else str(self._time()),
        )

    def _now(self) -> float:
        """Return Redis' time as well as it is known."""
        if self._time is not None:
            return self._time() / 1e6
        if self._ahead is None:
            return self._clock.now().timestamp()
        return self._clock.monotonic() + self._ahead

    def _answered(self, ask: Ask, answer: Any) -> None:
        if type(answer) is not list:
            self._not_answered(ask, answer)
            return
        granted, by_grace, used, debt, start, now, made = answer
        share, seconds = ask.share, now / 1e6
        self._ahead = seconds - self._clock.monotonic()
        left = share.heard(used, debt / 1000, start, seconds, made)
        if self._is_alone:
            self._is_alone = False
            self._log.info("limits_counted_together")
        if ask.is_over:  # it comes late, and what Redis has counted is not owed any more
            share.owed = max(0, share.owed - granted * ask.weight)
        else:
            self._rule(ask, Ruling(granted, by_grace, left, share.per_hour, share.burst))

    def _not_answered(self, ask: Ask, answer: Any) -> None:
        """Take an error, or the loss of the connection, of which nobody knows whether Redis has counted."""
        share = ask.share
        share.owed, ask.owed = share.owed + ask.owed, 0
        if isinstance(answer, hiredis.ReplyError):
            code = str(answer).partition(" ")[0]
            if code in _NOT_DONE:
                self._astray.append(ask)
                self._something_is_astray.set()
                return
            self._pipes.give_up(share.slot)
        share.is_doubted = True
        if not ask.is_over:
            self._decide(ask, str(answer))

    async def _bring_back(self) -> None:
        """Ask again by way of redis-py, which follows slots and sends scripts."""
        while True:
            await self._something_is_astray.wait()
            self._something_is_astray.clear()
            self._pipes.look_again()
            asks, self._astray = [ask for ask in self._astray if not ask.is_over], []
            if asks:
                calls = [((ask.share.key,), self._arguments(ask)) for ask in asks]
                for ask, answer in zip(asks, await self._script.run_each(self._redis, calls), strict=True):
                    self._answered(ask, answer)

    def _look_in(self, seconds: float) -> None:
        # The loop's own timer, one for all who wait.
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """Find who has waited since before the last look."""
        self._timer = None
        self._older = [each for each in self._older if not each[0].is_over]
        if self._older:
            self._timer = asyncio.get_running_loop().call_later(READ_SECONDS, self._give_up)
            return
        self._older, self._newer = [each for each in self._newer if not each[0].is_over], []
        if self._older:
            self._look_in(self._look_seconds)

    def _give_up(self) -> None:
        """Wait no longer for servers that have let somebody wait, nor ask them until they answer."""
        for ask, pipe in self._older:
            if not ask.is_over:
                self._decide(ask, "silent")
                if pipe is not None:
                    pipe.is_silent = True
        for ask, pipe in self._newer:
            if pipe is not None and pipe.is_silent and not ask.is_over:
                self._decide(ask, "silent")
        self._older = []
        self._look()

    def _decide(self, ask: Ask, why: str) -> None:
        """Answer without Redis."""
        if not self._is_alone:
            self._is_alone = True
            self._log.warning("limits_counted_alone", why=why)
        share = ask.share
        granted = share.take_alone(len(ask.futures), ask.weight, self._now(), max(1, self._nodes()))
        assert share.alone is not None  # noqa: S101 - it was taken from
        self.counts.alone += len(ask.futures)
        self._rule(ask, Ruling(granted, 0, share.alone, *share.limits_alone))

    def _rule(self, ask: Ask, ruling: Ruling) -> None:
        refusal = ruling.answer(ask, self.counts)
        if refusal is not None and ask.weight == 1:
            share = ask.share
            share.refusal = replace(refusal, is_repeated=True)
            share.refused_until = self._clock.monotonic() + min(REPEATED_SECONDS, ruling.wait(1))
