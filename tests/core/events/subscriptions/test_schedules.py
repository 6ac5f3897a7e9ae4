"""Random schedules of several workers that die, refuse and are late, against a ledger. The seed is printed."""

import asyncio
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from core.events.subscriptions.consumer import Consumer
from core.events.subscriptions.subscription import Answer, Delivery
from tests.core.events.subscriptions.trial import Trial

EVENTS, SUBJECTS, WORKERS = 400, 12, 4


@dataclass
class Ledger:
    """What each worker was given and what it said, in the order in which it happened."""

    handed: dict[int, list[UUID]] = field(default_factory=lambda: defaultdict[int, list[UUID]](list))
    acknowledged: list[Delivery] = field(default_factory=list[Delivery])
    # Why a delivery may come again: one for each refusal, and for each lease that a worker let go.
    excused: Counter[int] = field(default_factory=Counter[int])
    out: dict[str, int] = field(default_factory=dict[str, int])

    def hand(self, delivery: Delivery, *, ordered: bool) -> None:
        again = len(self.handed[delivery.position])
        assert again == self.excused[delivery.position], f"{delivery.position} came once more for no reason"
        self.handed[delivery.position].append(delivery.event_id)
        assert delivery.attempt == again + 1
        if ordered:
            assert delivery.subject not in self.out, f"two of {delivery.subject} are out"
            self.out[delivery.subject] = delivery.position

    def end(self, delivery: Delivery, *, done: bool) -> None:
        self.out.pop(delivery.subject, None)
        if done:
            self.acknowledged.append(delivery)
        else:
            self.excused[delivery.position] += 1


@dataclass
class Worker:
    """Takes a batch, and with each delivery does what chance says."""

    trial: Trial
    id: UUID
    chance: random.Random
    ledger: Ledger
    ordered: bool

    async def turn(self) -> list[Delivery]:
        """Work one turn; returns what it let go, as who dies with it does."""
        lost: list[Delivery] = []
        for delivery in await self._lease():
            match self.chance.choices(("ack", "refuse", "extend", "die"), (6, 2, 1, 1))[0]:
                case "die":
                    lost.append(delivery)
                case "refuse":
                    self.ledger.end(delivery, done=False)
                    await self._consumer.refuse(
                        self.trial.org_id, self.id, [delivery.hold], Answer(500, "no"), delay_seconds=0
                    )
                case how:
                    if how == "extend":
                        await self._consumer.extend(self.trial.org_id, self.id, [delivery.hold], 60)
                    self.ledger.end(delivery, done=True)
                    assert await self._consumer.ack(self.trial.org_id, self.id, [delivery.hold])
        return lost

    @property
    def _consumer(self) -> Consumer:
        return self.trial.consumer

    async def _lease(self) -> list[Delivery]:
        leased = await self._consumer.lease(self.trial.org_id, self.id, self.chance.randint(1, 20))
        for delivery in leased:
            self.ledger.hand(delivery, ordered=self.ordered)
        return leased


@pytest.mark.parametrize("ordered", [False, True])
async def test_nothing_is_lost_and_doubles_have_a_reason(trial: Trial, ordered: bool):
    """Each event is acknowledged once; more only after a refusal or a lost lease, with the same id; a subject keeps its order."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance, ledger = random.Random(seed), Ledger()
    subscription = await trial.subscribe(0, ordered=ordered, max_deliveries=1_000, max_in_flight=60)
    workers = [Worker(trial, subscription.id, random.Random(chance.random()), ledger, ordered) for _ in range(WORKERS)]
    left = EVENTS
    while len(ledger.acknowledged) < EVENTS:
        count = min(left, chance.randint(0, 60))
        left -= count
        await trial.append(*(f"agents/{chance.randrange(SUBJECTS)}" for _ in range(count)))
        lost = await asyncio.gather(*(worker.turn() for worker in workers))
        # All that is leased now was let go: the others have answered.
        for delivery in (each for some in lost for each in some):
            ledger.end(delivery, done=False)
        await trial.pass_time(61)
    assert sorted(each.position for each in ledger.acknowledged) == list(range(1, EVENTS + 1))
    assert all(len(set(ids)) == 1 for ids in ledger.handed.values())
    if ordered:
        of_subject: dict[str, list[int]] = defaultdict(list)
        for each in ledger.acknowledged:
            of_subject[each.subject].append(each.position)
        assert all(kept == sorted(kept) for kept in of_subject.values())
    figures = await trial.figures(subscription.id)
    assert (figures.lag, figures.outstanding, figures.dead_letters) == (0, 0, 0)
