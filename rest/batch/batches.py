"""Running a batch: one operation after the other, by the routes that they have on their own; or all of them in one transaction.

Of a batch that is not atomic, writes that follow each other are tried in one transaction, which takes a fraction of the time of a
hundred commits; where one is refused, that is undone, and each has its own.

begin()      looks at the whole batch, and counts each operation in the limit
results()    Answers in the order of the operations, each as soon as it is known; of an atomic batch, when all is committed
"""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

import structlog
from multidict import CIMultiDict

from core.clock import Clock
from core.errors import Detail, HubError
from core.operations.idempotency import key_of_part
from core.operations.run import Admission, Runs
from core.operations.runner import Runner, check
from core.operations.together import together
from core.quota import Quota
from rest.asked import NO_BODY, Answer, Asked, Body
from rest.batch.operations import Batch, BatchOperation
from rest.batch.places import Place, Places
from rest.batch.references import Reference, Results, references_of
from rest.errors import ErrorAnswers
from rest.forms import JSON
from rest.patience import patience_of
from rest.requests import array_of, is_patch, object_of, query_in

# Of results that are held together; one more may be as large as a page of a list.
MOST_RESULT_BYTES = 8 * 1024 * 1024
PATH = "/batch"
_BATCH = re.compile(rf"(/v[0-9]+)?{PATH}")
_LEAST_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Batches:
    """Begins batches."""

    runner: Runner
    places: Places
    errors: ErrorAnswers
    clock: Clock

    async def begin(self, batch: Batch, counted: Admission | None = None) -> "Begun":
        """Look at the whole, and count its operations; `counted` is a permit that the caller has already, for the first of them.

        Raises HubError VALIDATION_ERROR, before anything is done, for what cannot be a batch.
        """
        until = self.clock.monotonic() + batch.seconds
        parts = [_Part(index, each, references_of(each)) for index, each in enumerate(batch.operations)]
        _check_references(parts)
        for part in parts:
            self._place(part, batch)
        _check_places(batch, parts)
        quota = await self._admit(batch, parts, counted)
        return Begun(self, batch, parts, until, quota)

    def _place(self, part: "_Part", batch: Batch) -> None:
        """Look for the route, where it is known before anything was answered; a refusal comes when it is the part's turn."""
        operation = part.operation
        if isinstance(operation.path, str):
            with suppress(HubError):
                path = operation.path.partition("?")[0]
                part.place = self.places.find(operation.method, path, version_of(batch, operation))

    async def _admit(self, batch: Batch, parts: Sequence["_Part"], counted: Admission | None) -> Quota | None:
        """Ask for permission for all at once, in their order; returns what is left after the last."""
        for part in parts:
            if part.place is not None:
                bound = part.place.bound
                if counted is not None and bound.operation.weight == 1:
                    part.admission, counted = counted, None
                else:
                    headers = CIMultiDict(part.operation.headers)
                    part.admission = bound.admit(self.runner, batch.caller, headers)
        quotas = [await part.admission for part in parts if part.admission is not None]
        return quotas[-1] if quotas else None


@dataclass(eq=False, slots=True)
class _Part:
    """An operation of a batch, with what is known of it before it is run."""

    index: int
    operation: BatchOperation
    references: Sequence[Reference]
    place: Place | None = None
    admission: Admission | None = None


class Begun:
    """A batch whose operations may now be run, by taking `results()` once. `quota` is what the caller's limit says after them."""

    def __init__(
        self, batches: Batches, batch: Batch, parts: Sequence[_Part], until: float, quota: Quota | None
    ) -> None:
        self.quota = quota
        self._batches = batches
        self._batch = batch
        self._parts = parts
        self._until = until
        self._results = Results({each.index for part in parts for each in part.references})
        self._bytes = 0
        self._log = structlog.get_logger()

    async def results(self) -> AsyncGenerator[Answer]:
        """Run the operations; yields an answer for each.

        Raises HubError where an atomic batch could not begin, or could not be committed.
        """
        if self._batch.is_atomic:
            for answer in await self._all_or_none():
                yield answer
            return
        for _, neighbours in groupby(self._parts, self._may_share):
            group = list(neighbours)
            shared = await self._in_one(group) if len(group) > 1 and self._may_share(group[0]) else None
            for answer in shared or ():
                yield answer
            for part in () if shared else group:
                yield await self._by_itself(part)

    async def _by_itself(self, part: _Part) -> Answer:
        try:
            return await self._answer(part, self._batches.runner)
        except HubError as error:
            return self._refusal(error)

    def _may_share(self, part: _Part) -> bool:
        """Tell whether an operation may be tried in one transaction with its neighbours, which nobody notices but by the speed."""
        return (
            not self._batch.is_streamed  # each result is told as soon as it is known
            and not part.references
            and part.place is not None
            and part.place.bound.operation.transaction == "write"
            and "x-request-timeout" not in map(str.lower, part.operation.headers)
        )

    async def _in_one(self, group: Sequence[_Part]) -> Sequence[Answer] | None:
        """Run operations in one transaction; None where one is refused or waits: then nothing has happened."""
        runs, size = None, self._bytes
        try:
            async with together(self._batches.runner, self._batch.caller, self._left(), is_trial=True) as runs:
                answers = [await self._answer(part, runs) for part in group]
        except HubError as error:
            for part in group:
                self._results.forget(part.index)
            if runs is not None and runs.may_be_committed:
                return [self._refusal(error)] * len(group)  # of each, as of any write whose commit was not answered
            self._bytes = size
            return None
        return answers

    async def _all_or_none(self) -> Sequence[Answer]:
        for part in self._parts:
            try:
                if part.admission is not None:
                    check(await part.admission)
            except HubError as error:
                return self._undone(part.index, error)
        done: dict[int, Answer] = {}
        has_begun = False
        try:
            async with together(self._batches.runner, self._batch.caller, self._left()) as runs:
                has_begun = True
                for part in self._parts:
                    done[part.index] = await self._answer(part, runs)
        except HubError as error:
            if not has_begun or len(done) == len(self._parts):
                raise  # it is of all, not of one
            return self._undone(len(done), error)
        return list(done.values())

    def _undone(self, index: int, error: HubError) -> Sequence[Answer]:
        """Return the answers of a batch of which nothing has happened, since the operation `index` was refused."""
        message = f"Operation {index} of the batch was refused, so nothing of it has happened"
        other = HubError("FAILED_DEPENDENCY", message)
        return [self._refusal(error if part.index == index else other) for part in self._parts]

    async def _answer(self, part: _Part, runs: Runs) -> Answer:
        """Return what the operation is answered; raises HubError, INTERNAL_ERROR for a bug: that of one is not the others'."""
        try:
            answer = await self._carry_out(part, runs)
        except HubError:
            raise
        except Exception as error:
            self._log.exception("request_failed", request_id=self._batch.request_id, operation=part.index)
            raise HubError("INTERNAL_ERROR") from error
        self._results.keep(part.index, answer)
        self._bytes += len(answer.body)
        return answer

    async def _carry_out(self, part: _Part, runs: Runs) -> Answer:
        batch = self._batch
        if self._bytes > MOST_RESULT_BYTES and (batch.is_atomic or not batch.is_streamed):
            most = MOST_RESULT_BYTES >> 20
            message = f"The results before this one have over {most} MiB: send it in another batch"
            raise HubError("PAYLOAD_TOO_LARGE", message)
        operation, place = part.operation, part.place
        if part.references:
            operation, place = self._results.resolved(operation), None
        path, _, query = operation.path.partition("?")
        place = place or self._batches.places.find(operation.method, path, version_of(batch, operation))
        asked = self._asked(part.index, operation, place, path, query)
        answer = await place.bound.carry_out(runs, batch.caller, asked, dict(place.version.headers), part.admission)
        if answer.stream is not None:
            await answer.stream.parts.aclose()
            raise HubError("NOT_ACCEPTABLE", "A batch has no streams: ask for the answer as a whole, or by itself")
        return answer

    def _asked(self, index: int, operation: BatchOperation, place: Place, path: str, query: str) -> Asked:
        route, batch = place.bound.route, self._batch
        if batch.is_atomic and place.bound.operation.transaction == "none":
            raise _not_in_one(index, place)
        headers = CIMultiDict(operation.headers)
        if route.takes_key and batch.key is not None:
            headers.setdefault("Idempotency-Key", key_of_part(batch.key, index))
        headers["Accept"] = JSON  # within JSON there is no other
        headers["X-Request-Timeout"] = f"{min(patience_of(headers.get('X-Request-Timeout')), self._left()):.3f}"
        known = query_in(query, route.query)
        prefix = place.version.prefix
        asked = Asked(route.method, path, prefix, place.params, headers, batch.request_id, batch.form, known, NO_BODY)
        if route.takes_patch and is_patch(headers.get("Content-Type")):
            asked.patch = array_of(operation.body)
        elif route.takes_body:
            asked.body = _body_of(operation.body)
        return asked

    def _left(self) -> float:
        """Return the seconds that are left to the batch; raises HubError TIMEOUT where there are none."""
        left = self._until - self._batches.clock.monotonic()
        if left < _LEAST_SECONDS:
            raise HubError("TIMEOUT")
        return left

    def _refusal(self, error: HubError) -> Answer:
        return self._batches.errors.answer(error, self._batch.request_id, form=self._batch.form)


def version_of(batch: Batch, operation: BatchOperation) -> str:
    """Return the version that a path without one means."""
    named = CIMultiDict[object](operation.headers).get("API-Version")
    return named if isinstance(named, str) else batch.version


def _check_references(parts: Sequence[_Part]) -> None:
    details = [
        Detail(f"operations[{part.index}]", "VALUE_OUT_OF_RANGE", f"{each} names no earlier operation")
        for part in parts
        for each in part.references
        if each.index >= part.index
    ]
    if details:
        raise HubError("VALIDATION_ERROR", details=details)


def _check_places(batch: Batch, parts: Sequence[_Part]) -> None:
    details: list[Detail] = []
    for part in parts:
        if _is_batch(part.operation.path):
            message = "A batch has no batches in it"
            details.append(Detail(f"operations[{part.index}].path", "INVALID_FORMAT", message))
        elif batch.is_atomic and part.place is not None and part.place.bound.operation.transaction == "none":
            details += _not_in_one(part.index, part.place).details
    if details:
        raise HubError("VALIDATION_ERROR", details=details)


def _is_batch(path: object) -> bool:
    return isinstance(path, str) and _BATCH.fullmatch(path.partition("?")[0]) is not None


def _not_in_one(index: int, place: Place) -> HubError:
    name = place.bound.operation.name
    message = f"{name} cannot be undone, so it is in no atomic batch"
    return HubError("VALIDATION_ERROR", details=[Detail(f"operations[{index}].path", "INVALID_FORMAT", message)])


def _body_of(body: object) -> Body:
    if body is None:
        raise HubError("BAD_REQUEST", "The body is empty; send a JSON object")
    return object_of(body)
