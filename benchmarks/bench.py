"""What every workload is given, and what a workload is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generator import Generators
from benchmarks.hub_under_test import HubUnderTest
from benchmarks.machine import Cores
from benchmarks.report import Table


@dataclass(frozen=True, slots=True)
class Bench:
    """One run: the hub that is measured, what makes the load, and a folder for files that are gone afterwards.

    `quick` asks for sizes with which every step happens and no figure means anything. `peers` are keys of those that take part.
    `rounds` is asked for in place of each workload's own number.
    """

    hub: HubUnderTest
    generators: Generators
    cores: Cores | None
    folder: Path
    quick: bool
    peers: frozenset[str]
    rounds: int | None = None


# Measures one thing and returns its tables. Its sizes are its own, of two kinds: whole, and quick.
Workload = Callable[[Bench], Awaitable[list[Table]]]
