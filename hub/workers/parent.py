"""The parent of workers: `python -m hub serve --workers N` becomes this. It has the sockets and the workers, and nothing of a hub.

    a worker dies     another takes its place and its socket; at once, or later and later where it dies again and again
    SIGHUP            each worker is replaced in turn: the new one accepts before the old one drains
    SIGTERM, SIGINT   all drain; a second one ends them
    it dies itself    the kernel ends the workers

It imports little, since it lives long beside them; a release that replaces the workers does not replace it.
"""

import asyncio
import signal
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import structlog

from core.clock import Clock, SystemClock
from core.deadline import within
from core.store.engines import EnginesUnavailable, start_engines
from hub.commands.welcome import welcome
from hub.hangup import Terminal, take_hangups
from hub.logs import configure_logs
from hub.standard_streams import say
from hub.workers.children import Child, Place
from hub.workers.messages import Head
from hub.workers.plan import Plan, plan_of
from hub.workers.roll_call import RollCall

# A worker that has served for so long did not die "at once": the next takes its place without delay.
SOUND_SECONDS = 10.0
FIRST_DELAY_SECONDS, MOST_DELAY_SECONDS = 0.25, 5.0
# So many in a row, in every place, with none serving, are no accident. At the very start one is enough.
MOST_FAILURES = 6
# The engines' own bounds are two minutes.
START_SECONDS = 150.0
# Beyond what a drain takes at most.
PATIENCE_SECONDS = 15.0


class Parent:
    """`run` it once: until a signal has ended all workers, or none can start."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self._plan = plan
        self._clock = clock
        self._places = [
            Place(number, [socket.socket(fileno=each) for each in held]) for number, held in enumerate(plan.sockets)
        ]
        self._calls = RollCall(self._places)
        self._tasks: set[asyncio.Task[None]] = set()
        self._over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._roll_wanted = asyncio.Event()
        self._serving = self._own(self._serve())
        self._is_stopping = self._has_failed = False
        self._has_served = False
        self._has_welcomed = False
        self._log = structlog.get_logger()

    async def run(self) -> int:
        """Return 0 after a drain, 1 where it had to give up, or was told twice."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        take_hangups(Terminal(), self._roll, self._go)
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        try:
            return await self._over
        finally:
            for child in self._children():
                child.kill()
            tasks = tuple(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # Not left to the loop: as it closes, it first closes what signals are written into, and a worker that ends just then
            # has Python print a traceback (EBADF).
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                loop.remove_signal_handler(number)

    async def _serve(self) -> None:
        try:
            # Held beside the workers: there may be a moment without any.
            engines = (
                await start_engines(Path(self._plan.data), user=self._plan.engine_user) if self._plan.engines else None
            )
        except EnginesUnavailable as error:
            self._give_up(str(error))
            return
        try:
            async with asyncio.TaskGroup() as group:
                for place in self._places:
                    group.create_task(self._keep(place))
                group.create_task(self._roll_on())
        finally:
            if engines is not None:
                engines.close()

    async def _keep(self, place: Place) -> None:
        """Have somebody accept in this place, always."""
        while True:
            async with place.bringing:
                if place.current is None:
                    await self._clock.sleep(self._delay_of(place))
                    place.current = await self._spawn(place)
                    await self._settled(place.current)
                child = place.current
            await child.gone.wait()
            if place.current is child:
                self._judge(place, child)

    def _judge(self, place: Place, child: Child) -> None:
        """Count how a worker went that nobody had told to."""
        place.current = None
        served = 0.0 if child.ready_at is None else self._clock.monotonic() - child.ready_at
        place.failures = 0 if served >= SOUND_SECONDS else place.failures + 1
        # One that says that it leaves was told to, by somebody else than us, or has given up in order.
        say = self._log.warning if child.is_leaving else self._log.error
        say(
            "worker_leaves" if child.is_leaving else "worker_lost",
            worker=place.number,
            pid=child.pid,
            code=child.code,
            reason=child.reason,
            served=round(served, 1),
        )
        if self._is_hopeless():
            self._give_up(child.reason or f"No worker stays: the last one ended with {child.code}")

    def _is_hopeless(self) -> bool:
        most = MOST_FAILURES if self._has_served else 1
        return all(place.failures >= most and not place.accepts for place in self._places)

    def _delay_of(self, place: Place) -> float:
        if place.failures <= (1 if self._has_served else 0):
            return 0.0
        return min(MOST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** (place.failures - 1))

    async def _roll_on(self) -> None:
        while True:
            await self._roll_wanted.wait()
            self._roll_wanted.clear()
            self._log.info("rolling_restart_began")
            for place in self._places:
                if not await self._replace(place):
                    break
            else:
                self._log.info("rolling_restart_done")

    async def _replace(self, place: Place) -> bool:
        """Put a new worker in a place; return whether it is there. One that cannot start changes nothing."""
        async with place.bringing:
            child = await self._spawn(place)
            await self._settled(child)
            if child.ready_at is None:
                self._log.error("rolling_restart_stopped", worker=place.number, reason=child.reason)
                return False
            replaced, place.current = place.current, child
        if replaced is not None:
            replaced.drain(linger=True)
            replaced.gone.set()
            await self._ended(replaced)
        return True

    async def _spawn(self, place: Place) -> Child:
        child = Child(place.number)
        place.starts += 1
        place.children.append(child)
        self._own(self._see_out(place, child))
        try:
            own = child.start([each.fileno() for each in place.sockets])
        except OSError as error:
            child.fail(f"it cannot be started: {error}")
            return child
        await child.connect(own, self._heard)
        place.hand_down(child)
        self._log.info("worker_started", worker=place.number, pid=child.pid)
        return child

    async def _see_out(self, place: Place, child: Child) -> None:
        await child.over.wait()
        if child.ready_at is None and not child.reason:
            child.reason = f"it ended with {child.code} before it was ready"
        self._calls.forget(child)
        await self._calls.all_over()
        place.bury(child)
        self._log.info("worker_ended", worker=place.number, pid=child.pid, code=child.code)
        self._has_failed |= self._is_stopping and child.code != 0
        if self._is_stopping and not self._children():
            self._finish(1 if self._has_failed else 0)

    async def _settled(self, child: Child) -> None:
        """Wait until a worker accepts, or has ended; one that does neither is ended."""
        try:
            await within(self._clock, START_SECONDS, child.settled.wait())
        except TimeoutError:
            child.reason = f"it was not ready within {START_SECONDS:.0f} s"
            child.kill()
            await child.settled.wait()

    async def _ended(self, child: Child) -> None:
        """Wait for the end of a worker that drains; one that takes too long is ended."""
        try:
            await within(self._clock, 2 * self._plan.drain + PATIENCE_SECONDS, child.over.wait())
        except TimeoutError:
            self._log.error("worker_killed", worker=child.place, pid=child.pid, reason="its drain took too long")
            child.kill()
            await child.over.wait()

    def _heard(self, child: Child, head: Head, body: bytes) -> None:
        """Take what a worker says."""
        match head.get("say"):
            case "ready":
                child.ready_at = self._clock.monotonic()
                child.settled.set()
                self._greet(head)
            case "failed":
                child.reason = str(head["reason"])
            case "leaving":
                child.is_leaving = True
                child.gone.set()
            case "ask":
                self._calls.begin(child, int(head["id"]))
            case "counts":
                self._calls.take(child, head, body)
            case _:
                pass

    def _greet(self, ready: Head) -> None:
        """Tell a person where to go, when every place accepts for the first time."""
        self._has_served = True
        waiting = [place for place in self._places if not place.accepts]
        if not waiting and not self._has_welcomed:
            self._has_welcomed = True
            say(welcome(str(ready["url"]), ready["key_file"]))

    def _roll(self) -> None:
        if not self._is_stopping:
            self._log.info("rolling_restart_wanted")
            self._roll_wanted.set()

    def _go(self) -> None:
        if not self._is_stopping:
            self._end()

    def _end(self) -> None:
        """Drain all; told again, end at once."""
        if self._is_stopping:
            self._finish(1)
            return
        self._is_stopping = True
        self._serving.cancel()
        # What waits in their queues is refused now, as new connections are.
        for each in (one for place in self._places for one in place.sockets):
            each.close()
        if not self._children():
            self._finish(0)
        for child in self._children():
            child.drain(linger=False)
            self._own(self._ended(child))

    def _give_up(self, reason: str) -> None:
        print(reason, file=sys.stderr, flush=True)  # noqa: T201 - a command speaks to a person
        self._finish(1)

    def _finish(self, code: int) -> None:
        if not self._over.done():
            self._over.set_result(code)

    def _children(self) -> list[Child]:
        return [child for place in self._places for child in place.children]

    def _reap(self) -> None:
        for child in self._children():
            child.look()

    def _own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work`; what fails in it is a bug, and ends the parent."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._look_at)
        return task

    def _look_at(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._over.done():
            self._over.set_exception(error)


async def _run(plan: Plan) -> int:
    return await Parent(plan, SystemClock()).run()


def main(text: str) -> int:
    """Be the parent that `text` describes; returns the exit code."""
    plan = plan_of(text)
    configure_logs(plan.log)
    return asyncio.run(_run(plan))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
