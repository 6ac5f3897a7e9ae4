"""One data folder with the hub processes that use it: small real processes, killed as a test likes."""

import asyncio
import json
import os
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import psutil
import redis.asyncio

from core.store.engines.layout import Layout, locate
from core.store.engines.postgres import database_url
from core.store.engines.processes import processes_in, send
from core.store.engines.valkey import redis_url
from tests.harness.engines import processes_of, short_folder
from tests.harness.waiting import eventually

CHECKOUT = Path(__file__).resolve().parents[4]

# A hub in small: holds the engines, has used both, says so, and lives until it is killed. Options: "leak" leaves a child
# behind that was given every descriptor that may be inherited.
APP = """
import asyncio, subprocess, sys
from pathlib import Path
import asyncpg, redis.asyncio
from core.store.engines import EnginesUnavailable, start_engines

async def main(data, user, *options):
    try:
        engines = await start_engines(Path(data), user=user)
    except EnginesUnavailable as error:
        print("refused", str(error).replace(chr(10), " "), flush=True)
        return
    connection = await asyncpg.connect(engines.urls.database_url)
    who = await connection.fetchval("SELECT current_user")
    await connection.close()
    client = redis.asyncio.from_url(engines.urls.redis_url)
    assert await client.ping()
    await client.aclose()
    if "leak" in options:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", data], close_fds=False, stdout=subprocess.DEVNULL)
    print("ready", who, flush=True)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


class App:
    """A process that holds the engines."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.logged = ""

    async def said(self) -> str:
        """Wait for its word: `ready <role>`, or `refused <why>`. What it logs before that is kept in `logged`."""
        assert self.process.stdout is not None
        while True:
            line = (await asyncio.wait_for(self.process.stdout.readline(), 40)).decode()
            assert line, "the app ended without a word"
            if line.startswith(("ready", "refused")):
                return line.strip()
            self.logged += line

    async def end(self, wish: signal.Signals = signal.SIGKILL) -> None:
        """Signal it and reap it."""
        if self.process.returncode is None:
            self.process.send_signal(wish)
        await self.process.wait()


class Trial:
    """A data folder, its apps, and what lives in it."""

    def __init__(self) -> None:
        self.base = short_folder("hub-trial")
        self.data = self.base / "data"
        self.known: Layout | None = None
        self._apps: list[App] = []

    @property
    def layout(self) -> Layout:
        """Where the hub would look for the engines now."""
        return self.known or locate(self.data, "nobody")

    async def launch(self, *options: str, prefix: Sequence[str] = (), first_path: Path | None = None) -> App:
        """Start an app without waiting for its engines; it imports from `first_path` before all else."""
        command = [*prefix, sys.executable, "-c", APP, str(self.data), "nobody", *options]
        path = os.pathsep.join(str(part) for part in (first_path, CHECKOUT) if part)
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, env=environment, cwd=CHECKOUT
        )
        app = App(process)
        self._apps.append(app)
        return app

    async def app(self, *options: str, prefix: Sequence[str] = ()) -> App:
        """Start an app and wait until it has used both engines."""
        app = await self.launch(*options, prefix=prefix)
        assert await app.said() == "ready hub"
        return app

    @property
    def supervisors(self) -> list[int]:
        """The supervisors of this data folder that live."""
        return [
            process.pid
            for process in psutil.process_iter(["cmdline", "status"])
            if (words := process.info["cmdline"] or [])[1:3] == ["-m", "core.store.engines.supervisor"]
            and words[3] == str(self.data.resolve())
            and process.info["status"] != psutil.STATUS_ZOMBIE
        ]

    @property
    def supervisor(self) -> int:
        """The pid of the one that serves."""
        return int(json.loads(self.layout.state.read_text())["supervisor"])

    @property
    def postgres(self) -> list[int]:
        """PostgreSQL's processes."""
        return processes_in(self.layout.postgres, "postgres")

    @property
    def postmaster(self) -> int:
        """PostgreSQL's parent process, 0 where there is none."""
        parents = {pid: parent_of(pid) for pid in self.postgres}
        return next((pid for pid in parents if parents[pid] == self.supervisor), 0)

    @property
    def valkey(self) -> list[int]:
        """Valkey's process."""
        return processes_in(self.layout.valkey, "valkey-server")

    @property
    def running(self) -> list[int]:
        """Everything that lives here but the apps."""
        return [*self.supervisors, *self.postgres, *self.valkey]

    async def stopped(self, within: float = 30.0) -> None:
        """Wait until nothing lives here any more."""
        await eventually(lambda: not self.running, within=within, what="supervisor and engines are gone")

    async def store(self, value: str) -> None:
        """Put `value` into both engines, on disk when this returns."""
        connection = await asyncpg.connect(database_url(self.layout))
        await connection.execute("CREATE SCHEMA IF NOT EXISTS trial AUTHORIZATION CURRENT_USER")
        await connection.execute("CREATE TABLE IF NOT EXISTS trial.kept (value text)")
        await connection.execute("INSERT INTO trial.kept VALUES ($1)", value)
        await connection.close()
        client: redis.asyncio.Redis = redis.asyncio.from_url(redis_url(self.layout))
        await client.set("kept", value)
        await client.execute_command("WAITAOF", 1, 0, 5000)
        await client.aclose()

    async def stored(self) -> tuple[list[str], str]:
        """Return what both engines have, once both answer."""

        async def read() -> tuple[list[str], str]:
            connection = await asyncpg.connect(database_url(self.layout))
            rows = [row["value"] for row in await connection.fetch("SELECT value FROM trial.kept")]
            await connection.close()
            client: redis.asyncio.Redis = redis.asyncio.from_url(redis_url(self.layout), decode_responses=True)
            key = await client.get("kept")
            await client.aclose()
            return rows, str(key)

        failures = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, redis.asyncio.RedisError)
        return await eventually(read, within=30, every=0.05, retry_on=failures, what="both engines answer")

    async def stop(self) -> None:
        """End the apps, and the engines without the two seconds of grace."""
        for app in self._apps:
            await app.end()
        for pid in self.supervisors:
            send(pid, signal.SIGTERM)
        await self.stopped(within=40)

    async def close(self) -> None:
        """Stop everything and remove the folders."""
        folder = self.layout.folder
        try:
            await self.stop()
        finally:
            for pid in (*self.running, *(process.pid for process in processes_of(self.base))):
                send(pid, signal.SIGKILL)
            shutil.rmtree(self.layout.run, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(self.base, ignore_errors=True)


def parent_of(pid: int) -> int:
    """Return the parent of a process, 0 when it has gone meanwhile."""
    try:
        return psutil.Process(pid).ppid()
    except psutil.NoSuchProcess:
        return 0
