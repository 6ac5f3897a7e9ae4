"""What `serve --workers` decides before it becomes the parent: a line of JSON, without secrets, since it is seen by `ps`."""

import json
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NoReturn


@dataclass(frozen=True, slots=True)
class Plan:
    """`sockets` are the file descriptors of each worker; `engines` whether the hub's own are needed; `drain` in seconds."""

    sockets: list[list[int]]
    engines: bool
    data: str
    engine_user: str
    log: str
    drain: float


def become_parent(plan: Plan, sockets: Sequence[Sequence[socket.socket]]) -> NoReturn:
    """Replace this process, with all the libraries that it has loaded, by the parent, which needs few of them.

    The process id stays, so do the sockets. Raises OSError where it cannot be.
    """
    for each in (one for place in sockets for one in place):
        each.set_inheritable(True)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "hub.workers.parent", json.dumps(asdict(plan))])  # noqa: S606 - itself


def plan_of(text: str) -> Plan:
    """Read a plan."""
    return Plan(**json.loads(text))
