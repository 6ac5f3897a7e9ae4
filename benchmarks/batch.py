"""Creates one request each, as fast as connections can loop, and the same creates a hundred to a request, one by one and atomic."""

from collections.abc import Sequence

import aiohttp
import orjson

from benchmarks.bench import Bench
from benchmarks.generator import Answers, Request, ask
from benchmarks.latency import BODY
from benchmarks.report import Column, Goal, Row, Table, ratios
from benchmarks.rest import QUICK, WHOLE
from benchmarks.server import ServerProcess

SIZE = 100
# A few are enough to keep the server busy: what is under way is a hundred creates on each.
BATCHES_AT_ONCE = 4
COLUMNS = (
    Column("speed", "creates a second"),
    Column("cost", "server CPU µs a create"),
    Column("p50", "p50 of a request, ms", digits=1, spread=False),
    Column("p99", "p99 of a request, ms", digits=1),
    Column("speed_ratio", "speed over a loop of creates", digits=1, unit=" x"),
)
BATCH_TIMES, ATOMIC_TIMES = 2.0, 4.0


async def measure(bench: Bench) -> list[Table]:
    """Measure all three by turns."""
    sizes = QUICK if bench.quick else WHOLE
    organisation, server = await bench.hub.organisation("writes"), bench.hub.server
    loop = Request("POST", "/v2/agents", 201, organisation.key, BODY)
    works = (
        ("one create a request", loop, 1, sizes.connections),
        (f"batches of {SIZE}", _batch(organisation.key, is_atomic=False), SIZE, BATCHES_AT_ONCE),
        (f"atomic batches of {SIZE}", _batch(organisation.key, is_atomic=True), SIZE, BATCHES_AT_ONCE),
    )
    rows = [Row(name, {}) for name, *_ in works]
    for _, request, _, _ in works[1:]:
        await _check(server, request)
    for _ in range(sizes.rounds):
        for row, (_, request, creates, connections) in zip(rows, works, strict=True):
            answers = await ask(
                bench.generators,
                server,
                request,
                connections=connections,
                warm_seconds=sizes.warm_seconds,
                seconds=sizes.seconds,
            )
            _add(row, answers, creates)
    for row in rows:
        row.figures["speed_ratio"] = ratios(row.figures["speed"], rows[0].figures["speed"])
    says = (
        f"**Batches** on {BATCHES_AT_ONCE} keep-alive connections, against {sizes.connections} that create one agent a request, "
        f"{sizes.rounds} rounds:"
    )
    return [Table("batch", says, "request", COLUMNS, rows, _goals(rows))]


def _goals(rows: Sequence[Row]) -> list[Goal]:
    _, each, atomic = (row.figures["speed_ratio"] for row in rows)
    return [
        Goal.at_least(f"{BATCH_TIMES:.0f} x a loop of creates, batches of {SIZE}", each, BATCH_TIMES, unit=" x"),
        Goal.at_least(
            f"{ATOMIC_TIMES:.0f} x a loop of creates, atomic batches of {SIZE}", atomic, ATOMIC_TIMES, unit=" x"
        ),
    ]


def _batch(key: str, *, is_atomic: bool) -> Request:
    operations = [{"method": "POST", "path": "/v2/agents", "body": orjson.loads(BODY)}] * SIZE
    return Request("POST", "/v2/batch", 200, key, orjson.dumps({"operations": operations, "atomic": is_atomic}))


async def _check(server: ServerProcess, request: Request) -> None:
    """Raise AssertionError where a batch does not do what its 200 seems to say."""
    headers = {"Authorization": f"Bearer {request.key}", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession(f"http://{server.address}", headers=headers) as session,
        session.post(request.path, data=request.body) as answer,
    ):
        statuses = [each["status"] for each in (await answer.json())["results"]]
    if statuses != [201] * SIZE:
        raise AssertionError(f"a batch answered {statuses}")


def _add(row: Row, answers: Answers, creates: int) -> None:
    done = answers.requests * creates
    for name, value in {
        "speed": done / answers.seconds,
        "cost": answers.cpu_seconds / done * 1e6,
        "p50": answers.p50_us / 1000,
        "p99": answers.p99_us / 1000,
    }.items():
        row.figures.setdefault(name, []).append(value)
