"""What a simulation is made of: a network of nodes where goods and orders move, or stocks and flows.

A model is data: a twin carries it (`model`), or it is made from what the twin has. Times are in the model's own unit. Checks that
need more than one node are in checks.py.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST_NODES = 200
MOST_VALUES = 1_000
LONGEST_EXPRESSION = 500
# In the model's unit of time.
MOST_HORIZON = 100_000

NodeName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
Finite = Annotated[float, Field(allow_inf_nan=False, ge=-1e12, le=1e12)]
NotNegative = Annotated[float, Field(allow_inf_nan=False, ge=0, le=1e12)]
Positive = Annotated[float, Field(allow_inf_nan=False, gt=0, le=1e12)]
Expression = Annotated[str, Field(min_length=1, max_length=LONGEST_EXPRESSION)]


class Part(BaseModel):
    """A part of a model: unknown names are refused, nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Constant(Part):
    """Always the same."""

    distribution: Literal["constant"]
    value: NotNegative


class Exponential(Part):
    """Of the times between events that do not know of each other."""

    distribution: Literal["exponential"]
    mean: Positive


class Normal(Part):
    """Drawn again where it would be below zero."""

    distribution: Literal["normal"]
    mean: NotNegative
    deviation: NotNegative


class Uniform(Part):
    """Each value between `low` and `high` as likely."""

    distribution: Literal["uniform"]
    low: NotNegative
    high: NotNegative


class Triangular(Part):
    """What people say who know the least, the usual and the most."""

    distribution: Literal["triangular"]
    low: NotNegative
    mode: NotNegative
    high: NotNegative


class LogNormal(Part):
    """`mean` and `deviation` are those of the values, not of their logarithms."""

    distribution: Literal["lognormal"]
    mean: Positive
    deviation: NotNegative


class Poisson(Part):
    """Whole numbers."""

    distribution: Literal["poisson"]
    mean: NotNegative


class Empirical(Part):
    """One of those that were seen."""

    distribution: Literal["empirical"]
    values: Annotated[tuple[NotNegative, ...], Field(min_length=1, max_length=MOST_VALUES, strict=False)]


Drawn = Annotated[
    Constant | Exponential | Normal | Uniform | Triangular | LogNormal | Poisson | Empirical,
    Field(discriminator="distribution"),
]
# A number is always the same.
Distribution = NotNegative | Drawn


class NoPolicy(Part):
    """What is there at the beginning is all."""

    policy: Literal["none"]


class BaseStock(Part):
    """After each demand as much is ordered as brings stock and what is on order, less what is owed, to `level`."""

    policy: Literal["base_stock"]
    level: NotNegative


class OrderUpTo(Part):
    """(s, S): at `reorder_point` or below, up to `order_up_to`; looked at each `review` (0: at once)."""

    policy: Literal["s_S"]
    reorder_point: NotNegative
    order_up_to: Positive
    review: NotNegative = 0


class OrderQuantity(Part):
    """(s, Q): at `reorder_point` or below, `quantity`, as often as it takes."""

    policy: Literal["s_Q"]
    reorder_point: NotNegative
    quantity: Positive


Policy = Annotated[NoPolicy | BaseStock | OrderUpTo | OrderQuantity, Field(discriminator="policy")]


class Supplier(Part):
    """Has as much as is asked for. `capacity`: units that leave it in a unit of time, one order after the other; None: at once.

    `lead_time` begins when an order has left it. `price`: what a unit costs who orders it, to be paid with the order.
    """

    kind: Literal["supplier"]
    lead_time: Distribution = 0
    capacity: Positive | None = None
    price: NotNegative = 0


class Stock(Part):
    """Keeps units and is filled up from `source`, a supplier or another stock, `lead_time` after that has sent them.

    `on_shortage` is of customers, who take what is there and wait for the rest, or do not: other stocks always wait. Who is owed
    longest gets first, in parts where there is too little.
    """

    kind: Literal["stock"]
    initial: NotNegative
    policy: Policy
    source: NodeName | None = None
    lead_time: Distribution = 0
    on_shortage: Literal["backlog", "lost"] = "backlog"
    holding_cost: NotNegative = 0  # a unit, a unit of time
    order_cost: NotNegative = 0  # an order
    shortage_cost: NotNegative = 0  # a unit that is owed, a unit of time; a unit that is lost
    price: NotNegative = 0  # that a customer pays for a unit


class Demand(Part):
    """Customers of a stock; the first comes after one `interval`.

    `elasticity`: how demand answers the price of the stock, such as -1.5: quantities are multiplied by its factor to this power.
    """

    kind: Literal["demand"]
    stock: NodeName
    interval: Distribution
    quantity: Distribution = 1
    elasticity: Annotated[float, Field(allow_inf_nan=False, ge=-10, le=0)] = 0


class Arrivals(Part):
    """What comes to a queue from outside; the first after one `interval`."""

    kind: Literal["arrivals"]
    to: NodeName
    interval: Distribution


class Queue(Part):
    """Waits for one of `servers`, and is served; who finds `capacity` waiting is turned away.

    `next`: where it goes then, by probability; the rest leaves. `resource`: of which one is held while it is served.
    """

    kind: Literal["queue"]
    servers: Annotated[int, Field(ge=1, le=10_000)] = 1
    service: Distribution
    capacity: Annotated[int, Field(ge=0, le=100_000)] = 10_000
    next: Annotated[dict[NodeName, Annotated[float, Field(gt=0, le=1)]], Field(max_length=20)] = Field(
        default_factory=dict
    )
    resource: NodeName | None = None


class Shared(Part):
    """So many of something that several queues need."""

    kind: Literal["resource"]
    capacity: Annotated[int, Field(ge=1, le=10_000)]


Node = Annotated[Supplier | Stock | Demand | Arrivals | Queue | Shared, Field(discriminator="kind")]


class Network(Part):
    """Discrete events. Indicators count from `warm_up` on.

    At one moment first changes begin and end, then goods arrive and services end, then stocks are reviewed, then customers come.
    """

    engine: Literal["network"]
    time_unit: Annotated[str, Field(pattern=r"^[a-z]{1,20}$")] = "day"
    horizon: Positive = 180
    warm_up: NotNegative = 0
    nodes: Annotated[dict[NodeName, Node], Field(min_length=1, max_length=MOST_NODES)]


class Level(Part):
    """What flows change."""

    initial: Finite


class Flow(Part):
    """`rate` a unit of time out of one stock into another; None: the world."""

    source: NodeName | None = None
    target: NodeName | None = None
    rate: Expression


class Flows(Part):
    """Ordinary differential equations: dS/dt is what flows in, less what flows out. `parameters` are what scenarios change."""

    engine: Literal["flows"]
    time_unit: Annotated[str, Field(pattern=r"^[a-z]{1,20}$")] = "day"
    horizon: Positive = 180
    stocks: Annotated[dict[NodeName, Level], Field(min_length=1, max_length=MOST_NODES)]
    parameters: Annotated[dict[NodeName, Finite | Drawn], Field(max_length=MOST_NODES)] = Field(default_factory=dict)
    variables: Annotated[dict[NodeName, Expression], Field(max_length=MOST_NODES)] = Field(default_factory=dict)
    flows: Annotated[dict[NodeName, Flow], Field(max_length=MOST_NODES)] = Field(default_factory=dict)


Model = Annotated[Network | Flows, Field(discriminator="engine")]

Changed = Literal["capacity", "demand", "lead_time", "parameter", "price"]


class Change(Part):
    """What is otherwise from `begin` to `end` (None: to the horizon): a value of a node is multiplied by `factor`.

    Where several changes of it hold, it is multiplied by all.

    demand: the quantity of a `demand` node, or the rate of `arrivals`. lead_time: of what leaves a supplier, or for a stock, in
    that time. capacity: of a supplier (0: closed; without a capacity only this matters), or the servers of a queue or resource,
    rounded. price: of a stock, to which demand answers by its elasticity, or of a supplier. parameter: of `flows`.
    """

    node: NodeName
    what: Changed
    factor: NotNegative
    begin: NotNegative = 0
    end: NotNegative | None = None


class Case(Part):
    """What is run: a model, and what is otherwise at times."""

    model: Model
    changes: Annotated[tuple[Change, ...], Field(max_length=200, strict=False)] = ()
