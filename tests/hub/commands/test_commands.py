"""The command line as a person and a script use it, as processes, against real engines."""

import asyncio
import json
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.auth.caller import ALL_SCOPES
from core.store.database import connect_as
from core.store.migrate import installation_secret, newest_revision
from hub.first_key import ensure_first_key
from tests.harness.command_line import Done, run_command
from tests.harness.hub_process import CHECKOUT, HubProcesses
from tests.harness.rest_client import RestClient


@dataclass(frozen=True)
class Line:
    """Runs commands against this test's engines."""

    environment: dict[str, str]

    async def run(self, *arguments: str, **environment: str) -> Done:
        return await run_command(*arguments, environment={**self.environment, **environment})


@pytest.fixture
def line(database_url: str, redis_url: str, tmp_path: Path) -> Line:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HUB_", "PORT"))}
    return Line({**kept, "DATABASE_URL": database_url, "REDIS_URL": redis_url, "HUB_DATA": str(tmp_path)})


async def test_key_is_made_with_its_organisation_and_told_as_one_object(line: Line, database_url: str):
    """The last line on stdout is the object; the key works, and PostgreSQL never sees it."""
    done = await line.run("keys", "create", "--org", "acme", "--tier", "pro", "--scopes", "read:agents", "--json")
    made = json.loads(done.out.splitlines()[-1])
    assert (done.code, set(made)) == (0, {"key", "id", "org_id", "scopes", "tier"})
    assert (made["scopes"], made["tier"]) == (["read:agents"], "pro")
    again = json.loads((await line.run("keys", "create", "--org", "acme", "--json")).out)
    assert (again["org_id"], again["tier"], set(again["scopes"])) == (made["org_id"], "pro", ALL_SCOPES)
    owner = await connect_as(database_url, "hub_owner")
    try:
        rows = await owner.fetch("SELECT keys::text AS row FROM keys")
        assert not any(made["key"] in row["row"] for row in rows)
    finally:
        await owner.close()


async def test_keys_are_listed_without_themselves_and_revoked(line: Line):
    """A key is ended by its id or by itself."""
    made = json.loads((await line.run("keys", "create", "--org", "acme", "--json")).out)
    listed = await line.run("keys", "list", "--org", "acme")
    assert made["id"] in listed.out
    assert made["key"] not in listed.out
    assert "revoked" in (await line.run("keys", "revoke", made["key"])).out
    assert "revoked" in (await line.run("keys", "list")).out


async def test_list_of_keys_knows_those_that_ended(line: Line, database_url: str):
    """A key whose time is over is not called live."""
    made = [json.loads((await line.run("keys", "create", "--org", "acme", "--json")).out)["id"] for _ in range(2)]
    owner = await connect_as(database_url, "hub_owner")
    try:
        for id, years in zip(made, (-1, 1), strict=True):
            await owner.execute("UPDATE keys SET expires_at = now() + $2 * interval '1 year' WHERE id = $1", id, years)
    finally:
        await owner.close()
    listed = (await line.run("keys", "list", "--org", "acme")).out.splitlines()
    states = {id: next(row for row in listed if row.startswith(id)) for id in made}
    assert "  expired 2" in states[made[0]]
    assert "  live until 2" in states[made[1]]


async def test_organisations_get_tiers_and_limits(line: Line):
    """`orgs set` overrides a limit, and gives it back to the tier."""
    done = await line.run(
        "orgs", "set", "acme", "--tier", "pro", "--limit", "burst=7", "--limit", "requests_per_hour=9"
    )
    assert "acme  pro  requests_per_hour=9 burst=7 concurrent_connections=100" in done.out
    done = await line.run("orgs", "set", "acme", "--limit", "burst=")
    assert "requests_per_hour=9 burst=500" in done.out
    assert "acme" in (await line.run("orgs", "list")).out


async def test_signing_key_is_rotated(line: Line, database_url: str):
    """A new one each time; the old ones are kept for their tokens, unless these shall end."""

    async def accepted() -> int:
        owner = await connect_as(database_url, "hub_owner")
        try:
            count = await owner.fetchval("SELECT count(*) FROM signing_keys WHERE expires_at > now()")
            return int(str(count))
        finally:
            await owner.close()

    told = [(await line.run("keys", "rotate-signing")).out for _ in range(2)]
    assert told[0] != told[1]
    assert await accepted() == 1
    assert (await line.run("keys", "rotate-signing", "--end-tokens")).code == 0
    assert await accepted() == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("keys", "create", "--org", "No Slug"), "slug"),
        (("keys", "create", "--org", "acme", "--scopes", "read:everything"), "read:everything"),
        (("keys", "revoke", "nonsense"), "no such key"),
        (("keys", "list", "--org", "nobody"), "nobody"),
        (("orgs", "set", "acme", "--limit", "speed=9"), "speed"),
        (("orgs", "set", "acme", "--limit", "burst=-1"), "burst"),
    ],
)
async def test_wrong_use_is_told_in_a_line(line: Line, arguments: tuple[str, ...], says: str):
    """A reason on stderr and exit code 1, no traceback."""
    done = await line.run(*arguments)
    assert (done.code, done.out) == (1, "")
    assert says in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("name", "value"), [("HUB_PORT", "99999"), ("HUB_OUTBOUND_ALLOW", "10.0.0.0/99"), ("HUB_LOG", "loud")]
)
async def test_wrong_setting_is_named(line: Line, name: str, value: str):
    """The variable stands in the message."""
    done = await line.run("doctor", **{name: value})
    assert done.code == 1
    assert name in done.err
    assert "Traceback" not in done.err


async def test_doctor_finds_nothing_wrong_and_tells_no_secret(line: Line):
    """Every finding is ok; addresses with passwords are not printed."""
    model = {"HUB_MODEL_URL": "http://127.0.0.1:9", "HUB_MODEL_NAME": "tiny", "HUB_MODEL_KEY": "sk-sesame"}
    models = '[{"name": "small", "url": "http://127.0.0.1:9/v1", "model": "s", "key": "sk-sesame"}]'
    done = await line.run("doctor", HUB_PORT="0", HUB_MODELS=models, **model)
    assert done.code == 0, done.out + done.err
    assert "WRONG" not in done.out
    assert line.environment["DATABASE_URL"] not in done.out
    assert "small (s at http://127.0.0.1:9/v1)" in done.out
    assert "sesame" not in done.out + done.err
    for name in ("HUB_PORT", "DATABASE_URL", "HUB_JWKS_URL"):
        assert name in done.out


async def test_doctor_says_what_is_wrong_and_its_cure(line: Line, tmp_path: Path):
    """Engines that do not answer, a key that others can read: exit code 1."""
    (tmp_path / "dev-key").write_text("aim_live_x")
    (tmp_path / "dev-key").chmod(0o644)
    done = await line.run("doctor", DATABASE_URL="postgresql://nobody@127.0.0.1:1/x", REDIS_URL="redis://127.0.0.1:1")
    assert done.code == 1
    assert done.out.count("WRONG") == 3
    assert "chmod 600" in done.out
    assert "Check DATABASE_URL" in done.out


async def test_doctor_takes_a_running_hub_for_no_fault(line: Line, hubs: HubProcesses):
    """Its port is taken by what shall have it; by anything else, that is wrong."""
    hub = await hubs.start()
    done = await line.run("doctor", HUB_PORT=hub.base_url.rpartition(":")[2])
    assert (done.code, "A hub answers on 127.0.0.1" in done.out) == (0, True), done.out + done.err
    other = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with other:
        done = await line.run("doctor", HUB_PORT=str(other.sockets[0].getsockname()[1]))
    assert (done.code, "another port with HUB_PORT" in done.out) == (1, True)


async def test_migrate_brings_an_empty_database_up_and_begins_an_epoch(line: Line, empty_database_url: str):
    """`migrate` may be repeated; `--new-epoch` says the new one."""
    assert f"revision {newest_revision()}" in (await line.run("migrate", DATABASE_URL=empty_database_url)).out
    done = await line.run("migrate", "--new-epoch", DATABASE_URL=empty_database_url)
    assert (done.code, "epoch is now" in done.out) == (0, True)


async def test_serve_on_given_engines_makes_no_first_key_and_stops_on_sigterm(line: Line, tmp_path: Path):
    """The address is the first thing printed; with DATABASE_URL keys are made by the command; SIGTERM ends it with 0."""
    made = json.loads((await line.run("keys", "create", "--org", "acme", "--json")).out)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "hub", "serve", "--port", "0"),
        cwd=CHECKOUT,
        env=line.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        first = (await process.stdout.readline()).decode()
        base_url = first.split()[-1]
        async with RestClient(base_url, made["key"]) as client:
            assert (await client.call("GET", "/readyz")).status == 200
            assert (await client.call("POST", "/v2/agents", {"name": "Ada"})).status == 201
        assert not (tmp_path / "dev-key").exists()
        process.terminate()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_first_key_is_for_its_owner_only(tmp_path: Path, database_url: str):
    """Made once, mode 0600; a lost one is made again."""
    secret = await installation_secret(database_url)
    file = await ensure_first_key(database_url, secret, tmp_path)
    key = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (await ensure_first_key(database_url, secret, tmp_path)).read_text() == key
    file.unlink()
    assert (await ensure_first_key(database_url, secret, tmp_path)).read_text() != key
