"""What is simulated: the model that a twin has; else one made of its business data; else the sample of its type.

Of each product there is a stock, filled up by its supplier, and its customers. What the data does not tell is assumed, and the
notes say so.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from core.errors import Detail, HubError
from core.operations.validation import invalid
from handlers.twins.simulation.erp import Business, Order, Product, business_of
from handlers.twins.simulation.model import (
    MOST_VALUES,
    Constant,
    Demand,
    Distribution,
    Empirical,
    Exponential,
    Model,
    Network,
    Node,
    OrderUpTo,
    Stock,
    Supplier,
)
from handlers.twins.simulation.samples import sample_of

# Those with most units ordered; the rest is left out.
MOST_PRODUCTS = 20
# Days that orders without dates, and stock without orders, are taken to be of; of a lead time; between two orders at a supplier.
ASSUMED_DAYS = 30
ASSUMED_LEAD_TIME = 7
ASSUMED_CYCLE = 7
# Of a normal distribution: in 95 of 100 lead times the stock lasts.
SAFETY = 1.645
ASSUMED_ELASTICITY = -1
HOLDING_SHARE_A_YEAR = 0.2
# What numbers of the data are cut at, so that what is made of them stays within a model's bounds.
MOST_UNITS = 1e9
MOST_DAYS = 10_000
# Orders of one product a day: more are bundled, which keeps their units.
MOST_ORDERS_A_DAY = 50
_MODEL: TypeAdapter[Model] = TypeAdapter(Model)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9]+")

Origin = Literal["data", "model", "sample"]


@dataclass(frozen=True, slots=True)
class Modelled:
    """A model, where it is from, and what was assumed."""

    model: Model
    origin: Origin
    notes: tuple[str, ...] = ()


def modelled(document: Mapping[str, Any]) -> Modelled:
    """Return what is simulated of a twin; raises HubError VALIDATION_ERROR with places in `model` where that is wrong."""
    if document.get("model") is not None:
        return Modelled(model_of(document["model"], "model"), "model")
    found = derived(document.get("data"))
    return sampled(str(document.get("type") or "generic")) if found is None else found


def sampled(kind: str) -> Modelled:
    """Return the sample for twins of this type."""
    sample = sample_of(kind)
    note = (
        f"The twin has no model and no data that one could be made of: this is the sample {sample.name}, {sample.says}."
    )
    return Modelled(sample.model, "sample", (note,))


def model_of(value: Any, place: str) -> Model:
    """Return `value` as a model; raises HubError VALIDATION_ERROR whose fields begin with `place`."""
    if not isinstance(value, Mapping):
        raise HubError("VALIDATION_ERROR", details=[Detail(place, "INVALID_FORMAT", "Input should be an object")])
    try:
        return _MODEL.validate_python(value)
    except ValidationError as error:
        raise invalid(value, error, place) from error


def derived(data: Any) -> Modelled | None:
    """Return the network that business data comes to; None where it tells of nothing that is sold or kept."""
    business = business_of(data)
    return _Deriving(business).network() if business.is_usable else None


@dataclass(slots=True)
class _Deriving:
    """One network as it is made."""

    business: Business
    nodes: dict[str, Node] = field(default_factory=dict[str, Node])
    notes: list[str] = field(default_factory=list[str])
    suppliers: dict[str | None, str] = field(default_factory=dict[str | None, str])

    def network(self) -> Modelled:
        orders = self._by_product()
        for name in self._largest(orders):
            self._add(name, self.business.products.get(name, Product()), orders.get(name, []))
        self._tell_of_policies()
        made = Network(engine="network", time_unit="day", horizon=180, nodes=self.nodes)
        return Modelled(made, "data", ("The model is made of the twin's data.", *dict.fromkeys(self.notes)))

    def _by_product(self) -> dict[str, list[Order]]:
        known = list(self.business.products)
        nameless = known[0] if len(known) == 1 else "goods"
        found: dict[str, list[Order]] = {}
        for order in self.business.orders:
            if order.quantity > 0:
                found.setdefault(order.product or nameless, []).append(order)
        return found

    def _largest(self, orders: Mapping[str, Sequence[Order]]) -> list[str]:
        stocked = [name for name, product in self.business.products.items() if product.on_hand is not None]
        names = list(dict.fromkeys((*orders, *stocked))) or ["goods"]
        names.sort(key=lambda name: -sum(order.quantity for order in orders.get(name, ())))
        if len(names) > MOST_PRODUCTS:
            self.notes.append(f"Of {len(names)} products the {MOST_PRODUCTS} with most units ordered are simulated.")
        return names[:MOST_PRODUCTS]

    def _add(self, name: str, product: Product, orders: Sequence[Order]) -> None:
        rate, quantities = self._demand(name, product, orders)
        lead_time = self._lead_time(name, product)
        stock = self._named("stock", name)
        self.nodes[stock] = self._stock(product, lead_time, rate, quantities, self._supplier(product))
        interval = Exponential(distribution="exponential", mean=_short(1 / rate))
        elasticity = ASSUMED_ELASTICITY if product.price else 0
        self.nodes[self._named("demand", name)] = Demand(
            kind="demand", stock=stock, interval=interval, quantity=_quantity(quantities), elasticity=elasticity
        )

    def _demand(self, name: str, product: Product, orders: Sequence[Order]) -> tuple[float, list[float]]:
        """Return the orders a day, and their quantities."""
        if not orders:
            return self._demand_without_orders(name, product)
        days = self._days(name, orders)
        quantities = [order.quantity for order in orders]
        rate = len(orders) / days
        if rate <= MOST_ORDERS_A_DAY:
            return rate, quantities
        self.notes.append(
            f"{name}: {_told(rate)} orders a day are bundled into {MOST_ORDERS_A_DAY}, with as many units."
        )
        return MOST_ORDERS_A_DAY, [min(sum(quantities) / days / MOST_ORDERS_A_DAY, MOST_UNITS)]

    def _demand_without_orders(self, name: str, product: Product) -> tuple[float, list[float]]:
        count = self.business.orders_without_lines
        if count:
            share = count / max(1, len(self.business.products)) / ASSUMED_DAYS
            self.notes.append(f"The {_told(count)} orders are taken as those of {ASSUMED_DAYS} days, of one unit each.")
            rate = min(share, MOST_ORDERS_A_DAY)
            return rate, [share / rate]
        units = max(product.on_hand or 0, 1) / ASSUMED_DAYS
        self.notes.append(f"{name}: no orders are told, so the stock is taken to last {ASSUMED_DAYS} days.")
        rate = min(units, MOST_ORDERS_A_DAY)
        return rate, [units / rate]

    def _days(self, name: str, orders: Sequence[Order]) -> float:
        days = [order.day for order in orders if order.day is not None]
        if len(days) < 2 or max(days) == min(days):
            self.notes.append(
                f"{name}: the orders have no dates that differ, so they are taken as those of {ASSUMED_DAYS} days."
            )
            return ASSUMED_DAYS
        # Between n orders are n - 1 gaps.
        return max(1.0, (max(days) - min(days)) * len(days) / (len(days) - 1))

    def _lead_time(self, name: str, product: Product) -> float:
        told = product.lead_time
        if told is None:
            supplier = product.supplier or self._only_supplier()
            told = self.business.suppliers.get(supplier) if supplier else None
        if told is None:
            self.notes.append(f"{name}: no lead time is told, so it is {ASSUMED_LEAD_TIME} days.")
            return ASSUMED_LEAD_TIME
        return min(told, MOST_DAYS)

    def _only_supplier(self) -> str | None:
        return next(iter(self.business.suppliers)) if len(self.business.suppliers) == 1 else None

    def _supplier(self, product: Product) -> str:
        """Return the node of its supplier."""
        told = product.supplier or self._only_supplier()
        if told not in self.suppliers:
            name = self._named("supplier", told or "")
            self.suppliers[told] = name
            self.nodes[name] = Supplier(kind="supplier")
        return self.suppliers[told]

    def _stock(
        self, product: Product, lead_time: float, rate: float, quantities: Sequence[float], supplier: str
    ) -> Stock:
        demand = rate * sum(quantities) / len(quantities)
        # The demand of a lead time is a compound Poisson sum.
        spread = math.sqrt(rate * sum(each * each for each in quantities) / len(quantities) * lead_time)
        reorder = product.reorder_point
        if reorder is None:
            reorder = min(math.ceil(demand * lead_time + SAFETY * spread), MOST_UNITS)
        up_to = product.order_up_to
        if up_to is None or up_to <= reorder:
            up_to = reorder + min(math.ceil(max(1, demand * ASSUMED_CYCLE)), MOST_UNITS)
        worth = product.cost if product.cost is not None else product.price or 0
        return Stock(
            kind="stock",
            initial=up_to if product.on_hand is None else product.on_hand,
            policy=OrderUpTo(policy="s_S", reorder_point=reorder, order_up_to=up_to),
            source=supplier,
            lead_time=_short(lead_time),
            holding_cost=_short(worth * HOLDING_SHARE_A_YEAR / 365),
            price=product.price or 0,
        )

    def _tell_of_policies(self) -> None:
        self.notes.append(
            "Where the data has no reorder point, it covers 95 of 100 lead times; "
            f"beyond it, the demand of {ASSUMED_CYCLE} days is ordered."
        )
        if any(product.price or product.cost for product in self.business.products.values()):
            self.notes.append("Keeping a unit costs a fifth of its cost (else of its price) a year.")
        if any(product.price for product in self.business.products.values()):
            self.notes.append(f"Demand answers prices with an elasticity of {ASSUMED_ELASTICITY}.")

    def _named(self, kind: str, name: str) -> str:
        """Return a name for a node that is not taken."""
        plain = _NOT_IN_NAMES.sub("_", name).strip("_")[:40]
        wanted = f"{kind}_{plain}" if plain else kind
        number, found = 2, wanted
        while found in self.nodes:
            found = f"{wanted}_{number}"
            number += 1
        return found


def _quantity(quantities: Sequence[float]) -> Distribution:
    different = set(quantities)
    if len(different) == 1:
        return Constant(distribution="constant", value=_short(quantities[0]))
    # Evenly taken where there are more than a model may hold.
    step = math.ceil(len(quantities) / MOST_VALUES)
    return Empirical(distribution="empirical", values=tuple(sorted(quantities)[::step]))


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _told(value: float) -> str:
    return f"{value:,.4g}" if value != int(value) else f"{int(value):,}"
