"""`python -m benchmarks.flame [--steady] [--rest] [--seconds N] [--into FILE]`: where the hub's time goes.

py-spy looks at the process from outside, native frames included, while the load of `make bench` runs: deliveries flat out with
eight messages in flight, then at 50 a second, then reads by id over REST; `--rest` is these alone. One of the deliveries is drawn,
docs/flame.svg; the shares of both by step, and what each step of a read costs, go into docs/performance.md.
"""

import argparse
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks import flame_rest, flame_steps, machine
from benchmarks.bench import Bench
from benchmarks.contenders import LiveContender, redis_process
from benchmarks.flame_svg import Stacks, drawn
from benchmarks.flame_watch import LEAD_SECONDS, RATE, WARM_SECONDS, watched
from benchmarks.generator import build_generators
from benchmarks.hub_under_test import HubUnderTest
from benchmarks.job import Crowd, Pace
from benchmarks.report import write_into
from benchmarks.server import CHECKOUT

PICTURE = CHECKOUT / "docs" / "flame.svg"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for."""

    members: int
    seconds: float
    rest_alone: bool


FLAT_OUT, STEADY = "8 messages in flight", "50 messages a second"


@dataclass(frozen=True, slots=True)
class Seen:
    """The stacks of the deliveries, by load, and the table of a read's steps."""

    deliveries: dict[str, Stacks]
    rest: str


async def record(asked: Asked, folder: Path) -> Seen:
    """Run the loads and return what was seen."""
    machine.allow_open_files()
    cores = machine.take_cores()
    generators = build_generators(folder)
    async with HubUnderTest(folder, cores) as hub:
        bench = Bench(hub, generators, cores, folder, quick=False, peers=frozenset())
        deliveries = {} if asked.rest_alone else await _deliveries(bench, asked)
        return Seen(deliveries, flame_rest.table(*await flame_rest.seen(bench, asked.seconds)))


async def _deliveries(bench: Bench, asked: Asked) -> dict[str, Stacks]:
    length = asked.seconds + LEAD_SECONDS
    paces = {
        FLAT_OUT: Pace(WARM_SECONDS, length, in_flight=8),
        STEADY: Pace(WARM_SECONDS, length, per_second=50.0),
    }
    seen: dict[str, Stacks] = {}
    contender = LiveContender(bench, await redis_process(bench.hub.redis_url))
    for load, pace in paces.items():
        async with contender.joined(Crowd(asked.members), pace) as members:
            await members.measuring()
            seen[load] = await watched(bench.hub.server.pid, asked.seconds, bench.folder / "stacks")
    return seen


def main() -> None:
    """Parse the command line, record, and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flame")
    parser.add_argument("--steady", action="store_true", help="draw 50 messages a second instead of eight in flight")
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long is looked at")
    parser.add_argument("--into", type=Path, default=PICTURE)
    parser.add_argument("--rest", action="store_true", help="reads over REST alone")
    arguments = parser.parse_args()
    asked = Asked(arguments.members, arguments.seconds, arguments.rest)
    # As Ctrl-C: what was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="hub-flame-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the engines' account must get through
        seen = uvloop.run(record(asked, folder))
    page = CHECKOUT / "docs" / "performance.md"
    print(seen.rest)
    if arguments.into == PICTURE:
        write_into(seen.rest, page, begin=flame_rest.BEGIN, end=flame_rest.END)
    if not seen.deliveries:
        return
    load = STEADY if arguments.steady else FLAT_OUT
    stacks = seen.deliveries[load]
    arguments.into.write_text(
        drawn(stacks, f"The hub, {asked.members:,} members of one room, {load}: {RATE} looks a second")
    )
    steps = flame_steps.table(seen.deliveries)
    print(f"{steps}\n{sum(stacks.values()):,} looks: {arguments.into}")
    if arguments.into == PICTURE:
        write_into(steps, page, begin=flame_steps.BEGIN, end=flame_steps.END)


if __name__ == "__main__":
    main()
