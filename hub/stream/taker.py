"""One socket's part in a durable subscription: what it was given and has not answered, and how much more it takes."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import orjson

from core.clock import rfc3339
from core.errors import HubError
from core.events.subscriptions.subscription import Delivery, Hold, Outlook
from hub.stream.counts import StreamCounts
from hub.stream.fanout import Fanout
from hub.stream.outbound import Outbound
from hub.stream.room import Member

# Of who does not say how many: enough to hide the way to the client and back, few enough that others get their share.
USUAL_IN_FLIGHT = 20


class Owner(Member, Protocol):
    """The connection."""

    @property
    def outbound(self) -> Outbound:
        """Where its frames go."""
        ...


class Taker:
    """Hashed by identity. `gone` is called when there is nothing to take any more; the owner then forgets the taker.

    Nothing here waits. Moments are the clock's, in monotonic seconds.
    """

    __slots__ = ("_fanout", "_gone", "_held", "_owner", "channel", "most", "status")

    def __init__(
        self, channel: str, owner: Owner, fanout: Fanout, most: int | None, gone: Callable[[HubError], None]
    ) -> None:
        self.channel = channel
        self.most = most or USUAL_IN_FLIGHT
        self.status = "active"
        self._owner = owner
        self._fanout = fanout
        self._gone = gone
        # Deliveries with the end of their leases.
        self._held: dict[Hold, float] = {}

    @property
    def counts(self) -> StreamCounts:
        """What all sockets of the node did."""
        return self._fanout.counts

    @property
    def is_slow(self) -> bool:
        """Whether the client does not take what is there for it; `drained` tells when it does."""
        return not self._owner.outbound.takes_more

    async def drained(self) -> None:
        """Return when the client has taken what was there for it, or has left."""
        await self._owner.outbound.drained()

    @property
    def room(self) -> int:
        """How many deliveries it takes now."""
        return 0 if self.is_slow else max(0, self.most - len(self._held))

    def forget_late(self, now: float) -> None:
        """Have it hold no more what it has not answered in time."""
        late = [hold for hold, end in self._held.items() if end <= now]
        for hold in late:
            del self._held[hold]
        self.counts.consumed["expired"] += len(late)

    def give(self, delivery: Delivery, end: float) -> None:
        """Send a delivery, which is the client's until `end`."""
        self._held[delivery.hold] = end
        self.counts.consumed["delivered"] += 1
        members: dict[str, Any] = {
            "channel": self.channel,
            "offset": str(delivery.position),
            "delivery": str(delivery.hold),
            "attempt": delivery.attempt,
            "lease_until": rfc3339(delivery.lease_until),
        }
        if delivery.replayed:
            members["replayed"] = True
        self._say("event", **members, event=orjson.Fragment(delivery.envelope))

    def holds_all(self, holds: Iterable[Hold]) -> bool:
        """Tell whether it has all of these and has answered none."""
        return all(hold in self._held for hold in holds)

    def take_out(self, holds: Iterable[Hold]) -> dict[Hold, float]:
        """Return those of `holds` that it has, with the ends of their leases, and have it hold them no more."""
        return {hold: self._held.pop(hold) for hold in holds if hold in self._held}

    def take_back(self, holds: dict[Hold, float]) -> None:
        """Have it hold again what `take_out` returned: its answer could not be taken."""
        self._held.update(holds)

    def extend(self, holds: Iterable[Hold], end: float) -> None:
        """Note another end of leases."""
        self._held.update((hold, end) for hold in holds if hold in self._held)

    def leave(self) -> list[Hold]:
        """Return what it has not answered, and forget it."""
        holds = list(self._held)
        self._held.clear()
        return holds

    def entry(self) -> dict[str, Any]:
        """Return what `subscribed` says of it."""
        return {"channel": self.channel, "status": self.status, "max_in_flight": self.most}

    def tell(self, outlook: Outlook) -> None:
        """Tell the client how the subscription stands, where that is news."""
        if self.status != outlook.status:
            self.status = outlook.status
            self._say("subscription", channel=self.channel, status=outlook.status, reason=outlook.status_reason)

    def end(self, why: HubError) -> None:
        """Tell that the subscription is no more."""
        self._gone(why)

    def _say(self, type: str, **members: Any) -> None:
        self._fanout.say(self._owner, self._owner.wire.reply(type, None, **members))


def shared(leased: Sequence[Delivery], takers: dict[Taker, None], end: float) -> Sequence[Delivery]:
    """Give deliveries, whose leases end at `end`, to takers in turn, one at a time; return the rest, for which none has room.

    Who was served last stands last in `takers` afterwards, so that the next round begins with others.
    """
    free = [taker for taker in takers if taker.room]
    for index, delivery in enumerate(leased):
        # Writing may have shown that a client is slow, or has ended it.
        while free and (free[0] not in takers or not free[0].room):
            free.pop(0)
        if not free:
            return leased[index:]
        taker = free.pop(0)
        taker.give(delivery, end)
        if taker in takers:
            takers[taker] = takers.pop(taker)
            free.append(taker)
    return ()
