"""py-spy, which looks at a process from outside, native frames included."""

import asyncio
import sys
from pathlib import Path

from benchmarks.flame_svg import Stacks, read_stacks

RATE = 250
WARM_SECONDS = 1.0
# py-spy reads symbols before it begins to look.
LEAD_SECONDS = 6.0


async def watched(pid: int, seconds: float, raw: Path) -> Stacks:
    """Look at a process, and return what was seen, which py-spy writes into `raw`.

    Raises RuntimeError with what it says where it cannot.
    """
    spy = Path(sys.executable).with_name("py-spy")
    process = await asyncio.create_subprocess_exec(
        *(str(spy), "record", "--pid", str(pid), "--native", "--format", "raw", "--output", str(raw)),
        *("--rate", str(RATE), "--duration", f"{seconds:.0f}"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"py-spy: {errors.decode().strip()}")
    return _read(raw)


def _read(raw: Path) -> Stacks:
    return read_stacks(raw.read_text())
