"""What one process, one Redis and one PostgreSQL can do, as the last run of the benchmark has measured it; the model's only inputs.

`measured()` reads them from the run's JSON. What is no figure of a run is a choice, and stands in `Choices` with its reason.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.report import ratios


class FigureMissing(LookupError):
    """The run has not measured what the model needs."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Figures of a run. Microseconds are of processor time; `machine` says where and when.

    write_us       of a delivery, for each write to a member, however many messages it joins
    extra_us       of a delivery, for each message in such a write
    message_us     of a node, for each message that it hears, whoever is there to get it
    spread         p99 over p50 of a message to 1,000 members at a steady pace: how much its time varies
    publish_us     of Redis, for each message published
    """

    machine: str
    write_us: float
    extra_us: float
    message_us: float
    spread: float
    publish_us: float
    resident_bytes: float
    handshakes_per_second: float
    inbound_per_second: float
    log_per_second: float
    steady_p50_ms: float
    flat_out_per_second: float

    @property
    def delivery_us(self) -> float:
        """Of a delivery that is joined with no other."""
        return self.write_us + self.extra_us


@dataclass(frozen=True, slots=True)
class Choices:
    """What is chosen, not measured.

    busy              share of a core that is planned with; the rest is for peaks
    memory_bytes      of a process: what a small machine has for each core
    return_seconds    within which the clients of a lost node are back
    copy_us           of Redis, to hand one message to one more node: a write to a socket
    per_member        messages a second that each connection gets
    room              members of a room
    log_share         of messages that are events of the log
    """

    busy: float = 0.6
    memory_bytes: float = 2 * 2**30
    return_seconds: float = 30.0
    copy_us: float = 3.0
    per_member: float = 0.2
    room: int = 1000
    log_share: float = 0.1


# Messages that were joined in one write where eight were in flight; the publisher sends the next as soon as one is through.
JOINED = 8
# Members of the rooms that were measured.
LARGE, SMALL = 1000, 10
_LEAST_US = 1.0


def measured(run: Mapping[str, Any]) -> Capacity:
    """Read a run's JSON. Raises FigureMissing where it lacks one."""
    figures = _Figures(run)
    alone, joined = figures.of("steady", LIVE, "cost"), figures.of("room", LIVE, "cost")
    # alone = write + extra; joined = write / JOINED + extra
    write = max(_LEAST_US, (alone - joined) * JOINED / (JOINED - 1))
    small = figures.of("rooms", LIVE, "cost")
    messages = figures.of("rooms", LIVE, "speed") / SMALL
    return Capacity(
        machine=str(run["machine"]),
        write_us=write,
        extra_us=max(0.0, alone - write),
        message_us=max(_LEAST_US, (small - alone) * SMALL),
        # Of the calmest round: what disturbed the others was not the hub.
        spread=max(1.0, min(ratios(figures.rounds("steady", LIVE, "p99"), figures.rounds("steady", LIVE, "p50")))),
        publish_us=figures.of("rooms", LIVE, "broker") / messages * 1e6,
        resident_bytes=figures.of("idle", LOG, "resident"),
        handshakes_per_second=figures.of("storm", "the hub", "thrift"),
        inbound_per_second=figures.of("inbound", "the hub", "thrift"),
        log_per_second=figures.of("endurance", "log channel", "speed"),
        steady_p50_ms=figures.of("steady", LIVE, "p50"),
        flat_out_per_second=figures.of("room", LIVE, "speed") / figures.of("room", LIVE, "busy"),
    )


LIVE, LOG = "**the hub**, live rooms", "**the hub**, log channel"


def newest(folder: Path) -> Mapping[str, Any]:
    """Return the last run that has all that is needed. Raises FigureMissing where there is none."""
    for file in sorted(folder.glob("*.json"), reverse=True):
        run = json.loads(file.read_text())
        try:
            measured(run)
        except FigureMissing:
            continue
        return run
    raise FigureMissing(f"no run in {folder} has measured all that the model needs: make bench")


class _Figures:
    def __init__(self, run: Mapping[str, Any]) -> None:
        self._tables: Mapping[str, Any] = {table["name"]: table for table in run["tables"]}

    def of(self, table: str, row: str, column: str) -> float:
        """Return the middle round of a figure, of the first row whose name begins so."""
        return float(median(self.rounds(table, row, column)))

    def rounds(self, table: str, row: str, column: str) -> Sequence[float]:
        """Return all rounds of it."""
        rows: Sequence[Mapping[str, Any]] = self._tables.get(table, {"rows": []})["rows"]
        for each in rows:
            if each["name"].startswith(row) and each["figures"].get(column):
                return each["figures"][column]
        raise FigureMissing(f"{table}: {row}: {column}")
