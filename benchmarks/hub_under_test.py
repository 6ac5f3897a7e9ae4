"""The hub as its users start it, `python -m hub serve`, with engines, organisations and keys made by its own commands."""

import asyncio
import json
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

from benchmarks.machine import Cores
from benchmarks.server import CHECKOUT, ServerProcess, clean_environment
from core.settings import Settings
from core.store.engines import Engines, start_engines
from core.store.engines.layout import Layout, locate

ENGINES_STOP_LOOKS = 400  # twenty to the second
_SERVE = (sys.executable, "-m", "hub", "serve", "--host", "127.0.0.1", "--port", "0")
# The limits stay on; they are only out of the way.
_GENEROUS = (
    "requests_per_hour=1000000000",
    "burst=100000000",
    "concurrent_connections=100000",
    "publishes_per_second=1000000",
    "frames_per_second=1000000",
    "bytes_per_second=1000000000",
)


@dataclass(frozen=True, slots=True)
class Organisation:
    """An organisation and a key for it."""

    id: UUID
    key: str


class HubUnderTest:
    """One node and its engines below `folder`; everything is ended and removed on leaving the context.

    The engines are held by this process: so they run on its cores, not on the server's, and outlive the node's start and stop.
    """

    def __init__(self, folder: Path, cores: Cores | None) -> None:
        self._data = folder / "data"
        # Receivers of webhooks are on this machine. Whether the `semantic` extra is installed changes no figure.
        own = {"HUB_DATA": str(self._data), "HUB_OUTBOUND_ALLOW": "127.0.0.0/8", "HUB_EMBEDDING": "off"}
        # What a node can is measured, not what it allows.
        own |= {"HUB_HANDSHAKES_PER_SECOND": "100000"}
        # Where the model of agents answers, once somebody serves there.
        self._kept = socket.socket()
        self._kept.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # bound, not listening: that serves may bind it too
        self._kept.bind(("127.0.0.1", 0))
        self.model_port: int = self._kept.getsockname()[1]
        own |= {"HUB_MODEL_URL": f"http://127.0.0.1:{self.model_port}/v1", "HUB_MODEL_NAME": "tokens"}
        self._environment = {**clean_environment(), **own}
        self._folder = folder
        self._cores = cores
        self.server = ServerProcess(_SERVE, cores=cores, environment=self._environment, log=folder / "hub.log")
        self._engines: Engines | None = None
        self._organisations: dict[str, Organisation] = {}

    def another(self, *options: str) -> ServerProcess:
        """Return another server of the same hub, started with further options; whoever starts it stops it."""
        log = self._folder / "another.log"
        return ServerProcess((*_SERVE, *options), cores=self._cores, environment=self._environment, log=log)

    @property
    def database_url(self) -> str:
        """Where PostgreSQL is, for the plain login."""
        return self._held().urls.database_url

    @property
    def redis_url(self) -> str:
        """Where Redis is."""
        return self._held().urls.redis_url

    async def __aenter__(self) -> Self:
        """Start engines and node."""
        try:
            self._engines = await start_engines(self._data)
            await self.server.start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop both and remove their data."""
        await self._end()

    async def organisation(self, slug: str) -> Organisation:
        """Make an organisation with limits that do not matter, and a key with every scope; the same one when asked again."""
        known = self._organisations.get(slug)
        if known is not None:
            return known
        limits = [part for limit in _GENEROUS for part in ("--limit", limit)]
        await self._run("orgs", "set", slug, "--tier", "enterprise", *limits)
        made = json.loads((await self._run("keys", "create", "--org", slug, "--json")).splitlines()[-1])
        organisation = self._organisations[slug] = Organisation(UUID(made["org_id"]), made["key"])
        return organisation

    async def _run(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "hub", *arguments),
            cwd=CHECKOUT,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, errors = await process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"hub {' '.join(arguments)} failed:\n{errors.decode()}")
        return said.decode()

    def _held(self) -> Engines:
        if self._engines is None:
            raise RuntimeError("the engines are not started")
        return self._engines

    async def _end(self) -> None:
        self._kept.close()
        await self.server.stop()
        if self._engines is None:
            return
        self._engines.close()
        layout = locate(self._data, Settings.model_fields["engine_user"].default)
        await _stopped(layout)
        shutil.rmtree(layout.folder, ignore_errors=True)


async def _stopped(layout: Layout) -> None:
    """Wait for the engines' clean stop, which follows when nobody holds them."""
    for _ in range(ENGINES_STOP_LOOKS):
        if json.loads(layout.state.read_text())["phase"] == "stopped":
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(f"the engines in {layout.folder} do not stop")
