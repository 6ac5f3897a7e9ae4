"""How long a request waits for what it has begun."""

from pydantic import Field

from handlers.resources.models import GetInput

# How long a caller waits before it is told where to look.
WAIT_SECONDS = 25.0


class WaitInput(GetInput):
    """One of them, and for how many seconds it is waited for; with `stream` it is read as it is written."""

    seconds: float = Field(WAIT_SECONDS, ge=0, le=WAIT_SECONDS)
    stream: bool = False
