"""Lists of open streams, which several nodes hold: each picks its own, and all together are one list."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest

from core.clock import rfc3339
from core.ids import new_id
from core.operations.results import Page
from handlers.connections.operations import Connections, Found
from handlers.lists.cursors import plain
from handlers.lists.held import Choice, Picked, merged, picked
from tests.handlers.house import House, refused
from tests.harness.organisations import Organisations

_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Stream:
    """An open stream of a test."""

    org_id: UUID
    node: str
    subject: str
    since: datetime
    channels: tuple[str, ...]
    waiting_bytes: int
    id: str = field(default_factory=lambda: str(new_id()))

    def shown(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("id", "node", "subject", "waiting_bytes")}
        return {**own, "since": rfc3339(self.since), "channels": len(self.channels)}

    def look(self, name: str) -> Any:
        match name:
            case "channel":
                return self.channels
            case "channels":
                return len(self.channels)
            case _:
                return plain(getattr(self, name))


class Nodes:
    """Three nodes with their streams, which hear each other's questions as JSON."""

    def __init__(self) -> None:
        self.names = [str(new_id()) for _ in range(3)]
        self.streams: list[Stream] = []
        self.silent: set[str] = set()

    async def list(self, org_id: UUID, choice: Choice) -> Found:
        told = orjson.dumps(choice.as_object())
        parts = [self._part(org_id, node, told) for node in self.names if node not in self.silent]
        return Found(merged([Picked(**orjson.loads(part)) for part in parts], choice), is_whole=not self.silent)

    async def find(self, org_id: UUID, id: str) -> Mapping[str, Any] | None:
        return next((each.shown() for each in self.streams if (each.org_id, each.id) == (org_id, id)), None)

    async def end(self, org_id: UUID, id: str) -> bool:
        return await self.find(org_id, id) is not None

    def _part(self, org_id: UUID, node: str, told: bytes) -> bytes:
        own = [each for each in self.streams if (each.org_id, each.node) == (org_id, node)]
        found = picked(own, Choice.of(orjson.loads(told)), Stream.look, Stream.shown)
        return orjson.dumps({"first": found.first, "total": found.total})


class Hall:
    """The list of open streams over three nodes."""

    def __init__(self, house: House, dice: random.Random) -> None:
        self.nodes = Nodes()
        self._house = house
        self._dice = dice
        self._list = next(each for each in Connections(self.nodes).operations() if each.name == "connections.list")

    def open(self, org_id: UUID | None = None, subject: str = "") -> Stream:
        """Open a stream somewhere, often like others."""
        dice = self._dice
        stream = Stream(
            org_id or self._house.caller.org_id,
            dice.choice(self.nodes.names),
            subject or dice.choice(["user:a", "user:b", "key:c"]),
            _BEGINNING + timedelta(seconds=dice.randrange(4)),
            tuple(dice.sample(["agents", "twins", "chat:a", "chat:b"], dice.randrange(4))),
            dice.choice([0, 0, 7, 4096]),
        )
        self.nodes.streams.append(stream)
        return stream

    async def page(self, **wanted: Any) -> Page:
        return (await self._house.runner.run(self._list, self._house.caller, wanted, request_id="req_1")).result

    async def ids(self, **wanted: Any) -> list[str]:
        return [orjson.loads(item)["id"] for item in (await self.page(**wanted)).items]


@pytest.fixture
def hall(house: House) -> Hall:
    return Hall(house, random.Random(11))


async def test_filters_and_sorts_are_over_all_nodes(hall: Hall):
    """What holds for a stream is what holds of what is shown of it; of its channels one is enough; equals go by id."""
    streams = [hall.open() for _ in range(40)]
    node = hall.nodes.names[0]
    second = rfc3339(_BEGINNING + timedelta(seconds=1))
    cases: list[tuple[dict[str, Any], Callable[[Stream], bool]]] = [
        ({}, lambda _: True),
        ({"subject": "user:a"}, lambda each: each.subject == "user:a"),
        ({"channel": "twins", "node": node}, lambda each: "twins" in each.channels and each.node == node),
        ({"node": "no node"}, lambda _: False),
        ({"filter": {"node": {"ne": node}}}, lambda each: each.node != node),
        ({"filter": {"subject": {"prefix": "user:"}}}, lambda each: each.subject.startswith("user:")),
        ({"filter": {"subject": "user:a,user:b"}}, lambda _: False),
        ({"filter": {"subject": {"in": "user:a,key:c"}}}, lambda each: each.subject != "user:b"),
        ({"filter": {"since": {"gt": second}}}, lambda each: each.since > _BEGINNING + timedelta(seconds=1)),
        ({"filter": {"since": {"lt": "0001-01-01"}}}, lambda _: False),
        ({"filter": {"waiting_bytes": {"gte": "7"}}}, lambda each: each.waiting_bytes >= 7),
        ({"filter": {"channels": "0"}}, lambda each: not each.channels),
        ({"filter": {"channel": {"prefix": "chat:"}}}, lambda each: any("chat:" in one for one in each.channels)),
        ({"filter": {"channel": {"ne": "agents"}}}, lambda each: "agents" not in each.channels),
        (
            {"filter": {"id": {"in": [streams[3].id, streams[9].id]}}},
            lambda each: each.id in (streams[3].id, streams[9].id),
        ),
    ]
    for wanted, holds in cases:
        expected = sorted((each.id for each in streams if holds(each)), reverse=True)
        page = await hall.page(**wanted, per_page=100)
        assert [orjson.loads(item)["id"] for item in page.items] == expected, wanted
        assert page.total == len(expected)
    newest = sorted(streams, key=lambda each: each.id, reverse=True)
    by_age = sorted(newest, key=lambda each: (each.since, -each.waiting_bytes))
    assert await hall.ids(sort="since,-waiting_bytes", per_page=100) == [each.id for each in by_age]
    by_subject = sorted(streams, key=lambda each: (each.subject, len(each.channels), each.id))
    assert await hall.ids(sort="subject,channels", per_page=7, page=2) == [each.id for each in by_subject][7:14]


@pytest.mark.parametrize("sort", [None, "id", "since", "-waiting_bytes,subject", "node,-channels", "-subject,since"])
async def test_what_stays_is_seen_once_while_others_come_and_go(hall: Hall, sort: str | None):
    """There and back, with and without filters, from node to node."""
    dice = random.Random(str(sort))
    staying = {hall.open().id for _ in range(12)}
    passing = [hall.open() for _ in range(6)]

    async def travelled(wanted: dict[str, Any], way: str, cursor: str | None) -> list[str]:
        seen: list[str] = []
        while True:
            page = await hall.page(**wanted, **({} if cursor is None else {way: cursor}))
            assert page.window is not None
            ids = [orjson.loads(item)["id"] for item in page.items]
            seen = [*seen, *ids] if way == "after" else [*ids, *seen]
            cursor = page.window.after if way == "after" else page.window.before
            if not page.window.has_more:
                return seen
            passing.append(hall.open())
            hall.nodes.streams.remove(passing.pop(dice.randrange(len(passing))))

    for more in ({}, {"filter": {"subject": {"prefix": "user:"}}}, {"channel": "twins"}):
        base = {**more, **({} if sort is None else {"sort": sort})}
        ordered = [id for id in await hall.ids(**base, per_page=100) if id in staying]
        wanted = {**base, "limit": dice.randrange(1, 6)}
        forth = await travelled(wanted, "after", None)
        end = await hall.page(**{**base, "limit": 100})
        assert end.window is not None
        back = await travelled(wanted, "before", end.window.after)
        for seen in (forth, back):
            assert len(seen) == len(set(seen))
        assert [id for id in forth if id in staying] == ordered
        last = orjson.loads(end.items[-1])["id"]
        assert [id for id in back if id in staying] == [id for id in ordered if id != last]


async def test_windows_say_where_the_list_ends(hall: Hall):
    """Nothing before the first and behind the last; the total is of the whole list; behind the end is nothing."""
    for _ in range(5):
        hall.open()
    first, cursor, pages = await hall.page(limit=2), None, list[Page]()
    while True:
        page = await hall.page(limit=2, **({} if cursor is None else {"after": cursor}))
        pages.append(page)
        assert page.window is not None
        cursor = page.window.after
        if not page.window.has_next:
            break
    assert [(len(page.items), page.total, page.window and page.window.has_previous) for page in pages] == [
        (2, 5, False),
        (2, 5, True),
        (1, 5, True),
    ]
    beyond = await hall.page(limit=2, after=cursor)
    assert beyond.window is not None
    assert (beyond.items, beyond.total, beyond.window.after, beyond.window.has_more) == ([], 5, None, False)
    assert first.items == pages[0].items


async def test_cursor_is_for_its_own_list(hall: Hall):
    """Another sort, filter or parameter: 422 for the cursor; a fabricated one as well."""
    hall.open()
    page = await hall.page(limit=1, sort="since", filter={"channels": {"gte": "0"}})
    assert page.window is not None
    cursor = page.window.after
    for wanted in (
        {"sort": "-since", "filter": {"channels": {"gte": "0"}}},
        {"sort": "since"},
        {"sort": "since", "filter": {"channels": {"gte": "1"}}},
        {"sort": "since", "filter": {"channels": {"gte": "0"}}, "subject": "user:a"},
    ):
        error = await refused(hall.page(**wanted, after=cursor))
        assert [(detail.field, detail.code) for detail in error.details] == [("after", "INVALID_FORMAT")], wanted


async def test_other_organisations_streams_are_in_no_list(hall: Hall, organisations: Organisations):
    """Nor in a total, nor behind a cursor."""
    theirs = (await organisations.create()).id
    own = hall.open()
    for _ in range(3):
        hall.open(theirs, subject="user:x")
    assert await hall.ids(limit=5) == await hall.ids() == [own.id]
    assert (await hall.page(filter={"subject": "user:x"})).total == 0


async def test_silent_node_is_missing_from_the_list(hall: Hall):
    """The list says so, and the cursor goes on with what the others hold."""
    streams = [hall.open() for _ in range(20)]
    hall.nodes.silent.add(hall.nodes.names[1])
    page = await hall.page(limit=100)
    assert not page.is_whole
    assert page.total == len([each for each in streams if each.node != hall.nodes.names[1]])


async def test_pages_end_and_cursors_go_on(hall: Hall):
    """The first 5,000 stand on pages; fields leave the rest out."""
    hall.open()
    error = await refused(hall.page(page=51, per_page=100))
    assert [(detail.field, detail.code) for detail in error.details] == [("page", "VALUE_OUT_OF_RANGE")]
    (only,) = (await hall.page(fields="subject,since", limit=1)).items
    assert set(orjson.loads(only)) == {"id", "subject", "since"}
