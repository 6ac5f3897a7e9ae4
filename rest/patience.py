"""How long a caller waits for an answer: `X-Request-Timeout`, in seconds. Then the work is given up, and the answer is 504."""

import re

from core.errors import Detail, HubError

MOST_SECONDS = 30.0
_SECONDS = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?")


def patience_of(header: str | None) -> float:
    """Return the seconds that a header's value asks for, MOST_SECONDS where there is none or it asks for more.

    Raises VALIDATION_ERROR for what is no number above zero.
    """
    if header is None:
        return MOST_SECONDS
    text = header.strip()
    if _SECONDS.fullmatch(text) is None:
        raise _refused("INVALID_FORMAT", "Seconds as a number, such as 2.5")
    seconds = float(text)
    if seconds <= 0:
        raise _refused("VALUE_OUT_OF_RANGE", f"It is above 0; over {MOST_SECONDS:.0f} means {MOST_SECONDS:.0f}")
    return min(seconds, MOST_SECONDS)


def _refused(code: str, message: str) -> HubError:
    return HubError("VALIDATION_ERROR", details=[Detail("X-Request-Timeout", code, message)])
