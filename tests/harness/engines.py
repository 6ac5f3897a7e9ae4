"""Engines for tests: one pair a session, a fresh database a test, and pairs of their own for tests that kill them.

Everything here is synchronous or loop-free, so that nothing outlives the event loop of the test that uses it.
"""

import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil
import redis.asyncio

from core.store.engines import Engines, EngineUrls, start_engines
from core.store.migrate import installation_secret, migrate
from tests.harness.installation import forget_secret, note_secret
from tests.harness.waiting import eventually, wait_until

T = TypeVar("T")
_ROOM_BYTES = 3 << 30
_SUPERVISOR = "core.store.engines.supervisor"
# What the session's PostgreSQL does without: its machine never fails. (`doctor`, which tests run on it, wants fsync.)
_FORGETFUL = {"full_page_writes": "off", "max_wal_size": "128MB"}


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on a loop of its own; touches no event loop but that one. For synchronous fixtures."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(work)


def with_database(url: str, name: str) -> str:
    """Return `url` with another database name."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, f"/{name}", parts.query, ""))


def with_login(url: str, user: str, password: str) -> str:
    """Return `url` with another user and password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, f"{user}:{password}@{host}", parts.path, parts.query, ""))


async def execute_as_superuser(urls: EngineUrls, *statements: str) -> None:
    """Run statements, each by itself, on a superuser's connection."""
    connection = await asyncpg.connect(urls.superuser_url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def given_engines(database_url: str, redis_url: str) -> EngineUrls:
    """Use engines that run already; `database_url` is a superuser's. Makes the plain login that the tests use."""
    password = hashlib.sha256(database_url.encode()).hexdigest()
    urls = EngineUrls(with_login(database_url, "hub_test", password), database_url, redis_url)
    run(
        execute_as_superuser(
            urls,
            "DO $$ BEGIN CREATE ROLE hub_test LOGIN NOINHERIT CREATEROLE; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
            f"ALTER ROLE hub_test PASSWORD '{password}'",
        )
    )
    return urls


async def add_vectors(urls: EngineUrls, database: str) -> None:
    """Give a database pgvector, which only a superuser may, as the embedded engines do."""
    connection = await asyncpg.connect(with_database(urls.superuser_url, database))
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public")
    finally:
        await connection.close()


async def forget(urls: EngineUrls) -> None:
    """Let the PostgreSQL of the session write and keep little of its log, and hash the hub's password less."""
    settings = [f"ALTER SYSTEM SET {name} = '{value}'" for name, value in _FORGETFUL.items()]
    login = urlsplit(urls.database_url)
    password = f"ALTER ROLE {login.username} PASSWORD '{login.password}'"
    await execute_as_superuser(urls, *settings, "SELECT pg_reload_conf()", "SET scram_iterations = 1", password)


class _Superuser:
    """One connection for the whole session, on a loop of its own in a thread: a new one each time costs half of a copy."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="superuser", daemon=True)
        self._thread.start()

    async def execute(self, statement: str) -> None:
        """Run a statement; may be called on any loop."""
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._execute(statement), self._loop))

    async def close(self) -> None:
        """Close the connection, and end the thread."""
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._closed(), self._loop))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _execute(self, statement: str) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._url)
        await self._connection.execute(statement)

    async def _closed(self) -> None:
        if self._connection is not None:
            await self._connection.close()


class Template:
    """A migrated database that those of the tests are copied from."""

    def __init__(self, urls: EngineUrls) -> None:
        self.urls = urls
        self.name = f"hub_template_{secrets.token_hex(4)}"
        self._owner = urlsplit(urls.database_url).username or "hub"
        self._superuser = _Superuser(urls.superuser_url)
        self._secret = ""

    async def create(self) -> None:
        """Create and migrate it. Raises what migrate raises."""
        url = await self.create_empty(self.name)
        await add_vectors(self.urls, self.name)
        await migrate(url)
        self._secret = await installation_secret(url)

    async def create_empty(self, name: str) -> str:
        """Create the database `name` with nothing in it and return the URL of its plain login."""
        await self._superuser.execute(f'CREATE DATABASE "{name}" OWNER "{self._owner}"')
        return with_database(self.urls.database_url, name)

    async def copy(self, name: str) -> str:
        """Create the database `name` and return the URL of its plain login."""
        await self._superuser.execute(
            f'CREATE DATABASE "{name}" TEMPLATE "{self.name}" OWNER "{self._owner}" STRATEGY file_copy'
        )
        url = with_database(self.urls.database_url, name)
        note_secret(url, self._secret)
        return url

    async def drop(self, name: str) -> None:
        """Drop a database, whoever is connected."""
        forget_secret(name)
        await self._superuser.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def close(self) -> None:
        """Drop the template, and let go of the server."""
        await self.drop(self.name)
        await self._superuser.close()


async def flush(redis_url: str) -> None:
    """Empty the Redis server."""
    client: redis.asyncio.Redis = redis.asyncio.from_url(redis_url)
    try:
        await client.flushall()
    finally:
        await client.aclose()


def _in_memory() -> Path | None:
    """Return a folder in memory that has room for engines and lets programs run: databases are made there at a sixth of the cost.

    What tests kill is a process, and neither a disk nor this folder loses what a process has written.
    """
    folder = Path("/dev/shm")  # noqa: S108 - only what mkdtemp makes in it is used
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return None
    space = os.statvfs(folder)
    has_room = space.f_bavail * space.f_frsize >= _ROOM_BYTES and psutil.virtual_memory().available >= 2 * _ROOM_BYTES
    return folder if has_room and not space.f_flag & os.ST_NOEXEC else None


_FOLDERS = str(_in_memory() or "/tmp")  # noqa: S108 - the same; $TMPDIR can be too long for a socket


def short_folder(prefix: str) -> Path:
    """Make a folder whose path leaves room for a socket's name, and that the engines' account can enter."""
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=_FOLDERS))
    folder.chmod(0o755)
    return folder


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return the live processes whose command line names `folder`: the engines and their supervisor."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter(["cmdline", "status"]):
        named = any(str(folder) in word for word in process.info["cmdline"] or ())
        if named and process.info["status"] != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
            found.append(process)
    return found


def remove_with_engines(folder: Path) -> None:
    """Have the engines of `folder` stopped in order, then remove it; ends those that do not stop.

    That they stop by themselves two seconds after their last hub is of tests/core/store/engines/test_lifetime.py.
    """
    # To look at all processes of the machine takes a while, and most folders have no engines.
    found = processes_of(folder)
    for process in found:
        with contextlib.suppress(psutil.Error):
            if _SUPERVISOR in process.cmdline():
                process.terminate()
    try:
        if found:
            wait_until(lambda: not processes_of(folder), within=15.0, every=0.05, what=f"engines of {folder} stopped")
    except AssertionError:
        for process in processes_of(folder):
            process.kill()
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class EngineProcess:
    """A server process and, for PostgreSQL, its children, by pid."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process

    def kill(self) -> None:
        """SIGKILL of the server alone: what its children do then is the engine's affair."""
        self.process.send_signal(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP of the server, then of its children: nothing answers, nothing is closed."""
        for process in self._family():
            process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT of all of them."""
        for process in self._family():
            process.send_signal(signal.SIGCONT)

    def _family(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


class PrivateEngines:
    """Engines in a data folder of their own, for a test that hurts them. Start with `await start()`, end with `close()`."""

    def __init__(self, folder: Path | None = None) -> None:
        self.data = folder or short_folder("hub-own")
        self._engines: Engines | None = None
        self._urls: EngineUrls | None = None

    @property
    def urls(self) -> EngineUrls:
        """Where they are, also while they are down."""
        assert self._urls is not None, "start() comes first"
        return self._urls

    async def start(self) -> EngineUrls:
        """Start them, or attach to them; returns when both answer."""
        self._engines = await start_engines(self.data)
        self._urls = self._engines.urls
        return self._urls

    async def postgres(self) -> EngineProcess:
        """Find the postmaster. It must answer now; ask before hurting it."""
        connection = await asyncpg.connect(self.urls.superuser_url)
        try:
            lines = await connection.fetchval("SELECT pg_read_file('postmaster.pid')")
        finally:
            await connection.close()
        return EngineProcess(psutil.Process(int(lines.split("\n")[0])))

    async def redis(self) -> EngineProcess:
        """Find the Redis server. It must answer now; ask before hurting it."""
        client: redis.asyncio.Redis = redis.asyncio.from_url(self.urls.redis_url)
        try:
            info = await client.info("server")
        finally:
            await client.aclose()
        return EngineProcess(psutil.Process(int(info["process_id"])))

    async def answering(self, *, within: float = 10.0) -> None:
        """Wait until both answer again."""
        failures = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, redis.asyncio.RedisError, AssertionError)
        await eventually(self.postgres, within=within, retry_on=failures, what="PostgreSQL answers")
        await eventually(self.redis, within=within, retry_on=failures, what="Redis answers")

    def close(self) -> None:
        """Let go of them: they stop by themselves when nobody else holds on."""
        if self._engines is not None:
            self._engines.close()
            self._engines = None

    def remove(self) -> None:
        """Close, wait until all is stopped, and remove the data folder."""
        self.close()
        remove_with_engines(self.data)
