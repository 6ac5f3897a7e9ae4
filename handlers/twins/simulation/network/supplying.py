"""What is bought and kept: suppliers, stocks with their policies, and the demand of customers.

What a stock cannot give at once to another stock is owed, whatever it does with customers; who is owed longest gets first, in
parts where there is too little. Shipments of parts have a lead time each.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from handlers.twins.simulation.draws import Draw
from handlers.twins.simulation.factors import Factor
from handlers.twins.simulation.model import Stock, Supplier
from handlers.twins.simulation.network.policies import ordering_of, review_of
from handlers.twins.simulation.network.recovery import Recovery
from handlers.twins.simulation.network.world import COMES, ENDS, MOST_ENTITIES, REVIEW, Moment, World, too_many


class Source(Protocol):
    """Where a stock orders."""

    @property
    def is_normal(self) -> bool:
        """Tell whether no change is felt here any more."""
        ...

    def take(self, units: float, receiver: "StockNode | None") -> None:
        """Send these now or later: `receiver.sent` is called; None is a customer, who has them at once."""
        ...


class SupplierNode:
    """Has as much as is asked for, and sends it at its capacity, one order after the other.

    `leads` gives the draws of lead times for the stock of this name: what one orders shifts not those of another.
    """

    is_normal = True

    def __init__(
        self,
        world: World,
        model: Supplier,
        leads: Callable[[str], Draw],
        lead_factor: Factor | None,
        capacity: Factor | None,
        price: Factor | None,
    ) -> None:
        self._world = world
        self._model = model
        self._leads = leads
        self._drawn: dict[str, Draw] = {}
        self._lead_factor = lead_factor
        self._capacity = capacity
        self._price = price
        self._free_at = 0.0
        self.warmed_up()

    def take(self, units: float, receiver: "StockNode | None") -> None:
        """Send these when those before have left. They are paid for now."""
        time = self._world.time
        self._ordered += units
        self._cost += units * self._model.price * _at(self._price, time)
        leaves = self._free_at = self._leaving(max(time, self._free_at), units)
        if receiver is not None and leaves < math.inf:
            lead = self._lead_of(receiver.name)() * _at(self._lead_factor, leaves)
            receiver.sent(units, leaves, leaves + lead)

    def _lead_of(self, name: str) -> Draw:
        if name not in self._drawn:
            self._drawn[name] = self._leads(name)
        return self._drawn[name]

    def _leaving(self, begin: float, units: float) -> float:
        if begin == math.inf:
            return begin
        rate = math.inf if self._model.capacity is None else self._model.capacity
        return begin + units / rate if self._capacity is None else self._capacity.reached(begin, units, rate)

    def warmed_up(self) -> None:
        """Count from now on."""
        self._ordered = self._cost = 0.0

    def indicators(self, _length: float) -> Iterator[tuple[str, float]]:
        """Yield what indicators.py describes."""
        yield "ordered", self._ordered
        yield "purchase_cost", self._cost


class StockNode:
    """Keeps units, gives them, and orders by its policy."""

    def __init__(
        self, world: World, name: str, model: Stock, lead: Draw, lead_factor: Factor | None, price: Factor | None
    ) -> None:
        self._world = world
        self.name = name
        self._model = model
        self._lead = lead
        self._lead_factor = lead_factor
        self._price = price
        self._source: Source | None = None
        self._ordering = ordering_of(model.policy)
        self._review = review_of(model.policy)
        self._on_hand = float(model.initial)
        self._owed = self._on_order = 0.0
        self._owing = deque[tuple[float, StockNode | None]]()
        self._out_since: float | None = None
        self._recovery: Recovery | None = None
        self._past_area = 0.0
        self._since = self._stock_area = 0.0
        self.warmed_up()

    def begin(self, source: Source | None) -> None:
        """Order what is missing at the beginning, and let reviews begin."""
        self._source = source
        if source is None:
            self._ordering = None
        if self._ordering is not None and self._review > 0:
            self._world.at(0.0, REVIEW, self._look)
        else:
            self._order()

    def _look(self, _: Moment) -> None:
        self._order()
        self._world.at(self._world.time + self._review, REVIEW, self._look)

    def _order(self) -> None:
        if self._ordering is None or self._source is None:
            return
        units, orders = self._ordering(self._on_hand - self._owed + self._on_order)
        if units > 0:
            self._orders += orders
            self._ordered += units
            self._on_order += units
            self._source.take(units, self)

    def take(self, units: float, receiver: "StockNode | None") -> None:
        """Give these: what is there at once, the rest is owed or lost."""
        self._pass()
        self._wanted += units
        at_once = min(units, self._on_hand)
        if at_once > 0:
            self._at_once += at_once
            self._give(at_once, receiver)
        if at_once < units:
            self._lack(units - at_once, receiver)
        if self._review == 0:
            self._order()

    def _give(self, units: float, receiver: "StockNode | None") -> None:
        self._on_hand -= units
        time = self._world.time
        if receiver is None:
            self._revenue += units * self._model.price * _at(self._price, time)
        else:
            receiver.sent(units, time, time)

    def _lack(self, units: float, receiver: "StockNode | None") -> None:
        if self._recovery is not None:
            self._recovery.suffer()
        if self._out_since is None:
            self._out_since = self._world.time
            self._stock_outs += 1
            self._world.note("stock_out", self.name, units)
        if receiver is None and self._model.on_shortage == "lost":
            self._lost += units
            return
        self._owed += units
        self._most_owed = max(self._most_owed, self._owed)
        # Of one receiver they are one: a backlog of a million customers is one number.
        if self._owing and self._owing[-1][1] is receiver:
            units += self._owing.pop()[0]
        self._owing.append((units, receiver))
        if len(self._owing) > MOST_ENTITIES:
            raise too_many()

    def sent(self, units: float, left: float, arrives: float) -> None:
        """These leave the source at `left`; they would be here at `arrives`, but for this stock's own lead time."""
        self._world.check_waiting()
        self._world.at(arrives + self._lead() * _at(self._lead_factor, left), ENDS, self._receive, units)

    def _receive(self, moment: Moment) -> None:
        self._pass()
        units: float = moment.about
        self._on_hand += units
        self._on_order = max(0.0, self._on_order - units)
        self._settle()
        if self._recovery is not None:
            self._recovery.arrived(units)
            self.watch()

    def _settle(self) -> None:
        """Give what is owed, as far as it goes."""
        owing = self._owing
        while owing and self._on_hand > 0:
            units, receiver = owing.popleft()
            given = min(units, self._on_hand)
            if given < units:
                owing.appendleft((units - given, receiver))
            self._owed = self._owed - given if owing else 0.0
            self._give(given, receiver)
        if self._out_since is not None and self._on_hand > 0:
            self._world.note("stock_restored", self.name, self._world.time - self._out_since)
            self._out_since = None

    def change(self) -> None:
        """The first change begins: from now on it is watched when this is as it was before."""
        self._pass()
        time = self._world.time
        mean = (self._past_area + self._stock_area) / time if time else self._on_hand
        self._recovery = Recovery(time, mean, self._owed)

    def change_ended(self) -> None:
        """The last change has ended, or lasts for ever."""
        if self._recovery is not None:
            self._recovery.may_end(self._on_order)
            self.watch()

    def watch(self) -> None:
        """See whether this is as it was before the change."""
        if self._recovery is not None and (self._source is None or self._source.is_normal):
            self._recovery.see(self._world.time, self._on_hand, self._owed)

    @property
    def is_normal(self) -> bool:
        """Tell whether no change is felt here any more."""
        return self._recovery is None or self._recovery.is_over

    def _pass(self) -> None:
        elapsed = self._world.time - self._since
        if elapsed > 0:
            self._since = self._world.time
            self._stock_area += elapsed * self._on_hand
            self._owed_area += elapsed * self._owed
            if self._on_hand > 0:
                self._in_stock += elapsed

    def warmed_up(self) -> None:
        """Count from now on."""
        self._past_area += self._stock_area + (self._world.time - self._since) * self._on_hand
        self._since = self._world.time
        self._wanted = self._at_once = self._lost = self._ordered = self._revenue = 0.0
        self._stock_area = self._owed_area = self._in_stock = 0.0
        self._stock_outs = self._orders = 0
        self._most_owed = self._owed

    def series(self) -> Iterator[tuple[str, float]]:
        """Yield what there is now."""
        yield "stock", self._on_hand
        yield "backlog", self._owed

    def indicators(self, length: float) -> Iterator[tuple[str, float]]:
        """Yield what indicators.py describes."""
        self._pass()
        model = self._model
        yield "service_level", self._at_once / self._wanted if self._wanted else 1.0
        yield "in_stock", self._in_stock / length
        yield "mean_stock", self._stock_area / length
        yield "stock_outs", self._stock_outs
        yield "mean_backlog", self._owed_area / length
        yield "most_backlog", self._most_owed
        yield "backlog_at_end", self._owed
        yield "wanted", self._wanted
        yield "lost", self._lost
        yield "orders", self._orders
        yield "ordered", self._ordered
        yield "holding_cost", self._stock_area * model.holding_cost
        yield "order_cost", self._orders * model.order_cost
        yield "shortage_cost", (self._owed_area + self._lost) * model.shortage_cost
        yield "revenue", self._revenue
        yield "recovery_time", self._recovery.lasted(self._world.time) if self._recovery else 0.0


class DemandNode:
    """Customers of a stock, who come at intervals and want a quantity."""

    def __init__(self, world: World, stock: StockNode, interval: Draw, quantity: Draw, factor: Factor | None) -> None:
        self._world = world
        self._stock = stock
        self._interval = interval
        self._quantity = quantity
        self._factor = factor
        self._wanted = 0.0

    def begin(self) -> None:
        """Let the first come."""
        self._world.at(self._world.time + self._interval(), COMES, self._come)

    def _come(self, _: Moment) -> None:
        units = self._quantity()
        if self._factor is not None:
            units *= self._factor.at(self._world.time)
        if units > 0:
            self._wanted += units
            self._stock.take(units, None)
        self.begin()

    def warmed_up(self) -> None:
        """Count from now on."""
        self._wanted = 0.0

    def indicators(self, _length: float) -> Iterator[tuple[str, float]]:
        """Yield what indicators.py describes."""
        yield "wanted", self._wanted


def _at(factor: Factor | None, time: float) -> float:
    return 1.0 if factor is None else factor.at(time)
