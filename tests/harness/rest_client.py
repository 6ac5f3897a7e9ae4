"""A client of the REST door, and a writer that keeps writing whatever happens to nodes and engines, with books."""

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp

from tests.harness.ledger import Ledger
from tests.harness.waiting import END_SECONDS, cancelled, eventually, let_pass

KINDS = ("agents", "knowledge", "twins")
# The hub's answers that say "not now": send the same request again.
LATER = (409, 429, 503, 504)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the hub answered; `body` is the parsed JSON, None of an empty one."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> Any:
        """The JSON of the body."""
        return json.loads(self.text) if self.text else None

    @property
    def event_id(self) -> str:
        """The event of a write."""
        return self.headers["X-Event-Id"]

    @property
    def code(self) -> str:
        """The code of an error."""
        return str(self.body["error"]["code"])


class RestClient:
    """One caller. Use as an async context manager."""

    def __init__(self, base_url: str, key: str | None, *, timeout: float = 15.0) -> None:
        self.base_url = base_url
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=self._timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def call(
        self, method: str, path: str, body: Any = None, *, base_url: str | None = None, **headers: str
    ) -> Answer:
        """Send a request; header names take `_` for `-`. Raises aiohttp.ClientError or TimeoutError when no answer comes."""
        assert self._session is not None, "enter the client first"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(
            method, (base_url or self.base_url) + path, json=body if body is not None else None, headers=named
        ) as answer:
            return Answer(answer.status, dict(answer.headers), await answer.text())


@dataclass
class Writer:
    """Creates, changes and deletes resources at random until it is stopped, over all nodes of `base_urls` in turn.

    POST and PATCH carry an idempotency key and are repeated until they are answered; PUT and DELETE are sent once, and what
    became of a lost one is uncertain. Answers that are neither a success nor "later" end it.
    """

    client: RestClient
    base_urls: Callable[[], list[str]]
    ledger: Ledger
    random: random.Random
    pause: float = 0.01
    refused: list[Answer] = field(default_factory=list[Answer])
    lost: int = 0
    alive: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    _task: asyncio.Task[None] | None = None
    _stopping: bool = False
    _sent: int = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._write_on())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.stop(broken=kind is not None)

    async def stop(self, *, broken: bool = False) -> None:
        """Finish the write under way, then stop. Raises what ended it before."""
        self._stopping = True
        if self._task is None:
            return
        if broken:
            await cancelled(self._task)
        else:
            async with asyncio.timeout(END_SECONDS):
                await self._task

    def check(self) -> int:
        """Return how many writes were answered. Raises what ended the writer, if it has ended."""
        if self._task is not None and self._task.done() and not self._stopping:
            self._task.result()
        return len(self.ledger.acknowledged)

    async def more(self, count: int = 40, *, within: float = 60.0) -> None:
        """Wait until this many more writes were answered."""
        known = self.check()
        await eventually(lambda: self.check() >= known + count, within=within, what=f"{count} more writes")

    async def _write_on(self) -> None:
        while not self._stopping:
            await self._write_once()
            await let_pass(self.pause)

    async def _write_once(self) -> None:
        kind = self.random.choice(KINDS)
        known = self.alive[kind]
        choice = self.random.random() if known else 0.0
        if choice < 0.4:
            await self._create(kind)
        elif choice < 0.65:
            await self._repeat("PATCH", f"/v2/{kind}/{self.random.choice(known)}", {"metadata": self._change()})
        elif choice < 0.9:
            await self._once("PUT", f"/v2/{kind}/{self.random.choice(known)}", self._body())
        else:
            await self._once("DELETE", f"/v2/{kind}/{known.pop(self.random.randrange(len(known)))}", None)

    async def _create(self, kind: str) -> None:
        made = await self._repeat("POST", f"/v2/{kind}", self._body())
        if made is not None:
            self.alive[kind].append(made.body["id"])

    async def _repeat(self, method: str, path: str, body: Any) -> Answer | None:
        """Send until it is answered, at another node each time, with one idempotency key."""
        key = f"{self.random.getrandbits(64):x}"
        while True:
            answer = await self._send(method, path, body, Idempotency_Key=key)
            if answer is not None and answer.status not in LATER:
                self._book(answer)
                return answer
            if self._stopping:  # what became of it nobody knows
                self.ledger.unsure()
                return None
            await let_pass(0.05)

    async def _once(self, method: str, path: str, body: Any) -> None:
        answer = await self._send(method, path, body)
        if answer is None or answer.status in LATER:
            self.ledger.unsure()
        elif answer.status != 404:  # a lost DELETE may have been done
            self._book(answer)

    async def _send(self, method: str, path: str, body: Any, **headers: str) -> Answer | None:
        urls = self.base_urls()
        self._sent += 1
        url = urls[self._sent % len(urls)]
        try:
            answer = await self.client.call(method, path, body, base_url=url, **headers)
        except (aiohttp.ClientError, OSError, TimeoutError):
            self.lost += 1
            return None
        if answer.status in LATER:
            self.refused.append(answer)
        return answer

    def _book(self, answer: Answer) -> None:
        assert 200 <= answer.status < 300, f"seed {self.ledger.seed}: {answer}"
        self.ledger.wrote(answer.event_id)

    def _body(self) -> dict[str, Any]:
        return {"name": f"Nr. {self._sent}", "type": "assistant", "metadata": self._metadata()}

    def _change(self) -> dict[str, Any]:
        """Return metadata of a change: all of it, or the number alone, of which a patch is short."""
        return self._metadata() if self.random.random() < 0.5 else {"value": self.random.getrandbits(48)}

    def _metadata(self) -> dict[str, Any]:
        return {"value": self.random.getrandbits(48), "text": "ä" * self.random.randrange(400)}
