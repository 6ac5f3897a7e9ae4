"""One parser process, as the hub holds it: started, given one document after the other, ended."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

import handlers
from handlers.knowledge.parsing.parsed import Chunk, Parsed
from handlers.knowledge.parsing.unparsable import Unparsable
from handlers.knowledge.parsing.wire import LENGTH, chunk_from, framed, unframed

_MODULE = "handlers.knowledge.parsing.worker"
_HOME = Path(handlers.__file__).parents[1]


class NoParser(Exception):
    """No process can be started, or the hub ends: it says nothing about the document, which may be parsed later."""


class Child:
    """A parser and its pipes. For one document at a time; one that was interrupted in it must be killed."""

    def __init__(self, process: Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise NoParser("The parser was started without its pipes.")
        self._process = process
        self._documents = process.stdin
        self._answers = process.stdout
        self.is_last = False

    @classmethod
    async def start(cls, memory: int) -> "Child":
        """Start one that may take `memory` bytes; it takes about a second. Raises NoParser."""
        command = [sys.executable, "-P", "-m", _MODULE, "--parent", str(os.getpid()), "--memory", str(memory)]
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, cwd="/", env=_environment()
            )
        except OSError as error:
            raise NoParser(f"No parser can be started: {error.strerror}") from error
        child = cls(process)
        try:
            await child._hear()
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            await child.kill()
            raise NoParser("The parser ended before it was ready: does it have enough memory?") from error
        except asyncio.CancelledError:
            await child.kill()
            raise
        return child

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def is_usable(self) -> bool:
        """Whether it can be given another document."""
        return not self.is_last and self._process.returncode is None and not self._answers.at_eof()

    async def parse(self, content: bytes, content_type: str, name: str) -> Parsed:
        """Have a document parsed. Raises Unparsable, also where the process dies of it."""
        try:
            self._documents.write(framed([content_type, name, content]))
            await self._documents.drain()
            return await self._heard()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.is_last = True
            self._log("nothing")
            raise Unparsable("PARSER_CRASHED", "The process that read the document has died.") from None

    async def kill(self) -> None:
        """End it, whatever it does; returns when it has gone."""
        self.is_last = True
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        self._documents.close()
        await self._process.wait()

    async def _heard(self) -> Parsed:
        chunks: list[Chunk] = []
        while True:
            match await self._hear():
                case ["chunks", packed]:
                    chunks += map(chunk_from, packed)
                    # A long document's chunks are there all at once: others have their turn in between.
                    await asyncio.sleep(0)
                case ["parsed", title, language, pages, metadata, is_last]:
                    self.is_last = is_last
                    return Parsed(title, language, pages, chunks, metadata)
                case ["unparsable", code, message, is_last]:
                    self.is_last = is_last
                    raise Unparsable(code, message)
                case other:
                    self.is_last = True
                    self._log(other[-1])
                    raise Unparsable("PARSER_CRASHED", "The process that read the document has failed.")

    async def _hear(self) -> list[Any]:
        (length,) = LENGTH.unpack(await self._answers.readexactly(LENGTH.size))
        return unframed(await self._answers.readexactly(length))

    def _log(self, last_word: object) -> None:
        structlog.get_logger().warning("parser_died", pid=self.pid, last_word=last_word)


def _environment() -> dict[str, str]:
    """The parsers see nothing of the hub's environment: it holds secrets."""
    kept = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
    # More threads than one would take address space only.
    set_here = {"PYTHONPATH": str(_HOME), "PYTHONUTF8": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return {**{name: os.environ[name] for name in kept if name in os.environ}, **set_here}
