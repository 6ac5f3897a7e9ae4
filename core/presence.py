"""Whether who asked still waits for the answer: what is handed out to somebody who has gone is late for everybody else."""

from collections.abc import Callable
from contextvars import ContextVar

# Set by a door around one request; None where nobody can leave.
_GONE: ContextVar[Callable[[], bool] | None] = ContextVar("gone", default=None)


def watch_over(is_gone: Callable[[], bool]) -> None:
    """Have `caller_is_gone` ask this, in the task that calls and what it begins."""
    _GONE.set(is_gone)


def caller_is_gone() -> bool:
    """Tell whether nobody waits for the answer any more."""
    is_gone = _GONE.get()
    return is_gone is not None and is_gone()
