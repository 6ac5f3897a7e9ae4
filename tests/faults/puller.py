"""A consumer that pulls: `python -m tests.faults.puller <plan>`. It acknowledges most; with the rest it does what happens.

A subscription of its plan has `id`, `name`, `workers`, `ack_seconds`, `refuses` (of ten thousand events so many are refused for
good) and `poison`: a subject that it never takes.
"""

import asyncio
import random
from typing import Any

import aiohttp

from tests.faults.consuming import Plan, consume
from tests.harness.handed_out import How, Receipt
from tests.harness.journal import Journal, received, seconds_of
from tests.harness.rest_client import Answer, RestClient
from tests.harness.waiting import let_pass

WAIT_SECONDS = 5
TIMEOUT_SECONDS = 20.0
LOST = (aiohttp.ClientError, OSError, TimeoutError)
# In so many of a hundred turns: all is refused; nothing is said; leases are extended, and then it is acknowledged.
REFUSED, SILENT, EXTENDED = 3, 2, 5


class Puller:
    """One of the workers of a subscription."""

    def __init__(
        self, plan: Plan, client: RestClient, wanted: dict[str, Any], journal: Journal, chance: random.Random
    ) -> None:
        self._plan, self._client, self._journal, self._chance = plan, client, journal, chance
        self._name, self._path = wanted["name"], f"/v2/subscriptions/{wanted['id']}"
        self._refuses, self._poison, self._seconds = wanted["refuses"], wanted["poison"], wanted["ack_seconds"]

    async def run(self) -> None:
        """Pull and answer, until cancelled."""
        while True:
            try:
                await self._turn()
            except LOST:
                # A node that was killed: what it handed out, and was not answered, comes again.
                await let_pass(0.1)

    async def _turn(self) -> None:
        self._journal.taking(self._name)
        most = self._chance.choice((1, 20, 100))
        try:
            pulled = await self._call("pull", {"max": most, "wait_seconds": WAIT_SECONDS})
        except aiohttp.ClientConnectorError:
            # Nobody was asked.
            self._journal.taken(self._name, [])
            raise
        if pulled is None:
            return
        came = [
            received(
                each["ack_id"],
                each["event"],
                each["position"],
                replayed=each["replayed"],
                attempt=each["attempt"],
                until=seconds_of(each["lease_until"]),
            )
            for each in pulled["deliveries"]
        ]
        self._journal.taken(self._name, came)
        subjects = [each["event"]["subject"] for each in pulled["deliveries"]]
        await self._answer(list(zip(came, subjects, strict=True)))

    async def _answer(self, came: list[tuple[Receipt, str]]) -> None:
        poison = [each.hold for each, subject in came if subject == self._poison]
        buried = [each.hold for each, subject in came if subject != self._poison and self._is_refused(each)]
        left = [each.hold for each, _ in came if each.hold not in {*poison, *buried}]
        await self._say("refuse", "nack", poison, delay_seconds=0.1)
        await self._say("bury", "nack", buried, dead_letter=True, reason="never")
        match self._chance.random() * 100:
            case luck if luck < REFUSED:
                await self._say("refuse", "nack", left, delay_seconds=self._chance.choice((0, 0.2, 1)))
            case luck if luck < REFUSED + SILENT:
                pass
            case luck:
                if luck < REFUSED + SILENT + EXTENDED:
                    await self._extend(left)
                await self._say("ack", "ack", left)

    def _is_refused(self, receipt: Receipt) -> bool:
        return receipt.position * 7919 % 10_000 < self._refuses

    async def _say(self, how: How, verb: str, holds: list[str], **more: Any) -> None:
        if holds:
            self._journal.said(how, holds)
            said = await self._call(verb, {"ack_ids": holds, **more})
            if said is not None:
                self._journal.replied(said["done"], said["lost"])

    async def _extend(self, holds: list[str]) -> None:
        if holds:
            await self._call("extend", {"ack_ids": holds, "seconds": self._seconds})

    async def _call(self, verb: str, body: dict[str, Any]) -> Any:
        """Ask a node; None where it is not its moment. Raises what aiohttp raises where no answer comes."""
        url = self._plan.node(self._chance)
        answer: Answer = await self._client.call("POST", f"{self._path}/{verb}", body, base_url=url)
        if answer.status == 200:
            return answer.body
        if answer.status not in (429, 503, 504):
            self._journal.wrong(self._name, f"{verb}: {answer.status} {answer.text}")
        await let_pass(0.1)
        return None


async def pull(plan: Plan, journal: Journal, chance: random.Random) -> None:
    """Work on all subscriptions of the plan."""
    async with RestClient("", plan.key, timeout=TIMEOUT_SECONDS) as client, asyncio.TaskGroup() as tasks:
        for wanted in plan.subscriptions:
            for _ in range(wanted["workers"]):
                tasks.create_task(Puller(plan, client, wanted, journal, random.Random(chance.random())).run())
        print("consumes", flush=True)


if __name__ == "__main__":
    consume(pull)
