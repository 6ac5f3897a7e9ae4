"""Documents are read in processes of their own: what one does to its process is no other's affair."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from core.errors import HubError
from handlers.knowledge.parsing.child import NoParser
from handlers.knowledge.parsing.pool import Limits, Parsers
from handlers.knowledge.parsing.samples import docx, samples
from tests.handlers.knowledge.parsing.reading import refused
from tests.harness.clock import ManualClock
from tests.harness.waiting import eventually

PAGE = b"# Install\n\nRun the installer and wait until it has ended.\n"
# Takes seconds: far longer than it takes to kill what reads it.
SLOW = b"word another, " * 4_000_000


def is_there(pid: int) -> bool:
    """Tell whether a process lives; one that was not waited for is a zombie, and counts."""
    return Path(f"/proc/{pid}").exists()


def is_at_work(pid: int) -> bool:
    """Tell whether a process lives and is no zombie: whoever inherits one may be slow to wait for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def environment_of(pid: int) -> bytes:
    """Return what a process was started with."""
    return Path(f"/proc/{pid}/environ").read_bytes()


@pytest.fixture
async def parsers() -> AsyncIterator[Parsers]:
    pool = Parsers(1)
    yield pool
    await pool.close()


async def test_all_formats_are_read_by_one_confined_process(parsers: Parsers, monkeypatch: pytest.MonkeyPatch):
    """What a format needs is loaded before the process gives up opening files. It sees nothing of the hub's environment.

    There are the secret under which keys are hashed, and the database's password.
    """
    monkeypatch.setenv("HUB_SECRET", "of the hub")
    pids = set[int]()
    for content, content_type in samples():
        parsed = await parsers.parse(content, content_type, "")
        assert parsed.chunks
        assert parsed.chunks[0].terms.lexemes
        pids.update(parsers.pids)
    (pid,) = pids
    environment = environment_of(pid)
    assert b"PYTHONPATH" in environment
    assert b"HUB_SECRET" not in environment


async def test_refused_document_costs_nothing_and_a_crash_only_itself(parsers: Parsers):
    """What is wrong with a document is an answer like another; what nobody has foreseen ends the process, and is logged."""
    with refused("UNSUPPORTED_FORMAT"):
        await parsers.parse(b"\x89PNG\r\n\x1a\n" + bytes(100), "image/png", "a.png")
    pids = parsers.pids
    assert (await parsers.parse(PAGE, "text/markdown", "a.md")).title == "Install"
    assert parsers.pids == pids
    # A symbol without a font and a character: mammoth looks at neither.
    with capture_logs() as logs, refused("PARSER_CRASHED"):
        await parsers.parse(docx("<w:p><w:r><w:sym/></w:r></w:p>"), "", "a.docx")
    assert [log["last_word"].startswith("TypeError in ") for log in logs] == [True]
    assert (await parsers.parse(PAGE, "text/markdown", "a.md")).title == "Install"
    assert parsers.pids != pids


async def test_killed_in_mid_document_costs_only_that(parsers: Parsers):
    """The next document has another process."""
    await parsers.parse(PAGE, "text/markdown", "a.md")
    (pid,) = parsers.pids
    slow = asyncio.create_task(parsers.parse(SLOW, "text/plain", "slow.txt"))
    await eventually(lambda: parsers.busy == [pid])
    os.kill(pid, signal.SIGKILL)
    with refused("PARSER_CRASHED"):
        await slow
    assert (await parsers.parse(PAGE, "text/markdown", "a.md")).title == "Install"
    assert parsers.pids != [pid]
    assert not is_there(pid)


async def test_too_slow_is_ended():
    """A document has its time, counted from when it is given to a process that is ready."""
    parsers = Parsers(1, limits=Limits(seconds=0.05))
    with refused("TIMEOUT"):
        await parsers.parse(SLOW, "text/plain", "slow.txt")
    assert parsers.pids == []
    await parsers.close()


async def test_too_much_memory_is_refused():
    """The process has its own limit, and is replaced after it was reached."""
    parsers = Parsers(1, limits=Limits(memory=350 << 20))
    await parsers.parse(PAGE, "text/markdown", "a.md")
    (pid,) = parsers.pids
    # Lines take twenty times as many bytes as their text.
    with refused("DOCUMENT_TOO_LARGE"):
        await parsers.parse(b"ab\n" * 3_000_000, "text/plain", "a.txt")
    assert (await parsers.parse(PAGE, "text/markdown", "a.md")).title == "Install"
    assert parsers.pids != [pid]
    await parsers.close()


async def test_a_large_hub_has_parsers_that_are_used_again(parsers: Parsers):
    """What the parent has in memory is not the child's, though Linux counts it in what getrusage tells of it."""
    held = b"x" * (500 << 20)
    for _ in range(2):
        await parsers.parse(PAGE, "text/markdown", "a.md")
    assert len(parsers.pids) == 1
    assert len(held) > 0


async def test_idle_processes_end():
    """Memory is given back when nothing was parsed for a minute."""
    clock = ManualClock()
    parsers = Parsers(1, clock=clock)
    await parsers.parse(PAGE, "text/markdown", "a.md")
    (pid,) = parsers.pids
    await clock.advance(61)
    await eventually(lambda: not is_there(pid))
    assert parsers.pids == []
    await parsers.close()


async def test_one_that_died_while_idle_costs_nothing(parsers: Parsers):
    """Whoever kills an idle process takes no document with it."""
    await parsers.parse(PAGE, "text/markdown", "a.md")
    (pid,) = parsers.pids
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: parsers.pids == [])
    assert (await parsers.parse(PAGE, "text/markdown", "a.md")).title == "Install"


async def test_queue_is_bounded_and_close_ends_all():
    """Who comes when too many wait is sent away; who is under way when the hub ends hears that it was not the document."""
    parsers = Parsers(1, limits=Limits(waiting=1))
    first = asyncio.create_task(parsers.parse(SLOW, "text/plain", "slow.txt"))
    await eventually(lambda: parsers.busy)
    second = asyncio.create_task(parsers.parse(PAGE, "text/markdown", "a.md"))
    await asyncio.sleep(0)
    with pytest.raises(HubError, match="SERVICE_UNAVAILABLE"):
        await parsers.parse(PAGE, "text/markdown", "a.md")
    (pid,) = parsers.pids
    await parsers.close()
    for each in (first, second, parsers.parse(PAGE, "text/markdown", "a.md")):
        with pytest.raises(NoParser):
            await each
    assert not is_there(pid)


async def test_close_ends_what_is_being_started():
    """Nobody knows its process yet but who has started it."""
    parsers = Parsers(1)
    first = asyncio.create_task(parsers.parse(PAGE, "text/markdown", "a.md"))
    await asyncio.sleep(0)
    await parsers.close()
    with pytest.raises(NoParser):
        await first


async def test_cancelled_caller_ends_the_process():
    """A process that is at work for nobody would keep the place of another."""
    parsers = Parsers(1)
    slow = asyncio.create_task(parsers.parse(SLOW, "text/plain", "slow.txt"))
    await eventually(lambda: parsers.busy)
    (pid,) = parsers.pids
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert not is_there(pid)
    await parsers.close()


HUB = """
import asyncio
from handlers.knowledge.parsing.pool import Parsers
async def main():
    parsers = Parsers(1)
    await parsers.parse(b"text", "text/plain", "a.txt")
    print(parsers.pids[0], flush=True)
    await parsers.parse(b"word another, " * 4_000_000, "text/plain", "slow.txt")
asyncio.run(main())
"""


async def test_parser_dies_with_the_hub():
    """Also when the hub is killed, and the parser is at work."""
    hub = await asyncio.create_subprocess_exec(sys.executable, "-c", HUB, stdout=asyncio.subprocess.PIPE)
    assert hub.stdout is not None
    pid = int(await hub.stdout.readline())
    hub.kill()
    await hub.wait()
    await eventually(lambda: not is_at_work(pid))


CONFINED = """
import socket
from core.processes.confinement import confine
import os, subprocess
confine(1 << 30)
for act in (lambda: open("/etc/passwd"), lambda: socket.socket(), lambda: os.pipe(), lambda: open("/tmp/x", "w")):
    try:
        act()
    except OSError as error:
        print(error.errno)
    else:
        print("done")
try:
    bytearray(2 << 30)
except MemoryError:
    print("no memory")
"""


def test_parser_opens_no_file_and_no_socket():
    """Whatever a library would fetch or include for a document: the system refuses it (EMFILE)."""
    # The last descriptor that it may have is that of its answers.
    taken = "import os\nos.dup(1)\n"
    ended = subprocess.run([sys.executable, "-c", taken + CONFINED], capture_output=True, text=True, check=True)
    assert ended.stdout.split("\n")[:5] == ["24", "24", "24", "24", "no memory"]
