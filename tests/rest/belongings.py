"""One of everything that an organisation can have, and the path of each route that leads to it.

A route to what is not here fails its test with a KeyError: a new resource is made here too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from core.ids import new_id
from tests.harness.organisations import Organisation
from tests.rest.server import RestServer

# Nothing is executed here.
LATER = {"Prefer": "respond-async"}
TYPE = "custom.ours"
# Of each: $1 is the organisation, $2 the new id.
AN_EVENT = """
INSERT INTO events (org_id, position, event_id, type, subject, channel, time, recorded_at, envelope)
VALUES ($1, 1, $2, 'agent.created', 'agents/1', 'agents:1', now(), now(), '{}')
"""
A_JOB = "INSERT INTO jobs (id, org_id, kind, payload, run_at, created_at) VALUES ($2, $1, 'knowledge.ingest', '{}', now(), now())"
A_QUERY = """
INSERT INTO knowledge_queries (org_id, id, knowledge_id, time, mode, results, found, took_ms, caller)
SELECT org_id, $2, id, now(), 'search', 0, '{}', 1, 'user:ada' FROM knowledge WHERE org_id = $1
"""
A_LETTER = """
INSERT INTO dead_letters (org_id, id, subscription_id, delivery, position, event_id, type, subject, attempts, reason, died_at)
SELECT e.org_id, $2, s.id, 1, 1, e.event_id, e.type, e.subject, 8, 'max_deliveries', now()
FROM events AS e JOIN subscriptions AS s ON s.org_id = e.org_id AND s.name = 'Ours' WHERE e.org_id = $1
"""
A_DELIVERY = """
INSERT INTO deliveries (org_id, subscription_id, position, event_id, subject, due_at)
SELECT e.org_id, w.id, e.position, e.event_id, e.subject, now()
FROM events AS e JOIN webhooks AS w USING (org_id) WHERE e.org_id = $1
RETURNING id
"""
A_CALL = """
WITH waiting AS (
    UPDATE executions SET status = 'requires_action',
        action = '{"calls":[{"call_id":"call_1","name":"order","arguments":{},"needs":"result"}]}'
    WHERE org_id = $1 AND session_id IS NULL RETURNING org_id, id
)
INSERT INTO execution_steps (org_id, execution_id, ordinal, kind, name, status, attempt, call_id, started_at)
SELECT org_id, id, 1, 'tool', 'order', 'waiting', 1, 'call_1', now() FROM waiting
"""


@dataclass
class Belongings:
    """`of` has an id for each name in a path: of a collection's `{id}` by the collection, of what is below by its own."""

    rest: RestServer
    key: str
    organisation: Organisation
    of: dict[str, str] = field(default_factory=dict[str, str])

    def path(self, template: str) -> str:
        """Return the path, below a version's prefix, of what is ours."""
        filled = template.replace("{id}", self.of[template.removeprefix("/v2").split("/")[1]])
        for name, id in self.of.items():
            filled = filled.replace(f"{{{name}}}", id)
        assert "{" not in filled, f"there is nothing here for {filled}"
        return filled

    async def rows(self) -> Mapping[str, list[str]]:
        """Return every row of the organisation, of every table but the audit, which tells of those who were refused too."""
        named = await self.organisation.rows(
            "SELECT table_name FROM information_schema.columns WHERE table_schema = 'hub' AND column_name = 'org_id' ORDER BY 1"
        )
        tables = [row["table_name"] for row in named if row["table_name"] != "audit"]
        return {table: await self._rows_of(table) for table in tables}

    async def _rows_of(self, table: str) -> list[str]:
        query = f"SELECT to_jsonb(t)::text AS text FROM {table} AS t WHERE org_id = $1 ORDER BY 1"  # noqa: S608 - of the catalogue
        return [row["text"] for row in await self.organisation.rows(query, self.organisation.id)]

    async def make(self) -> None:
        """Make one of everything."""
        for kind in ("agents", "knowledge", "twins", "subscriptions"):
            await self._made(kind, f"/{kind}", {"name": "Ours"})
        await self._made("keys", "/keys", {"name": "CI", "scopes": ["read:agents"]})
        await self._made("webhooks", "/webhooks", {"url": "https://hooks.example.com/", "events": ["agent.*"]})
        await self._call("PUT", f"/event-types/{TYPE}", {"schema": {"type": "object"}, "example": {}})
        self.of["event-types"] = TYPE
        await self._call("PUT", "/namespaces/prices", {"history_entries": 5})
        self.of |= {"namespaces": "prices", "chats": "lobby"}
        await self._made("sanction", "/chats/lobby/mutes", {"subject": "eve"})
        await self._make_in_the_log()
        await self._make_below()
        self.of["channels"] = self.of["channel"] = "chat:lobby"
        # Of open streams this door has none: tests/journeys/test_insight.py looks at them.
        self.of["connections"] = str(new_id())

    async def _make_in_the_log(self) -> None:
        self.of["events"] = await self._put(AN_EVENT)
        self.of["jobs"] = await self._put(A_JOB)
        self.of["query"] = await self._put(A_QUERY)
        self.of["letter"] = await self._put(A_LETTER)
        (delivery,) = await self.organisation.rows(A_DELIVERY, self.organisation.id)
        self.of["delivery"] = str(delivery["id"])
        # So long a log that a replay of it is not done at once; nobody reads it here.
        await self.organisation.rows("UPDATE heads SET position = 1000000 WHERE org_id = $1", self.organisation.id)
        await self._made("replay", self.path("/subscriptions/{id}/replay"), {"from": {"position": "0"}})

    async def _make_below(self) -> None:
        added = await self._call("POST", self.path("/knowledge/{id}/documents"), {"name": "a.md", "content": "A"})
        self.of["document"] = added["data"][0]["id"]
        await self._made("executions", self.path("/agents/{id}/execute"), {"query": "Ours?"})
        await self.organisation.rows(A_CALL, self.organisation.id)
        await self._made("branches", self.path("/twins/{id}/branches"), {"name": "Ours"})
        await self._made("simulations", self.path("/branches/{id}/simulate"), {"scenario": "demand_spike"})
        await self._made("session", self.path("/agents/{id}/sessions"), {"title": "Ours"})
        sent = await self._call("POST", self.path("/agents/{id}/sessions/{session}/messages"), {"text": "Ours?"})
        self.of["message"] = sent["message_id"]

    async def _made(self, name: str, path: str, body: Any) -> None:
        self.of[name] = (await self._call("POST", path, body))["id"]

    async def _call(self, method: str, path: str, body: Any) -> Any:
        answer = await self.rest.call(method, f"/v2{path}", self.key, body=body, headers=LATER)
        assert answer.status in (200, 201, 202), (path, answer.status, answer.body)
        return orjson.loads(answer.body)

    async def _put(self, query: str) -> str:
        id = new_id()
        await self.organisation.rows(query, self.organisation.id, id)
        return str(id)
