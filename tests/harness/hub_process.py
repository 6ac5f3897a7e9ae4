"""Hub processes as a user starts them: `python -m hub serve`, watched from outside only.

Most are copies of a process that has read the code already (tests/harness/zygote.py): as the hub they begin with its first line.
The parent of workers becomes a program of its own, also as a copy, and its workers are started by it.
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import aiohttp

from core.store.engines import EngineUrls
from tests.harness.engines import remove_with_engines, short_folder
from tests.harness.forked import IS_POSSIBLE, ZYGOTE, Forked
from tests.harness.waiting import eventually

CHECKOUT = Path(__file__).resolve().parents[2]
HUB = (sys.executable, "-m", "hub")
SERVE = (*HUB, "serve", "--port", "0")
ADDRESS = re.compile(r"http://(?:127\.0\.0\.1|localhost|\[::1\]):\d+")
NOT_YET = (aiohttp.ClientError, OSError, AssertionError, TimeoutError)
LOG_TAIL = 6000


class HubProcess:
    """One node. It has a process group of its own; engines that it starts do not belong to that group."""

    def __init__(
        self,
        *,
        data: Path,
        urls: EngineUrls | None = None,
        log: Path,
        command: Sequence[str] = SERVE,
        environment: Mapping[str, str] | None = None,
        checkout: Path = CHECKOUT,
    ) -> None:
        self.data = data
        self._checkout = checkout
        self.log = log
        self.base_url = ""
        self._command = command
        self._environment = {**_clean_environment(), "HUB_DATA": str(data), **(environment or {})}
        if urls is not None:
            self._environment |= {"DATABASE_URL": urls.database_url, "REDIS_URL": urls.redis_url}
        self._process: subprocess.Popen[bytes] | Forked | None = None

    @property
    def pid(self) -> int:
        """The node's process id."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def stream_url(self) -> str:
        """The address of the stream."""
        return self.base_url.replace("http", "ws", 1) + "/v2/stream"

    @property
    def key(self) -> str:
        """The first key of a hub with embedded engines."""
        return (self.data / "dev-key").read_text().strip()

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended, None while it lives."""
        return None if self._process is None else self._process.poll()

    def output(self) -> str:
        """Return all that it has printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def launch(self) -> None:
        """Start the process; returns at once."""
        self.base_url = ""
        # Until it prints, nothing may look as if it had: a copy begins its log when it gets to run.
        self.log.unlink(missing_ok=True)
        if self._can_be_a_copy():
            arguments = self._command[len(HUB) :]
            self._process = ZYGOTE.copy(arguments, environment=self._environment, folder=self._checkout, log=self.log)
            return
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._checkout,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def ready(self, *, within: float = 60.0) -> Self:
        """Wait until it has printed its address and `GET /readyz` is 200.

        Raises AssertionError with its output when it ends before, or is too slow.
        """
        try:
            self.base_url = await eventually(self._address, within=within, retry_on=(), what="printed its address")
            async with aiohttp.ClientSession() as session:
                await eventually(
                    lambda: self._is_ready(session), within=within, retry_on=NOT_YET, what="/readyz is 200"
                )
        except AssertionError as error:
            raise AssertionError(f"{error}\n--- output\n{self.output()[-LOG_TAIL:]}") from None
        return self

    async def start(self, *, within: float = 60.0) -> Self:
        """Launch it and wait until it is ready."""
        self.launch()
        return await self.ready(within=within)

    def kill(self) -> None:
        """`kill -9` of the node and what it started, and wait for its end."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait(10)

    async def stop(self, *, within: float = 40.0) -> int:
        """SIGTERM, and wait; return the exit code."""
        assert self._process is not None, "not started"
        self._process.send_signal(signal.SIGTERM)
        await eventually(lambda: not self.running, within=within, what="the hub has stopped")
        return self._process.returncode

    def pause(self) -> None:
        """SIGSTOP: its sockets stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _can_be_a_copy(self) -> bool:
        return IS_POSSIBLE and tuple(self._command[: len(HUB)]) == HUB and self._checkout == CHECKOUT

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            os.killpg(self.pid, number)

    def _address(self) -> str | None:
        found = ADDRESS.search(self.output())
        if found is None and not self.running:
            raise AssertionError(f"the hub has ended with {self._process and self._process.returncode}")
        return found.group(0) if found else None

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        if not self.running:
            raise RuntimeError(f"the hub has ended:\n{self.output()[-LOG_TAIL:]}")
        async with session.get(f"{self.base_url}/readyz", timeout=aiohttp.ClientTimeout(total=2)) as answer:
            return answer.status == 200


class HubProcesses:
    """The hub processes of one test: starts them, and ends whatever it started."""

    def __init__(self, make: Callable[..., HubProcess] = HubProcess) -> None:
        self._make = make
        self._folder = short_folder("hub-nodes")
        self.all: list[HubProcess] = []

    def prepare(self, *, data: Path | None = None, urls: EngineUrls | None = None, **options: object) -> HubProcess:
        """Return a process that is not launched yet; without `data` it gets a folder of its own."""
        number = len(self.all)
        hub = self._make(
            data=data or self._folder / f"data-{number}", urls=urls, log=self._folder / f"node-{number}.log", **options
        )
        self.all.append(hub)
        return hub

    async def start(self, *, data: Path | None = None, urls: EngineUrls | None = None, **options: object) -> HubProcess:
        """Start one node and wait until it is ready."""
        return await self.prepare(data=data, urls=urls, **options).start()

    async def start_many(
        self, count: int, *, data: Path | None = None, urls: EngineUrls | None = None
    ) -> list[HubProcess]:
        """Start several nodes of one hub at once."""
        nodes = [self.prepare(data=data, urls=urls) for _ in range(count)]
        for node in nodes:
            node.launch()
        return list(await asyncio.gather(*(node.ready() for node in nodes)))

    def end(self) -> None:
        """Kill all of them and print the end of their logs, which pytest shows when the test failed."""
        for number, hub in enumerate(self.all):
            hub.resume()
            hub.kill()
            print(f"--- node {number} (pid and address: {hub.base_url or 'none'})\n{hub.output()[-LOG_TAIL:]}")
        remove_with_engines(self._folder)


def _clean_environment() -> dict[str, str]:
    """The environment without what would configure a hub; no hub loads a model that a test did not ask for."""
    named = ("DATABASE_URL", "REDIS_URL", "PORT")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUB_") and name not in named}
    return {**kept, "HUB_EMBEDDING": "off"}
