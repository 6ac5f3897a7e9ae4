"""A Redis Cluster of a test's own: masters, and replicas where asked for, to be killed, frozen, resharded at will."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import redis
from redis.crc import key_slot

from tests.harness.engines import short_folder
from tests.harness.waiting import wait_until

SLOTS = 16384
PORTS = range(12_000, 32_000)
NODE_TIMEOUT_MS = 1000
_AWAY = (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError)


class ClusterNode:
    """One server of the cluster."""

    def __init__(self, binary: Path, folder: Path, port: int, bus: int) -> None:
        self.port = port
        self.id = ""
        self.bus = bus
        self._binary = binary
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None

    def start(self) -> None:
        """Start it and return when it answers."""
        self._folder.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [
                self._binary, "--port", str(self.port), "--cluster-port", str(self.bus), "--bind", "127.0.0.1",
                "--dir", self._folder, "--save", "", "--appendonly", "yes", "--appendfsync", "everysec",
                "--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS),
                "--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0",
                "--logfile", self._folder / "log",
            ],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        wait_until(self._answers, retry_on=_AWAY, what=f"{self.url} answers")
        self.id = self.ask("CLUSTER", "MYID").decode()

    def start_somewhere(self) -> None:
        """Start it, on other ports where somebody else has just taken these."""
        for _ in range(5):
            try:
                self.start()
            except ChildProcessError:
                self.port, self.bus = free_ports(2)
            else:
                return
        raise AssertionError("no free ports")

    def ask(self, *words: str | int) -> Any:
        """Send a command and return its answer."""
        with redis.Redis(port=self.port, socket_timeout=5) as client:
            return client.execute_command(*words)

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            self._process = None
            raise ChildProcessError(f"{self.url} has ended")
        return bool(self.ask("PING"))

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    def pause(self) -> None:
        """SIGSTOP."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)


class OwnCluster:
    """`masters` servers with the slots shared among them, and with `replicas` one replica each."""

    def __init__(self, binary: Path, *, masters: int = 3, replicas: bool = False) -> None:
        self.folder = short_folder("hub-cluster")
        count = masters * (2 if replicas else 1)
        ports = free_ports(2 * count)
        self.nodes = [
            ClusterNode(binary, self.folder / str(port), port, bus)
            for port, bus in zip(ports[:count], ports[count:], strict=True)
        ]
        self._masters = masters

    @property
    def url(self) -> str:
        """Where the first node listens."""
        return self.nodes[0].url

    def start(self) -> None:
        """Start all, and return when every one knows of all slots."""
        for node in self.nodes:
            node.start_somewhere()
        first = self.nodes[0]
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for number, node in enumerate(self.nodes[: self._masters]):
            low, high = number * SLOTS // self._masters, (number + 1) * SLOTS // self._masters - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", low, high)
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", first.port, first.bus)
        wait_until(self._all_met, within=20, every=0.02, what="all nodes know each other")
        for number, node in enumerate(self.nodes[self._masters :]):
            node.ask("CLUSTER", "REPLICATE", self.nodes[number].id)
        wait_until(self.is_whole, within=20, every=0.02, what="the cluster is whole")

    def is_whole(self) -> bool:
        """Tell whether every running node sees every slot served, and every replica follows its master."""
        for node in self.nodes:
            if node.running and b"cluster_state:ok" not in _bytes(node.ask("CLUSTER", "INFO")):
                return False
            if node.running and self._slots_seen(node) != SLOTS:
                return False
        return all(self._follows(node) for node in self.nodes if node.running)

    def owner(self, slot: int) -> ClusterNode:
        """Return the master of a slot, as the nodes that run see it."""
        for node in self.nodes:
            if node.running and node.ask("ROLE")[0] == b"master" and self._has(node, slot):
                return node
        raise AssertionError(f"nobody has slot {slot}")

    def another(self, node: ClusterNode) -> ClusterNode:
        """Return another running master."""
        return next(
            each for each in self.nodes if each is not node and each.running and each.ask("ROLE")[0] == b"master"
        )

    def replica_of(self, node: ClusterNode) -> ClusterNode:
        """Return the replica of a master."""
        return next(each for each in self.nodes if each.running and self._master_port(each) == node.port)

    def migrate(self, name: str, *, atomically: bool) -> ClusterNode:
        """Move the slot of a key to another master, with all its keys; return where it is now."""
        return self.migrate_slot(key_slot(name.encode()), atomically=atomically)

    def used_slots(self, most: int) -> list[int]:
        """Return some slots that have keys."""
        keys = [key for node in self.nodes if node.running for key in node.ask("KEYS", "*")]
        return list(dict.fromkeys(key_slot(key) for key in keys))[:most]

    def migrate_slot(self, slot: int, *, atomically: bool) -> ClusterNode:
        """Move a slot to another master, with all its keys; return where it is now."""
        source = self.owner(slot)
        target = self.another(source)
        if atomically:
            source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id)
        else:
            self.move_by_keys(slot, source, target)
        wait_until(
            lambda: all(self._sees(node, slot, target) for node in self.nodes if node.running),
            within=20, every=0.01, what=f"slot {slot} has moved",
        )  # fmt: skip
        return target

    def flush(self) -> None:
        """Empty every master."""
        for node in self.nodes:
            with contextlib.suppress(redis.ReadOnlyError):
                node.ask("FLUSHALL")

    def remove(self) -> None:
        """End all and remove their folders."""
        for node in self.nodes:
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def move_by_keys(self, slot: int, source: ClusterNode, target: ClusterNode) -> None:
        """Move a slot key by key, as redis-cli does."""
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        target.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)
        for node in (source, *self.nodes):
            with contextlib.suppress(redis.ResponseError, *_AWAY):  # replicas hear of it by themselves
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def _all_met(self) -> bool:
        return all(_bytes(node.ask("CLUSTER", "NODES")).count(b" connected") == len(self.nodes) for node in self.nodes)

    def _follows(self, node: ClusterNode) -> bool:
        role = node.ask("ROLE")
        return role[0] == b"master" or role[3] == b"connected"

    def _master_port(self, node: ClusterNode) -> int:
        role = node.ask("ROLE")
        return int(role[2]) if role[0] == b"slave" else 0

    def _slots_seen(self, node: ClusterNode) -> int:
        return sum(last - first + 1 for first, last, *_ in node.ask("CLUSTER", "SLOTS"))

    def _has(self, node: ClusterNode, slot: int) -> bool:
        return self._sees(node, slot, node)

    def _sees(self, node: ClusterNode, slot: int, owner: ClusterNode) -> bool:
        return any(
            first <= slot <= last and master[1] == owner.port
            for first, last, master, *_ in node.ask("CLUSTER", "SLOTS")
        )


def free_ports(count: int) -> list[int]:
    """Return ports that are free now, all different, and none of those that the system gives to clients."""
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as claim, contextlib.suppress(OSError):
            claim.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            break
    return found


def _bytes(answer: Any) -> bytes:
    return answer if isinstance(answer, bytes) else str(answer).encode()
