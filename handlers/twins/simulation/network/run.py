"""One run of a network: its nodes are made of the model, run from 0 to the horizon, and looked at."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from handlers.twins.simulation.draws import Draw, draws_of, uniform_of
from handlers.twins.simulation.factors import Factor, factor_of
from handlers.twins.simulation.model import (
    Arrivals,
    Case,
    Change,
    Changed,
    Demand,
    Distribution,
    Network,
    Queue,
    Shared,
    Stock,
    Supplier,
)
from handlers.twins.simulation.network.queueing import ArrivalsNode, QueueNode, ResourceNode
from handlers.twins.simulation.network.supplying import DemandNode, Source, StockNode, SupplierNode
from handlers.twins.simulation.network.world import MARK, Moment, World
from handlers.twins.simulation.replication import POINTS, Replication

_Node = ArrivalsNode | DemandNode | QueueNode | ResourceNode | StockNode | SupplierNode

_Model = TypeVar("_Model", Arrivals, Demand, Queue, Shared, Stock, Supplier)

_COSTS = ("holding_cost", "order_cost", "purchase_cost", "shortage_cost")


class NetworkRun:
    """The nodes of one run. The model and its changes have no problems (checks.py)."""

    def __init__(self, model: Network, changes: tuple[Change, ...], seed: int, run: int) -> None:
        self._model = model
        self._changes = changes
        self._seed = seed
        self._run = run
        self._world = World(reserved=2 * len(changes))
        # By name: that a document is written in another order changes nothing.
        self._models = dict(sorted(model.nodes.items()))
        self._suppliers = {name: self._supplier(name, node) for name, node in self._of(Supplier)}
        self._stocks = {name: self._stock(name, node) for name, node in self._of(Stock)}
        self._resources = {name: self._resource(name, node) for name, node in self._of(Shared)}
        self._queues = {name: self._queue(name, node) for name, node in self._of(Queue)}
        self._comers: dict[str, ArrivalsNode | DemandNode] = {
            **{name: self._arrivals(name, node) for name, node in self._of(Arrivals)},
            **{name: self._demand(name, node) for name, node in self._of(Demand)},
        }
        self._series: dict[str, list[float]] = {}

    def whole(self, horizon: float) -> Replication:
        """Run it. SimulationError LIMIT_EXCEEDED where it does or holds more than a run may."""
        self._schedule_marks(horizon)
        self._lead_queues()
        for name, stock in self._stocks.items():
            stock.begin(self._source(name))
        for comer in self._comers.values():
            comer.begin()
        self._world.advance(horizon)
        self._sample()
        world = self._world
        indicators = self._indicators(horizon - self._model.warm_up)
        return Replication(self._run, indicators, self._series, world.notable, world.steps)

    def _of(self, kind: type[_Model]) -> Iterator[tuple[str, _Model]]:
        return ((name, node) for name, node in self._models.items() if isinstance(node, kind))

    def _draws(self, distribution: Distribution, node: str, purpose: str) -> Draw:
        return draws_of(distribution, self._seed, self._run, node, purpose)

    def _factor(self, node: str, what: Changed) -> Factor | None:
        return factor_of(self._changes, node, what)

    def _supplier(self, name: str, model: Supplier) -> SupplierNode:
        return SupplierNode(
            self._world,
            model,
            lambda receiver: self._draws(model.lead_time, name, f"lead_time.{receiver}"),
            self._factor(name, "lead_time"),
            self._factor(name, "capacity"),
            self._factor(name, "price"),
        )

    def _stock(self, name: str, model: Stock) -> StockNode:
        lead = self._draws(model.lead_time, name, "lead_time")
        return StockNode(self._world, name, model, lead, self._factor(name, "lead_time"), self._factor(name, "price"))

    def _resource(self, name: str, model: Shared) -> ResourceNode:
        return ResourceNode(self._world, model.capacity, self._factor(name, "capacity"))

    def _queue(self, name: str, model: Queue) -> QueueNode:
        service = self._draws(model.service, name, "service")
        return QueueNode(self._world, name, model.servers, model.capacity, service, self._factor(name, "capacity"))

    def _arrivals(self, name: str, model: Arrivals) -> ArrivalsNode:
        interval = self._draws(model.interval, name, "interval")
        return ArrivalsNode(self._world, self._queues[model.to], interval, self._factor(name, "demand"))

    def _demand(self, name: str, model: Demand) -> DemandNode:
        factor, price = self._factor(name, "demand"), self._factor(model.stock, "price")
        if price is not None and model.elasticity:
            factor = (factor or Factor([0.0], [1.0])).joined(price, model.elasticity)
        interval = self._draws(model.interval, name, "interval")
        quantity = self._draws(model.quantity, name, "quantity")
        return DemandNode(self._world, self._stocks[model.stock], interval, quantity, factor)

    def _source(self, name: str) -> Source | None:
        model = self._models[name]
        if not isinstance(model, Stock) or model.source is None:
            return None
        return self._stocks.get(model.source) or self._suppliers[model.source]

    def _lead_queues(self) -> None:
        for name, model in self._of(Queue):
            targets = {self._queues[target]: share for target, share in sorted(model.next.items())}
            resource = None if model.resource is None else self._resources[model.resource]
            self._queues[name].lead(targets, uniform_of(self._seed, self._run, name, "next"), resource)

    def _schedule_marks(self, horizon: float) -> None:
        """Let samples be taken, then the warm-up end, then changes begin and end: in this order where they are at one time."""
        world, warm_up = self._world, self._model.warm_up
        for point in range(POINTS):
            world.at(horizon * point / POINTS, MARK, lambda _: self._sample())
        if warm_up > 0:
            world.at(warm_up, MARK, lambda _: self._warmed_up())
        for change in self._changes:
            world.at(change.begin, MARK, self._begin, change)
            if change.end is not None:
                world.at(change.end, MARK, self._end, change)
        if self._changes:
            first = min(change.begin for change in self._changes)
            # One that lasts for ever is over once it has begun: what follows is how things are.
            last = max(change.begin if change.end is None else change.end for change in self._changes)
            world.at(first, MARK, self._for_stocks(StockNode.change))
            world.at(last, MARK, self._for_stocks(StockNode.change_ended))
            world.at(last, MARK, self._for_stocks(StockNode.watch))

    def _for_stocks(self, told: Callable[[StockNode], None]) -> Callable[[Moment], None]:
        def tell(_: Moment) -> None:
            for stock in self._stocks.values():
                told(stock)

        return tell

    def _begin(self, moment: Moment) -> None:
        change: Change = moment.about
        self._world.note("change_begins", change.node, change.factor)
        self._change_servers(change)

    def _end(self, moment: Moment) -> None:
        change: Change = moment.about
        self._world.note("change_ends", change.node, change.factor)
        self._change_servers(change)

    def _change_servers(self, change: Change) -> None:
        node = self._queues.get(change.node) or self._resources.get(change.node)
        if node is not None and change.what == "capacity":
            node.changed()

    def _sample(self) -> None:
        for name, node in (*self._stocks.items(), *self._queues.items()):
            for what, value in node.series():
                self._series.setdefault(f"{name}.{what}", []).append(float(value))

    def _nodes(self) -> dict[str, _Node]:
        return {**self._suppliers, **self._stocks, **self._resources, **self._queues, **self._comers}

    def _warmed_up(self) -> None:
        for node in self._nodes().values():
            node.warmed_up()

    def _indicators(self, length: float) -> dict[str, float]:
        found = {
            f"{name}.{what}": float(value)
            for name, node in sorted(self._nodes().items())
            for what, value in node.indicators(length)
        }
        cost = sum(value for name, value in found.items() if name.rpartition(".")[2] in _COSTS)
        revenue = sum(value for name, value in found.items() if name.endswith(".revenue"))
        return {**found, "total_cost": cost, "total_revenue": revenue, "profit": revenue - cost}


def run_network(case: Case, model: Network, *, horizon: float, seed: int, run: int) -> Replication:
    """Return one run of the network of a case. SimulationError where it cannot go on."""
    return NetworkRun(model, case.changes, seed, run).whole(horizon)
