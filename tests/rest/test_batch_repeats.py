"""Batches that are sent again: under a key each operation happens once."""

import asyncio

from tests.rest.batches import code, count, create, send, statuses
from tests.rest.server import RestServer


class TestOnceEach:
    """Idempotency keys."""

    async def test_repeat_has_the_first_results(self, rest: RestServer, key: str, atomic: bool):
        """Every POST and PATCH under `<key>#<index>`; references lead to the same."""
        several = [
            create("A"),
            {"method": "PATCH", "path": "/v2/agents/{0.body.id}", "body": {"name": "B"}},
            create("C"),
        ]
        under = {"Idempotency-Key": "order"}
        first = await send(rest, key, *several, atomic=atomic, headers=under)
        again = await send(rest, key, *several, atomic=atomic, headers=under)
        assert [each["body"] for each in again] == [each["body"] for each in first]
        assert all(each["headers"]["Idempotent-Replayed"] == "true" for each in again)
        assert await count(rest, key) == 2
        alone = await rest.call("POST", "/v2/agents", key, body={"name": "C"}, headers={"Idempotency-Key": "order#2"})
        assert alone.json() == first[2]["body"]

    async def test_batch_that_is_mended_does_only_what_was_refused(self, rest: RestServer, key: str):
        """Refusals are not kept."""
        under = {"Idempotency-Key": "order"}
        assert statuses(await send(rest, key, create("A"), create(""), create("C"), headers=under)) == [201, 422, 201]
        again = await send(rest, key, create("A"), create("B"), create("C"), headers=under)
        assert ["Idempotent-Replayed" in each["headers"] for each in again] == [True, False, True]
        assert await count(rest, key) == 3

    async def test_other_input_under_the_key_is_refused_there(self, rest: RestServer, key: str):
        """As for a request of its own."""
        under = {"Idempotency-Key": "order"}
        await send(rest, key, create("A"), create("B"), headers=under)
        again = await send(rest, key, create("A"), create("X"), headers=under)
        assert statuses(again) == [201, 422]
        assert code(again[1]) == "IDEMPOTENCY_KEY_REUSED"

    async def test_longest_key_has_room_for_the_index(self, rest: RestServer, key: str, atomic: bool):
        """255 characters, which with the index were too many."""
        under = {"Idempotency-Key": "k" * 255}
        several = [create(f"{n}") for n in range(12)]
        first = await send(rest, key, *several, atomic=atomic, headers=under)
        assert statuses(first) == [201] * 12
        assert [each["body"] for each in await send(rest, key, *several, atomic=atomic, headers=under)] == [
            each["body"] for each in first
        ]

    async def test_operation_may_have_its_own_key(self, rest: RestServer, key: str):
        """Then the batch's says nothing of it."""
        own = {**create("A"), "headers": {"idempotency-key": "mine"}}
        (made,) = await send(rest, key, own, headers={"Idempotency-Key": "order"})
        alone = await rest.call("POST", "/v2/agents", key, body={"name": "A"}, headers={"Idempotency-Key": "mine"})
        assert alone.json() == made["body"]

    async def test_same_batch_at_once_happens_once(self, rest: RestServer, key: str, atomic: bool):
        """Whatever the interleaving: what is under way is 409."""
        several = [create(f"{n}") for n in range(5)]
        under = {"Idempotency-Key": "order"}
        sent = (send(rest, key, *several, atomic=atomic, headers=under) for _ in range(6))
        for results in await asyncio.gather(*sent):
            assert set(statuses(results)) <= {201, 409, 424}
        assert statuses(await send(rest, key, *several, atomic=atomic, headers=under)) == [201] * 5
        assert await count(rest, key) == 5
