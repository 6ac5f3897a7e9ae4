"""The other side of a Child: what a confined process does from its start to its end.

It ends with its input, and with its parent. What nobody has foreseen ends it, with a last word about where that was.
"""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from core.processes.confinement import confine, end_with, peak_memory
from core.processes.framing import LENGTH, framed, unframed

# Said once, when all is loaded.
READY = "ready"
NICENESS = 5
# A process that has once had so much keeps most of it: another one is cheaper.
MOST_KEPT = 400 << 20

# Returns what is said to a message; each answer is sent as it is yielded.
Answer = Callable[[list[Any], "Peak"], Iterable[list[Any]]]
# Tells whether the process has grown so that it should not be used again.
Peak = Callable[[], bool]


def serve(load: Callable[[], object], answer: Answer) -> None:
    """Load, give up all rights, and answer until the input ends, or an answer's last item is True (`is_last`)."""
    given = _arguments()
    end_with(given.parent)
    # A terminal sends it to the hub as well, which says when its processes end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What is heard at once goes before what is found a moment later.
    os.nice(NICENESS)
    # Whatever prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    sys.excepthook = _last_word(answers)
    load()
    peak = peak_memory()
    confine(given.memory)
    _write(answers, [READY])
    with os.fdopen(0, "rb", closefd=False) as messages:
        while (message := _next(messages)) is not None:
            for said in answer(message, lambda: peak() > MOST_KEPT):
                _write(answers, said)
                if said[-1] is True:
                    return


def _arguments() -> argparse.Namespace:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--parent", type=int, required=True)
    arguments.add_argument("--memory", type=int, required=True, help="bytes")
    return arguments.parse_args()


def _last_word(answers: BinaryIO) -> Callable[[type[BaseException], BaseException, TracebackType | None], None]:
    def tell(kind: type[BaseException], _error: BaseException, trace: TracebackType | None) -> None:
        # Its message may quote what it works on, which is nobody's business.
        where = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(trace)[-3:]]
        _write(answers, ["crashed", f"{kind.__name__} in {' > '.join(where)}"])

    return tell


def _next(messages: BinaryIO) -> list[Any] | None:
    head = messages.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body = messages.read(length)
    return None if len(body) < length else unframed(body)


def _write(answers: BinaryIO, message: list[Any]) -> None:
    rest = memoryview(framed(message))
    while rest:
        rest = rest[answers.write(rest) :]
