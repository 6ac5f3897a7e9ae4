"""Models that a twin without one is shown: small, whole, and the same for everybody. docs/simulation-models.md draws them."""

from collections.abc import Mapping
from dataclasses import dataclass

from handlers.twins.simulation.model import (
    Arrivals,
    Demand,
    Exponential,
    Flow,
    Flows,
    Level,
    LogNormal,
    Model,
    Network,
    OrderUpTo,
    Poisson,
    Queue,
    Shared,
    Stock,
    Supplier,
    Triangular,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A model with the words that say what it is of."""

    name: str
    says: str
    model: Model


# Customers want 20 units a day, of 24 that the supplier can send; the warehouse waits about ten days for them, the store one.
SUPPLY_CHAIN = Sample(
    "supply_chain",
    "a supply chain: supplier, warehouse, store, customers",
    Network(
        engine="network",
        time_unit="day",
        horizon=180,
        nodes={
            "supplier": Supplier(kind="supplier", capacity=24, price=6),
            "warehouse": Stock(
                kind="stock",
                initial=320,
                policy=OrderUpTo(policy="s_S", reorder_point=300, order_up_to=380),
                source="supplier",
                lead_time=Triangular(distribution="triangular", low=4, mode=5, high=8),
                holding_cost=0.02,
                order_cost=120,
                shortage_cost=0.2,
            ),
            "store": Stock(
                kind="stock",
                initial=90,
                policy=OrderUpTo(policy="s_S", reorder_point=60, order_up_to=110),
                source="warehouse",
                lead_time=1,
                holding_cost=0.05,
                order_cost=15,
                shortage_cost=1,
                price=12,
            ),
            "customers": Demand(
                kind="demand",
                stock="store",
                interval=Exponential(distribution="exponential", mean=0.25),
                quantity=Poisson(distribution="poisson", mean=5),
                elasticity=-1.2,
            ),
        },
    ),
)

# Two stations in a row, five in a hundred go back; both need one of three workers.
PRODUCTION_LINE = Sample(
    "production_line",
    "a production line: parts arrive, are machined and tested, some twice",
    Network(
        engine="network",
        time_unit="hour",
        horizon=400,
        warm_up=40,
        nodes={
            "parts": Arrivals(
                kind="arrivals", to="machining", interval=Exponential(distribution="exponential", mean=0.5)
            ),
            "workers": Shared(kind="resource", capacity=3),
            "machining": Queue(
                kind="queue",
                servers=2,
                service=LogNormal(distribution="lognormal", mean=0.75, deviation=0.3),
                capacity=200,
                next={"testing": 1.0},
                resource="workers",
            ),
            "testing": Queue(
                kind="queue",
                servers=1,
                service=Triangular(distribution="triangular", low=0.2, mode=0.3, high=0.7),
                capacity=200,
                next={"machining": 0.05},
                resource="workers",
            ),
        },
    ),
)

# SIR: each infectious person meets so many a day; they recover after ten days on the mean.
EPIDEMIC = Sample(
    "epidemic",
    "an epidemic in 10,000 people: susceptible, infectious, recovered",
    Flows(
        engine="flows",
        time_unit="day",
        horizon=160,
        stocks={
            "susceptible": Level(initial=9_990),
            "infectious": Level(initial=10),
            "recovered": Level(initial=0),
        },
        parameters={"contact_rate": 0.3, "days_infectious": 10},
        variables={"population": "susceptible + infectious + recovered"},
        flows={
            "infection": Flow(
                source="susceptible", target="infectious", rate="contact_rate * susceptible * infectious / population"
            ),
            "recovery": Flow(source="infectious", target="recovered", rate="infectious / days_infectious"),
        },
    ),
)

# Logistic: it grows by a tenth a week until the market is full.
GROWTH = Sample(
    "growth",
    "growth to a limit: customers of a market that holds so many",
    Flows(
        engine="flows",
        time_unit="week",
        horizon=104,
        stocks={"customers": Level(initial=200)},
        parameters={"growth_rate": 0.1, "capacity": 10_000},
        flows={"won": Flow(target="customers", rate="growth_rate * customers * (1 - customers / capacity)")},
    ),
)

SAMPLES = (SUPPLY_CHAIN, PRODUCTION_LINE, EPIDEMIC, GROWTH)
BY_TYPE: Mapping[str, Sample] = {
    "production": PRODUCTION_LINE,
    "manufacturing": PRODUCTION_LINE,
    "factory": PRODUCTION_LINE,
    "machine": PRODUCTION_LINE,
    "service": PRODUCTION_LINE,
    "epidemic": EPIDEMIC,
    "population": EPIDEMIC,
    "growth": GROWTH,
    "market": GROWTH,
}


def sample_of(kind: str) -> Sample:
    """Return the sample for twins of this type: the supply chain for `logistics`, `erp_system` and all that have no other."""
    return BY_TYPE.get(kind.lower(), SUPPLY_CHAIN)
