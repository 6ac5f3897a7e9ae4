"""The books of a fault test: what was written, what the log holds, what each reader was given.

    rule                                                    checked by
    every acknowledged write is in the log, once            Ledger.check_log
    positions are dense, from 1; nothing waits in the outbox Ledger.check_log
    a reader got every event of its channel once, in order,
      byte for byte as the log has it, since it joined       Ledger.check_reader

A write whose answer never came may be in the log or not; both are right.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from core.store.database import connect_as
from tests.harness.stream_client import Received, StreamReader
from tests.harness.waiting import eventually


@dataclass(frozen=True, slots=True)
class Logged:
    """An event as the log has it."""

    position: int
    event_id: str
    channel: str
    event: Mapping[str, Any]

    def belongs_to(self, channel: str) -> bool:
        """Tell whether subscribers of `channel` get it: an event of `agents:<id>` is one of `agents` and of `agents:*` too."""
        namespace = self.channel.partition(":")[0]
        return channel in (self.channel, namespace, f"{namespace}:*")


class Answered(Protocol):
    """An answer of the hub."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def body(self) -> Any:
        """The JSON of the body."""
        ...


class Reads(Protocol):
    """A client of the REST door."""

    async def call(self, method: str, path: str) -> Answered:
        """Send a request."""
        ...


@dataclass
class Ledger:
    """`seed` is printed with whatever is found wrong."""

    database_url: str
    org_id: UUID
    seed: object
    acknowledged: list[str] = field(default_factory=list[str])
    uncertain: int = 0
    log: list[Logged] = field(default_factory=list[Logged])

    def wrote(self, event_id: str) -> None:
        """Note a write that was answered with this X-Event-Id."""
        self.acknowledged.append(event_id)

    def unsure(self) -> None:
        """Note a write whose answer never came."""
        self.uncertain += 1

    async def settle(self, *, within: float = 60.0) -> None:
        """Wait until the relay has moved everything, then read the log. PostgreSQL must answer."""
        connection: Any = await connect_as(self.database_url, "hub_system")
        try:
            await eventually(
                lambda: _all_moved(connection, self.org_id),
                within=within,
                every=0.05,
                what="outbox empty, all published",
            )
            rows = await connection.fetch(
                "SELECT position, event_id, channel, coalesce(short, envelope) AS envelope FROM hub.events"
                " WHERE org_id = $1 ORDER BY position",
                self.org_id,
            )
        finally:
            await connection.close()
        self.log = [Logged(r["position"], str(r["event_id"]), r["channel"], json.loads(r["envelope"])) for r in rows]

    def check_log(self) -> None:
        """Check what was written against the log. Raises AssertionError with all that is wrong."""
        self._report("the log", problems_of_log(self.acknowledged, self.log, uncertain=self.uncertain))

    def check_reader(self, reader: StreamReader) -> None:
        """Check what a reader was given against the log. Raises AssertionError with all that is wrong."""
        found = list(reader.problems)
        for channel in reader.channels:
            start = reader.start.get(channel)
            if start is None or start.offset is None:
                found.append(f"{channel}: never joined")
                continue
            mine = [each for each in reader.received if each.channel == channel]
            log = [each for each in self.log if reader.shows is None or reader.shows(each.event)]
            found += problems_of_channel(mine, log, channel, after=start.offset)
        # The room of its own subject lives in Redis alone: where Redis was lost, its reset is the promise.
        resets = [each for each in reader.resets if each["channel"] in reader.channels]
        if resets:
            found.append(f"resets: {resets}")
        self._report(f"a reader of {reader.channels}", found)

    async def check_state(self, client: Reads) -> None:
        """Check that the log, folded, is what GET answers: nothing was half done. Raises AssertionError."""
        found: list[str] = []
        for subject, state in folded(self.log).items():
            answer = await client.call("GET", f"/v2/{subject}")
            seen = answer.body if answer.status == 200 else None
            if seen != state:
                found.append(f"{subject}: {seen} is stored, but the log says {state}")
        self._report("the state", found)

    def _report(self, subject: str, problems: Sequence[str]) -> None:
        if problems:
            shown = "\n  ".join([*problems[:20], *([f"... {len(problems)} in all"] if len(problems) > 20 else [])])
            raise AssertionError(f"seed {self.seed}: {subject} is wrong:\n  {shown}")


def problems_of_log(acknowledged: Iterable[str], log: Sequence[Logged], *, uncertain: int) -> list[str]:
    """Return what is wrong with the log, given the writes; `uncertain` is how many more events than acknowledged may be there."""
    found: list[str] = []
    ids = [entry.event_id for entry in log]
    acknowledged = list(acknowledged)
    found += [f"acknowledged, but not in the log: {each}" for each in sorted(set(acknowledged) - set(ids))]
    if len(set(acknowledged)) != len(acknowledged):
        found.append("two writes were answered with one event id")
    if len(set(ids)) != len(ids):
        found.append(f"{len(ids) - len(set(ids))} events are in the log twice")
    positions = [entry.position for entry in log]
    if positions != list(range(1, len(log) + 1)):
        first = next(i for i, position in enumerate(positions, 1) if i != position)
        found.append(f"positions are not dense: {positions[first - 1]} stands where {first} should")
    extra = len(set(ids) - set(acknowledged))
    if extra > uncertain:
        found.append(f"{extra} events of the log were written by nobody; {uncertain} could be")
    return found


def problems_of_channel(received: Sequence[Received], log: Sequence[Logged], channel: str, *, after: int) -> list[str]:
    """Return what is wrong with what came on one channel since `after`, against a log that is complete."""
    wanted = [entry for entry in log if entry.position > after and entry.belongs_to(channel)]
    by_position = {entry.position: entry for entry in wanted}
    found: list[str] = []
    last = after
    for each in received:
        if each.offset <= last:
            found.append(f"{channel}: {each.offset} came after {last}")
        last = max(last, each.offset)
        entry = by_position.get(each.offset)
        if entry is None:
            found.append(f"{channel}: {each.offset} is no event of this channel since {after}")
        elif entry.event != each.event:
            found.append(f"{channel}: {each.offset} differs from the log: {each.event} instead of {entry.event}")
    missed = sorted(set(by_position) - {each.offset for each in received})
    if missed:
        found.append(f"{channel}: {len(missed)} of {len(wanted)} events missed, such as {missed[:5]}")
    return found


def folded(log: Sequence[Logged]) -> dict[str, Any]:
    """Return the state that the log tells: the newest body of each subject, None of what was deleted."""
    state: dict[str, Any] = {}
    for entry in log:
        deleted = str(entry.event["type"]).endswith(".deleted")
        state[str(entry.event["subject"])] = None if deleted else entry.event["data"]
    return state


async def _all_moved(connection: Any, org_id: UUID) -> bool:
    return await connection.fetchval(
        "SELECT NOT EXISTS (SELECT FROM hub.outbox WHERE org_id = $1)"
        " AND NOT EXISTS (SELECT FROM hub.heads WHERE org_id = $1 AND published < position)",
        org_id,
    )
