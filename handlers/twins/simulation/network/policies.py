"""When a stock orders, and how much: a rule of its position (what is there and ordered, less what is owed)."""

import math
from collections.abc import Callable

from handlers.twins.simulation.model import BaseStock, NoPolicy, OrderQuantity, OrderUpTo, Policy

# Units and orders, for a position.
Ordering = Callable[[float], tuple[float, int]]

# Sums of fractions are off by less; a position that is the reorder point must not be missed.
_DUST = 1e-9


def ordering_of(policy: Policy) -> Ordering | None:
    """Return the rule; None: never."""
    match policy:
        case NoPolicy():
            return None
        case BaseStock():
            return _up_to(policy.level, policy.level - 2 * _DUST)
        case OrderUpTo():
            return _up_to(policy.order_up_to, policy.reorder_point)
        case OrderQuantity():
            return _of_quantity(policy)


def review_of(policy: Policy) -> float:
    """Return how often it is looked at; 0: at each demand."""
    return policy.review if isinstance(policy, OrderUpTo) else 0.0


def _up_to(level: float, at: float) -> Ordering:
    def ordered(position: float) -> tuple[float, int]:
        missing = level - position
        return (missing, 1) if position <= at + _DUST and missing > 0 else (0.0, 0)

    return ordered


def _of_quantity(policy: OrderQuantity) -> Ordering:
    def ordered(position: float) -> tuple[float, int]:
        short = policy.reorder_point + _DUST - position
        if short < 0:
            return 0.0, 0
        orders = math.floor(short / policy.quantity) + 1
        return orders * policy.quantity, orders

    return ordered
