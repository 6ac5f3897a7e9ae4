"""Related resources, which `include` asks for.

They are listed as the caller, who needs the scope for it, and that counts as a request of its own.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from core.auth.caller import Caller
from core.errors import Detail, HubError
from core.operations.operation import Operation
from core.operations.results import Document, Page
from core.operations.runner import Runner
from core.quota import Quota
from rest.jsonapi.form import JsonApi
from rest.jsonapi.kinds import Kind

# A list answers up to so many.
MOST_INCLUDED = 100


class Related:
    """The resources that others name; `kinds` and `lists` by type."""

    def __init__(self, kinds: Mapping[str, Kind], lists: Mapping[str, Operation]) -> None:
        self._kinds = kinds
        self._lists = lists

    async def put_into(
        self, form: JsonApi, result: Any, runner: Runner, caller: Caller, request_id: str, deadline_seconds: float
    ) -> Quota | None:
        """Give `form` all that its relationships name and the caller can see; return what the limit says after it.

        Raises HubError as the lists do, and VALIDATION_ERROR for more than MOST_INCLUDED.
        """
        quota: Quota | None = None
        for name in form.wanted.include:
            type = form.kind.relationships[name]
            ids = _named(name, result)
            documents: list[str] = []
            if ids:
                wanted = {"filter": {"id": {"in": ids}}, "per_page": MOST_INCLUDED, **_moment(form)}
                outcome = await _listed(runner, self._lists[type], caller, wanted, request_id, deadline_seconds)
                documents, quota = outcome.result.items, outcome.quota
            form.include(self._kinds[type], documents)
        return quota


async def _listed(
    runner: Runner,
    operation: Operation,
    caller: Caller,
    wanted: Mapping[str, Any],
    request_id: str,
    deadline_seconds: float,
) -> Any:
    try:
        return await runner.run(operation, caller, wanted, request_id=request_id, deadline_seconds=deadline_seconds)
    except HubError as error:
        if error.code == "VALIDATION_ERROR":
            raise _too_much(error.details[0].message) from error
        raise


def _moment(form: JsonApi) -> Mapping[str, str]:
    """What is included is as it was when the resource was so."""
    as_of = form.wanted.query.get("as_of")
    return {} if as_of is None else {"as_of": as_of}


def _named(relationship: str, result: Any) -> list[str]:
    ids = list(dict.fromkeys(id for text in _texts(result) for id in orjson.loads(text).get(relationship, ())))
    if len(ids) > MOST_INCLUDED:
        raise _too_much(f"These name {len(ids)} of {relationship}; {MOST_INCLUDED} are included at most: ask for fewer")
    return ids


def _texts(result: Any) -> Iterable[str]:
    match result:
        case Document():
            return (result.body,)
        case Page():
            return result.items
        case _:
            return ()


def _too_much(message: str) -> HubError:
    return HubError("VALIDATION_ERROR", details=[Detail("include", "VALUE_OUT_OF_RANGE", message)])
