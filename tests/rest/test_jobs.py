"""Jobs over REST: seen and ended by administrators of their own organisation."""

from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

import pytest

from core.ids import new_id
from core.jobs.jobs import Jobs
from core.store.database import Database
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation, Organisations
from tests.rest.server import RestServer


@pytest.fixture
async def jobs(database_url: str, clock: ManualClock) -> AsyncIterator[Database]:
    database = Database(database_url, role="hub_app", size=2)
    yield database
    await database.close()


async def make(database: Database, clock: ManualClock, org: Organisation, kind: str = "note", **row: Any) -> UUID:
    """Make a job, and give its row some values."""
    async with database.transaction(org.id) as db:
        id = (await Jobs(clock, lambda: None).enqueue(db, org.id, kind, {"secret": 1})).id
    for name, value in row.items():
        await org.rows(f"UPDATE jobs SET {name} = $2 WHERE id = $1", id, value)  # noqa: S608 - a column's name
    return id


async def one(rest: RestServer, key: str, id: UUID) -> Mapping[str, Any]:
    answer = await rest.call("GET", f"/v2/jobs/{id}", key)
    assert answer.status == 200, answer
    return answer.json()


async def test_job_is_shown_without_what_it_was_given(
    rest: RestServer, key: str, jobs: Database, clock: ManualClock, organisation: Organisation
):
    """That is its maker's; progress, result and error are the organisation's."""
    id = await make(jobs, clock, organisation, progress='{"pages":3}', error='{"code":"TIMEOUT","message":"x"}')
    noon = "2026-01-01T00:00:00.000000Z"
    assert await one(rest, key, id) == {
        "id": str(id),
        "kind": "note",
        "status": "queued",
        "priority": 0,
        "attempts": 0,
        "max_attempts": None,
        "progress": {"pages": 3},
        "result": None,
        "error": {"code": "TIMEOUT", "message": "x"},
        "run_at": noon,
        "cancel_requested_at": None,
        "created_at": noon,
        "started_at": None,
        "finished_at": None,
    }


async def test_list_is_filtered_by_kind_and_status(
    rest: RestServer, key: str, jobs: Database, clock: ManualClock, organisation: Organisation
):
    """Newest first, a page at a time."""
    made = [await make(jobs, clock, organisation, kind) for kind in ("a", "b", "a")]
    await organisation.rows("UPDATE jobs SET status = 'running' WHERE id = $1", made[0])
    found = (await rest.call("GET", "/v2/jobs?kind=a&per_page=1", key)).json()
    assert ([job["id"] for job in found["data"]], found["pagination"]["total"]) == ([str(made[2])], 2)
    found = (await rest.call("GET", "/v2/jobs?status=running", key)).json()
    assert [job["id"] for job in found["data"]] == [str(made[0])]
    (await rest.call("GET", "/v2/jobs?status=asleep", key)).error(422, "VALIDATION_ERROR")


async def test_waiting_job_is_cancelled_at_once_and_a_running_one_where_it_runs(
    rest: RestServer, key: str, jobs: Database, clock: ManualClock, organisation: Organisation
):
    """Said again it is the same; what has ended otherwise is a conflict."""
    waiting = await make(jobs, clock, organisation)
    running = await make(jobs, clock, organisation, status="running")
    ended = await make(jobs, clock, organisation, status="completed")
    for _ in range(2):
        answer = await rest.call("POST", f"/v2/jobs/{waiting}/cancel", key)
        assert (answer.status, answer.json()["status"]) == (200, "cancelled")
        assert answer.json()["finished_at"] is not None
    answer = await rest.call("POST", f"/v2/jobs/{running}/cancel", key)
    assert (answer.status, answer.json()["status"]) == (200, "running")
    assert answer.json()["cancel_requested_at"] is not None
    (await rest.call("POST", f"/v2/jobs/{ended}/cancel", key)).error(409, "RESOURCE_CONFLICT")
    audited = await organisation.rows(
        "SELECT outcome FROM audit WHERE operation = 'jobs.cancel' AND target = $1", f"jobs/{waiting}"
    )
    assert [row["outcome"] for row in audited] == ["ok", "ok"]


async def test_cancel_under_a_key_is_answered_again(
    rest: RestServer, key: str, jobs: Database, clock: ManualClock, organisation: Organisation
):
    """As every POST."""
    id = await make(jobs, clock, organisation)
    headers = {"Idempotency-Key": "once"}
    first = await rest.call("POST", f"/v2/jobs/{id}/cancel", key, headers=headers)
    again = await rest.call("POST", f"/v2/jobs/{id}/cancel", key, headers=headers)
    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_jobs_of_others_and_without_the_scope_are_out_of_reach(
    rest: RestServer,
    jobs: Database,
    clock: ManualClock,
    organisation: Organisation,
    organisations: Organisations,
):
    """404 and 403, as everywhere; what a job tells may be of any resource, so who is for some only sees none."""
    id = await make(jobs, clock, organisation)
    restricted = await organisation.key(resource_ids=[new_id()])
    stranger = await (await organisations.create()).key()
    reader = await organisation.key(["read:agents"])
    for method, path in (("GET", f"/v2/jobs/{id}"), ("POST", f"/v2/jobs/{id}/cancel")):
        (await rest.call(method, path, stranger)).error(404, "RESOURCE_NOT_FOUND")
        (await rest.call(method, path, reader)).error(403, "INSUFFICIENT_SCOPE")
        (await rest.call(method, path, restricted)).error(403, "FORBIDDEN")
    (await rest.call("GET", "/v2/jobs", restricted)).error(403, "FORBIDDEN")
    assert (await rest.call("GET", "/v2/jobs", stranger)).json()["data"] == []
    (await rest.call("GET", "/v2/jobs", reader)).error(403, "INSUFFICIENT_SCOPE")
    for unknown in (new_id(), "7"):
        (await rest.call("GET", f"/v2/jobs/{unknown}", await organisation.key())).error(404, "RESOURCE_NOT_FOUND")
