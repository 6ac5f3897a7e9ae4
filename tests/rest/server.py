"""The REST door over a real server, with the real runner, authenticator and database; and a client for it."""

import asyncio
import io
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from core.auth.authenticator import Authenticator
from core.auth.limiter import Limiter
from core.auth.signing import SigningKeys
from core.auth.tokens import TokenVerifier
from core.errors import CATALOGUE
from core.operations.audit import AuditTrail
from core.operations.idempotency import IdempotencyKeys
from core.operations.operation import Operation, Registry
from core.operations.runner import Runner
from core.pressure import Pressed
from core.settings import Network
from core.store.database import Database
from core.store.redis import Redis, connect_redis
from rest.door import RestDoor
from rest.routes import Version
from tests.harness.clock import ManualClock
from tests.harness.installation import secret_of
from tests.harness.limiters import PATIENT_SECONDS
from tests.harness.waiting import eventually
from tests.rest.declared import NOWHERE_REDIS, OWN, credential_operations, reading_operations

DEADLINE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body; every body of the door is JSON."""
        assert self.headers["Content-Type"] == "application/json", self.headers
        return orjson.loads(self.body)

    def error(self, status: int, code: str) -> dict[str, Any]:
        """Return the error, after all that holds of every error was checked."""
        assert self.status == status, (self.status, self.body)
        body = self.json()
        assert set(body) == {"error"}
        error = body["error"]
        assert list(error) == ["code", "message", "details", "request_id", "timestamp"]
        assert error["code"] == code
        assert CATALOGUE[code].status == status
        assert isinstance(error["message"], str)
        assert error["message"]
        for detail in error["details"]:
            assert set(detail) == {"field", "code", "message"}
            assert all(isinstance(value, str) for value in detail.values())
        assert error["request_id"] == self.headers["X-Request-Id"]
        assert error["timestamp"].endswith("Z")
        assert self.headers["X-Content-Type-Options"] == "nosniff"
        assert ("WWW-Authenticate" in self.headers) == (status == 401)
        return error


class RestServer:
    """A served door. `ready` is what /readyz says; `paths` are all that it has, with the names in them."""

    def __init__(self, port: int, session: aiohttp.ClientSession, operations: Registry, trail: AuditTrail) -> None:
        self.trail = trail
        self.port = port
        self.operations = operations
        self.ready = True
        self.paths: frozenset[str] = frozenset()
        self._session = session

    async def call(
        self,
        method: str,
        path: str,
        key: str | None = None,
        *,
        body: Any = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request; `body` goes as JSON, `data` as it is and without a Content-Type."""
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        if body is not None:
            data = orjson.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self._session.request(
            # aiohttp's client wants large bodies as files.
            method,
            url,
            data=io.BytesIO(data) if data else data,
            headers=sent,
            skip_auto_headers=("Content-Type",),
            allow_redirects=False,
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Open a bare connection, for what no proper client sends."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                yield reader, writer
            finally:
                writer.close()

    async def send(self, data: bytes) -> Answer:
        """Send bytes, read the first answer, hang up."""
        async with self.connection() as (reader, writer):
            writer.write(data)
            return await read_answer(reader)


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read one answer to a request that was not HEAD."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name: value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("Content-Length", "0")))
    return Answer(int(head[0].split(" ")[1]), headers, body)


def head(method: str, path: str, key: str, *lines: str) -> bytes:
    """Return the head of a request."""
    return "\r\n".join(
        (f"{method} {path} HTTP/1.1", "Host: hub", f"Authorization: Bearer {key}", *lines, "", "")
    ).encode()


@asynccontextmanager
async def serve(
    database_url: str,
    clock: ManualClock,
    declared: Iterable[Operation],
    more: Iterable[web.RouteDef] = (),
    *,
    redis_url: str = NOWHERE_REDIS,
    off: Sequence[Version] = (),
    debug: bool = False,
    trusted: Sequence[Network] = (),
    pressure: Pressed | None = None,
) -> AsyncGenerator[RestServer]:
    """Serve the door; `more` are another door's routes, put in after it. Operations on credentials are made here."""
    database = Database(database_url, role="hub_app", size=4)
    await database.open()
    secret = await secret_of(database_url)
    redis = connect_redis(redis_url)
    credentials = {item.name: item for item in credential_operations(database, database_url, redis, secret, clock)}
    registry = Registry.of((reading_operations() | {item.name: item for item in declared} | credentials).values())
    keys = SigningKeys(database, database_url, secret, clock)
    tokens = TokenVerifier(issuer="aimatrix.com", audience="api.aimatrix.com", keys=None, clock=clock, own={OWN: keys})
    authenticator = Authenticator(database, secret, tokens, clock)
    trail = AuditTrail(database_url, clock)
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as session, _limiting(redis_url, redis, clock) as limiter:
        runner = Runner(database, trail, clock, lambda: None, limiter, IdempotencyKeys(secret))
        served = RestServer(0, session, registry, trail)
        options: dict[str, Any] = {"debug": debug, "trusted": trusted, "pressure": pressure}
        door = RestDoor(runner, registry, authenticator, clock, lambda: served.ready, off, **options)
        app = web.Application()
        door.add_to(app)
        served.paths = frozenset(resource.canonical for resource in app.router.resources())
        app.add_routes(more)
        apps = web.AppRunner(app)
        await apps.setup()
        assert isinstance(apps.server, web.Server)
        server = apps.server
        listener = await loop.create_server(lambda: door.protocol(server, loop=loop, access_log=None), "127.0.0.1", 0)
        served.port = listener.sockets[0].getsockname()[1]
        try:
            yield served
        finally:
            listener.close()
            await apps.cleanup()
            await authenticator.close()
            await trail.flush()
            await trail.close()
            await redis.aclose()
            await database.close()


@asynccontextmanager
async def _limiting(redis_url: str, redis: Redis, clock: ManualClock) -> AsyncGenerator[Limiter]:
    """Give a node's limiter; without Redis it counts alone, and its tries to connect would be work for the clock."""
    # No hour ends in the middle of a test.
    limiter = Limiter(redis_url, redis, clock, look=PATIENT_SECONDS, time=lambda: round(clock.now().timestamp() * 1e6))
    running = asyncio.create_task(limiter.run() if redis_url != NOWHERE_REDIS else asyncio.sleep(0))
    if redis_url != NOWHERE_REDIS:
        await eventually(lambda: limiter.connected)
    try:
        yield limiter
    finally:
        running.cancel()
        await asyncio.wait({running})
        limiter.close()


def is_http_date(text: str) -> bool:
    """Tell whether `text` is a date of RFC 9110, section 5.6.7, whose weekday is right."""
    return parsedate_to_datetime(text).strftime("%a, %d %b %Y %H:%M:%S GMT") == text
