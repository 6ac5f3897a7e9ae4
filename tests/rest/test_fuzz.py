"""Requests that nobody thought of: whatever comes, the answer is the caller's fault or a success, never the hub's failure."""

import random
from typing import Any

import orjson

from tests.rest.server import RestServer, head, read_answer

SEED = 20240630
ROUNDS = 400
TEXTS = ["", "A", "\x00", "\u2028", "\U0001f600", "a" * 300, "%", "'", '"', "\\", "é", "../", "1e400", "\x7f", "null"]
NUMBERS = [0, -1, 2**53, 2**63, -(2**63), 2**64 - 1, 1.5, -0.0, 1e308, 5e-324]
NAMES = [
    "name",
    "type",
    "status",
    "data",
    "metadata",
    "config",
    "capabilities",
    "knowledge",
    "sources",
    "source",
    "id",
    "x",
]
RAW = [
    b"\\ud800",
    b"\\u0000",
    b"NaN",
    b"1e999",
    b"\xff",
    b"{",
    b"}",
    b"[",
    b",",
    b'"',
    b"123456789012345678901234567890",
]
HEADERS = ["Idempotency-Key", "If-Match", "If-None-Match", "X-Request-Id", "API-Version"]
VALUES = ["", "a", "é", "x" * 400, "*", '"1"', "a, b", '"99999999999999999999"']


def _value(dice: random.Random, depth: int = 0) -> Any:
    kind = dice.randrange(6 if depth < 4 else 4)
    if kind < 2:
        return dice.choice(TEXTS)
    if kind == 2:
        return dice.choice(NUMBERS)
    if kind == 3:
        return dice.choice([None, True, False])
    if kind == 4:
        return [_value(dice, depth + 1) for _ in range(dice.randrange(4))]
    return {dice.choice(NAMES + TEXTS): _value(dice, depth + 1) for _ in range(dice.randrange(4))}


def _body(dice: random.Random) -> bytes:
    fields = {"name": "A"} | {name: _value(dice) for name in dice.sample(NAMES, dice.randrange(4))}
    body = orjson.dumps(fields)
    for _ in range(dice.choice([0, 0, 0, 1, 2])):
        at = dice.randrange(len(body) + 1)
        body = body[:at] + dice.choice(RAW) + body[at + dice.randrange(2) :]
    return body


def _escaped(dice: random.Random) -> str:
    data = dice.choice(TEXTS).encode() + dice.choice([b"", b"\xff", b"\r\n", b"\x00", b"/", b"&=?#"])
    return "".join(f"%{byte:02x}" for byte in data)


def _request(dice: random.Random, key: str, ids: list[str]) -> bytes:
    path = f"/{dice.choice(['v1', 'v2'])}/{dice.choice(['agents', 'knowledge', 'twins'])}"
    method = dice.choice(["GET", "POST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    if method not in ("GET", "POST") or dice.random() < 0.3:
        path += f"/{dice.choice([*ids, _escaped(dice)])}"
    if dice.random() < 0.3:
        path += f"?{dice.choice(['q', 'type', 'status', 'page', 'per_page', _escaped(dice)])}={_escaped(dice)}"
    body = _body(dice) if method in ("POST", "PUT", "PATCH") else b""
    lines = [f"Content-Length: {len(body)}"]
    lines += [f"{name}: {dice.choice(VALUES)}" for name in HEADERS if dice.random() < 0.15]
    return head(method, path, key, *lines) + body


async def test_no_request_makes_the_hub_fail(rest: RestServer, key: str) -> None:
    """Four hundred requests out of odd parts, by a printed seed: no 5xx, every refusal has the error object."""
    dice = random.Random(SEED)
    made = await rest.call("POST", "/v2/agents", key, body={"name": "A"})
    ids = [made.json()["id"]]
    seen: dict[int, int] = {}
    for number in range(ROUNDS):
        request = _request(dice, key, ids)
        async with rest.connection() as (reader, writer):
            writer.write(request)
            answer = await read_answer(reader)
        about = f"seed {SEED}, request {number}: {request!r} -> {answer.body!r}"
        assert answer.status < 500, about
        if answer.status >= 400:
            answer.error(answer.status, answer.json()["error"]["code"])
        seen[answer.status] = seen.get(answer.status, 0) + 1
    # The parts are odd, not hopeless: every kind of answer was met.
    assert {200, 201, 400, 404, 422} <= set(seen), seen
