"""Scenarios that every twin has: their parameters, bounds and equations. What they need of a model, and how they change it.

Times are in the model's unit. Where `begin` is not given it is a third of the horizon; where `nodes` is not given, all that the
scenario can be of. In a model of flows they multiply parameters: those named in `nodes`, else those whose names hold a word
such as `demand`.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from handlers.twins.simulation.effects import (
    Effect,
    Multiplied,
    OfNodes,
    Percentage,
    Scenario,
    Timed,
    enumerated,
    factor_of,
    network_of,
    one_of,
    wrong,
)
from handlers.twins.simulation.model import (
    Flows,
    Model,
    Network,
    NodeName,
    Policy,
    Stock,
    Supplier,
)

# A share of 1 that is left of a supplier, at least: else it is closed.
LEAST_LEFT = 1e-6


class DemandSpike(OfNodes):
    """Customers want more for a time.

    demand(t) = demand * (1 + increase_percentage / 100) for begin <= t < begin + length: the quantity of each order of a `demand`,
    the rate of `arrivals`. `length` is a tenth of the horizon where it is not given.
    """

    increase_percentage: Percentage = 30

    share = 0.1
    what = "demand"
    words = ("demand", "arrival", "order")
    called = "demand"

    def effect(self, model: Model) -> Effect:
        """Return the demand as it is multiplied."""
        return self.multiplied(model, factor_of(self.increase_percentage))


class SupplyDisruption(Timed):
    """A supplier sends less, or nothing, for a time.

    capacity(t) = capacity * (1 - severity) for begin <= t < begin + length. Of a supplier without a capacity, and severity below 1:
    lead_time(t) = lead_time / (1 - severity), its own and of the stocks that it fills. Severity 1: nothing leaves it.
    `supplier` may be left out where there is one only; `length` is a tenth of the horizon where it is not given.
    """

    supplier: NodeName | None = None
    severity: Annotated[float, Field(allow_inf_nan=False, ge=0, le=1)] = 1

    share = 0.1

    def effect(self, model: Model) -> Effect:
        """Return the supplier's capacity, or lead times, as they are multiplied."""
        network = network_of(model, "suppliers")
        supplier = one_of(network, self.supplier, "supplier", Supplier)
        left = 1 - self.severity
        if left < LEAST_LEFT:
            left = 0.0
        node = network.nodes[supplier]
        if left == 0 or (isinstance(node, Supplier) and node.capacity is not None):
            return self.at_times(model, [(supplier, "capacity", left)], supplier=supplier)
        filled = [name for name, node in network.nodes.items() if isinstance(node, Stock) and node.source == supplier]
        return self.at_times(model, [(name, "lead_time", 1 / left) for name in (supplier, *filled)], supplier=supplier)

    @classmethod
    def fields(cls, model: Model) -> dict[str, dict[str, Any]]:
        """Tell the suppliers."""
        return {**super().fields(model), "supplier": enumerated(model, Supplier)}

    @classmethod
    def suits(cls, model: Model) -> bool:
        """Tell whether there is a supplier."""
        return bool(enumerated(model, Supplier))


class LeadTimeChange(Multiplied):
    """What is sent takes longer, or shorter.

    lead_time(t) = lead_time * factor for what is sent at begin <= t < begin + length, factor = 1 + percentage / 100. Percentage 50
    where neither is given; to the end where `length` is not. Of all suppliers and stocks that have a lead time.
    """

    what = "lead_time"
    words = ("lead_time", "delay")
    called = "lead time"
    usual_percentage = 50

    @classmethod
    def usual(cls, network: Network) -> list[str]:
        """Leave out what takes no time."""
        return [
            name for name, node in network.nodes.items() if isinstance(node, (Supplier, Stock)) and node.lead_time != 0
        ]

    def effect(self, model: Model) -> Effect:
        """Return the lead times as they are multiplied."""
        return self.multiplied(model, self.times())


class CapacityChange(Multiplied):
    """Fewer or more servers of a queue, pieces of a resource, units a time of a supplier.

    capacity(t) = capacity * factor for begin <= t < begin + length, factor = 1 + percentage / 100; servers and pieces are rounded.
    Percentage -25 where neither is given; to the end where `length` is not. Of all queues and resources, and suppliers that have
    a capacity.
    """

    what = "capacity"
    words = ("capacity",)
    called = "capacity"
    usual_percentage = -25

    @classmethod
    def possible(cls, model: Model) -> list[str]:
        """Leave out suppliers without a capacity: any share of it is none."""
        possible = super().possible(model)
        if isinstance(model, Flows):
            return possible
        return [name for name in possible if getattr(model.nodes[name], "capacity", 0) is not None]

    def effect(self, model: Model) -> Effect:
        """Return the capacities as they are multiplied."""
        return self.multiplied(model, self.times())


class PriceChange(Multiplied):
    """Customers pay more or less, and want less or more; or a supplier asks for more or less.

    price(t) = price * factor for begin <= t < begin + length, factor = 1 + percentage / 100, and
    demand(t) = demand * factor ^ elasticity, of each demand of that stock. Percentage 10 where neither is given; to the end where
    `length` is not. Of all stocks that have a price; suppliers where `nodes` names them.
    """

    what = "price"
    words = ("price",)
    called = "price"
    usual_percentage = 10

    @classmethod
    def usual(cls, network: Network) -> list[str]:
        """Return the stocks that sell for something."""
        return [name for name, node in network.nodes.items() if isinstance(node, Stock) and node.price > 0]

    def effect(self, model: Model) -> Effect:
        """Return the prices as they are multiplied."""
        factor = self.times()
        if factor == 0:
            name = "percentage" if self.factor is None else "factor"
            raise wrong(name, "VALUE_OUT_OF_RANGE", "A price of nothing has no answer by elasticity")
        return self.multiplied(model, factor)


class PolicyChange(Scenario):
    """A stock is filled up by another rule, from the beginning.

    s_S: at `reorder_point` or below, up to `order_up_to`. s_Q: at `reorder_point` or below, `quantity`. base_stock: always up
    to `level`. none: never. `stock` may be left out where there is one only.
    """

    stock: NodeName | None = None
    policy: Policy

    def effect(self, model: Model) -> Effect:
        """Return the model with the new policy."""
        network = network_of(model, "stocks")
        name = one_of(network, self.stock, "stock", Stock)
        node = network.nodes[name].model_copy(update={"policy": self.policy})
        changed = network.model_copy(update={"nodes": {**network.nodes, name: node}})
        return Effect(changed, (), {**self.model_dump(mode="json"), "stock": name})

    @classmethod
    def fields(cls, model: Model) -> dict[str, dict[str, Any]]:
        """Tell the stocks."""
        return {"stock": enumerated(model, Stock)}

    @classmethod
    def suits(cls, model: Model) -> bool:
        """Tell whether there is a stock."""
        return bool(enumerated(model, Stock))


STANDARD: Mapping[str, type[Scenario]] = {
    "demand_spike": DemandSpike,
    "supply_disruption": SupplyDisruption,
    "lead_time_change": LeadTimeChange,
    "capacity_change": CapacityChange,
    "price_change": PriceChange,
    "policy_change": PolicyChange,
}
