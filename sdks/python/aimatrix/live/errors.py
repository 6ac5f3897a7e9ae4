"""What can go wrong with the live part.

LiveError
 ├─ Stopped           the client has ended, and does not come back by itself
 │   └─ CredentialRefused   ... because of its credential
 ├─ ChannelRefused    a channel that the credential may not have, or that is not there
 ├─ StateLost         events of a channel may be missing: read the state again
 ├─ RequestRefused    the hub has answered a request with an error
 ├─ AnswerLost        the connection ended before the answer: it may have happened, or not
 └─ NotAnswered       the time of a request is over
"""

from collections.abc import Mapping
from typing import Any

from aimatrix.live.places import Place


class LiveError(Exception):
    """Anything that the live part raises."""


class Stopped(LiveError):
    """The client has ended: it was closed, or the hub said that the same attempt would fail again."""


class CredentialRefused(Stopped):
    """The hub does not take the credential, or there was none to be had."""


class _OfTheHub(LiveError):
    """An error object of the hub: `code` as docs/errors.md has it, `details` one entry a field, `request_id` for support."""

    def __init__(self, error: Mapping[str, Any], about: str) -> None:
        super().__init__(f"{about}: {error.get('code')}: {error.get('message')}")
        self.code = str(error.get("code"))
        self.details: list[Mapping[str, Any]] = list(error.get("details") or ())
        self.request_id = error.get("request_id")


class ChannelRefused(_OfTheHub):
    """A channel is refused, or the credential has lost it. It is not asked for again by itself."""

    def __init__(self, channel: str, error: Mapping[str, Any]) -> None:
        super().__init__(error, channel)
        self.channel = channel


class RequestRefused(_OfTheHub):
    """A request was answered with an error. It has not happened."""


class StateLost(LiveError):
    """Events of a channel may be missing before `place`; `reason` is `epoch`, `offset` or `history`.

    What the program holds may be out of date: it reads its state again. Iterating goes on with what follows `place`.
    """

    def __init__(self, channel: str, place: Place, reason: str) -> None:
        super().__init__(f"{channel}: events may be missing before {place.offset} ({reason}); read the state again")
        self.channel = channel
        self.place = place
        self.reason = reason


class AnswerLost(LiveError):
    """The connection ended before the answer came. Whether the request has happened is not known."""


class NotAnswered(LiveError, TimeoutError):
    """No answer came in time. Whether the request has happened, or still will, is not known."""
