"""`GET /errors`: the catalogue for programs and for people; and how long a caller waits for an answer."""

from dataclasses import replace
from typing import Any

import pytest

from core.errors import CATALOGUE, HubError
from core.operations.context import Context
from core.operations.results import Page
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.rest.declared import operations
from tests.rest.server import RestServer, head, serve


async def test_catalogue_is_served_to_anybody(rest: RestServer) -> None:
    """Every code, in order, without a credential; kept by its ETag."""
    answer = await rest.call("GET", "/errors")
    assert answer.status == 200
    listed = answer.json()["data"]
    assert [each["code"] for each in listed] == list(CATALOGUE)
    for each in listed:
        kind = CATALOGUE[each["code"]]
        assert each == {
            "code": kind.code,
            "status": kind.status,
            "meaning": kind.message,
            "cure": kind.cure,
            "place": kind.place,
        }
    again = await rest.call("GET", "/errors", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert (await rest.call("HEAD", "/errors")).headers["ETag"] == answer.headers["ETag"]


async def test_catalogue_is_a_page_to_a_browser(rest: RestServer) -> None:
    """With an anchor for each code, and nothing that a page could run or load."""
    page = await rest.call("GET", "/errors", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert page.headers["Vary"] == "Accept, Accept-Encoding"
    text = page.body.decode()
    assert all(f'id="{code}"' in text for code in CATALOGUE)
    assert "<script" not in text


async def test_catalogue_takes_nothing(rest: RestServer) -> None:
    """No other method, no query."""
    (await rest.call("POST", "/errors")).error(405, "METHOD_NOT_ALLOWED")
    (await rest.call("GET", "/errors?code=TIMEOUT")).error(400, "UNKNOWN_PARAMETER")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("", "INVALID_FORMAT"),
        ("soon", "INVALID_FORMAT"),
        ("-1", "INVALID_FORMAT"),
        ("1e", "INVALID_FORMAT"),
        ("nan", "INVALID_FORMAT"),
        ("1,5", "INVALID_FORMAT"),
        ("\u0661", "INVALID_FORMAT"),
        ("9" * 400, "INVALID_FORMAT"),
        ("0", "VALUE_OUT_OF_RANGE"),
        ("0.0", "VALUE_OUT_OF_RANGE"),
        ("1e-999", "VALUE_OUT_OF_RANGE"),
    ],
)
async def test_timeout_that_is_no_time_is_422(rest: RestServer, key: str, given: str, code: str) -> None:
    """The details name the header."""
    error = (await rest.send(head("GET", "/v2/agents", key, f"X-Request-Timeout: {given}"))).error(
        422, "VALIDATION_ERROR"
    )
    assert [(each["field"], each["code"]) for each in error["details"]] == [("X-Request-Timeout", code)]


async def test_request_is_given_up_when_its_caller_waits_no_longer(
    database_url: str, clock: ManualClock, organisation: Organisation
) -> None:
    """X-Request-Timeout is the operation's deadline, at most 30 s; after it comes 504, and what was begun is undone."""
    deadlines: list[float] = []

    async def hang(ctx: Context, _wanted: Any) -> Page:
        deadlines.append(ctx.deadline - clock.monotonic())
        if deadlines[-1] < 1:
            await ctx.db.fetchval("SELECT pg_sleep(20)")
        return Page([], 1, 20, 0)

    declared = operations()
    declared["agents.list"] = replace(declared["agents.list"], handler=hang)
    key = await organisation.key()
    async with serve(database_url, clock, declared.values()) as rest:
        slow = await rest.call("GET", "/v2/agents", key, headers={"X-Request-Timeout": "0.05"})
        slow.error(504, "TIMEOUT")
        for given in ("2.5", "30", "86400", "1e3", "9e999"):
            assert (await rest.call("GET", "/v2/agents", key, headers={"X-Request-Timeout": given})).status == 200
    assert deadlines == pytest.approx([0.05, 2.5, 30, 30, 30, 30])


async def test_service_that_fails_is_502(database_url: str, clock: ManualClock, organisation: Organisation) -> None:
    """What an operation needs from elsewhere, and does not get, is no fault of the hub, and says so."""

    async def fail(_ctx: Context, _wanted: Any) -> Page:
        raise HubError("BAD_GATEWAY")

    declared = operations()
    declared["agents.list"] = replace(declared["agents.list"], handler=fail)
    async with serve(database_url, clock, declared.values()) as rest:
        (await rest.call("GET", "/v2/agents", await organisation.key())).error(502, "BAD_GATEWAY")
