"""Figures as Markdown, their places in the README and in docs/performance.md, and the raw JSON.

Every workload returns tables; this file joins them. The shape of a table:

    Table(
        name="room",                              what --only calls the workload
        says="**To 1,000 members ...**, 5 rounds:",  the sentence above the table, in Markdown
        of="server",
        columns=(Column("speed", "deliveries/s, thousands", scale=1e-3), Column("p99", "p99, ms", digits=1, spread=False)),
        rows=[Row("the hub", {"speed": [700e3, 748e3], "p99": [14.0, 13.1]})],
        goals=[Goal.at_least("0.8 M deliveries/s on one core", [700e3, 748e3], 0.8e6, unit=" M", scale=1e-6)],
        notes=["Socket.IO is missing: make peers"],
    )

A row has one value a round under the key of a column, so the same index of two rows is the same round, and `ratios()` compares
them round by round. A cell shows the least, the **middle** and the most, or the middle alone (`spread=False`); a row without a
column's key leaves the cell empty. Rows, columns and whole tables with `main=False` stand in docs/performance.md only. A goal is
judged by the middle round.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from pydantic import TypeAdapter

BEGIN = "<!-- bench -->"
END = "<!-- /bench -->"
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Spread:
    """The least, the middle and the most of several rounds."""

    least: float
    middle: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of at least one value."""
        return cls(min(values), median(values), max(values))


@dataclass(frozen=True, slots=True)
class Column:
    """A figure that rows have: `title` says its unit, `scale` turns a value into that, `digits` stand after the point."""

    key: str
    title: str
    scale: float = 1.0
    digits: int = 0
    unit: str = ""
    spread: bool = True
    main: bool = True

    def cell(self, values: Sequence[float] | None) -> str:
        """Write the values of one row; NaN is a dash."""
        if not values:
            return ""
        spread = Spread.of(values)
        middle = f"**{self._text(spread.middle)}**" if self.spread else self._text(spread.middle)
        return (
            f"{self._text(spread.least)} / {middle} / {self._text(spread.most)}" if self._is_spread(values) else middle
        )

    def _is_spread(self, values: Sequence[float]) -> bool:
        return self.spread and len(values) > 1

    def _text(self, value: float) -> str:
        return "-" if math.isnan(value) else f"{value * self.scale:,.{self.digits}f}{self.unit}"


@dataclass(frozen=True, slots=True)
class Row:
    """Whom or what the figures are of; `figures` has one value a round under each column's key."""

    name: str
    figures: dict[str, list[float]]
    main: bool = True

    def add(self, figures: Mapping[str, float]) -> None:
        """Take the figures of another round, by the keys of their columns."""
        for name, value in figures.items():
            self.figures.setdefault(name, []).append(value)


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure is meant to reach, what it has reached in the middle round, and whether that is enough."""

    says: str
    found: str
    is_met: bool

    @classmethod
    def at_least(
        cls, says: str, values: Sequence[float], bound: float, *, scale: float = 1.0, digits: int = 2, unit: str = ""
    ) -> "Goal":
        """Judge a figure of which more is better."""
        middle = median(values)
        return cls(f"at least {says}", f"{middle * scale:,.{digits}f}{unit}", middle >= bound)

    @classmethod
    def at_most(
        cls, says: str, values: Sequence[float], bound: float, *, scale: float = 1.0, digits: int = 2, unit: str = ""
    ) -> "Goal":
        """Judge a figure of which less is better."""
        middle = median(values)
        return cls(f"at most {says}", f"{middle * scale:,.{digits}f}{unit}", middle <= bound)


@dataclass(frozen=True, slots=True)
class Table:
    """What one workload has found; `of` heads the column of the rows' names."""

    name: str
    says: str
    of: str
    columns: tuple[Column, ...]
    rows: list[Row]
    goals: list[Goal] = field(default_factory=list[Goal])
    notes: list[str] = field(default_factory=list[str])
    main: bool = True


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run has measured; `complete` where that was all that there is."""

    machine: str
    slower_generator: bool
    complete: bool
    tables: list[Table]


def percentile_ms(nanoseconds: Sequence[int], share: float) -> float:
    """Return the time within which `share` percent were done (nearest rank), in ms; NaN of nothing."""
    if not nanoseconds:
        return math.nan
    rank = max(1, math.ceil(len(nanoseconds) * share / 100))
    return sorted(nanoseconds)[rank - 1] / 1e6


def ratios(of: Sequence[float], to: Sequence[float]) -> list[float]:
    """Return each round's figure over the same round's of another; NaN where that is nothing."""
    return [one / other if other else math.nan for one, other in zip(of, to, strict=True)]


def markdown(figures: Figures, *, short: bool) -> str:
    """Write all that was measured, or the main part of it."""
    parts = [f"{figures.machine}. Three figures are the least, the **middle** and the most of the rounds."]
    if figures.slower_generator:
        parts.append("Without a C compiler the load came from Python, which is slower than the servers: lower bounds.")
    for table in figures.tables:
        if table.main or not short:
            parts += [table.says, _grid(table, short=short)]
            parts += [] if short else table.notes
    goals = [(table.name, goal) for table in figures.tables for goal in table.goals]
    if goals:
        parts += ["**Goals**, judged by the middle round:", _goals(goals)]
    return "\n\n".join(parts) + "\n"


def write_into(text: str, page: Path, *, begin: str = BEGIN, end: str = END) -> None:
    """Put `text` between the page's markers. Raises ValueError where they are not there, in order and once."""
    before, found, rest = page.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end or begin in after or end in after:
        raise ValueError(f"{page} needs {begin} and {end}, once each")
    page.write_text(f"{before}{begin}\n\n{text}\n{end}{after}")


def new_file(folder: Path = RESULTS) -> Path:
    """Return where a run that begins now keeps its raw figures."""
    folder.mkdir(exist_ok=True)
    return folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"


def write_json(figures: Figures, file: Path) -> None:
    """Keep the raw figures, in place of what is there."""
    file.write_text(json.dumps(asdict(figures), indent=1))


def read_tables(file: Path) -> list[Table]:
    """Return the tables that a run has kept."""
    return TypeAdapter(Figures).validate_json(file.read_bytes()).tables


def _grid(table: Table, *, short: bool) -> str:
    columns = [column for column in table.columns if column.main or not short]
    lines = [f"| {table.of} | {' | '.join(column.title for column in columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row in table.rows:
        if row.main or not short:
            cells = [row.name, *(column.cell(row.figures.get(column.key)) for column in columns)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _goals(goals: Sequence[tuple[str, Goal]]) -> str:
    lines = ["| workload | goal | measured | |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {goal.says} | {goal.found} | {'reached' if goal.is_met else '**missed**'} |"
        for name, goal in goals
    ]
    return "\n".join(lines)
