"""Whose turn it is: endpoints come one after the other, each for a few messages, within what the node can have under way.

Those that have not answered lately (`is_proven` is False) share half of the room: when many hang at once, those that answer still
have the other half. No I/O.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from handlers.webhooks.circuit import Circuit

# Messages that a node has under way. Each is at most a megabyte, most are far less.
MOST_IN_FLIGHT = 256
MOST_UNPROVEN = MOST_IN_FLIGHT // 2
# What one endpoint gets before the next one has its turn.
MOST_A_TURN = 32
# An endpoint that was sent nothing for so long is forgotten; what it is like is found out anew.
FORGOTTEN_SECONDS = 600.0


@dataclass(eq=False, slots=True)
class Endpoint:
    """What a node knows of one webhook. `in_flight` counts what was reserved for a turn, too."""

    org_id: UUID
    id: UUID
    circuit: Circuit = field(default_factory=Circuit)
    in_flight: int = 0
    is_proven: bool = False
    is_failing: bool | None = None  # as PostgreSQL was told last; None: not known
    has_failed_long: bool = False
    not_before: float = float("-inf")  # its rate
    used_at: float = 0.0
    is_queued: bool = False
    is_leasing: bool = False
    has_more: bool = False


@dataclass(eq=False, slots=True)
class Turn:
    """Leave for an endpoint to send up to `most` messages."""

    endpoint: Endpoint
    most: int
    is_unproven: bool


class Turns:
    """The endpoints of a node. `queue` what may have something to send, take `next`, and give back what a turn did not use."""

    def __init__(self) -> None:
        self._endpoints: dict[tuple[UUID, UUID], Endpoint] = {}
        self._queue: deque[Endpoint] = deque()
        self._in_flight = 0
        self._unproven = 0

    @property
    def in_flight(self) -> int:
        """How many messages are under way."""
        return self._in_flight

    def open_circuits(self, now: float) -> int:
        """Return how many endpoints are sent nothing, or a probe, since they do not answer."""
        return sum(each.circuit.state(now) != "closed" for each in self._endpoints.values())

    def endpoint(self, org_id: UUID, id: UUID) -> Endpoint:
        """Return an endpoint, which is remembered."""
        found = self._endpoints.get((org_id, id))
        if found is None:
            found = self._endpoints[org_id, id] = Endpoint(org_id, id)
        return found

    def queue(self, endpoint: Endpoint) -> None:
        """Put an endpoint behind those that wait for their turn; once is enough."""
        if endpoint.is_leasing:
            endpoint.has_more = True
        elif not endpoint.is_queued:
            endpoint.is_queued = True
            self._queue.append(endpoint)

    def next(self, now: float) -> Iterator[Turn]:
        """Give the turns that can be had now. Who cannot have one leaves the queue, but for those that wait for the node's room."""
        waiting: deque[Endpoint] = deque()
        while self._queue and self._in_flight < MOST_IN_FLIGHT:
            endpoint = self._queue.popleft()
            if not endpoint.is_proven and self._unproven >= MOST_UNPROVEN:
                waiting.append(endpoint)
                continue
            endpoint.is_queued = False
            turn = self._turn(endpoint, now)
            if turn is not None:
                yield turn
        self._queue.extendleft(reversed(waiting))

    def give_back(self, turn: Turn, unused: int, *, has_more: bool) -> None:
        """End the asking for messages of a turn: `unused` are not on their way; whether there may be more waits for room."""
        endpoint = turn.endpoint
        endpoint.is_leasing = False
        endpoint.has_more = endpoint.has_more or has_more
        self._free(turn, unused)
        self._again(endpoint)

    def ended(self, turn: Turn, now: float) -> None:
        """Note that one message of a turn is no longer under way."""
        turn.endpoint.used_at = now
        self._free(turn, 1)
        self._again(turn.endpoint)

    def forget(self, now: float) -> None:
        """Forget endpoints that are well and were not used for long."""
        for key, each in list(self._endpoints.items()):
            is_idle = each.in_flight == 0 and not each.is_queued and not each.is_leasing
            if is_idle and now - each.used_at >= FORGOTTEN_SECONDS and each.circuit.state(now) != "open":
                del self._endpoints[key]

    def _turn(self, endpoint: Endpoint, now: float) -> Turn | None:
        room = 0 if now < endpoint.not_before else endpoint.circuit.room(now, endpoint.in_flight)
        most = min(room, MOST_A_TURN, MOST_IN_FLIGHT - self._in_flight)
        if most <= 0:
            # Where something is under way its end brings it back; else it is found again once time has brought room.
            endpoint.has_more = endpoint.in_flight > 0
            return None
        endpoint.used_at = now
        endpoint.is_leasing = True
        endpoint.has_more = False
        endpoint.in_flight += most
        self._in_flight += most
        if not endpoint.is_proven:
            self._unproven += most
        return Turn(endpoint, most, not endpoint.is_proven)

    def _free(self, turn: Turn, count: int) -> None:
        turn.endpoint.in_flight -= count
        self._in_flight -= count
        if turn.is_unproven:
            self._unproven -= count

    def _again(self, endpoint: Endpoint) -> None:
        # Not for each place that is free: a turn costs a transaction.
        if endpoint.has_more and not endpoint.is_leasing and endpoint.in_flight <= endpoint.circuit.limit // 2:
            endpoint.has_more = False
            self.queue(endpoint)
