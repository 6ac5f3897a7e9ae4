"""What an operation is, and the registry of those that the hub has."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from core.operations.context import Context

Handler = Callable[[Context, Any], Awaitable[Any]]
TransactionMode = Literal["read", "write", "none"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that the platform does.

    `input` is the pydantic model that the handler takes; `result` the type that it returns. `transaction` is `"write"` (one
    transaction around the handler), `"read"` (no transaction; each statement by itself) or `"none"` (the handler opens
    `ctx.transaction()` for each step). `scope` None lets every caller in. `repeatable` says that doing it again changes
    nothing more: what PUT and DELETE do, and looks that ask others than PostgreSQL; `holds_secret` that its result is for its
    caller alone. `weight` is for how many requests a run counts in the organisation's limit. `touches` is the kind of what the
    input's `id` names, where the operation's name does not begin with it, and `gives` so that of its result.

    Two models only describe: `body` is what the input's field of this name holds, `shows` how the JSON texts of the result look.
    """

    name: str
    scope: str | None
    transaction: TransactionMode
    input: type[BaseModel]
    result: Any
    handler: Handler
    repeatable: bool = False
    holds_secret: bool = False
    summary: str = ""
    weight: int = 1
    touches: str | None = None
    gives: str | None = None
    body: type[BaseModel] | None = None
    shows: type[BaseModel] | None = None

    @property
    def takes_key(self) -> bool:
        """Whether a first result is kept under an idempotency key: of everything that does something, unless it is repeatable."""
        return self.transaction != "read" and not self.repeatable


class Declares(Protocol):
    """A method that `@operation` has marked."""

    __operation__: dict[str, Any]


def operation(
    name: str,
    *,
    scope: str | None,
    transaction: TransactionMode,
    input: type[BaseModel],
    result: Any,
    repeatable: bool = False,
    holds_secret: bool = False,
    weight: int = 1,
    touches: str | None = None,
    gives: str | None = None,
    body: type[BaseModel] | None = None,
    shows: type[BaseModel] | None = None,
) -> Callable[[Any], Any]:
    """Mark a handler `(ctx, input) -> result` as an operation; the function itself stays callable.

    `operations_of` turns the marked methods of an object into Operations.
    """

    def mark(function: Any) -> Any:
        function.__operation__ = {
            "name": name,
            "scope": scope,
            "transaction": transaction,
            "input": input,
            "result": result,
            "repeatable": repeatable,
            "holds_secret": holds_secret,
            "weight": weight,
            "touches": touches,
            "gives": gives,
            "body": body,
            "shows": shows,
            "summary": (function.__doc__ or "").strip().partition("\n")[0],
        }
        return function

    return mark


def operations_of(owner: object) -> list[Operation]:
    """Return the operations that the methods of `owner` declare, in the order of their names."""
    found: list[Operation] = []
    for attribute in dir(type(owner)):
        declared = getattr(getattr(type(owner), attribute), "__operation__", None)
        if declared is not None:
            found.append(Operation(handler=getattr(owner, attribute), **declared))
    return sorted(found, key=lambda op: op.name)


@dataclass(frozen=True)
class Registry:
    """The operations by name; refuses a name that is taken."""

    _by_name: dict[str, Operation] = field(default_factory=dict[str, Operation])

    @classmethod
    def of(cls, operations: Iterable[Operation]) -> "Registry":
        """Build a registry; raises ValueError for two operations of one name."""
        by_name: dict[str, Operation] = {}
        for item in operations:
            if item.name in by_name:
                raise ValueError(f"two operations are called {item.name}")
            by_name[item.name] = item
        return cls(by_name)

    def __getitem__(self, name: str) -> Operation:
        return self._by_name[name]

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)
