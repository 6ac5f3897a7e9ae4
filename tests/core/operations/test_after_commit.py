"""What waits for a commit: a job that an operation makes exists, and its workers are woken, if and only if it was committed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from core.clock import SystemClock
from core.errors import HubError
from core.jobs.jobs import Jobs
from core.operations.audit import AuditTrail
from core.operations.context import Context
from core.operations.idempotency import IdempotencyKeys
from core.operations.operation import Registry, operation, operations_of
from core.operations.runner import Runner
from core.operations.together import together
from core.store.database import Database
from tests.harness.limiters import limiter_without_redis
from tests.harness.organisations import Organisation


class Order(BaseModel):
    """Input of the operations of this test."""

    fail: bool = False


@dataclass
class Orders:
    """Operations that make jobs."""

    jobs: Jobs

    @operation("orders.create", scope=None, transaction="write", input=Order, result=str)
    async def create(self, ctx: Context, order: Order) -> str:
        """Make two jobs, of which one poke is enough."""
        for _ in range(2):
            await self.jobs.enqueue(ctx.db, ctx.caller.org_id, "ship", {})
            ctx.after_commit(self.jobs.poke)
        if order.fail:
            raise HubError("RESOURCE_CONFLICT")
        return "made"

    @operation("orders.steps", scope=None, transaction="none", input=Order, result=str)
    async def steps(self, ctx: Context, order: Order) -> str:
        """Make a job in a step; the next one fails where it is told to."""
        for fails in (False, order.fail):
            async with ctx.transaction() as db:
                await self.jobs.enqueue(db, ctx.caller.org_id, "ship", {})
                ctx.after_commit(self.jobs.poke)
                if fails:
                    raise HubError("RESOURCE_CONFLICT")
        return "made"

    @operation("orders.look", scope=None, transaction="read", input=Order, result=str)
    async def look(self, ctx: Context, order: Order) -> str:
        """Wait for a commit that cannot come."""
        ctx.after_commit(self.jobs.poke)
        return "looked"


@dataclass
class House:
    """A runner over a real database; `pokes` counts those of the workers."""

    database: Database
    organisation: Organisation
    runner: Runner
    operations: Registry
    pokes: int = 0

    async def run(self, name: str, **data: Any) -> Any:
        caller = self.organisation.caller()
        return (await self.runner.run(self.operations[name], caller, data, request_id="req_1")).result

    async def jobs(self) -> int:
        return len(await self.organisation.rows("SELECT 1 FROM jobs"))


@pytest.fixture
async def house(database_url: str, organisation: Organisation) -> AsyncIterator[House]:
    clock = SystemClock()
    database, trail = Database(database_url, role="hub_app", size=2), AuditTrail(database_url, clock)

    def poke() -> None:
        made.pokes += 1

    runner = Runner(database, trail, clock, lambda: None, limiter_without_redis(clock), IdempotencyKeys("of a test"))
    operations = Registry.of(operations_of(Orders(Jobs(clock, poke))))
    made = House(database, organisation, runner, operations)
    yield made
    await trail.close()
    await database.close()


async def test_committed_operation_leaves_its_jobs_and_wakes_once(house: House):
    """However often it asked for the same."""
    await house.run("orders.create")
    assert (await house.jobs(), house.pokes) == (2, 1)


async def test_refused_operation_leaves_nothing_and_wakes_nobody(house: House):
    """Its transaction is rolled back, and the job with it."""
    with pytest.raises(HubError):
        await house.run("orders.create", fail=True)
    assert (await house.jobs(), house.pokes) == (0, 0)


async def test_each_step_wakes_for_itself(house: House):
    """One that was committed stays, also where the next one fails."""
    with pytest.raises(HubError):
        await house.run("orders.steps", fail=True)
    assert (await house.jobs(), house.pokes) == (1, 1)
    await house.run("orders.steps")
    assert (await house.jobs(), house.pokes) == (3, 3)


async def test_of_several_in_one_transaction_all_wait_for_its_end(house: House):
    """And for nothing, where one of them is refused."""
    caller = house.organisation.caller()
    operation = house.operations["orders.create"]
    async with together(house.runner, caller, 30.0) as runs:
        await runs.run(operation, caller, {}, request_id="req_1")
        assert house.pokes == 0
    assert (await house.jobs(), house.pokes) == (2, 1)
    with pytest.raises(HubError):
        async with together(house.runner, caller, 30.0) as runs:
            await runs.run(operation, caller, {}, request_id="req_1")
            await runs.run(operation, caller, {"fail": True}, request_id="req_2")
    assert (await house.jobs(), house.pokes) == (2, 1)


async def test_read_has_no_commit(house: House):
    """Asking for one is a mistake that shows."""
    with pytest.raises(RuntimeError):
        await house.run("orders.look")
