"""What a caller is told of its organisation's limit on requests, whichever door it came through."""

from dataclasses import dataclass

WINDOW_SECONDS = 3600


@dataclass(eq=False, slots=True)
class Quota:
    """Where an organisation stands after one request; not to be changed.

    `limit` requests in the window that ends at `reset` (unix seconds), which is in `resets_in` seconds; `burst` at once.
    `remaining` and `burst_remaining` are never negative. `retry_after`, in seconds and at least 1, is None where it was granted.
    `is_grace`: it was granted out of the grace share, to be answered only if that is cheap. `is_repeated`: the refusal repeats one
    that was given a moment ago.
    """

    limit: int
    remaining: int
    reset: int
    resets_in: int
    burst: int
    burst_remaining: int
    retry_after: int | None = None
    is_grace: bool = False
    is_repeated: bool = False
