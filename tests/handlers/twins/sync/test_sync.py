"""Twins' data from a source: when it is fetched, what becomes of it, and what of everything that can go wrong."""

import asyncio
from datetime import timedelta
from typing import Any

import orjson
import pytest

from core.clock import rfc3339
from handlers.twins.sync.sources import MOST_BYTES, MOST_VALUES
from tests.handlers.house import refused
from tests.handlers.twins.sync.plant import Plant


async def test_schedule_without_a_source_fetches_nothing(plant: Plant):
    """As the seed's clients send it; it is told why."""
    made = await plant.run("twins.create", name="Ops", type="erp_system", sync_schedule="hourly")
    said = await plant.sync(str(made.id))
    assert (said["sync_schedule"], said["next_at"], said["failures"]) == ("hourly", None, 0)
    assert "no source" in said["reason"]
    assert await plant.synchronisation.sweep() == 0
    assert (await refused(plant.run("sync.run", id=str(made.id)))).code == "RESOURCE_CONFLICT"


async def test_source_is_fetched_at_once_and_then_by_schedule(plant: Plant):
    async with plant.working():
        id = await plant.twin(source={"pointer": "/orders"}, data=0)
        assert await plant.due() == 1
        twin = await plant.get(id)
        assert (twin["data"], twin["version"]) == (1, 2)
        said = await plant.sync(id)
        assert (said["status"], said["outcome"], said["reason"]) == ("idle", "changed", None)
        assert said["succeeded_at"] == rfc3339(plant.clock.now())
        assert said["next_at"] > rfc3339(plant.clock.now())
        assert await plant.due() == 0
        plant.source.body = b'{"orders": 2}'
        plant.clock.jump(3900)
        assert await plant.due() == 1
    assert (await plant.get(id))["data"] == 2
    assert await plant.told(id) == ["twin.created", *["twin.updated", "twin.synchronised"] * 2]


async def test_what_was_missed_is_made_up_for_once(plant: Plant):
    """However many times that were; and two sweeps at once make one job."""
    async with plant.working():
        id = await plant.twin(schedule="* * * * *")
        assert await plant.due() == 1
        plant.clock.jump(365 * 24 * 3600)
        await asyncio.gather(*(plant.synchronisation.sweep() for _ in range(4)))
        await plant.settled()
        assert len(plant.source.asked) == 2
        assert await plant.due() == 0
    now = plant.clock.now()
    assert rfc3339(now) < (await plant.sync(id))["next_at"] <= rfc3339(now + timedelta(seconds=90))


async def test_same_data_makes_no_version(plant: Plant):
    """It is told once that it is there."""
    async with plant.working():
        id = await plant.twin(data={"orders": 1.0})
        for _ in range(3):
            await plant.fetch(id)
    assert ((await plant.sync(id))["outcome"], (await plant.get(id))["version"]) == ("unchanged", 1)
    assert await plant.told(id) == ["twin.created", "twin.synchronised"]


async def test_source_is_asked_whether_it_has_changed(plant: Plant):
    """Only while the twin has what it gave: what was changed by hand since is fetched again."""
    plant.source.tag = '"a"'
    async with plant.working():
        id = await plant.twin()
        await plant.fetch(id)
        assert "If-None-Match" not in plant.source.asked[-1].headers
        assert (await plant.fetch(id))["outcome"] == "unchanged"
        assert plant.source.asked[-1].headers["If-None-Match"] == '"a"'
        await plant.run("twins.update", id=id, body={"data": {"orders": 9}})
        assert (await plant.fetch(id))["outcome"] == "changed"
    assert (await plant.get(id))["data"] == {"orders": 1}


@pytest.mark.parametrize(
    ("mode", "data"), [("replace", {"a": None, "b": {"c": 2}}), ("merge", {"b": {"c": 2, "d": 4}, "e": 5})]
)
async def test_mode_says_what_stays(plant: Plant, mode: str, data: Any):
    """A null of the source is data; in a merge patch it takes away."""
    plant.source.body = b'{"a": null, "b": {"c": 2}}'
    async with plant.working():
        id = await plant.twin(source={"mode": mode}, data={"a": 1, "b": {"c": 1, "d": 4}, "e": 5})
        await plant.fetch(id)
    assert (await plant.get(id))["data"] == data


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<!doctype html><title>Sign in</title>", "no JSON"),
        (b'{"orders": NaN}', "no JSON"),
        (b"", "no JSON"),
        (b'{"a": 1, "a": 2}', "more than once"),
        (b'{"a": 99999999999999999999}', "no integer"),
        (b"[" + b"1," * (MOST_VALUES + 1) + b"1]", "values"),
        (b'"' + b"x" * 10 * 1024 * 1024 + b'"', str(MOST_BYTES)),
        (b"[" * 100 + b"]" * 100, "levels of nesting"),
    ],
    ids=["html", "nan", "nothing", "twice", "large", "many", "10 MB", "deep"],
)
async def test_what_is_no_data_changes_nothing(plant: Plant, body: bytes, told: str):
    plant.source.body = body
    async with plant.working():
        id = await plant.twin(data={"orders": 0})
        said = await plant.fetch(id)
    assert (said["outcome"], said["failures"]) == ("failed", 1)
    assert told in said["error"]["message"]
    assert ((await plant.get(id))["data"], await plant.told(id, of="twin.sync")) == (
        {"orders": 0},
        ["twin.sync.failed"],
    )


@pytest.mark.parametrize(
    ("path", "told"), [("/metadata", "metadata.example"), ("/round", "redirects"), ("/away", None)]
)
async def test_redirects_are_judged(plant: Plant, path: str, told: str | None):
    """As the URL itself: nobody is led to what stands inside."""
    async with plant.working():
        said = await plant.fetch(await plant.twin(path))
    if told is None:
        assert said["outcome"] == "changed"
    else:
        assert (said["error"]["code"], told in said["error"]["message"]) == ("NOT_FETCHED", True)


async def test_pointer_to_nothing_has_failed(plant: Plant):
    async with plant.working():
        for pointer in ("/none", "/orders/0"):
            said = await plant.fetch(await plant.twin(source={"pointer": pointer}))
            assert (said["outcome"], pointer in said["error"]["message"]) == ("failed", True)


async def test_failures_are_told_once_and_put_it_off(plant: Plant):
    """The first of a streak and each tenth; the next time is further away with each; then it is told that all is well."""
    plant.source.status = 500
    async with plant.working():
        id = await plant.twin(schedule="* * * * *")
        waits: list[float] = []
        for _ in range(11):
            assert await plant.due() == 1
            (row,) = await plant.rows("SELECT next_at FROM twin_syncs")
            waits.append((row["next_at"] - plant.clock.now()).total_seconds())
            plant.clock.jump(waits[-1])
        said = await plant.sync(id)
        assert (said["failures"], said["error"]["message"]) == (11, "It answered 500")
        assert waits[4:] == [60.0 * 2**power for power in range(4, 11)]
        assert await plant.told(id, of="twin.sync") == ["twin.sync.failed"] * 2
        plant.source.status = 200
        assert await plant.due() == 1
    said = await plant.sync(id)
    assert (said["failures"], said["error"], said["outcome"]) == (0, None, "changed")
    assert (await plant.told(id))[-2:] == ["twin.updated", "twin.synchronised"]


async def test_slow_source_has_failed_and_holds_nothing(plant: Plant):
    """Nothing is open meanwhile: the twin can be changed."""
    plant.source.gate = asyncio.Event()
    async with plant.working():
        id = await plant.twin()
        await plant.run("sync.run", id=id)
        await plant.asked(1)
        assert (await plant.sync(id))["status"] == "running"
        await plant.run("twins.update", id=id, body={"status": "paused"})
        await plant.clock.advance(31)
        await plant.settled()
    said = await plant.sync(id)
    assert (said["outcome"], "no answer within 30 s" in said["error"]["message"]) == ("failed", True)
    assert (await plant.get(id))["status"] == "paused"


async def test_change_meanwhile_is_kept(plant: Plant):
    """What is fetched is merged into what is there then."""
    plant.source.gate = asyncio.Event()
    async with plant.working():
        id = await plant.twin(source={"mode": "merge"}, data={"by_hand": 0})
        await plant.run("sync.run", id=id)
        await plant.asked(1)
        await plant.run("twins.update", id=id, body={"data": {"by_hand": 1}})
        plant.source.gate.set()
        await plant.settled()
    twin = await plant.get(id)
    assert (twin["data"], twin["version"]) == ({"by_hand": 1, "orders": 1}, 3)


async def test_other_source_meanwhile_is_asked_next(plant: Plant):
    """What the first gave is not taken for the second's."""
    plant.source.gate = asyncio.Event()
    async with plant.working():
        id = await plant.twin("/first", data=0)
        await plant.run("sync.run", id=id)
        await plant.asked(1)
        other = {"kind": "http", "url": plant.source.url("/second"), "pointer": "/orders"}
        await plant.run("twins.update", id=id, body={"source": other})
        plant.source.gate.set()
        await plant.settled()
        assert (await plant.get(id))["data"] == 0
        assert await plant.due() == 1
    assert (await plant.get(id))["data"] == 1
    assert [request.path for request in plant.source.asked] == ["/first", "/second"]


async def test_twin_that_is_gone_is_left_alone(plant: Plant):
    plant.source.gate = asyncio.Event()
    async with plant.working():
        id = await plant.twin()
        await plant.run("sync.run", id=id)
        await plant.asked(1)
        await plant.run("twins.delete", id=id)
        plant.source.gate.set()
        await plant.settled()
    assert not await plant.rows("SELECT FROM twin_syncs")
    assert (await plant.told(id))[-1] == "twin.deleted"
    assert (await refused(plant.run("sync.get", id=id))).code == "RESOURCE_NOT_FOUND"


async def test_worker_that_is_outrun_writes_nothing(plant: Plant):
    """The one that has the job now does: one version, whoever asked how often."""
    plant.source.gate = asyncio.Event()
    async with plant.working():
        id = await plant.twin()
        await plant.run("sync.run", id=id)
        await plant.asked(1)
        # As if this worker had stood still and another had taken the job.
        await plant.rows("UPDATE jobs SET attempt = attempt + 1, lease_until = now() - interval '1 s', worker = 7")
        plant.source.gate.set()
        await plant.asked(2)
        await plant.settled()
    assert ((await plant.get(id))["version"], (await plant.told(id)).count("twin.updated")) == (2, 1)


async def test_source_is_fetched_for_its_organisation(plant: Plant):
    """The job is the organisation's, and there is one of a twin at a time."""
    id = await plant.twin()
    first, second = [await plant.run("sync.run", id=id) for _ in range(2)]
    assert orjson.loads(first.body) == orjson.loads(second.body)
    ((org_id,),) = await plant.rows("SELECT org_id FROM jobs")
    assert org_id == plant.caller.org_id


@pytest.mark.parametrize(
    ("source", "field"),
    [
        ({"url": "ftp://localhost/"}, "source.url"),
        ({"url": "http://ada:secret@localhost/"}, "source.url"),
        ({"pointer": "orders"}, "source.pointer"),
        ({"mode": "add"}, "source.mode"),
    ],
)
async def test_what_is_no_source_is_refused(plant: Plant, source: dict[str, str], field: str):
    error = await refused(plant.twin(source=source))
    assert (error.code, [each.field for each in error.details]) == ("VALIDATION_ERROR", [field])


async def test_by_hand_alone(plant: Plant):
    """Without a schedule; and a source that is taken away is asked no more."""
    async with plant.working():
        id = await plant.twin(schedule=None)
        assert await plant.due() == 0
        said = await plant.fetch(id)
        assert (said["outcome"], said["next_at"], "by hand" in said["reason"]) == ("changed", None, True)
        await plant.run("twins.update", id=id, body={"source": None})
        assert (await refused(plant.run("sync.run", id=id))).code == "RESOURCE_CONFLICT"
