"""What a read by id costs, and where: the common path of every request, by steps."""

import asyncio

from benchmarks.bench import Bench
from benchmarks.flame_steps import Step, shares
from benchmarks.flame_svg import Stacks
from benchmarks.flame_watch import LEAD_SECONDS, WARM_SECONDS, watched
from benchmarks.generator import Answers, Request, ask
from benchmarks.latency import BODY, Poster

BEGIN, END = "<!-- rest steps -->", "<!-- /rest steps -->"
CONNECTIONS = 32
AGENTS = 100
# The innermost first. What belongs to SQL is not the common path's, and a read by id has no JSON: its document is sent as stored.
_SQL = (
    Step(
        "SQL: its connection, asyncpg, the kernel's `write()`",
        "a statement, which several share",
        ("Reads.", "LookUps.", "_Use.", "Database.", "BaseProtocol__", "CoreProtocol__", "PreparedStatementState__"),
    ),
    Step("the audit's batches", "a second", ("AuditTrail.",)),
)
COMMON = (
    Step("the kernel's `write()` of the answer", "a request", ("StreamWriter._writelines",)),
    Step(
        "aiohttp: writing the answer", "a request", ("RestProtocol.finish_response", "RequestHandler.finish_response")
    ),
    Step("the limit", "a request; one script call a turn", ("Limiter.", "Pipe.", "tell_limit", "Ruling.", "_give (")),
    Step("who calls: the key's hash, the look into the cache", "a request", ("Authenticator.", "credential_of")),
    Step("checking the input", "a request", ("validated (",)),
    Step("the handler", "a request", ("Resource.get", "ResourceStore.")),
    Step("the runner: deadline, audit note, timings", "a request", ("Runner.",)),
    Step("the door: id, query, headers, 304", "a request", ("Endpoint.answer", "Bound.")),
    Step("aiohttp: finding the resource", "a request", ("Application._handle",)),
    Step(
        "aiohttp: the request's object and its task",
        "a request",
        ("RequestHandler._handle_request", "RequestHandler.start"),
    ),
    Step("aiohttp: reading the request", "a read", ("RequestHandler.data_received",)),
    Step("the kernel's `read()`, of clients, PostgreSQL and Redis", "a read", ("read (libc",)),
    Step("waiting for the network", "a turn of the loop", ("epoll_",)),
    Step("all else: the loop, timers, other tasks", "a turn of the loop", ("",)),
)


async def seen(bench: Bench, seconds: float) -> tuple[Answers, Stacks]:
    """Read by id flat out, and look at the hub meanwhile. The figures are of a run that nobody looks at."""
    organisation = await bench.hub.organisation("reads")
    poster = await Poster.open(bench.hub.server, Request("POST", "/v2/agents", 201, organisation.key, BODY))
    paths = [(await poster.post())["location"] for _ in range(AGENTS)]
    poster.close()
    requests = [Request("GET", path, 200, organisation.key) for path in paths]

    async def asked(seconds: float) -> Answers:
        return await ask(
            bench.generators,
            bench.hub.server,
            *requests,
            connections=CONNECTIONS,
            warm_seconds=WARM_SECONDS,
            seconds=seconds,
        )

    asking = asyncio.create_task(asked(seconds + LEAD_SECONDS))
    stacks = await watched(bench.hub.server.pid, seconds, bench.folder / "stacks")
    await asking
    return await asked(seconds), stacks


def table(answers: Answers, stacks: Stacks) -> str:
    """Return the Markdown: microseconds a request, by step."""
    whole = answers.cpu_seconds / answers.requests * 1e6
    parts = shares(stacks, (*_SQL, *COMMON))
    common = sum(parts[step] for step in COMMON) * whole
    rows = [f"| {step.what} | {step.how_often} | {parts[step] * whole:.1f} |" for step in (*COMMON, *_SQL)]
    sums = [f"| **the common path** | a request | **{common:.1f}** |", f"| the whole | a request | {whole:.1f} |"]
    return "\n".join(["| step | once for | µs a request |", "|---|---|---|", *rows, *sums]) + "\n"
