"""Branches of twins over REST: made, changed, compared, simulated, applied, dropped; in races, and for others."""

import asyncio
from typing import Any
from uuid import UUID

import orjson
import pytest

from handlers.twins.branches.models import MOST_BRANCHES
from rest.requests import JSON_PATCH
from tests.harness.organisations import Organisation, Organisations
from tests.rest.server import Answer, RestServer

# Nothing is simulated here.
LATER = {"Prefer": "respond-async"}
SPIKE = {"scenario": "demand_spike", "runs": 2}
MODEL = {
    "engine": "network",
    "time_unit": "hour",
    "horizon": 20,
    "nodes": {
        "doors": {"kind": "arrivals", "to": "desk", "interval": {"distribution": "exponential", "mean": 1.0}},
        "desk": {"kind": "queue", "service": {"distribution": "exponential", "mean": 0.5}},
    },
}
DATA = {"stock": {"widgets": 42, "bolts": 7}, "orders": [1, 2, 3]}


async def twin(rest: RestServer, key: str, **body: Any) -> str:
    made = await rest.call("POST", "/v2/twins", key, body={"name": "Plant", "data": DATA, **body})
    assert made.status == 201, made
    return made.headers["Location"]


async def fork(rest: RestServer, key: str, of: str, name: str = "More stock") -> str:
    made = await rest.call("POST", f"{of}/branches", key, body={"name": name})
    assert made.status == 201, made
    return made.headers["Location"]


async def change(rest: RestServer, key: str, path: str, body: Any, **headers: str) -> Answer:
    answer = await rest.call(
        "PATCH", path, key, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    assert answer.status == 200, answer
    return answer


async def apply(rest: RestServer, key: str, branch: str, if_match: str | None = None) -> Answer:
    headers = {} if if_match is None else {"If-Match": if_match}
    return await rest.call("POST", f"{branch}/apply", key, headers=headers)


async def get(rest: RestServer, key: str, path: str) -> Any:
    answer = await rest.call("GET", path, key)
    assert answer.status == 200, answer
    return answer.json()


async def test_branch_is_the_twin_until_it_is_changed(rest: RestServer, key: str):
    """As the twin was then: what becomes of that does not matter to it; and it copies nothing."""
    of = await twin(rest, key)
    branch = await fork(rest, key, of)
    await change(rest, key, of, {"data": {"stock": {"widgets": 1}}})
    seen = await get(rest, key, branch)
    assert (seen["status"], seen["base_version"], seen["version"], seen["is_changed"]) == ("open", 1, 1, False)
    assert (seen["document"]["name"], seen["document"]["data"]) == ("Plant", DATA)
    assert seen["document"].keys().isdisjoint({"id", "version", "created_at", "updated_at"})


async def test_change_of_a_branch_is_one_of_what_the_twin_would_be(rest: RestServer, key: str):
    """By both kinds of patches, under the branch's own If-Match; the twin stays as it is."""
    of = await twin(rest, key)
    branch = await fork(rest, key, of)
    merged = await change(rest, key, branch, {"data": {"stock": {"widgets": 84}}}, If_Match='"1"')
    assert (merged.headers["ETag"], merged.json()["document"]["data"]["stock"]["widgets"]) == ('"2"', 84)
    patch = [{"op": "test", "path": "/data/stock/widgets", "value": 84}, {"op": "remove", "path": "/data/orders/0"}]
    headers = {"Content-Type": JSON_PATCH, "If-Match": '"2"'}
    patched = await rest.call("PATCH", branch, key, data=orjson.dumps(patch), headers=headers)
    assert (patched.status, patched.json()["version"]) == (200, 3)
    late = await rest.call("PATCH", branch, key, body={"name": "Late"}, headers={"If-Match": '"2"'})
    late.error(412, "PRECONDITION_FAILED")
    assert (await get(rest, key, branch))["document"]["data"] == {
        "stock": {"widgets": 84, "bolts": 7},
        "orders": [2, 3],
    }
    kept = await get(rest, key, of)
    assert (kept["version"], kept["data"]) == (1, DATA)


@pytest.mark.parametrize(
    ("body", "field"),
    [({"status": ""}, "status"), ({"colour": "red"}, "colour"), ({"sync_schedule": "often"}, "sync_schedule")],
)
async def test_what_no_twin_may_be_no_branch_is(rest: RestServer, key: str, body: Any, field: str):
    branch = await fork(rest, key, await twin(rest, key))
    refused = await rest.call("PATCH", branch, key, body=body)
    error = refused.error(422, "VALIDATION_ERROR")
    assert [each["field"] for each in error["details"]] == [field]
    assert (await get(rest, key, branch))["version"] == 1


async def test_difference_says_both_patches(rest: RestServer, key: str):
    """From the base to the branch, whatever the twin is now; and where both have changed the same."""
    of = await twin(rest, key)
    branch = await fork(rest, key, of)
    await change(rest, key, branch, {"data": {"stock": {"widgets": 84, "bolts": None}, "a/b": 1}})
    said = await get(rest, key, f"{branch}/diff")
    assert said["json_patch"] == [
        {"op": "remove", "path": "/data/stock/bolts"},
        {"op": "replace", "path": "/data/stock/widgets", "value": 84},
        {"op": "add", "path": "/data/a~1b", "value": 1},
    ]
    assert said["merge_patch"] == {"data": {"stock": {"widgets": 84, "bolts": None}, "a/b": 1}}
    assert (said["has_moved"], said["twin_version"], said["conflicts"]) == (False, 1, [])
    await change(rest, key, of, {"status": "paused", "data": {"stock": {"widgets": 1}}})
    moved = await get(rest, key, f"{branch}/diff")
    assert moved["json_patch"] == said["json_patch"]
    assert (moved["has_moved"], moved["twin_version"]) == (True, 2)
    assert moved["conflicts"] == ["/data/stock/widgets"]


async def test_applied_branch_is_the_twin(rest: RestServer, key: str):
    """A version as by any change, with its event and its past; the branch has ended."""
    of = await twin(rest, key)
    branch = await fork(rest, key, of)
    await change(rest, key, branch, {"data": {"stock": {"widgets": 84}}, "status": "trial"})
    applied = await apply(rest, key, branch)
    assert applied.status == 200, applied
    assert applied.headers["X-Event-Id"]
    seen = applied.json()
    assert (seen["status"], seen["applied_version"], seen["version"]) == ("applied", 2, 3)
    now = await get(rest, key, of)
    assert (now["version"], now["status"], now["data"]["stock"]["widgets"]) == (2, "trial", 84)
    (await apply(rest, key, branch)).error(409, "RESOURCE_CONFLICT")
    (await rest.call("PATCH", branch, key, body={"name": "B"})).error(409, "RESOURCE_CONFLICT")


async def test_unchanged_branch_makes_no_version(rest: RestServer, key: str):
    of = await twin(rest, key)
    applied = await apply(rest, key, await fork(rest, key, of))
    assert (applied.status, applied.json()["applied_version"]) == (200, 1)
    assert (await get(rest, key, of))["version"] == 1


async def test_twin_that_has_moved_on_is_to_be_named(rest: RestServer, key: str):
    """Else it is 409 with the places that both have changed; what only the twin has changed stays."""
    of = await twin(rest, key)
    branch = await fork(rest, key, of)
    await change(rest, key, branch, {"data": {"stock": {"widgets": 84}}})
    await change(rest, key, of, {"data": {"stock": {"widgets": 1, "bolts": 8}}, "status": "paused"})
    error = (await apply(rest, key, branch)).error(409, "RESOURCE_CONFLICT")
    assert [each["field"] for each in error["details"]] == ["/data/stock/widgets"]
    (await apply(rest, key, branch, '"1"')).error(412, "PRECONDITION_FAILED")
    assert (await get(rest, key, of))["version"] == 2
    assert (await apply(rest, key, branch, '"2"')).status == 200
    now = await get(rest, key, of)
    assert (now["version"], now["status"], now["data"]["stock"]) == (3, "paused", {"widgets": 84, "bolts": 8})


@pytest.mark.parametrize("if_match", ['"1"', None])
async def test_of_two_that_are_applied_at_once_one_wins(rest: RestServer, key: str, if_match: str | None):
    """The other is 412, or without If-Match 409, and its branch stays open."""
    of = await twin(rest, key)
    branches = [await fork(rest, key, of, name) for name in ("A", "B")]
    for place, branch in enumerate(branches):
        await change(rest, key, branch, {"data": {"winner": place}})
    answers = await asyncio.gather(*(apply(rest, key, branch, if_match) for branch in branches))
    refused = 409 if if_match is None else 412
    assert sorted(answer.status for answer in answers) == [200, refused]
    winner = next(place for place, answer in enumerate(answers) if answer.status == 200)
    now = await get(rest, key, of)
    assert (now["version"], now["data"]["winner"]) == (2, winner)
    states = [(await get(rest, key, branch))["status"] for branch in branches]
    assert states == (["applied", "open"] if winner == 0 else ["open", "applied"])


async def test_one_branch_is_applied_once(rest: RestServer, key: str):
    of = await twin(rest, key)
    branch = await fork(rest, key, of)
    await change(rest, key, branch, {"status": "trial"})
    answers = await asyncio.gather(*(apply(rest, key, branch, "*") for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [200, *[409] * 7]
    assert (await get(rest, key, of))["version"] == 2


async def test_list_and_drop(rest: RestServer, key: str):
    """Newest first, without documents; sorted and filtered as all lists; a dropped one is gone, and the twin is not."""
    of = await twin(rest, key)
    names = ["A", "B", "C"]
    branches = [await fork(rest, key, of, name) for name in names]
    await change(rest, key, branches[0], {"status": "trial"})
    assert (await apply(rest, key, branches[0])).status == 200
    listed = await get(rest, key, f"{of}/branches")
    assert [each["name"] for each in listed["data"]] == ["C", "B", "A"]
    whole = await get(rest, key, branches[0])
    assert listed["data"][2] == {name: value for name, value in whole.items() if name != "document"}
    still = await get(rest, key, f"{of}/branches?filter[status]=open&sort=name")
    assert [each["name"] for each in still["data"]] == ["B", "C"]
    assert (await rest.call("DELETE", branches[1], key, headers={"If-Match": '"9"'})).status == 412
    assert (await rest.call("DELETE", branches[1], key)).status == 204
    (await rest.call("GET", branches[1], key)).error(404, "RESOURCE_NOT_FOUND")
    assert (await get(rest, key, of))["version"] == 2


async def test_branches_go_with_their_twin(rest: RestServer, key: str):
    of = await twin(rest, key)
    branch = await fork(rest, key, of)
    assert (await rest.call("DELETE", of, key)).status == 204
    for path in (branch, f"{branch}/diff", f"{of}/branches"):
        (await rest.call("GET", path, key)).error(404, "RESOURCE_NOT_FOUND")
    (await apply(rest, key, branch)).error(404, "RESOURCE_NOT_FOUND")


async def test_number_is_bounded(rest: RestServer, key: str):
    """Of open ones; one that was applied makes room."""
    of = await twin(rest, key)
    first = await fork(rest, key, of)
    assert (await apply(rest, key, first)).status == 200
    for _ in range(MOST_BRANCHES):
        await fork(rest, key, of)
    (await rest.call("POST", f"{of}/branches", key, body={"name": "A"})).error(409, "RESOURCE_CONFLICT")
    assert (await get(rest, key, f"{of}/branches"))["pagination"]["total"] == MOST_BRANCHES
    (await rest.call("GET", first, key)).error(404, "RESOURCE_NOT_FOUND")


async def test_others_see_no_branch(
    rest: RestServer, key: str, organisation: Organisation, organisations: Organisations
):
    """Neither another organisation nor a credential for another twin; one for the twin does."""
    of = await twin(rest, key)
    other = await twin(rest, key)
    branch = await fork(rest, key, of)
    own = await organisation.key(resource_ids=[_id(of)])
    strangers = (await (await organisations.create()).key(), await organisation.key(resource_ids=[_id(other)]))
    for stranger in strangers:
        for method, path in (
            ("GET", ""),
            ("GET", "/diff"),
            ("POST", "/apply"),
            ("DELETE", ""),
        ):
            (await rest.call(method, f"{branch}{path}", stranger)).error(404, "RESOURCE_NOT_FOUND")
        (await rest.call("PATCH", branch, stranger, body={"name": "B"})).error(404, "RESOURCE_NOT_FOUND")
        (await rest.call("POST", f"{branch}/simulate", stranger, body=SPIKE)).error(404, "RESOURCE_NOT_FOUND")
    await change(rest, own, branch, {"status": "trial"})
    assert (await apply(rest, own, branch)).status == 200
    reader = await organisation.key(["read:twins"])
    (await rest.call("POST", f"{branch}/simulate", reader, body=SPIKE)).error(403, "INSUFFICIENT_SCOPE")
    (await apply(rest, reader, branch)).error(403, "INSUFFICIENT_SCOPE")


async def test_branch_is_simulated_as_the_twin_would_be(rest: RestServer, key: str):
    """Nobody does it here: the plan has the branch's model, and the answer says whose it is."""
    of = await twin(rest, key, model=MODEL)
    branch = await fork(rest, key, of)
    await change(rest, key, branch, {"model": {"horizon": 40}})
    begun = await rest.call("POST", f"{branch}/simulate", key, body=SPIKE, headers=LATER)
    assert (begun.status, begun.headers["Location"]) == (202, f"/v2/simulations/{begun.json()['id']}"), begun
    simulation = begun.json()
    assert (simulation["twin_id"], simulation["branch_id"]) == (str(_id(of)), str(_id(branch)))
    assert (simulation["twin_version"], simulation["horizon"], simulation["status"]) == (2, 40, "queued")
    on_twin = await rest.call("POST", f"{of}/simulate", key, body=SPIKE, headers=LATER)
    assert (on_twin.json()["branch_id"], on_twin.json()["horizon"]) == (None, 20)
    listed = await get(rest, key, f"{of}/simulations?filter[branch_id]={_id(branch)}")
    assert [each["id"] for each in listed["data"]] == [simulation["id"]]


async def test_simulation_outlives_its_branch(rest: RestServer, key: str):
    """Also one that was applied is simulated as it was; what is refused is told as on a twin."""
    of = await twin(rest, key, model=MODEL)
    branch = await fork(rest, key, of)
    assert (await apply(rest, key, branch)).status == 200
    begun = await rest.call("POST", f"{branch}/simulate", key, body=SPIKE, headers=LATER)
    assert begun.status == 202, begun
    wrong = await rest.call("POST", f"{branch}/simulate", key, body={"scenario": "no_such"}, headers=LATER)
    assert wrong.error(422, "VALIDATION_ERROR")["details"][0]["field"] == "scenario"
    assert (await rest.call("DELETE", branch, key)).status == 204
    assert (await get(rest, key, begun.headers["Location"]))["branch_id"] == str(_id(branch))
    gone = await rest.call("POST", f"{branch}/simulate", key, body=SPIKE, headers=LATER)
    gone.error(404, "RESOURCE_NOT_FOUND")


async def test_nulls_within_are_kept(rest: RestServer, key: str):
    """They are set by a JSON Patch; no merge patch can say it, and applying does not lose them."""
    of = await twin(rest, key)
    branch = await fork(rest, key, of)
    patch = [{"op": "add", "path": "/data/stock/nuts", "value": None}]
    sent = await rest.call("PATCH", branch, key, data=orjson.dumps(patch), headers={"Content-Type": JSON_PATCH})
    assert sent.status == 200, sent
    said = await get(rest, key, f"{branch}/diff")
    assert (said["json_patch"], said["merge_patch"]) == (patch, None)
    assert (await apply(rest, key, branch)).status == 200
    assert (await get(rest, key, of))["data"]["stock"] == {"widgets": 42, "bolts": 7, "nuts": None}


def _id(path: str) -> UUID:
    return UUID(path.rpartition("/")[2])
