"""`doctor`: every setting, what is wrong, and the cure. Exit code 1 where something is."""

import argparse
import os
import socket
import stat
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import aiohttp
import asyncpg
from yarl import URL

from core.clock import SystemClock
from core.outbound import Outbound, OutboundError
from core.settings import Settings, variable_of
from core.store.database import connect_as
from core.store.engines import EnginesUnavailable
from core.store.migrate import LEAST_SERVER, current_revision, known_revisions, newest_revision
from hub.commands.finding import Finding
from hub.commands.overload_findings import overload_findings
from hub.commands.redis_findings import redis_findings
from hub.engines import Addresses, engines_of
from hub.workers.addresses import BACKLOG

LEAST_PGVECTOR = (0, 8)
SOMAXCONN = Path("/proc/sys/net/core/somaxconn")
_SECRET = frozenset({"secret", "embedding_key", "model_key", "database_url", "redis_url"})
_AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)


async def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print the settings and the findings; returns 1 where something is wrong."""
    _print_settings(settings)
    wrong = 0
    async for finding in _findings(settings):
        print(f"{'ok   ' if finding.cure is None else 'WRONG'}  {finding.what}")  # noqa: T201 - the command's answer
        if finding.cure is not None:
            wrong += 1
            print(f"       {finding.cure}")  # noqa: T201 - the command's answer
    return 1 if wrong else 0


def _print_settings(settings: Settings) -> None:
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if name in _SECRET and value is not None:
            value = "(set)"
        if name == "models":  # their keys stay out
            value = ", ".join(map(str, settings.models)) or None
        print(f"{variable_of(name):22} {value if value not in (None, ()) else '-'}    {field.description}")  # noqa: T201
    print()  # noqa: T201


async def _findings(settings: Settings) -> AsyncIterator[Finding]:
    yield Finding(f"Python {sys.version.split()[0]}")
    yield await _port(settings)
    backlog = _backlog()
    if backlog is not None:
        yield backlog
    for finding in overload_findings(settings):
        yield finding
    try:
        async with engines_of(settings) as addresses:
            async for finding in _engines(addresses):
                yield finding
    except EnginesUnavailable as error:
        yield Finding("Embedded engines cannot run", str(error))
    yield _first_key(settings)
    async for finding in _issuer(settings):
        yield finding


def _backlog() -> Finding | None:
    """Look how many connections the kernel lets wait; None where it does not say."""
    try:
        most = int(SOMAXCONN.read_text())
    except (OSError, ValueError):
        return None
    what = f"{min(most, BACKLOG)} connections may wait to be accepted"
    return Finding(what, None if most >= BACKLOG else f"Set net.core.somaxconn to {BACKLOG} or more.")


async def _port(settings: Settings) -> Finding:
    address = f"{settings.host}:{settings.port}"
    what = f"{address} is free to listen on"
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host, settings.port))
    except OSError as error:
        if await _a_hub_answers(settings):
            return Finding(f"A hub answers on {address}")
        return Finding(f"{what}: no, {error.strerror}", "Stop what listens there, or give another port with HUB_PORT.")
    return Finding(what)


async def _a_hub_answers(settings: Settings) -> bool:
    url = URL.build(scheme="http", host=settings.host, port=settings.port, path="/livez")
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session, session.get(url) as answer:
            return (await answer.json()) == {"status": "live"}
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
        return False


async def _engines(addresses: Addresses) -> AsyncGenerator[Finding]:
    yield Finding(
        "The engines are the hub's own" if addresses.embedded else "The engines are DATABASE_URL's and REDIS_URL's"
    )
    try:
        async for finding in _database(addresses.database_url):
            yield finding
        yield await vectors_of(addresses.database_url)
    except _AWAY as error:
        yield Finding(
            f"PostgreSQL does not answer: {error or type(error).__name__}", "Check DATABASE_URL and the server."
        )
    async for finding in redis_findings(addresses.redis_url):
        yield finding


async def _database(url: str) -> AsyncGenerator[Finding]:
    connection = await connect_as(url, None)
    try:
        version = int(str(await connection.fetchval("SHOW server_version_num")))
        yield Finding(
            f"PostgreSQL {await connection.fetchval('SHOW server_version')}",
            None if version >= LEAST_SERVER else "Use PostgreSQL 16 or later.",
        )
        yield await _session(connection)
        yield Finding(
            "fsync is on",
            None
            if await connection.fetchval("SHOW fsync") == "on"
            else "Set fsync = on: without it a crash loses data.",
        )
    finally:
        await connection.close()
    revision = await current_revision(url)
    # One that this release does not know is of a newer release, beside which this one may run.
    is_older = revision is None or (revision != newest_revision() and revision in known_revisions())
    yield Finding(
        f"The database is at revision {revision}, this release knows {newest_revision()}",
        "Run: python -m hub migrate (serve does it too)." if is_older else None,
    )


async def vectors_of(url: str) -> Finding:
    """Look whether chunks can have vectors: pgvector, and the tables that `migrate` makes once it is there."""
    connection = await connect_as(url, None)
    try:
        version = await connection.fetchval("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        # The schema is closed to the bare login, the catalogue is not.
        is_made = await connection.fetchval("SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'chunk_vectors')")
    finally:
        await connection.close()
    if is_made:
        return Finding(f"pgvector {version}: knowledge is found by meaning too, where a model is configured")
    if version is None:
        cure = "Install pgvector 0.8 or later and have a superuser run CREATE EXTENSION vector SCHEMA public; in the database"
        return Finding(
            "There is no pgvector: knowledge is found by words only", f"{cure}, then: python -m hub migrate."
        )
    if tuple(int(part) for part in str(version).split(".")[:2]) < LEAST_PGVECTOR:
        cure = (
            "Install 0.8 or later and have a superuser run ALTER EXTENSION vector UPDATE; then: python -m hub migrate."
        )
        return Finding(f"pgvector {version} is too old: knowledge is found by words only", cure)
    return Finding(f"pgvector {version} has no tables yet", "Run: python -m hub migrate (serve does it too).")


async def _session(connection: asyncpg.Connection) -> Finding:
    """Look whether two transactions of one connection are the same session: a transaction-mode pooler mixes them."""
    what = "Sessions are kept (no transaction-mode pooler between)"
    await connection.execute("SELECT set_config('hub.doctor', 'here', false)")
    backends: set[int] = {int(str(await connection.fetchval("SELECT pg_backend_pid()"))) for _ in range(20)}
    kept = await connection.fetchval("SELECT current_setting('hub.doctor', true)") == "here"
    if kept and len(backends) == 1:
        return Finding(what)
    return Finding(f"{what}: no", "Connect to PostgreSQL itself, or through a pooler in session mode.")


def _first_key(settings: Settings) -> Finding:
    file = settings.data / "dev-key"
    if not file.exists():
        return Finding("There is no dev-key")
    mode = stat.S_IMODE(os.stat(file).st_mode)
    return Finding(f"{file} has mode {mode:04o}", None if mode == 0o600 else f"It holds a full key: chmod 600 {file}")


async def _issuer(settings: Settings) -> AsyncGenerator[Finding]:
    if settings.jwks_url is None:
        yield Finding("No issuer of tokens is configured: API keys and the hub's own tokens only")
        return
    try:
        answer = await Outbound(settings.outbound_allow, SystemClock()).request(
            "GET", settings.jwks_url, timeout=5, max_bytes=1024 * 1024
        )
    except OutboundError as error:
        yield Finding(
            f"{settings.jwks_url} cannot be read: {error}",
            "Check HUB_JWKS_URL, and HUB_OUTBOUND_ALLOW for a private address.",
        )
        return
    yield Finding(
        f"{settings.jwks_url} answers {answer.status}",
        None if answer.status == 200 else "HUB_JWKS_URL must be the issuer's key set.",
    )
