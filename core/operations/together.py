"""Several operations in one transaction: all of them happen, or none.

Each goes through limit, scope, input, key and audit as by itself. An event leaves with the commit of all.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from core.auth.caller import Caller
from core.operations.operation import Operation
from core.operations.run import Admission, Joint, Outcome
from core.operations.runner import Runner


class Together:
    """Runs operations one after the other, each seeing what those before it did. Made by `together`."""

    def __init__(self, runner: Runner, joint: Joint) -> None:
        self._runner = runner
        self._joint = joint

    @property
    def may_be_committed(self) -> bool:
        """Whether the commit was sent, so that after an error nobody knows what became of it."""
        return self._joint.db.may_be_committed

    def admit(self, operation: Operation, caller: Caller, *, by_grace: bool = False) -> Admission:
        """Count a run, as Runs says."""
        return self._runner.admit(operation, caller, by_grace=by_grace)

    async def run(
        self,
        operation: Operation,
        caller: Caller,
        input: Mapping[str, Any],
        *,
        request_id: str,
        idempotency_key: str | None = None,
        deadline_seconds: float = 30.0,
        admission: Admission | None = None,
    ) -> Outcome:
        """Run one, as Runs says; the deadline of all holds in place of its own.

        After a refusal nothing more can be run: let it leave the `together`. RuntimeError for an operation with
        `transaction="none"`.
        """
        return await self._runner.run(
            operation,
            caller,
            input,
            request_id=request_id,
            idempotency_key=idempotency_key,
            deadline_seconds=deadline_seconds,
            admission=admission,
            within=self._joint,
        )


@asynccontextmanager
async def together(
    runner: Runner, caller: Caller, seconds: float, *, is_trial: bool = False
) -> AsyncGenerator[Together]:
    """Open a transaction for operations of `caller`, which have `seconds` together; it is committed at the end.

    `is_trial`: it waits for nobody's lock for long, and where it is undone, audit and metrics have nothing of it.

    Raises HubError, TIMEOUT among them, also where the commit fails: then nobody knows what became of it, as of any write.
    """
    async with runner.joint(caller, seconds, is_trial=is_trial) as joint:
        yield Together(runner, joint)
