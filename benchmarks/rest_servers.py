"""Who answers REST beside the hub, with the same rows: a bare aiohttp server, and FastAPI with SQLAlchemy in two ways."""

import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.hub_under_test import Organisation
from benchmarks.peers.catalogue import INSTALLED
from benchmarks.server import CHECKOUT, ServerProcess, clean_environment
from core.store.database import connect_as
from core.store.migrate import installation_secret

FASTAPI = ("core", "orm")
_PYTHON = INSTALLED / "venv" / "bin" / "python"
_SCRIPT = CHECKOUT / "benchmarks" / "peers" / "servers" / "rest_server.py"
# Like the hub's, but nobody relays what is in it.
_OUTBOX = """
CREATE SCHEMA IF NOT EXISTS benchmark AUTHORIZATION hub_owner;
SET ROLE hub_owner;
CREATE TABLE IF NOT EXISTS benchmark.outbox (LIKE hub.outbox INCLUDING ALL);
GRANT USAGE ON SCHEMA benchmark TO hub_app;
GRANT INSERT ON benchmark.outbox TO hub_app;
"""


@dataclass(frozen=True, slots=True)
class RestServer:
    """One that answers: `key` and `title` name it."""

    key: str
    title: str
    process: ServerProcess


TITLES: Mapping[str, str] = {
    "hub": "**the hub**",
    "bare": "bare aiohttp and asyncpg, one round trip",
    "core": "FastAPI, SQLAlchemy Core",
    "orm": "FastAPI, SQLAlchemy ORM",
}


def has_fastapi() -> bool:
    """Tell whether the peer is installed, with all that it needs for REST."""
    return any(INSTALLED.glob("venv/lib/python*/site-packages/sqlalchemy"))


@asynccontextmanager
async def rest_servers(
    bench: Bench, reads: Organisation, writes: Organisation, connections: int
) -> AsyncGenerator[Sequence[RestServer]]:
    """Start them; the hub is the first. They are stopped on leaving."""
    url = bench.hub.database_url
    owner = await connect_as(url, None)
    try:
        await owner.execute(_OUTBOX)
    finally:
        await owner.close()
    commands: dict[str, Sequence[str]] = {
        "bare": (sys.executable, "-m", "benchmarks.bare", url, str(connections), str(reads.id), str(writes.id))
    }
    if "fastapi" in bench.peers and has_fastapi():
        for kind in FASTAPI:
            commands[kind] = (str(_PYTHON), str(_SCRIPT), url, bench.hub.redis_url, kind)
    environment = {**clean_environment(), "PEER_SECRET": await installation_secret(url)}
    async with AsyncExitStack() as stack:
        servers = [RestServer("hub", TITLES["hub"], bench.hub.server)]
        for key, command in commands.items():
            process = ServerProcess(
                command, cores=bench.cores, environment=environment, log=bench.folder / f"rest-{key}.log"
            )
            await process.start()
            stack.push_async_callback(process.stop)
            servers.append(RestServer(key, TITLES[key], process))
        yield servers
