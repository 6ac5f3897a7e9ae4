"""`python -m benchmarks [--quick] [--only WORKLOAD]... [--peers A,B] [--rounds N]`: measure, print, write.

README.md, docs/performance.md and docs/scaling.md are written by a whole run only: not by a quick or a partial one, and not without
a compiler.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks import (
    agents,
    backbone,
    batch,
    clients,
    compressed,
    delivery,
    endurance,
    fairness,
    fanout,
    inbound,
    knowledge,
    latency,
    machine,
    mixed,
    presence,
    report,
    rest,
    scaling,
    simulating,
    slow,
    sse,
    storm,
    telemetered,
    twins,
    views,
    workers,
)
from benchmarks.bench import Bench, Workload
from benchmarks.capacity import measured
from benchmarks.generator import build_generators
from benchmarks.hub_under_test import HubUnderTest
from benchmarks.peers.catalogue import PEERS
from benchmarks.server import CHECKOUT

# In the order in which they are measured and told.
WORKLOADS: Mapping[str, Workload] = {
    "latency": latency.measure,
    "room": fanout.measure_room,
    "steady": fanout.measure_steady,
    "rooms": fanout.measure_rooms,
    "idle": fanout.measure_idle,
    "rest": rest.measure,
    "batch": batch.measure,
    "delivery": delivery.measure,
    "backbone": backbone.measure,
    "knowledge": knowledge.measure,
    "agents": agents.measure,
    "telemetry": telemetered.measure,
    "simulated": simulating.measure,
    "twins": twins.measure,
    "presence": presence.measure,
    "storm": storm.measure,
    "compressed": compressed.measure,
    "views": views.measure,
    "inbound": inbound.measure,
    "mixed": mixed.measure,
    "fairness": fairness.measure,
    "workers": workers.measure,
    "slow": slow.measure,
    "sse": sse.measure,
    "clients": clients.measure,
    "endurance": endurance.measure,
}

# What has no stand-in in Python.
NEED_COMPILER = ("delivery", "storm", "compressed", "inbound", "mixed", "workers", "slow", "endurance")

# Those that deliver events stand in deliverers.py, jetstream_peer.py and jobs_peer.py.
EVERYBODY = frozenset({*(peer.key for peer in PEERS), "redis-streams", "jetstream", "procrastinate"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for; `compiler` as `build_generators` takes it."""

    names: Sequence[str]
    peers: frozenset[str]
    quick: bool
    rounds: int | None
    compiler: str | None
    begun: Path | None = None


async def measure(asked: Asked, folder: Path, file: Path) -> report.Figures:
    """Run what was asked for against one hub, and keep what was found in `file` after each workload."""
    machine.allow_open_files()
    cores = machine.take_cores()
    generators = build_generators(folder, compiler=asked.compiler)
    tables = [] if asked.begun is None else report.read_tables(asked.begun)
    done = {table.name for table in tables}
    async with HubUnderTest(folder, cores) as hub:
        bench = Bench(hub, generators, cores, folder, asked.quick, asked.peers, asked.rounds)
        for name in (name for name in asked.names if name not in done):
            print(f"{name} ...", file=sys.stderr, flush=True)
            if generators.slower and name in NEED_COMPILER:
                tables.append(report.Table(name, f"**{name}**: needs a C compiler.", "", (), []))
            else:
                tables += await WORKLOADS[name](bench)
            report.write_json(
                report.Figures(machine.describe(cores), generators.slower, complete=False, tables=tables), file
            )
    is_everything = set(asked.names) == set(WORKLOADS) and asked.peers == EVERYBODY
    is_complete = is_everything and not asked.quick and asked.rounds is None and not generators.slower
    return report.Figures(machine.describe(cores), generators.slower, is_complete, tables)


def main() -> None:
    """Parse the command line, and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; the figures mean nothing")
    parser.add_argument(
        "--only", choices=tuple(WORKLOADS), action="append", help="a workload; may be given several times"
    )
    parser.add_argument(
        "--no-compiler", action="store_true", help="make the load in Python, as where there is no compiler"
    )
    parser.add_argument("--rounds", type=int, help="so many of the fan-out's workloads; nothing is written")
    parser.add_argument(
        "--peers", type=_peers, default=EVERYBODY, help=f"some of {', '.join(sorted(EVERYBODY))}, or none"
    )
    parser.add_argument(
        "--begun", type=Path, help="the raw figures of a run that did not come to its end: go on with it"
    )
    arguments = parser.parse_args()
    names = [name for name in WORKLOADS if not arguments.only or name in arguments.only]
    compiler = "" if arguments.no_compiler else None
    asked = Asked(names, arguments.peers, arguments.quick, arguments.rounds, compiler, arguments.begun)
    raw = report.new_file()
    # As Ctrl-C: what was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Short, for the sockets below it.
    with tempfile.TemporaryDirectory(prefix="hub-bench-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the engines' account must get through
        figures = uvloop.run(measure(asked, folder, raw))
    print(report.markdown(figures, short=False))
    report.write_json(figures, raw)
    print(f"Raw figures: {raw.relative_to(CHECKOUT)}")
    if figures.complete:
        report.write_into(report.markdown(figures, short=True), CHECKOUT / "README.md")
        report.write_into(report.markdown(figures, short=False), CHECKOUT / "docs" / "performance.md")
        scaling.write_page(measured(json.loads(raw.read_text())))


def _peers(text: str) -> frozenset[str]:
    asked = frozenset(filter(None, text.replace("none", "").split(",")))
    if unknown := asked - EVERYBODY:
        raise argparse.ArgumentTypeError(f"there is no peer {', '.join(sorted(unknown))}")
    return asked


if __name__ == "__main__":
    main()
