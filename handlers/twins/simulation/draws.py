"""Draws of a run: each node has a stream of its own for each purpose, so that a change at one shifts no other.

The stream is of the seed, the number of the run, and the names of node and purpose alone: a case and its baseline meet the same
customers.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from itertools import repeat

from numpy import float64, int64
from numpy.random import PCG64, Generator, SeedSequence
from numpy.typing import NDArray

from handlers.twins.simulation.model import (
    Constant,
    Distribution,
    Drawn,
    Empirical,
    Exponential,
    LogNormal,
    Normal,
    Poisson,
    Triangular,
    Uniform,
)

Draw = Callable[[], float]
_Numbers = NDArray[float64] | NDArray[int64]

# Blocks cost less than single draws; small ones first, since most nodes draw little.
_FIRST_BLOCK, _MOST_BLOCK = 32, 4096


def stream_of(seed: int, run: int, node: str, purpose: str) -> Generator:
    """Return the generator of this node and purpose. `seed` and `run` are not negative."""
    number = int.from_bytes(sha256(f"{node}.{purpose}".encode()).digest()[:8], "big")
    return Generator(PCG64(SeedSequence([seed, run, number])))


def draws_of(distribution: Distribution, seed: int, run: int, node: str, purpose: str) -> Draw:
    """Return what gives the next value at each call. The distribution has no problems (checks.py)."""
    if isinstance(distribution, Constant):
        return repeat(distribution.value).__next__
    if isinstance(distribution, float | int):
        return repeat(float(distribution)).__next__
    return _endless(distribution, seed, run, node, purpose).__next__


def uniform_of(seed: int, run: int, node: str, purpose: str) -> Draw:
    """Return what gives the next number of [0, 1) at each call."""
    return draws_of(Uniform(distribution="uniform", low=0, high=1), seed, run, node, purpose)


def _endless(drawn: Drawn, seed: int, run: int, node: str, purpose: str) -> Iterator[float]:
    block = _blocks(drawn, stream_of(seed, run, node, purpose))
    size = _FIRST_BLOCK
    while True:
        for value in block(size).tolist():
            yield float(value)
        size = min(size * 2, _MOST_BLOCK)


def _blocks(drawn: Drawn, generator: Generator) -> Callable[[int], _Numbers]:
    """Return what draws so many."""
    match drawn:
        case Constant():
            return lambda size: generator.uniform(drawn.value, drawn.value, size)
        case Exponential():
            return lambda size: generator.exponential(drawn.mean, size)
        case Normal():
            return partial(_not_negative, drawn, generator)
        case Uniform():
            return lambda size: generator.uniform(drawn.low, drawn.high, size)
        case Triangular():
            # numpy refuses a triangle without width.
            if drawn.low == drawn.high:
                return lambda size: generator.uniform(drawn.low, drawn.high, size)
            return lambda size: generator.triangular(drawn.low, drawn.mode, drawn.high, size)
        case LogNormal():
            mean, deviation = _logarithms(drawn)
            return lambda size: generator.lognormal(mean, deviation, size)
        case Poisson():
            return lambda size: generator.poisson(drawn.mean, size)
        case Empirical():
            return lambda size: generator.choice(drawn.values, size)


def _not_negative(drawn: Normal, generator: Generator, size: int) -> NDArray[float64]:
    """Draw so many; those below zero again. At least half of them are not."""
    values = generator.normal(drawn.mean, drawn.deviation, size)
    while (below := values < 0).any():
        values[below] = generator.normal(drawn.mean, drawn.deviation, int(below.sum()))
    return values


def _logarithms(drawn: LogNormal) -> tuple[float, float]:
    """Return mean and deviation of the logarithms."""
    variance = math.log1p((drawn.deviation / drawn.mean) ** 2)
    return math.log(drawn.mean) - variance / 2, math.sqrt(variance)


def mean_of(distribution: Distribution) -> float:
    """Return the mean of what is drawn."""
    match distribution:
        case Constant():
            return distribution.value
        case Normal():
            return _mean_of_normal(distribution)
        case Uniform():
            return (distribution.low + distribution.high) / 2
        case Triangular():
            return (distribution.low + distribution.mode + distribution.high) / 3
        case Empirical():
            return math.fsum(distribution.values) / len(distribution.values)
        case Exponential() | LogNormal() | Poisson():
            return distribution.mean
        case _:
            return float(distribution)


def _mean_of_normal(drawn: Normal) -> float:
    """Return the mean of those that are not below zero."""
    if drawn.deviation == 0:
        return drawn.mean
    at = drawn.mean / drawn.deviation
    density = math.exp(-(min(at, 40.0) ** 2) / 2) / math.sqrt(2 * math.pi)
    return drawn.mean + drawn.deviation * density / ((1 + math.erf(at / math.sqrt(2))) / 2)
