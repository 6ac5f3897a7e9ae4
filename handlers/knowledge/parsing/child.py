"""One parser process, as the hub holds it: given one document after the other."""

import asyncio

import structlog

from core.processes.child import BROKEN, Child, NotStarted
from core.processes.held import Held
from handlers.knowledge.parsing.parsed import Chunk, Parsed
from handlers.knowledge.parsing.unparsable import Unparsable
from handlers.knowledge.parsing.wire import chunk_from

_MODULE = "handlers.knowledge.parsing.worker"


class NoParser(Exception):
    """No process can be started, or the hub ends: it says nothing about the document, which may be parsed later."""


class Parser(Held):
    """A parser: its work is a document."""

    @classmethod
    async def start(cls, memory: int) -> "Parser":
        """Start one that may take `memory` bytes; it takes about a second. Raises NoParser."""
        try:
            return cls(await Child.start(_MODULE, memory))
        except NotStarted as error:
            raise NoParser(f"No parser can be started: {error}") from error

    async def parse(self, content: bytes, content_type: str, name: str) -> Parsed:
        """Have a document parsed. Raises Unparsable, also where the process dies of it."""
        try:
            await self._child.say([content_type, name, content])
            return await self._heard()
        except BROKEN:
            self._child.is_last = True
            self._log("nothing")
            raise Unparsable("PARSER_CRASHED", "The process that read the document has died.") from None

    async def _heard(self) -> Parsed:
        chunks: list[Chunk] = []
        while True:
            match await self._child.hear():
                case ["chunks", packed]:
                    chunks += map(chunk_from, packed)
                    # A long document's chunks are there all at once: others have their turn in between.
                    await asyncio.sleep(0)
                case ["parsed", title, language, pages, metadata, is_last]:
                    self._child.is_last = is_last
                    return Parsed(title, language, pages, chunks, metadata)
                case ["unparsable", code, message, is_last]:
                    self._child.is_last = is_last
                    raise Unparsable(code, message)
                case other:
                    self._child.is_last = True
                    self._log(other[-1])
                    raise Unparsable("PARSER_CRASHED", "The process that read the document has failed.")

    def _log(self, last_word: object) -> None:
        structlog.get_logger().warning("parser_died", pid=self.pid, last_word=last_word)
