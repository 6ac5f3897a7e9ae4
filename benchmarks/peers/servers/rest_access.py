"""Who calls, and whether it may: one look into a cache for the key, one script call for the limit, as the hub does both."""

import hmac
import time
from typing import Any
from uuid import UUID

import redis.asyncio
from fastapi import HTTPException, Request

KEPT_SECONDS = 1.0
BURST = 100_000_000
PER_HOUR = 1_000_000_000
# A bucket that fills by itself: whether there is one left, how many, and when it is full.
_TAKE = """
local now = redis.call('TIME')
now = now[1] + now[2] / 1000000
local kept = redis.call('HMGET', KEYS[1], 'left', 'at')
local left = tonumber(kept[1] or ARGV[1])
left = math.min(tonumber(ARGV[1]), left + (now - tonumber(kept[2] or now)) * tonumber(ARGV[2]))
local taken = 0
if left >= 1 then
    taken = 1
    left = left - 1
end
redis.call('HSET', KEYS[1], 'left', left, 'at', now)
redis.call('EXPIRE', KEYS[1], 3600)
return {taken, math.floor(left), math.ceil(now + (tonumber(ARGV[1]) - left) / tonumber(ARGV[2]))}
"""


class Caller:
    """Whoever has the key, with the headers that tell of its limit."""

    __slots__ = ("headers", "org_id", "request_id", "scopes", "subject", "until")

    def __init__(self, row: Any, until: float) -> None:
        self.org_id: UUID = row["org_id"]
        self.subject = f"key:{row['id']}"
        self.scopes = frozenset(row["scopes"])
        self.until = until


class Access:
    """Checks keys and limits; `caller` is what FastAPI depends on."""

    def __init__(self, redis_url: str, secret: str) -> None:
        self._redis = redis.asyncio.Redis.from_url(redis_url)
        self._secret = secret.encode()
        self._callers: dict[bytes, Caller] = {}
        self._script = ""
        self._limits = (str(BURST), str(PER_HOUR / 3600))

    async def open(self, pool: Any) -> None:
        """Load the script; `pool` is where keys are looked up."""
        self._script = await self._redis.script_load(_TAKE)
        self._pool = pool

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.aclose()

    async def reader(self, request: Request) -> tuple[Caller, dict[str, str]]:
        """Let in who may read agents."""
        return await self._let_in(request, "read:agents")

    async def writer(self, request: Request) -> tuple[Caller, dict[str, str]]:
        """Let in who may write agents."""
        return await self._let_in(request, "write:agents")

    async def _let_in(self, request: Request, scope: str) -> tuple[Caller, dict[str, str]]:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise HTTPException(401)
        key_hash = hmac.digest(self._secret, key.encode(), "sha256")
        caller = self._callers.get(key_hash)
        if caller is None or caller.until <= time.monotonic():
            caller = await self._look_up(key_hash)
        if scope not in caller.scopes:
            raise HTTPException(403)
        taken, left, reset = await self._redis.evalsha(self._script, 1, f"peer:limit:{caller.org_id}", *self._limits)
        headers = {
            "X-RateLimit-Limit": "1000000000",
            "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset": str(reset),
            "X-RateLimit-Window": "3600",
        }
        if not taken:
            raise HTTPException(429, headers=headers)
        return caller, headers

    async def _look_up(self, key_hash: bytes) -> Caller:
        until = time.monotonic() + KEPT_SECONDS
        row = await self._pool.fetchrow(
            "SELECT id, org_id, scopes FROM find_keys($1) WHERE revoked_at IS NULL", [key_hash]
        )
        if row is None:
            raise HTTPException(401)
        caller = self._callers[key_hash] = Caller(row, until)
        return caller
