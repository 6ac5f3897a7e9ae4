"""Close codes: why the hub ends a stream, and whether the client comes back.

A close code ends the connection; what refuses one frame and leaves the connection alive is a request error of
`core/errors.py`. The range of a code says what to do, so that an old client copes with a new code:
3000-3499 and 4000-4499 come back; 3500-3999 and 4500-4999 do not, for the same attempt would fail again.
"""

from dataclasses import dataclass

# RFC 6455, section 5.5: a control frame carries at most 125 bytes; the close code takes two of them.
MAX_REASON_BYTES = 123


@dataclass(frozen=True, slots=True)
class CloseCode:
    """One way in which a stream ends; `reason` is what the close frame says (UTF-8, at most 123 bytes)."""

    code: int
    reason: str
    when: str
    client: str

    @property
    def reconnect(self) -> bool:
        """Whether a client comes back by itself."""
        return comes_back(self.code)


# Below 3000 the standard fixed the meaning, not a range: only these mean that the client asked for it or must change.
_STANDARD_THAT_STAY_AWAY = frozenset({1000, 1002, 1003, 1007, 1008, 1009, 1010})


def comes_back(code: int) -> bool:
    """Tell whether a client that saw `code` connects again by itself; holds for codes that it does not know."""
    if code < 3000:
        return code not in _STANDARD_THAT_STAY_AWAY
    return code % 1000 < 500


RESTART = CloseCode(
    4000,
    "restarting",
    "The node stops; a `disconnect` frame with a slot came before.",
    "Connects again after the slot's `after_ms`, with its offsets.",
)
SLOW_READER = CloseCode(
    4001,
    "reading too slowly",
    "4 MiB, or anything for 10 s, waited for the client to read; or too much waited for slow readers together, and most for it.",
    "Connects again with its offsets; nothing is lost. Where it never reads on, it sees 1006.",
)
CATCH_UP_STALLED = CloseCode(
    4002,
    "catching up came no nearer",
    "A recovery came no nearer to the present within 30 s.",
    "Connects again with its offsets; it goes on from there.",
)
INTERNAL = CloseCode(
    4003,
    "internal error",
    "A fault on the hub's side; it is in the hub's log, under the connection's id.",
    "Connects again with its offsets, later each time.",
)
CREDENTIAL_EXPIRED = CloseCode(
    4004,
    "credential expired",
    "The credential's time ran out, and 10 s later no `authenticate` had renewed it.",
    "Gets a new credential, then connects with its offsets.",
)
TOO_MANY_CONNECTIONS = CloseCode(
    4005,
    "too many connections",
    "The organisation has all the connections of its tier; in a handshake with a credential it is status 429.",
    "Connects again later, longer each time; or closes another connection first.",
)
NOT_JOINED = CloseCode(
    4006,
    "channels not available",
    "A channel of a stream of server-sent events could not be joined for the moment, and nobody can ask again on it.",
    "Opens the stream again, with its cursor.",
)
OVERLOADED = CloseCode(
    4007,
    "too busy",
    "The node takes no more streams for the moment, and the client is a page, which sees no status; a `disconnect` frame with a "
    "slot came before.",
    "Connects again after the slot's `after_ms`, with its offsets.",
)
FLOODING = CloseCode(
    4008,
    "sending too fast",
    "The client went on over its rate while its frames were refused; a `disconnect` frame with a slot came before.",
    "Connects again after the slot's `after_ms`, and sends more slowly.",
)
AUTHENTICATION_TIMEOUT = CloseCode(
    4500,
    "not authenticated in time",
    "No good credential within 10 s.",
    "Sends `authenticate` first, or the `Authorization` header. Who did, on a network that was late, comes back.",
)
AUTHENTICATION_FAILED = CloseCode(
    4501,
    "authentication failed",
    "Three credentials on this connection were refused.",
    "Gets another credential; the error frames said what was wrong.",
)
CREDENTIAL_REVOKED = CloseCode(
    4503,
    "credential revoked",
    "The credential is not accepted any more.",
    "Does not come back with this credential.",
)
CLOSED_BY_ADMINISTRATOR = CloseCode(
    4505,
    "closed by an administrator",
    "Somebody of the organisation closed this stream by `DELETE /v2/connections/{id}`.",
    "Does not come back by itself; a person may let it.",
)
PROTOCOL_ABUSE = CloseCode(
    4504,
    "too many bad frames",
    "100 frames in a row were refused.",
    "Mends its frames; the error frames said what was wrong.",
)

NORMAL = CloseCode(1000, "", "The client closed, and the hub answers.", "Nothing: it asked for it.")
GOING_AWAY = CloseCode(
    1001,
    "",
    "The client's page or program goes away, and the hub answers.",
    "Nothing, or connects again with its offsets.",
)
PROTOCOL_ERROR = CloseCode(
    1002, "", "The bytes are no WebSocket frames (RFC 6455, section 7.4.1).", "Mends its WebSocket library."
)
BAD_DATA = CloseCode(
    1007,
    "",
    "A text frame is not UTF-8 (RFC 6455, section 8.1), or a compressed one is not whole DEFLATE data (RFC 7692, section 7.2.2).",
    "Sends UTF-8; mends its WebSocket library.",
)
TOO_BIG = CloseCode(
    1009,
    "frame over 64 KiB",
    "A message is over 64 KiB.",
    "Sends smaller messages; above 128 KiB it may see 1006 instead.",
)

# Sent by the stream itself, and by the transport or in answer to the client.
OF_THE_STREAM = (
    RESTART,
    SLOW_READER,
    CATCH_UP_STALLED,
    INTERNAL,
    CREDENTIAL_EXPIRED,
    TOO_MANY_CONNECTIONS,
    NOT_JOINED,
    OVERLOADED,
    FLOODING,
    AUTHENTICATION_TIMEOUT,
    AUTHENTICATION_FAILED,
    CREDENTIAL_REVOKED,
    PROTOCOL_ABUSE,
    CLOSED_BY_ADMINISTRATOR,
)
OF_THE_TRANSPORT = (NORMAL, GOING_AWAY, PROTOCOL_ERROR, BAD_DATA, TOO_BIG)
ALL_CODES = OF_THE_TRANSPORT + OF_THE_STREAM
