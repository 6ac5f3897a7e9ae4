"""What waits and is served: arrivals, queues, and what several queues share."""

from bisect import bisect
from collections import deque
from collections.abc import Iterator
from itertools import accumulate

from handlers.twins.simulation.draws import Draw
from handlers.twins.simulation.factors import Factor
from handlers.twins.simulation.network.world import COMES, ENDS, MOST_ENTITIES, Moment, World, too_many


class Customer:
    """One that is served: where and when it came in, and of the queue it is in: since when, and how long its service takes."""

    __slots__ = ("came", "origin", "service", "since")

    def __init__(self, came: float, origin: "ArrivalsNode") -> None:
        self.came = came
        self.origin = origin
        self.since = came
        self.service = 0.0


class ArrivalsNode:
    """What comes from outside. Where the rate changes, the next one comes when the rate has added up to its interval."""

    def __init__(self, world: World, target: "QueueNode", interval: Draw, factor: Factor | None) -> None:
        self._world = world
        self._target = target
        self._interval = interval
        self._factor = factor
        self._arrived = self._left = 0
        self._stayed = 0.0

    def begin(self) -> None:
        """Let the first come."""
        self._next()

    def _next(self) -> None:
        world, interval = self._world, self._interval()
        time = world.time + interval if self._factor is None else self._factor.reached(world.time, interval)
        world.at(time, COMES, self._come)

    def _come(self, _: Moment) -> None:
        world = self._world
        world.inside += 1
        if world.inside > MOST_ENTITIES:
            raise too_many()
        self._arrived += 1
        self._target.arrive(Customer(world.time, self))
        self._next()

    def leave(self, customer: Customer) -> None:
        """One of these has been served everywhere."""
        self._world.inside -= 1
        self._left += 1
        self._stayed += self._world.time - customer.came

    def warmed_up(self) -> None:
        """Count from now on."""
        self._arrived = self._left = 0
        self._stayed = 0.0

    def indicators(self, _length: float) -> Iterator[tuple[str, float]]:
        """Yield what indicators.py describes."""
        yield "arrived", self._arrived
        yield "left", self._left
        yield "mean_time_in_system", _ratio(self._stayed, self._left)


class ResourceNode:
    """So many of something: who has a server waits here, first come, first served."""

    def __init__(self, world: World, capacity: int, factor: Factor | None) -> None:
        self._world = world
        self._factor = factor
        self._whole = capacity
        self._capacity = _of_factor(capacity, factor, 0.0)
        self._used = 0
        self._waiting = deque[tuple[QueueNode, Customer]]()
        self._since = self._used_area = self._capacity_area = 0.0

    def take(self, queue: "QueueNode", customer: Customer) -> bool:
        """Give one of these, or let the customer wait: `queue.serve` is called then."""
        if self._used >= self._capacity:
            self._waiting.append((queue, customer))
            return False
        self._pass()
        self._used += 1
        return True

    def give_back(self) -> None:
        """One is no longer needed."""
        self._pass()
        self._used -= 1
        self._hand_out()

    def changed(self) -> None:
        """There are more or fewer from now on; who has one keeps it."""
        self._pass()
        self._capacity = _of_factor(self._whole, self._factor, self._world.time)
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and self._used < self._capacity:
            queue, customer = self._waiting.popleft()
            self._used += 1
            queue.serve(customer)

    def _pass(self) -> None:
        elapsed = self._world.time - self._since
        self._used_area += elapsed * self._used
        self._capacity_area += elapsed * max(self._capacity, self._used)
        self._since = self._world.time

    def warmed_up(self) -> None:
        """Count from now on."""
        self._pass()
        self._used_area = self._capacity_area = 0.0

    def indicators(self, _length: float) -> Iterator[tuple[str, float]]:
        """Yield what indicators.py describes."""
        self._pass()
        yield "utilisation", _ratio(self._used_area, self._capacity_area)


class QueueNode:
    """Waits for a server and is served. A customer's service is drawn as it arrives: the n-th has the same in each case."""

    def __init__(
        self, world: World, name: str, servers: int, places: int, service: Draw, factor: Factor | None
    ) -> None:
        self._world = world
        self._name = name
        self._whole = servers
        self._factor = factor
        self._servers = _of_factor(servers, factor, 0.0)
        self._places = places
        self._service = service
        self._resource: ResourceNode | None = None
        self._bounds: list[float] = []
        self._targets: list[QueueNode] = []
        self._route: Draw | None = None
        self._waiting = deque[Customer]()
        self._busy = self._blocked = 0
        self._is_full = False
        self.warmed_up()

    def lead(self, targets: "dict[QueueNode, float]", route: Draw, resource: ResourceNode | None) -> None:
        """Say where it goes from here, and of what one is held during the service."""
        self._bounds = list(accumulate(targets.values()))
        self._targets = list(targets)
        self._route = route if targets else None
        self._resource = resource

    def arrive(self, customer: Customer) -> None:
        """One comes: it is served at once, waits, or is turned away."""
        self._pass()
        self._arrived += 1
        customer.service = self._service()
        customer.since = self._world.time
        if self._busy < self._servers:
            self._busy += 1
            self._begin(customer)
        elif len(self._waiting) < self._places:
            self._waiting.append(customer)
        else:
            self._turn_away()

    def _turn_away(self) -> None:
        self._world.inside -= 1
        self._turned_away += 1
        if not self._is_full:
            self._is_full = True
            self._world.note("queue_full", self._name, float(len(self._waiting)))

    def _begin(self, customer: Customer) -> None:
        """A server is there: serve, or wait for the resource."""
        if self._resource is None:
            time = self._world.time
            self._begun += 1
            self._waited += time - customer.since
            self._world.at(time + customer.service, ENDS, self._end, customer)
        elif self._resource.take(self, customer):
            self._blocked += 1
            self.serve(customer)
        else:
            self._blocked += 1

    def serve(self, customer: Customer) -> None:
        """The resource is there as well."""
        self._pass()
        self._blocked -= 1
        self._begun += 1
        self._waited += self._world.time - customer.since
        self._world.at(self._world.time + customer.service, ENDS, self._end, customer)

    def _end(self, moment: Moment) -> None:
        self._pass()
        customer: Customer = moment.about
        self._served += 1
        self._stayed += self._world.time - customer.since
        self._busy -= 1
        if self._resource is not None:
            self._resource.give_back()
        self._admit()
        if self._route is None:
            customer.origin.leave(customer)
        else:
            self._go_on(customer, self._route())

    def _admit(self) -> None:
        waiting = self._waiting
        while waiting and self._busy < self._servers:
            self._busy += 1
            self._begin(waiting.popleft())
        if self._is_full and not waiting:
            self._is_full = False
            self._world.note("queue_empty", self._name)

    def _go_on(self, customer: Customer, drawn: float) -> None:
        place = bisect(self._bounds, drawn)
        if place < len(self._targets):
            self._targets[place].arrive(customer)
        else:
            customer.origin.leave(customer)

    def changed(self) -> None:
        """There are more or fewer servers from now on; who is served stays."""
        self._pass()
        self._servers = _of_factor(self._whole, self._factor, self._world.time)
        self._admit()

    def _pass(self) -> None:
        time = self._world.time
        if elapsed := time - self._since:
            busy = self._busy
            self._queue_area += elapsed * (len(self._waiting) + self._blocked)
            self._busy_area += elapsed * busy
            self._server_area += elapsed * (busy if busy > self._servers else self._servers)
            self._since = time

    def warmed_up(self) -> None:
        """Count from now on."""
        self._since = self._world.time
        self._arrived = self._begun = self._served = self._turned_away = 0
        self._waited = self._stayed = self._queue_area = self._busy_area = self._server_area = 0.0

    def series(self) -> Iterator[tuple[str, float]]:
        """Yield what there is now."""
        yield "queue", len(self._waiting) + self._blocked
        yield "busy", self._busy

    def indicators(self, length: float) -> Iterator[tuple[str, float]]:
        """Yield what indicators.py describes."""
        self._pass()
        yield "arrived", self._arrived
        yield "served", self._served
        yield "turned_away", self._turned_away
        yield "mean_wait", _ratio(self._waited, self._begun)
        yield "mean_time_in_system", _ratio(self._stayed, self._served)
        yield "mean_queue", self._queue_area / length
        yield "utilisation", _ratio(self._busy_area, self._server_area)


def _of_factor(count: int, factor: Factor | None, time: float) -> int:
    """Return how many there are, rounded: a half is one."""
    return count if factor is None else int(count * factor.at(time) + 0.5)


def _ratio(sum_of: float, count: float) -> float:
    return sum_of / count if count else 0.0
