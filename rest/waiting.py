"""What a request does that has begun an execution, or a simulation: it waits for the end, or reads what is told, as it asks.

Prefer: respond-async          the answer is 202 at once (RFC 7240, section 4.1)
Accept: text/event-stream      what is told, to the end
else                           the end, at the latest after 25 s; then 202

Only a request over HTTP waits; in a batch the answer is 202.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from multidict import MultiMapping

from core.auth.caller import Caller
from core.operations.operation import Registry
from core.operations.results import Document
from core.operations.run import Admission, Outcome, Runs
from handlers.lasting.models import WAIT_SECONDS
from rest.negotiation import accepts_events
from rest.patience import patience_of

# `begun`: the request has begun something, or has it go on. `seen`: it looks at one, which it may follow.
GoesOn = Literal["begun", "seen"]
# Of the client's patience, what is left for the answer.
_ANSWER_SECONDS = 2.0


def prefers_async(headers: MultiMapping[str]) -> bool:
    """Tell whether a client would rather not wait."""
    preferences = ",".join(headers.getall("Prefer", ()))
    return any(each.partition(";")[0].strip().lower() == "respond-async" for each in preferences.split(","))


@dataclass(frozen=True, slots=True)
class Waiting:
    """How one request goes on. It is one request in the limit: `admission` is its own."""

    runs: Runs
    registry: Registry
    caller: Caller
    headers: MultiMapping[str]
    request_id: str
    admission: Admission
    goes_on: GoesOn

    async def __call__(self, outcome: Outcome) -> Outcome:
        """Return what the request is answered, once the operation has given `outcome`; raises as operations do."""
        document = outcome.result
        if not isinstance(document, Document):
            return outcome
        id = str(document.id)
        if self.goes_on == "seen":
            if not accepts_events(self.headers):
                return outcome
            return await self._run(outcome, f"{document.kind}.follow", {"id": id})
        if prefers_async(self.headers):
            return outcome
        seconds = max(0.0, min(WAIT_SECONDS, patience_of(self.headers.get("X-Request-Timeout")) - _ANSWER_SECONDS))
        stream = accepts_events(self.headers)
        return await self._run(outcome, f"{document.kind}.wait", {"id": id, "seconds": seconds, "stream": stream})

    async def _run(self, before: Outcome, name: str, input: Mapping[str, Any]) -> Outcome:
        after = await self.runs.run(
            self.registry[name], self.caller, input, request_id=self.request_id, admission=self.admission
        )
        return Outcome(after.result, before.event_id, before.replayed, after.quota or before.quota)
