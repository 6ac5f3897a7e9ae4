"""REST on keep-alive connections: the hub, FastAPI with SQLAlchemy doing the same, and the least that aiohttp and asyncpg can."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.generator import Answers, Request, ask
from benchmarks.hub_under_test import HubUnderTest, Organisation
from benchmarks.latency import BODY, Poster
from benchmarks.report import Column, Goal, Row, Table, ratios
from benchmarks.rest_servers import FASTAPI, RestServer, has_fastapi, rest_servers

# What the lists are lists of.
AGENTS = 100


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    connections: int
    rounds: int
    warm_seconds: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """What is asked of everybody: `times` is how many times as many the hub should answer as FastAPI."""

    name: str
    what: str
    requests: Sequence[Request]
    times: float


WHOLE = Sizes(connections=32, rounds=3, warm_seconds=0.5, seconds=2.0)
QUICK = Sizes(connections=4, rounds=1, warm_seconds=0.1, seconds=0.3)
COLUMNS = (
    Column("speed", "a second"),
    Column("cost", "server CPU µs a request"),
    Column("p50", "p50, ms", digits=1, spread=False),
    Column("p99", "p99, ms", digits=1),
    Column("speed_ratio", "the hub's speed over this", digits=1, unit=" x"),
    Column("cost_ratio", "the hub's CPU over this", digits=2, unit=" x"),
    Column("busy", "server busy", digits=2, spread=False, main=False),
)
BARE_TIMES = 2.0

# By server, then by figure: one value a round.
Found = Mapping[str, dict[str, list[float]]]


async def measure(bench: Bench) -> list[Table]:
    """Measure all of them by turns."""
    sizes = QUICK if bench.quick else WHOLE
    # Two organisations: what is created does not make the lists longer.
    reads, writes = await bench.hub.organisation("reads"), await bench.hub.organisation("writes")
    works = await _works(bench.hub, reads, writes)
    rows: list[Row] = []
    goals: list[Goal] = []
    async with rest_servers(bench, reads, writes, sizes.connections) as servers:
        for work in works:
            found = await _in_turns(bench, sizes, work, servers)
            rows += [Row(f"{work.name}: {server.title}", found[server.key]) for server in servers]
            goals += _goals(work, found)
    says = (
        f"**REST** with {sizes.connections} keep-alive connections, one request under way on each, {sizes.rounds} rounds; "
        "FastAPI and the bare server do the same work with the same rows:"
    )
    notes = [] if has_fastapi() else ["FastAPI with SQLAlchemy is missing: make peers"]
    return [Table("rest", says, "request", COLUMNS, rows, goals, notes)]


async def _works(hub: HubUnderTest, reads: Organisation, writes: Organisation) -> Sequence[Work]:
    agents = await _some_agents(hub, Request("POST", "/v2/agents", 201, reads.key, BODY))
    gets = [Request("GET", agent, 200, reads.key) for agent in agents]
    poster = await Poster.open(hub.server, gets[0])
    tag = (await poster.post())["etag"]  # all are of the same version
    poster.close()
    unchanged = [Request("GET", agent, 304, reads.key, headers=(f"If-None-Match: {tag}",)) for agent in agents]
    lists = [
        Request("GET", f"/v2/agents?per_page=20&page={page}", 200, reads.key) for page in range(1, AGENTS // 20 + 1)
    ]
    return (
        Work("read an agent", "GETs", gets, 6),
        Work(f"list 20 of {AGENTS} agents", "lists", lists, 6),
        Work("read one that has not changed (304)", "304s", unchanged, 6),
        Work("create an agent", "creates", [Request("POST", "/v2/agents", 201, writes.key, BODY)], 4),
    )


async def _some_agents(hub: HubUnderTest, request: Request) -> list[str]:
    """Make AGENTS agents and return their paths."""
    poster = await Poster.open(hub.server, request)
    locations = [(await poster.post())["location"] for _ in range(AGENTS)]
    poster.close()
    return locations


async def _in_turns(bench: Bench, sizes: Sizes, work: Work, servers: Sequence[RestServer]) -> Found:
    found: dict[str, dict[str, list[float]]] = {server.key: {} for server in servers}
    for _ in range(sizes.rounds):
        for server in servers:
            answers = await ask(
                bench.generators,
                server.process,
                *work.requests,
                connections=sizes.connections,
                warm_seconds=sizes.warm_seconds,
                seconds=sizes.seconds,
            )
            for name, value in _figures(answers).items():
                found[server.key].setdefault(name, []).append(value)
    hub = found["hub"]
    for figures in found.values():
        figures["speed_ratio"] = ratios(hub["speed"], figures["speed"])
        figures["cost_ratio"] = ratios(hub["cost"], figures["cost"])
    return found


def _figures(answers: Answers) -> dict[str, float]:
    return {
        "speed": answers.requests / answers.seconds,
        "cost": answers.cpu_seconds / answers.requests * 1e6,
        "p50": answers.p50_us / 1000,
        "p99": answers.p99_us / 1000,
        "busy": answers.cpu_seconds / answers.seconds,
    }


def _goals(work: Work, found: Found) -> list[Goal]:
    """Judge against the better of the two ways of FastAPI, round by round, and against the bare server."""
    goals = [
        Goal.at_most(
            f"{BARE_TIMES:.0f} x the CPU of bare aiohttp, {work.what}",
            found["bare"]["cost_ratio"],
            BARE_TIMES,
            unit=" x",
        )
    ]
    ways = [found[key] for key in FASTAPI if key in found]
    if ways:
        slower = [min(over) for over in zip(*(way["speed_ratio"] for way in ways), strict=True)]
        best = [min(waits) for waits in zip(*(way["p99"] for way in ways), strict=True)]
        later = ratios(found["hub"]["p99"], best)
        goals += [
            Goal.at_least(f"{work.times:.0f} x the {work.what} a second of FastAPI", slower, work.times, unit=" x"),
            Goal.at_most(f"1 x the p99 of FastAPI, {work.what}", later, 1.0, unit=" x"),
        ]
    return goals
