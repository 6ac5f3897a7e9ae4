"""Who consumes in the ledger's fault test: the kinds of subscriptions, with the processes that take what they hand out.

A kind is a class: it makes subscriptions, and says with which command their consumers run. `KINDS` has them by name.
"""

import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from tests.faults.endpoint import reserved
from tests.harness.handed_out import Promise

# Far longer than a consumer takes, and short: what nobody answers comes again after so long.
ACK_SECONDS = 4
Ask = Callable[[str, str, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Wish:
    """A subscription to make. Of ten thousand events `refuses` are refused for good; one subject may be `poison`: with few
    `attempts` its events become dead letters. `replays`: a part of the log comes once more, into `replays_into` or itself."""

    name: str
    kind: Literal["pull", "socket", "webhook"] = "pull"
    types: Sequence[str] = ("*",)
    few_subjects: bool = False
    ordered: bool = False
    refuses: int = 0
    attempts: int = 1_000
    poisoned: bool = False
    replays: bool = False
    replays_into: str = ""
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Made:
    """A subscription that is there, and what its consumers are told of it."""

    wish: Wish
    promise: Promise
    told: dict[str, Any]


class Kind(Protocol):
    """A way of delivery, and its consumers."""

    processes: int

    @property
    def module(self) -> str:
        """What `python -m` runs as consumer."""
        ...

    @property
    def port(self) -> int:
        """The port that its consumers serve on, 0 for none."""
        ...

    async def make(self, ask: Ask, wish: Wish, subjects: Sequence[str]) -> Made:
        """Make a subscription; `ask` repeats a request until it is answered."""
        ...

    def close(self) -> None:
        """Let go of what it has."""
        ...


@dataclass
class Pulls:
    """Subscriptions that are pulled from, by all processes at once."""

    processes: int
    module: str = "tests.faults.puller"
    port: int = 0

    async def make(self, ask: Ask, wish: Wish, subjects: Sequence[str]) -> Made:
        """Make it over REST, from where the log is now."""
        few = list(subjects[:5]) if wish.few_subjects else []
        body = {
            "name": wish.name,
            "delivery": wish.kind,
            "types": list(wish.types),
            "subjects": few,
            "ordered": wish.ordered,
            "ack_seconds": ACK_SECONDS,
            "max_in_flight": 500,
            "max_deliveries": wish.attempts,
            "backoff": {"first_seconds": 0.1, "most_seconds": 2},
        }
        answer = await ask("POST", "/v2/subscriptions", body)
        told = {
            "id": answer["id"],
            "name": wish.name,
            "workers": wish.workers,
            "refuses": wish.refuses,
            "poison": subjects[0] if wish.poisoned else "",
            "ack_seconds": ACK_SECONDS,
        }
        return Made(wish, _promise(wish, answer, few), told)

    def close(self) -> None:
        """It has nothing."""


@dataclass
class Sockets(Pulls):
    """Subscriptions that are consumed by socket, by all processes at once."""

    module: str = "tests.faults.socket_consumer"


@dataclass
class Webhooks:
    """Webhooks, all at one port, which several processes serve together."""

    processes: int = 1
    module: str = "tests.faults.endpoint"
    _socket: socket.socket = field(default_factory=reserved)

    @property
    def port(self) -> int:
        """The port of the endpoint, which is kept for it while it is not there."""
        return self._socket.getsockname()[1]

    async def make(self, ask: Ask, wish: Wish, subjects: Sequence[str]) -> Made:
        """Make it over REST. Its events are chosen by type only."""
        assert not subjects or not wish.few_subjects
        body = {"url": f"http://127.0.0.1:{self.port}/{wish.name}", "events": list(wish.types)}
        hook = await ask("POST", "/v2/webhooks", body)
        answer = await ask("GET", f"/v2/subscriptions/{hook['id']}", None)
        told = {"id": hook["id"], "name": wish.name, "secret": hook["secret"]}
        return Made(wish, _promise(wish, answer, ()), told)

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


def command(kind: Kind, plan: str) -> Sequence[str]:
    """Return how a consumer is started."""
    return sys.executable, "-m", kind.module, plan


def _promise(wish: Wish, answer: Any, subjects: Sequence[str]) -> Promise:
    return Promise(
        wish.name,
        answer["id"],
        wish.types,
        subjects,
        wish.ordered,
        behind=int(answer["position"]),
        leases=wish.kind != "webhook",
        gives_back=wish.kind == "socket",
        attempts=answer["max_deliveries"],
    )


AGENTS, KNOWLEDGE, TWINS, CREATED = ("agent.*",), ("knowledge.*",), ("twin.*",), ("*.created",)
# Every kind: pulled, by socket and posted, in order and not, of all and of some, with replays into themselves and into others.
MANY = (
    Wish("all", workers=2),
    Wish("all in order", kind="socket", ordered=True, workers=3),
    Wish("agents in order", types=AGENTS, ordered=True, workers=2),
    Wish("agents", kind="socket", types=AGENTS, workers=2),
    Wish("knowledge in order", types=KNOWLEDGE, ordered=True, replays=True),
    Wish("knowledge", types=KNOWLEDGE),
    Wish("twins in order", kind="socket", types=TWINS, ordered=True, replays=True, replays_into="created"),
    Wish("twins", types=TWINS, refuses=50),
    Wish("created", kind="socket", types=CREATED),
    Wish("five in order", kind="socket", few_subjects=True, ordered=True),
    Wish("five", few_subjects=True, types=("*.updated",)),
    Wish("poisoned", few_subjects=True, poisoned=True, attempts=4),
    Wish("poisoned in order", kind="socket", few_subjects=True, poisoned=True, attempts=4, ordered=True),
    Wish("refuser in order", kind="socket", types=TWINS, refuses=100, ordered=True),
    Wish("hook-agents", kind="webhook", types=AGENTS),
    Wish("hook-knowledge", kind="webhook", types=KNOWLEDGE),
    Wish("hook-twins", kind="webhook", types=TWINS, replays=True),
    Wish("hook-created", kind="webhook", types=CREATED),
    Wish("hook-two", kind="webhook", types=("agent.created", "twin.updated")),
    Wish("hook-dead", kind="webhook", types=("subscription.*", "knowledge.created")),
)
