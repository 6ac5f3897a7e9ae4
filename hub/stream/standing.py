"""Who a connection speaks for: its caller, its place among its organisation's connections, the end of its credential."""

from datetime import datetime
from math import inf

from core.auth.caller import Caller
from core.auth.seats import Seat
from core.errors import HubError
from hub.stream.expiry import Expiring, Expiry
from hub.stream.parts import Parts
from hub.stream.subscription import Sources
from rooms.names import may_join


class Standing:
    """Of one connection; `caller` is None until a credential was good.

    `seat` comes with the handshake, or is taken when the first frame has authenticated.
    """

    __slots__ = ("_expiry", "_has_left", "_parts", "caller", "seat")

    def __init__(self, parts: Parts, seat: Seat | None) -> None:
        self.caller: Caller | None = None
        self.seat = seat
        self._has_left = False
        self._parts = parts
        self._expiry: Expiry | None = None  # most credentials have no end

    def take(self, caller: Caller) -> None:
        """Speak for `caller` from now on."""
        self.caller = caller
        settings = self._parts.settings
        if caller.expires_at is not None and self._expiry is None:
            self._expiry = Expiry(settings.warn_before_expiry, settings.grace_after_expiry)

    async def caller_of(self, token: str) -> Caller:
        """Return whom `token` speaks for; raises HubError where it is no good, or is of somebody else than before."""
        caller, known = await self._parts.authenticator.authenticate(token), self.caller
        if known is not None and (known.org_id, known.subject) != (caller.org_id, caller.subject):
            raise HubError(
                "FORBIDDEN", "A connection's credential is renewed for the same organisation and subject only"
            )
        return caller

    async def take_seat(self, caller: Caller) -> None:
        """Take a seat where there is none yet; raises HubError where the organisation has none left."""
        if self.seat is None:
            self.seat = await self._parts.seats.take(caller.org_id, caller.limits.concurrent_connections)
            if self._has_left:  # the client went meanwhile
                self.seat.give_back()

    def leave(self) -> None:
        """Give the seat back, also one that is still to come."""
        self._has_left = True
        if self.seat is not None:
            self.seat.give_back()

    def admit(self, channel: str) -> None:
        """Raise HubError where the caller may not have `channel`."""
        if self.caller is not None:
            admitted(self.caller, self._parts.sources, channel)

    def is_over(self) -> bool:
        """Tell whether the credential and its grace have ended."""
        return self._expiry is not None and self._expiry.is_over(self._end, self._parts.sources.clock.now())

    def announcement(self) -> Expiring | None:
        """Return what is to be said now of the credential's end: once for each end."""
        return None if self._expiry is None else self._expiry.announcement(self._end, self._parts.sources.clock.now())

    def next_in(self) -> float:
        """Return in how many seconds there is something to see of it."""
        return inf if self._expiry is None else self._expiry.next_in(self._end, self._parts.sources.clock.now())

    @property
    def _end(self) -> datetime | None:
        return None if self.caller is None else self.caller.expires_at


def admitted(caller: Caller, sources: Sources, channel: str) -> None:
    """Raise HubError where `caller` may not have `channel`."""
    parsed = sources.live.namespaces.channel(caller.org_id, channel)
    may_join(caller, parsed, has_beginning=sources.has_beginning(channel))
