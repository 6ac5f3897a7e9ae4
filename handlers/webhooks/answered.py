"""What receivers said, on its way into PostgreSQL: all that came since the last statement goes with the next one."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson
import structlog

from core.clock import Clock
from core.errors import HubError
from core.events.subscriptions import store as subscriptions
from core.events.subscriptions.dead_letters import Announcement, announce
from core.events.subscriptions.settling import Settled, settle
from core.events.subscriptions.store import Change
from core.events.subscriptions.subscription import Answer, Hold
from core.store.database import Database
from handlers.webhooks.policy import Sent
from handlers.webhooks.store import SQL
from handlers.webhooks.turns import Endpoint

DISABLED = "webhook.disabled"
MOST_AT_ONCE = 500
# While PostgreSQL is away.
AGAIN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Answered:
    """How one attempt ended."""

    endpoint: Endpoint
    hold: Hold
    sent: Sent

    def settled(self) -> Settled:
        """Return it as the engine takes it."""
        sent, endpoint = self.sent, self.endpoint
        return Settled(
            endpoint.org_id,
            endpoint.id,
            self.hold,
            sent.verdict == "delivered",
            sent.seconds,
            Answer(sent.status, sent.answer),
            sent.pause or 0.0,
        )


class Answers:
    """Notes answers, and disables what is gone or has failed for long. `database` is hub_system's; `poke` as after any commit."""

    def __init__(self, database: Database, clock: Clock, poke: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self._poke = poke
        self._waiting: list[Answered] = []
        self._came = asyncio.Event()
        self._noting = 0
        self._log = structlog.get_logger()

    @property
    def waiting(self) -> int:
        """How many are not noted yet."""
        return len(self._waiting) + self._noting

    def take(self, answered: Answered) -> None:
        """Note it soon."""
        self._waiting.append(answered)
        self._came.set()

    async def run(self) -> None:
        """Note until cancelled. While PostgreSQL is away answers wait; those that wait too long come again, as repeats."""
        while True:
            await self._came.wait()
            self._came.clear()
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
                self._noting = len(batch)
                await self._note_surely(batch)
                self._noting = 0

    async def _note_surely(self, batch: Sequence[Answered]) -> None:
        is_told = False
        while True:
            try:
                await self._note(batch)
            except HubError as error:
                if not is_told:
                    self._log.warning("webhook_answers_wait", reason=error.text, waiting=self.waiting)
                is_told = True
                await self._clock.sleep(AGAIN_SECONDS)
            else:
                return

    async def _note(self, batch: Sequence[Answered]) -> None:
        async with self._database.unbound() as db:
            await settle(db, [each.settled() for each in batch])
        await self._note_health(batch)
        for endpoint, reason in _ended(batch).items():
            await self._disable(endpoint, reason)

    async def _note_health(self, batch: Sequence[Answered]) -> None:
        """Tell PostgreSQL of those that are well again, or no longer."""
        is_well: dict[Endpoint, bool] = {}
        for each in batch:
            is_well[each.endpoint] = is_well.get(each.endpoint, False) or each.sent.verdict == "delivered"
        changed = [each for each, well in is_well.items() if each.is_failing is not (not well)]
        if not changed:
            return
        async with self._database.unbound() as db:
            await db.execute(
                SQL["note"],
                [each.org_id for each in changed],
                [each.id for each in changed],
                [is_well[each] for each in changed],
            )
        for each in changed:
            each.is_failing = not is_well[each]

    async def _disable(self, endpoint: Endpoint, reason: str) -> None:
        """Send nothing more, and say so in the log; what is outstanding stays."""
        org_id, id, now = endpoint.org_id, endpoint.id, self._clock.now()
        async with self._database.transaction(org_id) as db:
            held = await subscriptions.hold(db, org_id, id)
            if held is None or held.status == "disabled":
                return
            await subscriptions.change(db, org_id, id, Change(status="disabled", status_reason=reason), now)
            data = orjson.dumps({"id": str(id), "reason": reason, "href": f"/v2/webhooks/{id}"}).decode()
            await announce(db, org_id, [Announcement(DISABLED, f"webhooks/{id}", data)], now)
        self._poke()
        self._log.info("webhook_disabled", org_id=str(org_id), webhook=str(id), reason=reason)


def _ended(batch: Sequence[Answered]) -> dict[Endpoint, str]:
    """Return what is to be sent nothing more, and why."""
    ended: dict[Endpoint, str] = {}
    for each in batch:
        if each.sent.verdict == "gone":
            ended[each.endpoint] = "gone"
        elif each.sent.verdict == "failed" and each.endpoint.has_failed_long:
            ended.setdefault(each.endpoint, "failing")
    delivered = {each.endpoint for each in batch if each.sent.verdict == "delivered"}
    return {each: reason for each, reason in ended.items() if reason == "gone" or each not in delivered}
