"""The least that aiohttp and asyncpg can do for the same rows: `python -m benchmarks.bare DATABASE_URL CONNECTIONS READS WRITES`.

Each handler is one prepared statement, one round trip, by connections that speak for one organisation for ever: READS is whose rows
are read, WRITES whose are made. The same rows as the hub's, and its outbox and audit, in a create. No credentials, scopes, limits,
validation, deadlines, idempotency, metrics, traces or errors.
"""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import uvloop
from aiohttp import web

from benchmarks.peers.naive import serve
from core.clock import rfc3339
from core.ids import new_id

JSON = "application/json"
# Of what an agent's body leaves out.
DEFAULTS: Mapping[str, Any] = {
    "type": "assistant",
    "status": "active",
    "capabilities": [],
    "knowledge": [],
    "config": {},
    "metadata": {},
}
SESSION = {"role": "hub_app", "search_path": "hub,public", "jit": "off"}
FIND = "SELECT version, document FROM agents WHERE id = $1"
LIST = """
WITH page AS MATERIALIZED (SELECT document FROM agents ORDER BY created_at DESC, id DESC LIMIT $1 OFFSET $2)
SELECT (SELECT array_agg(document) FROM page) AS documents, (SELECT count(*) FROM agents) AS total
"""
CREATE = """
WITH made AS (
    INSERT INTO agents (org_id, id, version, name, type, status, created_at, updated_at, document, search)
    VALUES (current_org(), $1, 1, $2, $3, $4, $5, $5, $6, $7)
), kept AS (
    INSERT INTO agents_history (org_id, id, version, from_event, from_time, document) VALUES (current_org(), $1, 1, $8, $5, $6)
), audited AS (
    INSERT INTO audit (id, org_id, time, caller, operation, target, request_id, outcome)
    VALUES ($10, current_org(), $5, 'bare', 'agents.create', 'agents/' || $1::uuid::text, $10::uuid::text, 'ok')
)
INSERT INTO benchmark.outbox (org_id, event_id, type, subject, channel, time, envelope)
VALUES (current_org(), $8, 'agent.created', 'agents/' || $1::uuid::text, 'agents:' || $1::uuid::text, $5, $9)
"""


class Pool:
    """A few connections for one organisation, the latest used first. No more uses than connections come at once."""

    def __init__(self) -> None:
        self._free: list[Mapping[str, Any]] = []

    async def connect(self, url: str, org_id: str, count: int, *texts: str) -> None:
        """Connect, and prepare each text on each connection."""
        for _ in range(count):
            connection = await asyncpg.connect(url, server_settings={**SESSION, "hub.org_id": org_id})
            self._free.append({text: await connection.prepare(text) for text in texts})

    async def row(self, text: str, *arguments: object) -> Any:
        """Return the first row."""
        statements = self._free.pop()
        try:
            return await statements[text].fetchrow(*arguments)
        finally:
            self._free.append(statements)


class BareServer:
    """The handlers."""

    def __init__(self) -> None:
        self.reads, self.writes = Pool(), Pool()

    async def read(self, request: web.Request) -> web.Response:
        """Answer a document as it is stored, or 304."""
        row = await self.reads.row(FIND, UUID(request.match_info["id"]))
        tag = f'"{row["version"]}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag})
        return web.Response(body=row["document"].encode(), headers={"ETag": tag, "Content-Type": JSON})

    async def list(self, request: web.Request) -> web.Response:
        """Answer a page."""
        per_page, page = int(request.query["per_page"]), int(request.query.get("page", "1"))
        row = await self.reads.row(LIST, per_page, (page - 1) * per_page)
        told = f'"pagination":{{"page":{page},"per_page":{per_page},"total":{row["total"]}}}'
        text = f'{{"data":[{",".join(row["documents"])}],{told}}}'
        return web.Response(body=text.encode(), headers={"Content-Type": JSON})

    async def create(self, request: web.Request) -> web.Response:
        """Make an agent of what was sent."""
        fields = orjson.loads(await request.read())
        id, event_id, now = new_id(), new_id(), datetime.now(UTC)
        document = _document(id, now, fields)
        envelope = f'{{"id":"{event_id}","type":"agent.created","subject":"agents/{id}","data":{document}}}'
        name, type, search = fields["name"], fields["type"], f"{fields['name']}\n{fields['type']}".casefold()
        await self.writes.row(CREATE, id, name, type, "active", now, document, search, event_id, envelope, new_id())
        headers = {"ETag": '"1"', "Location": f"/v2/agents/{id}", "Content-Type": JSON}
        return web.Response(status=201, body=document.encode(), headers=headers)


def _document(id: UUID, now: datetime, fields: Mapping[str, Any]) -> str:
    time = rfc3339(now)
    fields = {**DEFAULTS, **fields}
    return orjson.dumps({"id": str(id), **fields, "created_at": time, "updated_at": time, "version": 1}).decode()


async def _main(url: str, count: int, reads: str, writes: str) -> None:
    server = BareServer()
    await server.reads.connect(url, reads, count, FIND, LIST)
    await server.writes.connect(url, writes, count, CREATE)
    app = web.Application()
    app.router.add_get("/v2/agents/{id}", server.read)
    app.router.add_get("/v2/agents", server.list)
    app.router.add_post("/v2/agents", server.create)
    await serve(app)


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]))
