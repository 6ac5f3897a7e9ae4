"""The fixtures of the engines give what they say: fresh, separate, and gone afterwards."""

import asyncpg
import redis.asyncio

from core.auth.caller import ALL_SCOPES
from core.auth.keys import is_key
from core.store.database import connect_as
from core.store.engines import EngineUrls
from tests.harness.engines import PrivateEngines, processes_of
from tests.harness.organisations import Organisation, Organisations
from tests.harness.valkey import OwnRedis


async def test_database_is_migrated_and_empty(database_url: str):
    """Each test has the newest schema and no organisation of another test."""
    connection = await connect_as(database_url, "hub_owner")
    assert await connection.fetchval("SELECT count(*) FROM hub.organisations") == 0
    await connection.close()


async def test_login_of_the_database_is_a_plain_one(database_url: str):
    """Superusers pass row-level security, so no test may be one by accident."""
    connection = await connect_as(database_url, None)
    role = await connection.fetchrow(
        "SELECT rolsuper, rolbypassrls, rolinherit FROM pg_roles WHERE rolname = current_user"
    )
    assert tuple(role or ()) == (False, False, False)
    await connection.close()


async def test_empty_database_has_no_schema(empty_database_url: str):
    """For tests of the migrations themselves."""
    connection = await connect_as(empty_database_url, None)
    assert await connection.fetchval("SELECT to_regnamespace('hub')") is None
    await connection.close()


async def test_redis_is_empty(redis_url: str):
    """Nothing of another test is left."""
    client: redis.asyncio.Redis = redis.asyncio.from_url(redis_url)
    assert await client.dbsize() == 0
    await client.set("left", "over")
    await client.aclose()


async def test_organisation_has_callers_and_keys(organisation: Organisation, organisations: Organisations):
    """A caller holds all scopes unless some are named; a key is a real one."""
    assert organisation.caller().scopes == ALL_SCOPES
    assert organisation.caller({"read:agents"}).has("write:agents") is False
    assert is_key(await organisation.key())
    assert (await organisations.create()).id != organisation.id


async def test_own_redis_keeps_its_data_over_a_kill_unless_told_otherwise(own_redis: OwnRedis):
    """A test chooses whether Redis comes back with what it had."""
    client: redis.asyncio.Redis = redis.asyncio.from_url(own_redis.url)
    await client.set("name", "value")
    await client.aclose()
    own_redis.restart()
    assert await client.get("name") == b"value"
    await client.aclose()
    own_redis.restart(empty=True)
    assert await client.get("name") is None
    await client.aclose()


async def test_private_engines_are_hurt_by_pid_and_come_back(private_engines: PrivateEngines, engines: EngineUrls):
    """Killing them leaves the session's engines alone; their supervisor starts them again."""
    urls = await private_engines.start()
    assert urls != engines
    assert processes_of(private_engines.data)
    (await private_engines.postgres()).kill()
    (await private_engines.redis()).kill()
    await private_engines.answering()
    shared = await asyncpg.connect(engines.superuser_url)
    assert await shared.fetchval("SELECT 1") == 1
    await shared.close()
