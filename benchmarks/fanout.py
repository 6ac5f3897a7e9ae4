"""Fan-out, the hub and its peers by turns: one room flat out, one room at a steady pace, many small rooms, many idle members.

The hub is measured whole: credentials, envelope with offset, room check, history written, position kept, limits on.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.bench import Bench
from benchmarks.contenders import Contender, LiveContender, PeerContender, Place, Run
from benchmarks.generator import GeneratorFailed
from benchmarks.job import Crowd, Pace
from benchmarks.log_contender import LogContender, database_process
from benchmarks.peers.catalogue import PEERS, Peer
from benchmarks.publisher import EVENT_BYTES
from benchmarks.report import Column, Goal, Row, Table, ratios

SPEED = Column("speed", "deliveries/s, thousands", scale=1e-3)
COST = Column("cost", "server CPU, µs a delivery", digits=2)
P50 = Column("p50", "publish to last member, p50 ms", digits=1, spread=False)
P99 = Column("p99", "p99 ms", digits=1)
TIMES_SPEED = Column("speed_ratio", "the hub's speed over this", digits=1, unit=" x")
TIMES_COST = Column("cost_ratio", "this CPU over the hub's", digits=1, unit=" x")
# Where the load comes from: what is near 1 there, while the server is not, has measured the generator.
BUSY = (
    Column("busy", "server busy", digits=2, spread=False, main=False),
    Column("broker", "broker and database busy", digits=2, spread=False, main=False),
    Column("generator", "generator busy", digits=2, spread=False, main=False),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    crowd: Crowd
    pace: Pace
    rounds: int


async def measure_room(bench: Bench) -> list[Table]:
    """One room of 1,000, eight messages in flight."""
    sizes = Sizes(Crowd(1000), Pace(0.7, 2.0, in_flight=8), rounds=3)
    runs = await _in_turns(bench, sizes, log=True)
    says = f"**To 1,000 members of one room**, 8 messages of {EVENT_BYTES} bytes in flight, by turns:"
    columns = (SPEED, COST, P50, P99, TIMES_SPEED, TIMES_COST, *BUSY)
    goals = [Goal.at_least("0.8 M deliveries/s on one core", runs.of("hub", "speed"), 0.8e6, scale=1e-6, unit=" M")]
    for key, bound in (("node-ws", 5), ("socketio", 5), ("fastapi", 3)):
        goals += runs.goal_over(key, "speed", bound, f"{bound} x the deliveries/s of {key}")
    for key in ("centrifuge", "nats"):
        goals += runs.goal_over(key, "thrift", 1, f"1 x the deliveries per CPU-second of {key}")
    return [runs.table("room", says, columns, goals, main=True)]


async def measure_steady(bench: Bench) -> list[Table]:
    """One room of 1,000, 50 messages a second."""
    sizes = Sizes(Crowd(1000), Pace(0.5, 3.0, per_second=50.0), rounds=3)
    runs = await _in_turns(bench, sizes, log=True, without=("floor-joined",))
    says = "**The same at 50 messages a second** (python-socketio at 5, Channels at 2):"
    goals = [
        *runs.goal_under("hub", "floor", "cost", 1.5, "1.5 x the CPU a delivery of the floor"),
        *runs.goal_under("hub", "floor", "p99", 1.6, "1.6 x the p99 of the floor"),
    ]
    return [runs.table("steady", says, (COST, P50, P99, TIMES_COST, *BUSY), goals)]


async def measure_rooms(bench: Bench) -> list[Table]:
    """200 rooms of ten, a room at random."""
    sizes = Sizes(Crowd(2000, rooms=200), Pace(0.7, 2.0, in_flight=256), rounds=3)
    runs = await _in_turns(bench, sizes)
    says = "**200 rooms of 10 members**, a room at random, 256 messages in flight:"
    goals = [
        *runs.goal_under("hub", "floor", "cost", 1.6, "1.6 x the CPU a delivery of the floor"),
        *runs.goal_over("node-ws", "speed", 1, "1 x the deliveries/s of node-ws"),
    ]
    return [runs.table("rooms", says, (SPEED, COST, P99, TIMES_COST, *BUSY), goals)]


async def measure_idle(bench: Bench) -> list[Table]:
    """10,000 members, one message a second to all."""
    sizes = Sizes(Crowd(10_000, sources=20), Pace(1.0, 6.0, per_second=1.0), rounds=2)
    runs = await _in_turns(bench, sizes, live=False, log=True, is_idle=True, without=("floor-joined",))
    says = "**10,000 connections, one message a second to all**, the hub's with three subscriptions each:"
    columns = (
        Column("p50", "publish to last member, p50 ms"),
        Column("most", "most, ms"),
        COST,
        Column("resident", "resident KiB a connection", scale=1 / 1024, digits=1),
        *BUSY,
    )
    goals = [
        *runs.goal_under("hub-log", "floor", "p50", 1.5, "1.5 x the floor's time to the last delivery"),
        Goal.at_most("20 KiB a connection", runs.of("hub-log", "resident"), 20 * 1024, scale=1 / 1024, unit=" KiB"),
    ]
    return [runs.table("idle", says, columns, goals)]


class Rounds:
    """The figures of all contenders, round by round."""

    def __init__(self, contenders: Sequence[Contender], runs: Mapping[str, list[Run]], absent: list[str]) -> None:
        self._contenders = contenders
        self._figures = {key: _columns(some) for key, some in runs.items()}
        self._hub = self._figures[contenders[0].key]
        self._absent = absent
        for figures in self._figures.values():
            figures["speed_ratio"] = ratios(self._hub["speed"], figures["speed"])
            figures["cost_ratio"] = ratios(figures["cost"], self._hub["cost"])

    def of(self, key: str, figure: str) -> list[float]:
        """Return one figure of one contender."""
        return self._figures[key][figure]

    def goal_over(self, key: str, figure: str, bound: float, says: str) -> list[Goal]:
        """Judge the hub's figure over that of a peer; no goal where the peer did not take part."""
        if key not in self._figures:
            return []
        return [Goal.at_least(says, ratios(self._hub[figure], self._figures[key][figure]), bound, unit=" x")]

    def goal_under(self, hub: str, key: str, figure: str, bound: float, says: str) -> list[Goal]:
        """Judge a figure of the hub's over that of the floor; no goal where the floor did not take part."""
        if key not in self._figures:
            return []
        return [Goal.at_most(says, ratios(self._figures[hub][figure], self._figures[key][figure]), bound, unit=" x")]

    def table(
        self, name: str, says: str, columns: tuple[Column, ...], goals: list[Goal], *, main: bool = False
    ) -> Table:
        """Make the table."""
        rows = [Row(one.title, self._figures[one.key], one.main) for one in self._contenders]
        return Table(
            name, says, "server", columns, [*rows, *(Row(title, {}) for title in self._absent)], goals, main=main
        )


def _columns(runs: Sequence[Run]) -> dict[str, list[float]]:
    taken = [run.figures() for run in runs]
    return {key: [figures[key] for figures in taken] for key in taken[0]}


async def _in_turns(
    bench: Bench,
    sizes: Sizes,
    *,
    live: bool = True,
    log: bool = False,
    is_idle: bool = False,
    without: Sequence[str] = (),
) -> Rounds:
    """Measure all in turns, each time with fresh members."""
    place = await Place.of(bench)
    contenders: list[Contender] = [LiveContender(bench, place.redis)] if live else []
    if log:
        brokers = [place.redis, await database_process(bench.hub.database_url)]
        contenders.append(LogContender(bench, brokers, is_fresh=is_idle))
    chosen = [peer for peer in PEERS if peer.key in bench.peers and peer.key not in without]
    taking = {peer.key: peer for peer in chosen if peer.is_installed and (peer.for_all or not is_idle)}
    contenders += [PeerContender(place, peer) for peer in taking.values()]
    runs: dict[str, list[Run]] = {contender.key: [] for contender in contenders}
    absent = [_why_absent(peer) for peer in chosen if peer.key not in taking]
    quick = bench.quick
    for _ in range(1 if quick else bench.rounds or sizes.rounds):
        for contender in tuple(contenders):
            pace = _paced(sizes.pace, taking.get(contender.key))
            crowd = _small(sizes.crowd) if quick else sizes.crowd
            try:
                runs[contender.key].append(await contender.run(crowd, _short(pace) if quick else pace))
            except (GeneratorFailed, RuntimeError, TimeoutError) as error:
                # That the hub fails ends everything; a peer that does is told, and the others go on.
                if contender.key not in taking:
                    raise
                contenders.remove(contender)
                del runs[contender.key]
                absent.append(f"{contender.title}: failed")
                print(f"{contender.key} failed: {error or type(error).__name__}", file=sys.stderr)
    return Rounds(contenders, runs, absent)


def _why_absent(peer: Peer) -> str:
    return f"{peer.title}: {'beyond what it can do' if peer.is_installed else 'not installed, see `make peers`'}"


def _paced(pace: Pace, peer: Peer | None) -> Pace:
    """Slow down for those that could not keep up."""
    if peer is None or pace.per_second == 0:
        return pace
    return replace(pace, per_second=min(pace.per_second, peer.per_second))


def _small(crowd: Crowd) -> Crowd:
    return replace(crowd, members=20, rooms=min(crowd.rooms, 2))


def _short(pace: Pace) -> Pace:
    return replace(pace, warm_seconds=0.1, seconds=0.4, per_second=20.0 if pace.per_second else 0.0)
