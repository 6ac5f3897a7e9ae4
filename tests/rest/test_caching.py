"""What callers may keep of reads, and how they ask whether it still holds."""

from datetime import timedelta
from typing import Any

import pytest

from core.clock import Clock
from tests.harness.clock import ManualClock
from tests.rest.server import RestServer, is_http_date

LONG = {"name": "A", "metadata": {"text": "lorem ipsum " * 200}}
PLAIN = {"Accept-Encoding": "identity"}


async def _made(rest: RestServer, key: str, body: Any = LONG) -> str:
    return (await rest.call("POST", "/v2/agents", key, body=body, headers=PLAIN)).headers["Location"]


@pytest.mark.parametrize("path", ["", "?per_page=2", "?limit=1"])
async def test_list_has_a_tag_of_what_it_says(rest: RestServer, key: str, path: str) -> None:
    """The same until something in it changes; a 304 has no body."""
    one = await _made(rest, key)
    await _made(rest, key)
    listed = await rest.call("GET", f"/v2/agents{path}", key)
    again = await rest.call("GET", f"/v2/agents{path}", key, headers={"If-None-Match": listed.headers["ETag"]})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", listed.headers["ETag"])
    assert (await rest.call("PATCH", one, key, body={"name": "B"})).status == 200
    await _made(rest, key)
    changed = await rest.call("GET", f"/v2/agents{path}", key, headers={"If-None-Match": listed.headers["ETag"]})
    assert (changed.status, changed.headers["ETag"] != listed.headers["ETag"]) == (200, True)


async def test_long_list_has_no_tag(rest: RestServer, key: str) -> None:
    """Over 1 MiB: its hash would hold the loop; it is still its caller's alone, and sent again."""
    for _ in range(3):
        await _made(rest, key, {"name": "A", "metadata": {"text": "x" * 400_000}})
    listed = await rest.call("GET", "/v2/agents", key, headers={"If-None-Match": "*"})
    assert (listed.status, listed.headers["Cache-Control"]) == (200, "private, no-cache")
    assert "ETag" not in listed.headers


@pytest.mark.parametrize(
    ("path", "vary"),
    [
        ("/v2/agents", "Accept, Accept-Encoding, Authorization"),
        ("/agents", "Accept, Accept-Encoding, Authorization, API-Version"),
    ],
)
async def test_reads_are_kept_by_their_caller_alone(rest: RestServer, key: str, path: str, vary: str) -> None:
    """And asked for again each time; 304 says the same of it as 200 (RFC 9110, section 15.4.5)."""
    one = f"{path}/{(await _made(rest, key)).rpartition('/')[2]}"
    for asked in (one, path):
        answer = await rest.call("GET", asked, key)
        kept = await rest.call("GET", asked, key, headers={"If-None-Match": answer.headers["ETag"]})
        assert (answer.status, kept.status) == (200, 304)
        for each in (answer, kept):
            assert (each.headers["Cache-Control"], each.headers["Vary"]) == ("private, no-cache", vary)


class TestLastModified:
    """The moment of the version, in whole seconds."""

    @pytest.mark.parametrize(
        ("since", "status"),
        [
            (0, 304),
            (1, 304),
            (3600, 304),
            (-1, 200),
            ("soon", 200),
            ("", 200),
        ],
    )
    async def test_if_modified_since(
        self, rest: RestServer, key: str, clock: ManualClock, since: int | str, status: int
    ) -> None:
        """304 from that second on; what is no date says nothing."""
        made = await rest.call("POST", "/v2/agents", key, body=LONG)
        modified = made.headers["Last-Modified"]
        assert is_http_date(modified)
        condition = since if isinstance(since, str) else _moved(clock, since)
        answer = await rest.call("GET", made.headers["Location"], key, headers={"If-Modified-Since": condition})
        assert (answer.status, answer.headers["Last-Modified"]) == (status, modified)

    async def test_if_none_match_comes_first(self, rest: RestServer, key: str) -> None:
        """The date does not count beside it (RFC 9110, section 13.2.2)."""
        one = await _made(rest, key)
        since = (await rest.call("GET", one, key)).headers["Last-Modified"]
        headers = {"If-Modified-Since": since, "If-None-Match": '"99"'}
        assert (await rest.call("GET", one, key, headers=headers)).status == 200

    async def test_change_moves_it(self, rest: RestServer, key: str, clock: ManualClock) -> None:
        """A change of a later second is seen."""
        one = await _made(rest, key)
        before = (await rest.call("GET", one, key)).headers["Last-Modified"]
        await clock.advance(1)
        changed = await rest.call("PATCH", one, key, body={"name": "B"})
        answer = await rest.call("GET", one, key, headers={"If-Modified-Since": before})
        assert (answer.status, answer.headers["Last-Modified"]) == (200, changed.headers["Last-Modified"])


def _moved(clock: Clock, seconds: int) -> str:
    return (clock.now() + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")


@pytest.mark.parametrize(
    "condition", ["*", '"1"', 'W/"1"', '"7", "1"', '"1.zstd"', '"9.gzip", "1.gzip"'], ids=lambda text: text
)
async def test_whatever_is_held_of_the_version_is_not_sent_again(rest: RestServer, key: str, condition: str) -> None:
    """In whichever coding that the caller takes."""
    one = await _made(rest, key)
    headers = {"If-None-Match": condition, "Accept-Encoding": "gzip, zstd"}
    answer = await rest.call("GET", one, key, headers=headers)
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["ETag"] in condition or condition == "*"


@pytest.mark.parametrize("condition", ['"2"', '"1.br"', '"1.jsonapi"', '"1.zstd"', '"1.identity"', '"11"', "1", ""])
async def test_what_is_not_this_representation_is_sent(rest: RestServer, key: str, condition: str) -> None:
    """Another version, another form, a coding that the caller does not take by now."""
    one = await _made(rest, key)
    answer = await rest.call("GET", one, key, headers={"If-None-Match": condition, "Accept-Encoding": "gzip"})
    assert (answer.status, answer.headers["ETag"]) == (200, '"1.gzip"')


async def test_if_none_match_of_several_lines_is_one_list(rest: RestServer, key: str) -> None:
    """RFC 9110, section 5.3."""
    one = await _made(rest, key)
    lines = f'Authorization: Bearer {key}\r\nIf-None-Match: "8"\r\nIf-None-Match: "1"\r\n'
    answer = await rest.send(f"GET {one} HTTP/1.1\r\nHost: hub\r\n{lines}\r\n".encode())
    assert answer.status == 304


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_if_match_takes_the_tag_of_any_coding(rest: RestServer, key: str, method: str) -> None:
    """It compares the version: a client that read packed bytes changes what it read."""
    one = await _made(rest, key)
    tag = (await rest.call("GET", one, key, headers={"Accept-Encoding": "zstd"})).headers["ETag"]
    assert tag == '"1.zstd"'
    body = None if method == "DELETE" else {"name": "B"}
    wrong = await rest.call(method, one, key, body=body, headers={"If-Match": '"2.zstd"'})
    wrong.error(412, "PRECONDITION_FAILED")
    assert (await rest.call(method, one, key, body=body, headers={"If-Match": tag})).status in (200, 204)


@pytest.mark.parametrize("name", ["fields", "fields[agents]"])
async def test_some_fields_of_one_have_a_tag_of_their_own(rest: RestServer, key: str, name: str) -> None:
    """It holds for the same fields, changes with the version, and a change can be made on it."""
    one = await _made(rest, key, {"name": "A", "metadata": {"team": "support", "x": 1}})
    whole = await rest.call("GET", one, key)
    some = await rest.call("GET", f"{one}?{name}=name,metadata.team", key)
    assert some.json() == {"id": whole.json()["id"], "name": "A", "metadata": {"team": "support"}}
    assert some.headers["Last-Modified"] == whole.headers["Last-Modified"]
    other = await rest.call("GET", f"{one}?{name}=name", key)
    tags = [each.headers["ETag"] for each in (whole, some, other)]
    assert len(set(tags)) == 3
    asked = f"{one}?{name}=metadata.team,name"
    assert (await rest.call("GET", asked, key, headers={"If-None-Match": tags[1]})).status == 304
    assert (await rest.call("GET", asked, key, headers={"If-None-Match": tags[0]})).status == 200
    changed = await rest.call("PATCH", one, key, body={"name": "B"}, headers={"If-Match": tags[1]})
    assert changed.status == 200
    assert (await rest.call("GET", asked, key, headers={"If-None-Match": tags[1]})).status == 200


async def test_fields_that_one_has_not_are_refused(rest: RestServer, key: str) -> None:
    """As in lists; and a resource has nothing to filter or sort by."""
    one = await _made(rest, key)
    for query in ("fields=colour", "fields[twins]=name", "sort=name", "filter[name]=A"):
        (await rest.call("GET", f"{one}?{query}", key)).error(400, "UNKNOWN_PARAMETER")
    documents = {"Accept": "application/vnd.api+json"}
    for query in ("filter[name]=A", "sort=name", "fields=name"):
        assert (await rest.call("GET", f"{one}?{query}", key, headers=documents)).status == 400
    (await rest.call("GET", f"{one}?fields=name&fields[agents]=name", key)).error(400, "BAD_REQUEST")
    listed = await rest.call("GET", f"{one}?fields[agents]=name", key, headers=documents)
    assert listed.status == 200
    assert b'"attributes":{"name":"A"}' in listed.body
