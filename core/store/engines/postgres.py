"""PostgreSQL of the embedded pair: its cluster, settings, roles and database."""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import core.store.engines.answers as answers
from core.store.engines.engine import Engine
from core.store.engines.layout import Layout, give_to_owner
from core.store.engines.processes import run_to_end
from core.store.engines.programs import Programs
from core.store.engines.unavailable import explain

_SUPERUSER = "postgres"
_LOGIN = "hub"
_DATABASE = "aimatrix"

# For a machine that does other things too. What is not here is PostgreSQL's default.
_SETTINGS = {
    "listen_addresses": "",  # the socket only
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "synchronous_commit": "on",
    "max_parallel_workers_per_gather": "0",  # a container's small /dev/shm
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


def database_url(layout: Layout) -> str:
    """Return the address for the hub: the plain login, by socket and password."""
    return _url(layout, _LOGIN, _DATABASE)


def superuser_url(layout: Layout) -> str:
    """Return the superuser's address, on the maintenance database."""
    return _url(layout, _SUPERUSER, "postgres")


def postgres_engine(layout: Layout, programs: Programs, say: Callable[[str], None]) -> Engine:
    """Return the engine, its cluster made where there is none. Raises EnginesUnavailable where that fails."""
    for role in (_SUPERUSER, _LOGIN):
        _make_password(layout, role)
    if not layout.postgres.is_dir():
        _make_cluster(layout, programs, say)
    settings = {**_SETTINGS, "unix_socket_directories": str(layout.run)}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return Engine(
        name="postgres",
        program="postgres",
        command=[programs.postgres, "-D", layout.postgres, *options],
        folder=layout.postgres,
        stop_signal=signal.SIGINT,  # "fast": sessions are ended, nothing needs recovery
        answers=partial(answers.postgres_answers, layout.postgres_socket),
        layout=layout,
        say=say,
        forget_predecessor=partial(_forget_predecessor, layout),
    )


def bootstrap(layout: Layout) -> None:
    """Make the login, the database and the extensions; safe to repeat. Done once per cluster, by the supervisor.

    Raises EnginesUnavailable where PostgreSQL refuses.
    """
    # A warm start does without these two.
    import asyncio

    import asyncpg

    try:
        asyncio.run(_bootstrap(layout, asyncpg.connect))
    except (asyncpg.PostgresError, OSError) as error:
        raise explain("The hub's database could not be made.", str(error), layout.folder) from error


async def _bootstrap(layout: Layout, connect: Callable[[str], Awaitable[Any]]) -> None:
    password = layout.password(_LOGIN).read_text().strip()
    server = await connect(superuser_url(layout))
    try:
        if not await server.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", _LOGIN):
            await server.execute(f"CREATE ROLE {_LOGIN}")
        # The password is hexadecimal, so it needs no quoting.
        await server.execute(
            f"ALTER ROLE {_LOGIN} LOGIN NOSUPERUSER NOINHERIT CREATEROLE NOCREATEDB PASSWORD '{password}'"
        )
        if not await server.fetchval("SELECT true FROM pg_database WHERE datname = $1", _DATABASE):
            await server.execute(f"CREATE DATABASE {_DATABASE}")
        await server.execute(f"GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {_DATABASE} TO {_LOGIN}")
    finally:
        await server.close()
    database = await connect(_url(layout, _SUPERUSER, _DATABASE))
    try:
        for extension in ("pg_trgm", "vector"):
            await database.execute(f"CREATE EXTENSION IF NOT EXISTS {extension} WITH SCHEMA public")
    finally:
        await database.close()


def _url(layout: Layout, role: str, database: str) -> str:
    password = layout.password(role).read_text().strip()
    return f"postgresql://{role}:{password}@/{database}?host={quote(str(layout.run), safe='/')}"


def _forget_predecessor(layout: Layout) -> None:
    """Remove what names a process that is gone: its number may be another's by now, and PostgreSQL would respect that one."""
    (layout.postgres / "postmaster.pid").unlink(missing_ok=True)
    layout.postgres_socket.with_name(f"{layout.postgres_socket.name}.lock").unlink(missing_ok=True)


def _make_password(layout: Layout, role: str) -> None:
    path = layout.password(role)
    if not path.exists():
        unfinished = path.with_suffix(".unfinished")
        _write_private(unfinished, secrets.token_hex(24))
        give_to_owner(layout, unfinished)
        unfinished.rename(path)
        layout.bootstrapped.unlink(missing_ok=True)


def _make_cluster(layout: Layout, programs: Programs, say: Callable[[str], None]) -> None:
    """Run initdb beside the final place and move the result there, so that half a cluster is never taken for one."""
    say("postgres: making a cluster")
    making = layout.folder / "postgres.unfinished"
    password_file = layout.folder / "initdb.password"
    shutil.rmtree(making, ignore_errors=True)
    password_file.unlink(missing_ok=True)
    try:
        making.mkdir(mode=0o700)
        _write_private(password_file, layout.password(_SUPERUSER).read_text())
        if layout.account is not None:
            for path in (making, password_file):
                os.chown(path, layout.account.uid, layout.account.gid)
        command = [programs.initdb, "-D", making, "-U", _SUPERUSER, "--pwfile", password_file, "--auth=scram-sha-256"]
        locale = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        run_to_end([*command, *locale], account=layout.account, log=layout.log("postgres"))
        layout.bootstrapped.unlink(missing_ok=True)
        making.rename(layout.postgres)
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "output", None) or str(error)
        raise explain("PostgreSQL's cluster could not be made.", str(detail), layout.folder) from error
    finally:
        password_file.unlink(missing_ok=True)


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(text + "\n")
