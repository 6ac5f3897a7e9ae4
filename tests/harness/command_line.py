"""`python -m hub COMMAND`, run to its end: as hub processes are, a copy of a process that has read the code, where there can be."""

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.harness.forked import HERE, IS_POSSIBLE, ZYGOTE
from tests.harness.waiting import eventually

# The slowest migrates an empty database.
MOST_SECONDS = 100.0


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


async def run_command(*arguments: str, environment: Mapping[str, str]) -> Done:
    """Run a command with nothing on its stdin, and wait for its end."""
    if not IS_POSSIBLE:
        return await _by_itself(*arguments, environment=environment)
    with tempfile.TemporaryDirectory(prefix="hub-command-") as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        copy = ZYGOTE.copy(arguments, environment=environment, folder=HERE, log=out, errors=err)
        await eventually(
            lambda: copy.poll() is not None,
            within=MOST_SECONDS,
            every=0.005,
            what=f"hub {' '.join(arguments)} has ended",
        )
        return _done(copy.returncode, out, err)


def _done(code: int, out: Path, err: Path) -> Done:
    return Done(code, out.read_text(), err.read_text())


async def _by_itself(*arguments: str, environment: Mapping[str, str]) -> Done:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hub", *arguments),
        cwd=HERE,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())
