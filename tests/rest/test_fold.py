"""The log is the truth over every way of writing: plain requests, JSON:API, batches of both kinds, JSON:API's operations."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import orjson

from tests.handlers.test_fold import KINDS, body_of, check_fold
from tests.harness.organisations import Organisation
from tests.harness.relaying import relaying
from tests.rest.jsonapi.documents import ask
from tests.rest.server import Answer, RestServer

ROUNDS = 60
ATOMIC = 'application/vnd.api+json; ext="https://jsonapi.org/ext/atomic"'
# What a batch does that is refused: a version that is not there, a body that is none.
_STALE, _WRONG = {"If-Match": '"0"'}, {"name": ""}


class Writers:
    """Write at random, some together; `there` is what they were told there is, `said` how often which status came by which way."""

    def __init__(self, rest: RestServer, key: str, dice: random.Random) -> None:
        self.there: set[tuple[str, str]] = set()
        self.said: Counter[tuple[str, int]] = Counter()
        self._rest, self._key, self._dice = rest, key, dice

    def step(self) -> Coroutine[Any, Any, None]:
        """Choose what to do; what is returned does it."""
        ways = {"plain": self._plain, "jsonapi": self._jsonapi, "batch": self._batch, "operations": self._operations}
        return ways[self._dice.choice(list(ways))]()

    def _wish(self) -> tuple[str, str, str, dict[str, Any]]:
        """Return method, kind, id and body of one write."""
        dice = self._dice
        if not self.there or dice.random() < 0.4:
            kind = dice.choice(list(KINDS))
            return "POST", kind, "", body_of(dice, kind)
        kind, id = dice.choice(sorted(self.there))
        return dice.choice(["PATCH", "PATCH", "PUT", "DELETE"]), kind, id, body_of(dice, kind)

    def _told(self, way: str, wish: tuple[str, str, str, Any], status: int, id: str | None) -> None:
        self.said[way, status] += 1
        method, kind, named, _ = wish
        if status == 201:
            assert id is not None
            self.there.add((kind, id))
        elif method == "DELETE" and status in (200, 204):
            self.there.discard((kind, named))

    def _plain(self) -> Coroutine[Any, Any, None]:
        wish = method, kind, id, body = self._wish()

        async def write() -> None:
            path = f"/v2/{kind}/{id}".rstrip("/")
            answer = await self._rest.call(method, path, self._key, body=None if method == "DELETE" else body)
            self._told("plain", wish, answer.status, answer.json()["id"] if answer.status == 201 else None)

        return write()

    def _jsonapi(self) -> Coroutine[Any, Any, None]:
        wish = method, kind, id, body = self._wish()

        async def write() -> None:
            path = f"/v2/{kind}/{id}".rstrip("/")
            data = None if method == "DELETE" else _resource(kind, id, body)
            answer = await ask(self._rest, method, path, self._key, data)
            made = orjson.loads(answer.body)["data"]["id"] if answer.status == 201 else None
            self._told("jsonapi", wish, answer.status, made)

        return write()

    def _batch(self) -> Coroutine[Any, Any, None]:
        wishes, dice = self._wishes(), self._dice
        is_atomic = dice.random() < 0.5
        operations = [_operation(*each) for each in wishes]
        if dice.random() < 0.5:
            spoilt = dice.choice(operations)
            spoilt |= {"headers": _STALE} if spoilt["method"] != "POST" else {"body": _WRONG}

        async def write() -> None:
            body = {"operations": operations, "atomic": is_atomic}
            answer = await self._rest.call("POST", "/v2/batch", self._key, body=body)
            assert answer.status == 200, answer
            way = "atomic" if is_atomic else "batch"
            for wish, result in zip(wishes, answer.json()["results"], strict=True):
                self._told(way, wish, result["status"], result["body"]["id"] if result["status"] == 201 else None)

        return write()

    def _operations(self) -> Coroutine[Any, Any, None]:
        wishes = [each for each in self._wishes() if each[0] != "PUT"]
        if self._dice.random() < 0.3:
            wishes.append(("POST", "agents", "", _WRONG))

        async def write() -> None:
            headers = {"Content-Type": ATOMIC, "Accept": ATOMIC}
            body = {"atomic:operations": [_atomic(*each) for each in wishes]}
            answer = await self._rest.call("POST", "/v2/operations", self._key, body=body, headers=headers)
            self._take_operations(wishes, answer)

        return write()

    def _take_operations(self, wishes: list[tuple[str, str, str, dict[str, Any]]], answer: Answer) -> None:
        if answer.status not in (200, 204):
            self.said["operations", answer.status] += 1
            return
        results = orjson.loads(answer.body)["atomic:results"] if answer.body else [{} for _ in wishes]
        for wish, result in zip(wishes, results, strict=True):
            status = 201 if wish[0] == "POST" else 200
            self._told("operations", wish, status, result["data"]["id"] if status == 201 else None)

    def _wishes(self) -> list[tuple[str, str, str, dict[str, Any]]]:
        return [self._wish() for _ in range(self._dice.randint(1, 5))]


def _operation(method: str, kind: str, id: str, body: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"method": method, "path": f"/v2/{kind}/{id}".rstrip("/")}
    return made if method == "DELETE" else {**made, "body": body}


def _resource(kind: str, id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return a body as a resource object."""
    attributes = {"subtype" if name == "type" else name: value for name, value in body.items()}
    return {"type": kind, "attributes": attributes} | ({"id": id} if id else {})


def _atomic(method: str, kind: str, id: str, body: dict[str, Any]) -> dict[str, Any]:
    if method == "DELETE":
        return {"op": "remove", "ref": {"type": kind, "id": id}}
    return {"op": "add" if method == "POST" else "update", "data": _resource(kind, id, body)}


async def test_tables_are_a_fold_of_the_log(rest: RestServer, key: str, organisation: Organisation, database_url: str):
    """After a random schedule, whose seed is printed: whatever was written together, refused or undone."""
    seed = int(os.environ.get("FOLD_SEED", "2024"))
    print(f"FOLD_SEED={seed}")
    dice = random.Random(seed)
    writers = Writers(rest, key, dice)
    async with relaying(database_url) as relay:
        for _ in range(ROUNDS):
            steps = [writers.step() for _ in range(dice.choice([1, 1, 3]))]
            await asyncio.gather(*steps)
        await relay.settled()
    await check_fold(database_url, organisation.id, writers.there, seed)
    ways = Counter(way for way, status in writers.said.elements() if status < 300)
    assert set(ways) == {"plain", "jsonapi", "batch", "atomic", "operations"}, (seed, writers.said)
    assert writers.said["atomic", 424], (seed, writers.said)
