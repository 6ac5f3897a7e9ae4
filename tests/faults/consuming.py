"""What consumer processes of the fault tests share: `python -m tests.faults.<kind> <plan>`, a plan that the test writes.

{"key": ..., "seed": ..., "journals": folder, "nodes": file, "port": ..., "subscriptions": [{"name", "id", ...}]}
"""

import asyncio
import json
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness.journal import Journal


@dataclass(frozen=True)
class Plan:
    """What a consumer is to do. `nodes` is a file with the addresses of the nodes that were there last."""

    key: str
    seed: str
    journals: Path
    nodes: Path
    subscriptions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    port: int = 0

    def write(self, path: Path) -> None:
        """Keep it for the process."""
        path.write_text(json.dumps({**self.__dict__, "journals": str(self.journals), "nodes": str(self.nodes)}))

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """Return what was written."""
        kept: dict[str, Any] = json.loads(path.read_text())
        kept["journals"], kept["nodes"] = Path(kept["journals"]), Path(kept["nodes"])
        return cls(**kept)

    def node(self, chance: random.Random) -> str:
        """Return the address of a node."""
        return chance.choice(json.loads(self.nodes.read_text()))


def consume(work: Callable[[Plan, Journal, random.Random], Awaitable[None]]) -> None:
    """Do the work of the plan that the command line names, until SIGTERM."""
    plan = Plan.read(Path(sys.argv[1]))
    journal = Journal(plan.journals)

    async def run() -> None:
        ending = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
        working = asyncio.ensure_future(work(plan, journal, random.Random(plan.seed)))
        waiting = asyncio.ensure_future(ending.wait())
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        working.cancel()
        await asyncio.wait((working,))

    asyncio.run(run())
