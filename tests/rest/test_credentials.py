"""Keys, tokens and tickets over HTTP: what is given away, to whom, and that it is shown once."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import jwt
import pytest

from core.auth.caller import ALL_SCOPES
from core.auth.keys import is_key
from core.auth.signing import ensure_signing_key
from core.clock import rfc3339
from core.ids import new_id
from core.store.database import connect_as
from core.store.migrate import installation_secret
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations
from tests.rest.declared import OWN, operations
from tests.rest.server import Answer, RestServer, serve

NEW = {"name": "ci", "scopes": ["read:agents"]}


@pytest.fixture
async def rest(database_url: str, redis_url: str, clock: ManualClock) -> AsyncIterator[RestServer]:
    """The door with all of the hub's operations, and the parts that they need."""
    await ensure_signing_key(database_url, await installation_secret(database_url))
    async with serve(database_url, clock, operations().values(), redis_url=redis_url) as served:
        yield served


async def _make(rest: RestServer, key: str, **body: Any) -> Mapping[str, Any]:
    answer = await rest.call("POST", "/v2/keys", key, body={**NEW, **body})
    assert answer.status == 201, answer
    return answer.json()


async def _works(rest: RestServer, key: str) -> bool:
    answer = await rest.call("GET", "/v2/agents", key)
    assert answer.status in (200, 401), answer
    return answer.status == 200


class TestKeys:
    """Resources like others, but for the secret."""

    async def test_secret_is_shown_once(self, rest: RestServer, key: str):
        """In the answer that made it, which nobody may keep; never again."""
        answer = await rest.call("POST", "/v2/keys", key, body=NEW)
        made = answer.json()
        assert (answer.status, answer.headers["Cache-Control"]) == (201, "no-store")
        assert answer.headers["Location"] == f"/v2/keys/{made['id']}"
        assert is_key(made["key"])
        assert made["key"].startswith(made["hint"])
        assert await _works(rest, made["key"])
        shown = (await rest.call("GET", f"/v2/keys/{made['id']}", key)).json()
        assert shown == {name: value for name, value in made.items() if name != "key"}
        assert (shown["status"], shown["scopes"], shown["version"]) == ("live", ["read:agents"], 1)
        assert made["key"].encode() not in (await rest.call("GET", "/v2/keys", key)).body

    async def test_list_is_the_organisations_own(
        self, rest: RestServer, key: str, organisations: Organisations, clock: ManualClock
    ):
        """Newest first, in pages, by status; nobody else's."""
        other = await (await organisations.create()).key()
        names = [(await _make(rest, key, name=f"key {number}"))["name"] for number in range(3)]
        await _make(rest, key, name="ending", expires_at=rfc3339(clock.now() + timedelta(hours=1)))
        gone = await _make(rest, key, name="gone")
        assert (await rest.call("DELETE", f"/v2/keys/{gone['id']}", key)).status == 204
        await clock.advance(3600)
        page = (await rest.call("GET", "/v2/keys?per_page=2&page=2&status=live", key)).json()
        assert page["pagination"] == {"page": 2, "per_page": 2, "total": 4}
        assert [each["name"] for each in page["data"]] == [names[0], "of a test"]
        for status, expected in (("expired", ["ending"]), ("revoked", ["gone"])):
            found = (await rest.call("GET", f"/v2/keys?status={status}", key)).json()
            assert [(each["name"], each["status"]) for each in found["data"]] == [(expected[0], status)]
        empty = (await rest.call("GET", "/v2/keys?page=9", key)).json()
        assert (empty["data"], empty["pagination"]["total"]) == ([], 6)
        assert (await rest.call("GET", "/v2/keys", other)).json()["pagination"]["total"] == 1
        for method in ("GET", "DELETE"):
            (await rest.call(method, f"/v2/keys/{gone['id']}", other)).error(404, "RESOURCE_NOT_FOUND")
        (await rest.call("GET", "/v2/keys?status=dead", key)).error(422, "VALIDATION_ERROR")

    async def test_nobody_gives_more_than_it_has(self, rest: RestServer, organisation: Organisation):
        """Scopes and resources, in a new key, a changed one, and by the secret of a stronger one."""
        mine, others = new_id(), new_id()
        weak = await organisation.key(["read:agents", "read:keys", "write:keys"], resource_ids=[mine])
        strong = await _make(rest, await organisation.key(), scopes=["write:agents"])
        wide = await _make(rest, await organisation.key())
        own = await _make(rest, weak)
        assert own["resource_ids"] == [str(mine)]
        attempts = [
            ("POST", "/v2/keys", {**NEW, "scopes": ["read:agents", "hub:admin"]}, "INSUFFICIENT_SCOPE"),
            ("POST", "/v2/keys", {**NEW, "resource_ids": [str(mine), str(others)]}, "FORBIDDEN"),
            ("PATCH", f"/v2/keys/{own['id']}", {"scopes": ["read:twins"]}, "INSUFFICIENT_SCOPE"),
            ("PATCH", f"/v2/keys/{own['id']}", {"resource_ids": None}, "FORBIDDEN"),
            ("PATCH", f"/v2/keys/{wide['id']}", {"name": "mine"}, "FORBIDDEN"),
            ("POST", f"/v2/keys/{strong['id']}/rotate", {}, "INSUFFICIENT_SCOPE"),
            ("POST", f"/v2/keys/{wide['id']}/rotate", {}, "FORBIDDEN"),
            ("POST", "/v2/tokens", {"subject": "a", "scopes": ["read:twins"]}, "INSUFFICIENT_SCOPE"),
            (
                "POST",
                "/v2/tokens",
                {"subject": "a", "scopes": ["read:agents"], "resource_ids": [str(others)]},
                "FORBIDDEN",
            ),
        ]
        for method, path, body, code in attempts:
            (await rest.call(method, path, weak, body=body)).error(403, code)
        reader = await organisation.key(ALL_SCOPES - {"write:keys"})
        (await rest.call("POST", "/v2/keys", reader, body=NEW)).error(403, "INSUFFICIENT_SCOPE")
        writer = await organisation.key(ALL_SCOPES - {"read:keys"})
        (await rest.call("GET", "/v2/keys", writer)).error(403, "INSUFFICIENT_SCOPE")

    async def test_rotation_keeps_the_key_and_changes_the_secret(self, rest: RestServer, key: str, clock: ManualClock):
        """The old secret works for the overlap, and no longer; there is one old secret at a time."""
        first = await _make(rest, key, mode="test")
        path = f"/v2/keys/{first['id']}/rotate"
        rotated = await rest.call("POST", path, key, body={"overlap_seconds": 60})
        second = rotated.json()
        assert (rotated.status, rotated.headers["Cache-Control"]) == (200, "no-store")
        assert second["id"] == first["id"]
        assert second["key"].startswith("aim_test_")
        assert second["old_secret_until"] == rfc3339(clock.now() + timedelta(seconds=60))
        await clock.advance(59)
        assert [await _works(rest, each["key"]) for each in (first, second)] == [True, True]
        await clock.advance(1)
        assert [await _works(rest, each["key"]) for each in (first, second)] == [False, True]
        third = (await rest.call("POST", path, key, body={})).json()
        await clock.advance(1)
        assert [await _works(rest, each["key"]) for each in (first, second, third)] == [False, False, True]
        assert (third["version"], third["old_secret_until"]) == (3, None)

    async def test_change_counts_within_a_second(self, rest: RestServer, key: str, clock: ManualClock):
        """Under the version that was read, or not at all; what is left out stays."""
        made = await _make(rest, key, scopes=["read:agents", "read:twins"])
        path = f"/v2/keys/{made['id']}"
        assert await _works(rest, made["key"])
        changed = await rest.call("PATCH", path, key, body={"scopes": ["read:twins"]}, headers={"If-Match": '"1"'})
        assert changed.json() == {
            **{name: value for name, value in made.items() if name != "key"},
            "scopes": ["read:twins"],
            "updated_at": rfc3339(clock.now()),
            "version": 2,
        }
        await clock.advance(1)
        (await rest.call("GET", "/v2/agents", made["key"])).error(403, "INSUFFICIENT_SCOPE")
        late = await rest.call("PATCH", path, key, body={"name": "x"}, headers={"If-Match": '"1"'})
        late.error(412, "PRECONDITION_FAILED")

    async def test_revoked_key_stays_in_the_list(self, rest: RestServer, key: str, clock: ManualClock):
        """It never works again, and cannot be given a new secret; revoking it again changes nothing."""
        made = await _make(rest, key)
        for _ in range(2):
            assert (await rest.call("DELETE", f"/v2/keys/{made['id']}", key)).status == 204
        await clock.advance(1)
        assert not await _works(rest, made["key"])
        shown = (await rest.call("GET", f"/v2/keys/{made['id']}", key)).json()
        assert (shown["status"], shown["version"]) == ("revoked", 2)
        (await rest.call("POST", f"/v2/keys/{made['id']}/rotate", key, body={})).error(409, "RESOURCE_CONFLICT")

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {**NEW, "scopes": []},
            {**NEW, "scopes": ["read:nothing"]},
            {**NEW, "scopes": "read:agents"},
            {**NEW, "name": " "},
            {**NEW, "name": "a\nb"},
            {**NEW, "expires_at": "2020-01-01T00:00:00Z"},
            {**NEW, "expires_at": "2030-01-01T00:00:00"},
            {**NEW, "resource_ids": ["x"]},
            {**NEW, "mode": "other"},
            {**NEW, "key": "aim_live_mine"},
        ],
    )
    async def test_key_that_cannot_be_is_refused(self, rest: RestServer, key: str, body: Any):
        """With what is wrong with it."""
        (await rest.call("POST", "/v2/keys", key, body=body)).error(422, "VALIDATION_ERROR")

    async def test_it_is_in_the_audit(self, rest: RestServer, key: str, organisation: Organisation):
        """As what was done to which key."""
        made = await _make(rest, key)
        await rest.call("POST", f"/v2/keys/{made['id']}/rotate", key, body={})
        connection = await connect_as(organisation.database_url, "hub_owner")
        rows = await connection.fetch("SELECT operation, target, outcome FROM audit ORDER BY id")
        await connection.close()
        assert [tuple(row) for row in rows] == [
            ("keys.create", f"keys/{made['id']}", "ok"),
            ("keys.rotate", f"keys/{made['id']}", "ok"),
        ]


class TestTokens:
    """For a customer's own users."""

    async def _token(self, rest: RestServer, key: str, **body: Any) -> Answer:
        return await rest.call("POST", "/v2/tokens", key, body={"subject": "ada", "scopes": ["read:agents"], **body})

    async def test_token_is_a_credential_for_its_time(self, rest: RestServer, key: str, clock: ManualClock):
        """It may what it says, as whom it says."""
        answer = await self._token(rest, key, expires_in=600)
        made = answer.json()
        assert (answer.status, answer.headers["Cache-Control"]) == (201, "no-store")
        assert made["expires_at"] == rfc3339(clock.now() + timedelta(seconds=600))
        claims = jwt.decode(made["token"], options={"verify_signature": False})
        assert (claims["sub"], claims["iss"], claims["scope"]) == ("ada", OWN, ["read:agents"])
        assert await _works(rest, made["token"])
        (await rest.call("POST", "/v2/agents", made["token"], body={"name": "A"})).error(403, "INSUFFICIENT_SCOPE")
        await clock.advance(600)
        (await rest.call("GET", "/v2/agents", made["token"])).error(401, "EXPIRED_TOKEN")

    async def test_token_may_be_restricted_to_resources(self, rest: RestServer, key: str):
        """It sees those, and no others."""
        ids = [(await rest.call("POST", "/v2/agents", key, body={"name": name})).json()["id"] for name in "ab"]
        token = (await self._token(rest, key, resource_ids=ids[:1])).json()["token"]
        assert (await rest.call("GET", "/v2/agents", token)).json()["pagination"]["total"] == 1
        (await rest.call("GET", f"/v2/agents/{ids[1]}", token)).error(404, "RESOURCE_NOT_FOUND")

    async def test_token_does_not_outlive_the_one_that_made_it(
        self, rest: RestServer, organisation: Organisation, clock: ManualClock
    ):
        """So nobody renews itself for ever."""
        ending = clock.now() + timedelta(seconds=90)
        made = (await self._token(rest, await organisation.key(expires_at=ending))).json()
        assert made["expires_at"] == rfc3339(ending)

    @pytest.mark.parametrize(
        "body",
        [
            {"subject": ""},
            {"subject": "key:" + str(UUID(int=1))},
            {"subject": "a\0"},
            {"subject": 7},
            {"scopes": []},
            {"scopes": ["read:nothing"]},
            {"expires_in": 0},
            {"expires_in": 86_401},
            {"expires_in": "60"},
            {"admin": True},
        ],
    )
    async def test_token_that_cannot_be_is_refused(self, rest: RestServer, key: str, body: Any):
        """A subject of a key above all."""
        (await self._token(rest, key, **body)).error(422, "VALIDATION_ERROR")

    async def test_making_one_is_in_the_audit(self, rest: RestServer, key: str, organisation: Organisation):
        """Before anybody has it."""
        assert (await self._token(rest, key)).status == 201
        connection = await connect_as(organisation.database_url, "hub_owner")
        rows = await connection.fetch("SELECT operation, outcome FROM audit")
        await connection.close()
        assert [tuple(row) for row in rows] == [("tokens.create", "ok")]


class TestTickets:
    """What they open is shown where streams are."""

    async def test_every_caller_gets_one(self, rest: RestServer, organisation: Organisation, clock: ManualClock):
        """With any scope; it is no credential for requests."""
        answer = await rest.call("POST", "/v2/stream/tickets", await organisation.key(["read:audit"]))
        made = answer.json()
        assert (answer.status, answer.headers["Cache-Control"]) == (201, "no-store")
        assert set(made) == {"ticket", "expires_at"}
        assert made["expires_at"] == rfc3339(clock.now() + timedelta(seconds=30))
        (await rest.call("GET", "/v2/agents", made["ticket"])).error(401, "INVALID_API_KEY")

    async def test_without_credential_there_is_none(self, rest: RestServer):
        """Nor below another version."""
        (await rest.call("POST", "/v2/stream/tickets")).error(401, "AUTHENTICATION_REQUIRED")
        (await rest.call("POST", "/v1/stream/tickets")).error(404, "RESOURCE_NOT_FOUND")
