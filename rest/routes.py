"""What a route is, and the routes that every resource has. A version (`v1.py`, `v2.py`) is a list of these and what differs.

A route names an operation, says how a request becomes the operation's input, and how its result becomes an answer.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

from aiohttp import web

from core.auth.caller import Caller
from core.clock import Clock
from core.errors import HubError
from core.operations.operation import Operation
from core.operations.run import Admission, Runs
from core.operations.runner import over_limit
from core.watch import WATCHED
from rest import answers
from rest.asked import Answer, Asked
from rest.filters import list_input_of
from rest.limits import tell_limit
from rest.patience import patience_of
from rest.waiting import GoesOn

# How a request becomes an operation's input: one flat mapping. The body is empty where the route takes none.
Shape = Callable[[Asked], Mapping[str, Any]]

# What every list takes that sorts and filters; and where of each item some fields can be had.
SORTING = frozenset({"page", "per_page", "after", "before", "limit", "sort", "filter["})
SELECTING = SORTING | {"fields", "fields["}
LIST_QUERY = SELECTING | {"type", "status", "q", "as_of"}
ONE_QUERY = frozenset({"fields", "fields[", "as_of"})


class Reads(Protocol):
    """What reads bodies of another kind than a JSON object of a MiB."""

    @property
    def described(self) -> Mapping[str, Any]:
        """The media types that it reads beside JSON, as OpenAPI has them."""
        ...

    def room(self, request: web.Request) -> AbstractContextManager[None]:
        """Keep room for a body until the request is answered; raises HubError where there is none."""
        ...

    async def read(self, request: web.Request, clock: Clock) -> Mapping[str, Any]:
        """Return what the body says, as fields; raises HubError."""
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path, below the version's prefix.

    `takes_patch`: its body may be a JSON Patch. `goes_on`: its result is at work yet (rest/waiting.py).
    """

    method: str
    path: str
    operation: str
    shape: Shape
    render: answers.Render
    query: frozenset[str] = frozenset()
    takes_body: bool = False
    takes_patch: bool = False
    reads: Reads | None = None
    goes_on: GoesOn | None = None

    @property
    def takes_key(self) -> bool:
        """Whether an Idempotency-Key means something: PUT and DELETE change nothing when they are repeated."""
        return self.method in ("POST", "PATCH")


@dataclass(frozen=True, slots=True)
class Version:
    """A version: its routes, how far it is supported, and headers that all its answers have.

    `guide` is the path of what a client does that leaves it.
    """

    name: str
    routes: tuple[Route, ...]
    status: str
    support_level: str
    features: tuple[str, ...]
    sunset: date | None = None
    guide: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    has_batch: bool = False
    moves_knowledge: bool = False

    @property
    def prefix(self) -> str:
        """What its paths begin with."""
        return f"/{self.name}"


@dataclass(frozen=True, slots=True)
class Bound:
    """A route with the operation that it names."""

    route: Route
    operation: Operation

    @property
    def kind(self) -> str:
        """What it is about, as a plural: agents."""
        return self.operation.gives or self.operation.name.partition(".")[0]

    def admit(self, runner: Runs, caller: Caller, headers: Mapping[str, str]) -> Admission:
        """Count a request in the caller's limit, before it is looked at any closer; `carry_out` waits for what this returns."""
        by_grace = self.route.method == "GET" and "If-None-Match" in headers
        return runner.admit(self.operation, caller, by_grace=by_grace)

    async def carry_out(
        self,
        runner: Runs,
        caller: Caller,
        asked: Asked,
        headers: dict[str, str],
        admission: Admission | None = None,
    ) -> Answer:
        """Run the operation for `asked` and render what it gives; `headers` has what every answer has.

        Raises HubError for every refusal.
        """
        route = self.route
        outcome = await runner.run(
            self.operation,
            caller,
            route.shape(asked),
            request_id=asked.request_id,
            idempotency_key=asked.list_header("Idempotency-Key") if route.takes_key else None,
            admission=admission or self.admit(runner, caller, asked.headers),
            deadline_seconds=patience_of(asked.headers.get("X-Request-Timeout")),
        )
        if asked.goes_on is not None:
            outcome = await asked.goes_on(outcome)
        quota = outcome.quota
        if asked.completed is not None:
            quota = await asked.completed(outcome.result) or quota
        if quota is not None:
            tell_limit(quota, headers)
        watch = WATCHED.get()
        if watch is None:
            answer = route.render(asked, outcome, headers)
        else:
            answer = watch.call("render", route.render, asked, outcome, headers)
            watch.kept["answer"] = answer.body  # before it is packed
        if quota is not None and quota.is_grace and answer.status != 304:
            raise over_limit(quota)
        return answer


def of_query(asked: Asked) -> Mapping[str, Any]:
    """Input: the query."""
    return asked.query


def of_body(asked: Asked) -> Mapping[str, Any]:
    """Input: the body's fields."""
    return asked.body


def of_id(asked: Asked) -> Mapping[str, Any]:
    """Input: `id`."""
    return {"id": _id_of(asked)}


def of_id_and_match(asked: Asked) -> Mapping[str, Any]:
    """Input: `id` and `if_match`, the raw header or None."""
    return {"id": _id_of(asked), "if_match": asked.list_header("If-Match")}


def of_id_match_and_body(asked: Asked) -> Mapping[str, Any]:
    """Input: `id`, `if_match` and `body`."""
    return {"id": _id_of(asked), "if_match": asked.list_header("If-Match"), "body": asked.body}


def of_id_match_and_change(asked: Asked) -> Mapping[str, Any]:
    """Input: `id`, `if_match`, and `patch` where the body is one, else `body`."""
    if asked.patch is None:
        return of_id_match_and_body(asked)
    return {**of_id_and_match(asked), "patch": asked.patch}


def of_id_match_and_fields(asked: Asked) -> Mapping[str, Any]:
    """Input: `id`, `if_match`, and the body's fields beside them."""
    return {**asked.body, "id": _id_of(asked), "if_match": asked.list_header("If-Match")}


def of_id_and_fields(asked: Asked) -> Mapping[str, Any]:
    """Input: `id`, and the body's fields beside it."""
    return {**asked.body, "id": _id_of(asked)}


def of_nothing(_asked: Asked) -> Mapping[str, Any]:
    """Input: none."""
    return {}


def _look_of(kind: str) -> Shape:
    """Return the shape of a look at one: `id` and the query, which may name fields."""
    of_list = list_input_of(kind)
    return lambda asked: {**of_list(asked), "id": _id_of(asked)}


def _id_of(asked: Asked) -> str:
    named = asked.params["id"]
    # Control characters, and bytes that are no UTF-8, name nothing; they could not even be written into the audit.
    if not named.isprintable():
        raise HubError("RESOURCE_NOT_FOUND")
    return named


def routes_of(kind: str) -> tuple[Route, ...]:
    """Return the routes of a resource by its plural: list, create, get, replace (PUT), update (PATCH), delete."""
    all_, one = f"/{kind}", f"/{kind}/{{id}}"
    return (
        Route("GET", all_, f"{kind}.list", list_input_of(kind), answers.page, query=LIST_QUERY),
        Route("POST", all_, f"{kind}.create", of_body, answers.created, takes_body=True),
        Route("GET", one, f"{kind}.get", _look_of(kind), answers.resource, query=ONE_QUERY),
        Route("PUT", one, f"{kind}.replace", of_id_match_and_body, answers.changed, takes_body=True),
        Route(
            "PATCH", one, f"{kind}.update", of_id_match_and_change, answers.changed, takes_body=True, takes_patch=True
        ),
        Route("DELETE", one, f"{kind}.delete", of_id_and_match, answers.gone),
    )
