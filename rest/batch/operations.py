"""What a batch is, however it was written down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.auth.caller import Caller
from core.operations.idempotency import check_key
from rest.asked import Form
from rest.forms import PLAIN
from rest.patience import MOST_SECONDS

MOST_OPERATIONS = 100


@dataclass(frozen=True, slots=True)
class BatchOperation:
    """One operation as the client wrote it: path with query, headers and body may hold references (rest/batch/references.py)."""

    method: str
    path: Any
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    body: Any = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Operations of one caller, 1 to MOST_OPERATIONS. Raises HubError VALIDATION_ERROR for a key that is not well formed.

    `version` is what paths without one mean. Operations without an own idempotency key get theirs from `key`. All together have
    `seconds`. `is_streamed`: whoever takes the results lets go of each before the next, so that they may be many bytes.
    """

    operations: Sequence[BatchOperation]
    caller: Caller
    version: str
    request_id: str
    is_atomic: bool = False
    is_streamed: bool = False
    key: str | None = None
    form: Form = PLAIN
    seconds: float = MOST_SECONDS

    def __post_init__(self) -> None:
        if self.key is not None:
            check_key(self.key)
