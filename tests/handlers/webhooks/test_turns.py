"""Who gets its turn: one after the other, within a node's room, half of which is for those that answer."""

import random

from core.ids import new_id
from handlers.webhooks.circuit import LIMIT_AT_FIRST, MOST_AT_ONCE
from handlers.webhooks.turns import FORGOTTEN_SECONDS, MOST_IN_FLIGHT, MOST_UNPROVEN, Endpoint, Turn, Turns


def _endpoint(turns: Turns, *, is_proven: bool = False) -> Endpoint:
    endpoint = turns.endpoint(new_id(), new_id())
    endpoint.is_proven = is_proven
    if is_proven:
        endpoint.circuit.limit = MOST_AT_ONCE
    return endpoint


def test_those_that_hang_leave_half_of_the_room_to_those_that_answer():
    """However many they are; and they get what is left of theirs in the order in which they came."""
    turns = Turns()
    hanging = [_endpoint(turns) for _ in range(100)]
    for each in hanging:
        turns.queue(each)
    taken = list(turns.next(0))
    assert turns.in_flight == MOST_UNPROVEN == LIMIT_AT_FIRST * len(taken)
    well = _endpoint(turns, is_proven=True)
    turns.queue(well)
    (turn,) = turns.next(0)
    assert (turn.endpoint, turn.most) == (well, MOST_AT_ONCE)
    for _ in range(LIMIT_AT_FIRST):
        turns.ended(taken[0], 0)
    (next_one,) = turns.next(0)
    assert next_one.endpoint is hanging[len(taken)]


def test_endpoint_that_has_more_goes_behind_the_others():
    """One with ten thousand messages does not keep one with a single one waiting."""
    turns = Turns()
    busy, quiet = _endpoint(turns, is_proven=True), _endpoint(turns, is_proven=True)
    turns.queue(busy)
    (first,) = turns.next(0)
    turns.queue(quiet)
    turns.give_back(first, 0, has_more=True)
    for _ in range(first.most):
        turns.ended(first, 0)
    assert [turn.endpoint for turn in turns.next(0)] == [quiet, busy]


def test_one_endpoint_asks_for_messages_once_at_a_time():
    """News that come while it does make it ask again afterwards."""
    turns = Turns()
    endpoint = _endpoint(turns)
    turns.queue(endpoint)
    (turn,) = turns.next(0)
    turns.queue(endpoint)
    assert list(turns.next(0)) == []
    turns.give_back(turn, turn.most, has_more=False)
    assert [each.endpoint for each in turns.next(0)] == [endpoint]


def test_open_circuit_has_no_turn_and_holds_no_place():
    """It is found again by what is due."""
    turns = Turns()
    endpoint = _endpoint(turns)
    for _ in range(5):
        endpoint.circuit.failed(0)
    turns.queue(endpoint)
    assert list(turns.next(0)) == []
    assert (turns.in_flight, turns.open_circuits(0)) == (0, 1)
    turns.queue(endpoint)
    (turn,) = turns.next(60)
    assert turn.most == 1


def test_endpoint_that_is_not_used_is_forgotten():
    """A hub has many in a year."""
    turns = Turns()
    endpoint = _endpoint(turns)
    turns.forget(FORGOTTEN_SECONDS)
    assert turns.endpoint(endpoint.org_id, endpoint.id) is not endpoint


def test_no_schedule_loses_a_place():
    """Whatever ends in whichever order, at the end all room is free again."""
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    turns, under_way = Turns(), list[tuple[Turn, int]]()
    endpoints = [_endpoint(turns, is_proven=rng.random() < 0.5) for _ in range(40)]
    for now in range(2_000):
        turns.queue(rng.choice(endpoints))
        for turn in turns.next(now):
            leased = rng.randint(0, turn.most)
            turns.give_back(turn, turn.most - leased, has_more=leased == turn.most)
            under_way += [(turn, each) for each in range(leased)]
        assert 0 <= turns.in_flight <= MOST_IN_FLIGHT, seed
        assert turns.in_flight == len(under_way), seed
        rng.shuffle(under_way)
        for _ in range(rng.randint(0, 40)):
            if under_way:
                turn, _number = under_way.pop()
                answers = rng.random() < 0.6
                turn.endpoint.is_proven = answers
                turn.endpoint.circuit.succeeded() if answers else turn.endpoint.circuit.failed(now)
                turns.ended(turn, now)
    for turn, _number in under_way:
        turns.ended(turn, 2_000)
    assert turns.in_flight == 0, seed
    assert all(each.in_flight == 0 for each in endpoints), seed
