"""Idempotency keys of what holds a secret: the answer comes again, and the database has neither the secret nor what opens it."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from core.store.database import connect_as
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.rest.server import Answer, RestServer
from tests.rest.test_idempotency import BODIES, NEW_KEY, ROUTES, path_of, rest, rows_of

__all__ = ["rest"]  # the fixture: the door with the parts that credentials need


class TestSecrets:
    """Keys, tokens and tickets: the answer comes again, and nobody else gets it."""

    SECRETS: Collection[tuple[str, str]] = (
        ("/v2/keys", "key"),
        ("/v2/keys/{id}/rotate", "key"),
        ("/v2/tokens", "token"),
        ("/v2/stream/tickets", "ticket"),
        ("/v2/webhooks", "secret"),
        ("/v2/webhooks/{id}/rotate", "secret"),
    )
    OPERATIONS: Mapping[str, str] = {f"{version.prefix}{route.path}": route.operation for version, route in ROUTES}

    async def _make(self, rest: RestServer, credential: str, path: str, pattern: str, key: str = "order-66") -> Answer:
        body, _ = BODIES[self.OPERATIONS[pattern]]
        answer = await rest.call("POST", path, credential, body=body, headers={"Idempotency-Key": key})
        assert answer.status in (200, 201), answer
        assert answer.headers["Cache-Control"] == "no-store"
        return answer

    @pytest.mark.parametrize(("pattern", "member"), SECRETS)
    async def test_database_has_neither_the_secret_nor_the_key_that_opens_it(
        self, rest: RestServer, key: str, organisation: Organisation, pattern: str, member: str
    ):
        """Grepped out of every row of every table."""
        path = await path_of(rest, key, pattern, organisation.database_url)
        made = await self._make(rest, key, path, pattern)
        dump = await _dump(organisation.database_url)
        assert "idempotency" in dump
        assert made.json()[member] not in dump
        assert "order-66" not in dump
        assert (await self._make(rest, key, path, pattern)).body == made.body

    @pytest.mark.parametrize(("pattern", "member"), SECRETS)
    async def test_key_is_the_callers_own(
        self, rest: RestServer, key: str, clock: ManualClock, organisation: Organisation, pattern: str, member: str
    ):
        """Another subject of the organisation, and one with other powers, makes a secret of its own under the same key."""
        path = await path_of(rest, key, pattern, organisation.database_url)
        made = (await self._make(rest, key, path, pattern)).json()[member]
        scopes = ["read:agents", "read:events", "write:keys", "write:webhooks"]
        others = [
            await organisation.key(),
            await _token(rest, key, "ada", [*scopes, "read:keys"]),
            await _token(rest, key, "ada", scopes),
        ]
        secrets = {made}
        for other in others:
            await clock.advance(1)  # tokens of one second are the same
            answer = await self._make(rest, other, path, pattern)
            assert "Idempotent-Replayed" not in answer.headers
            secrets.add(answer.json()[member])
        assert len(secrets) == 4

    async def test_key_that_was_rotated_is_the_same_caller(self, rest: RestServer, key: str, clock: ManualClock):
        """A client that gets a new secret between a request and its repeat gets the first answer."""
        own = (await rest.call("POST", "/v2/keys", key, body=NEW_KEY)).json()
        made = await self._make(rest, own["key"], "/v2/keys", "/v2/keys")
        rotated = (await rest.call("POST", f"/v2/keys/{own['id']}/rotate", key, body={})).json()
        again = await self._make(rest, rotated["key"], "/v2/keys", "/v2/keys")
        assert (again.body, again.headers["Idempotent-Replayed"]) == (made.body, "true")

    async def test_replay_is_in_the_audit(self, rest: RestServer, key: str, organisation: Organisation):
        """Whoever was given the secret once more."""
        for _ in range(2):
            await self._make(rest, key, "/v2/keys", "/v2/keys")

        async def outcomes() -> list[Any]:
            return await rows_of(organisation, "SELECT outcome FROM audit WHERE operation = 'keys.create' ORDER BY id")

        await rest.trail.flush()
        assert await outcomes() == [("ok",), ("replayed",)]

    @pytest.mark.parametrize("path", ["/v2/tokens", "/v2/stream/tickets", "/v2/keys"])
    async def test_twenty_at_once_make_one(self, rest: RestServer, key: str, path: str):
        """Whatever the interleaving: every answer is the same or a 409 that says when to come again."""
        body, _ = BODIES[self.OPERATIONS[path]]
        under = {"Idempotency-Key": "k"}
        answers = await asyncio.gather(*(rest.call("POST", path, key, body=body, headers=under) for _ in range(20)))
        assert len({answer.body for answer in answers if answer.status == 201}) == 1
        for answer in (answer for answer in answers if answer.status != 201):
            answer.error(409, "RESOURCE_LOCKED")
            assert answer.headers["Retry-After"] == "1"


async def _token(rest: RestServer, key: str, subject: str, scopes: list[str]) -> str:
    body = {"subject": subject, "scopes": scopes}
    return (await rest.call("POST", "/v2/tokens", key, body=body)).json()["token"]


async def _dump(url: str) -> str:
    """Return every row of every table of the hub, as text."""
    connection = await connect_as(url, "hub_owner")
    try:
        names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'hub'")
        rows = [
            f"{name} {row['text']}"
            for (name,) in names
            for row in await connection.fetch(f'SELECT to_jsonb(t)::text AS text FROM hub."{name}" AS t')  # noqa: S608 - the catalogue's own names
        ]
    finally:
        await connection.close()
    return "\n".join(rows)
