"""Where everything stands: the stacks of all threads, and of all asyncio tasks of all loops, down to what each waits for."""

import asyncio
import gc
import linecache
import sys
import threading
import traceback
from collections import defaultdict
from collections.abc import Iterator
from types import AsyncGeneratorType, FrameType
from typing import Any


def stacks() -> str:
    """Return all of them as text, from whatever thread; tasks that stand at the same place share a stack."""
    return "\n".join([*_of_threads(), *_of_tasks()])


def _of_threads() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():  # pyright: ignore[reportPrivateUsage] - the documented way
        if ident != threading.get_ident():
            frames = [*traceback.walk_stack(frame)][::-1]
            yield f"--- thread {names.get(ident, ident)}\n{''.join(map(_line, frames))}"


def _of_tasks() -> Iterator[str]:
    found: dict[str, list[str]] = defaultdict(list)
    # asyncio.all_tasks knows one loop's, and not from another thread.
    for each in gc.get_objects():
        if issubclass(type(each), asyncio.Task) and not each.done():
            found[_of_task(each)].append(each.get_name())
    for stack, names in sorted(found.items(), key=lambda item: len(item[1])):
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        yield f"--- {len(names)} tasks: {', '.join(names[:5])}{more}\n{stack}"


def _of_task(task: asyncio.Task[Any]) -> str:
    frames = [(frame, frame.f_lineno) for frame in _frames(task.get_coro())]
    waits = getattr(task, "_fut_waiter", None)
    ends = "runs, or is about to" if waits is None else f"waits for {type(waits).__name__}"
    return f"{''.join(map(_line, frames))}  {ends}\n"


def _line(place: tuple[FrameType, int]) -> str:
    # Not by traceback, which parses the source to mark the column: two threads that parse at once break Python 3.11's parser.
    frame, number = place
    path = frame.f_code.co_filename
    return f"  {path}:{number} {frame.f_code.co_name}: {linecache.getline(path, number).strip()}\n"


def _frames(awaited: Any) -> Iterator[FrameType]:
    """Return the frames of a coroutine and of what it awaits, outermost first."""
    while awaited is not None:
        if type(awaited).__name__ in ("async_generator_asend", "async_generator_athrow"):
            # These do not tell whose they are.
            awaited = next((each for each in gc.get_referents(awaited) if isinstance(each, AsyncGeneratorType)), None)
        for kind, then in (("cr", "await"), ("gi", "yieldfrom"), ("ag", "await")):
            frame = getattr(awaited, f"{kind}_frame", None)
            if frame is not None:
                yield frame
                awaited = getattr(awaited, f"{kind}_{then}", None)
                break
        else:
            return
