"""Bodies: what is no JSON object, too large, too slow or of another type is refused, and the connection stays in order."""

import asyncio
import gzip
import json
import zlib

import orjson
import pytest

from rest.requests import BODY_SECONDS, MAX_BODY_BYTES, MOST_VALUES
from tests.harness.clock import ManualClock
from tests.harness.waiting import eventually
from tests.rest.one_door import ONE_DOOR, clock, key, organisation, rest
from tests.rest.server import Answer, RestServer, head, read_answer

__all__ = ["clock", "key", "organisation", "rest"]  # fixtures

pytestmark = ONE_DOOR
JSON = {"Content-Type": "application/json"}
AGENT = b'{"name":"A"}'


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"name":}', "line 1, column 9"),
        (b'{\n  "name" "A"}', "line 2, column 10"),
        (b'{"name":"A"', "line 1, column 12"),
        (b'{"name":NaN}', "line 1, column 9"),
        (b'{"name":Infinity}', "line 1, column 9"),
        (b'{"name":1e999}', "line 1, column 9"),
        (b'{"name":"\\ud800"}', "line 1, column 10"),
        (b'{"name":"A\x00"}', "line 1, column 11"),
        (b'{"name":"\xff"}', "line 1, column 1"),
        (b'{"name":"\xed\xa0\x80"}', "line 1, column 1"),
        (b"\xef\xbb\xbf" + AGENT, "line 1, column 1"),
        (b"name=A", "line 1, column 1"),
        (b"[" * 5000, "line 1, column 1026"),
        (AGENT + AGENT, "line 1, column 13"),
    ],
)
async def test_malformed_json_is_400_with_the_place(rest: RestServer, key: str, body: bytes, place: str) -> None:
    """The message says where, and repeats nothing of the body."""
    answer = await rest.call("POST", "/v2/agents", key, data=body, headers=JSON)
    assert answer.error(400, "BAD_REQUEST")["message"].endswith(place)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_empty_body_is_400(rest: RestServer, key: str, method: str) -> None:
    """Nothing is not an object."""
    path = "/v2/agents" if method == "POST" else "/v2/agents/1"
    answer = await rest.call(method, path, key, data=b"", headers=JSON)
    assert "empty" in answer.error(400, "BAD_REQUEST")["message"]


@pytest.mark.parametrize("body", [b"[]", b'"A"', b"null", b"1", b"true", b'[{"name":"A"}]'])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_json_that_is_no_object_is_422(rest: RestServer, key: str, method: str, body: bytes) -> None:
    """The syntax is fine, the value is not: a validation error of the whole body."""
    path = "/v2/agents" if method == "POST" else "/v2/agents/1"
    error = (await rest.call(method, path, key, data=body, headers=JSON)).error(422, "VALIDATION_ERROR")
    assert error["details"] == [{"field": "body", "code": "INVALID_FORMAT", "message": "Must be a JSON object"}]


async def test_nul_in_a_text_is_422(rest: RestServer, key: str) -> None:
    """An escaped NUL is JSON, but no text; the details name the field."""
    answer = await rest.call("POST", "/v2/agents", key, data=b'{"name":"A\\u0000"}', headers=JSON)
    assert answer.error(422, "VALIDATION_ERROR")["details"][0]["field"] == "name"


@pytest.mark.parametrize(("depth", "status"), [(63, 201), (64, 422), (255, 422), (1000, 422)])
async def test_deep_nesting_is_refused(rest: RestServer, key: str, depth: int, status: int) -> None:
    """What could not be written or read again is refused by its field, however it comes."""
    deep = b"[" * depth + b"]" * depth
    made = await rest.call("POST", "/v2/twins", key, data=b'{"name":"T","data":' + deep + b"}", headers=JSON)
    assert made.status == status
    if status == 422:
        assert made.error(422, "VALIDATION_ERROR")["details"][0]["field"] == "data"
    one = (await rest.call("POST", "/v2/twins", key, body={"name": "T"})).headers["Location"]
    deep = deep[1:-1]  # metadata is a level itself
    for method, headers in (("PUT", JSON), ("PATCH", JSON), ("PATCH", {**JSON, "Idempotency-Key": "k"})):
        body = b'{"name":"T","metadata":{"a":' + deep + b"}}"
        answer = await rest.call(method, one, key, data=body, headers=headers)
        assert answer.status == (200 if status == 201 else 422)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"name":"A","name":"B"}', "name"),
        (b'{"name":"A","n\\u0061me":"B"}', "name"),
        (b'{"name":"A","metadata":{"a":[{"x:y":1,"x:y":1}]}}', "x:y"),
        (b'{"name":"\\u003a\\u003A","metadata":{"":1,"":2}}', ""),
        (b'{"name":"A","colour":"red","colour":"red"}', "colour"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_name_that_an_object_has_twice_is_400(
    rest: RestServer, key: str, method: str, body: bytes, name: str
) -> None:
    """Readers differ in which of the two they keep (RFC 8259, section 4): what a gateway has checked might not be what is done."""
    path = "/v2/agents" if method == "POST" else "/v2/agents/1"
    answer = await rest.call(method, path, key, data=body, headers=JSON)
    assert f"'{name}' more than once" in answer.error(400, "BAD_REQUEST")["message"]


@pytest.mark.parametrize("number", ["18446744073709551616", "-9223372036854775809", "1" + "0" * 30, "9" * 300])
async def test_integer_that_would_be_rounded_is_422(rest: RestServer, key: str, number: str) -> None:
    """Over 64 bits it would silently become another number."""
    body = b'{"name":"T","data":{"n":[' + number.encode() + b"]}}"
    error = (await rest.call("POST", "/v2/twins", key, data=body, headers=JSON)).error(422, "VALIDATION_ERROR")
    assert [(each["field"], each["code"]) for each in error["details"]] == [("body", "VALUE_OUT_OF_RANGE")]


@pytest.mark.parametrize("number", ["18446744073709551615", "-9223372036854775808", "9007199254740993", "1e25", "-0.5"])
async def test_number_comes_back_as_it_was(rest: RestServer, key: str, number: str) -> None:
    """Up to 64 bits to the last digit; digits and colons in texts are no numbers and no names."""
    text = "1234567890123456789012345:" * 3
    body = b'{"name":"T","data":{"n":' + number.encode() + b',"t":"' + text.encode() + b'"}}'
    made = await rest.call("POST", "/v2/twins", key, data=body, headers=JSON)
    assert made.status == 201
    data = json.loads((await rest.call("GET", made.headers["Location"], key)).body)["data"]
    assert data == {"n": json.loads(number), "t": text}
    assert type(data["n"]) is type(json.loads(number))


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json",
        "application/json; charset=utf-8",
        'Application/JSON;charset="UTF-8"',
        "application/merge-patch+json",
    ],
)
async def test_json_by_any_of_its_names_is_taken(rest: RestServer, key: str, content_type: str | None) -> None:
    """Also without a Content-Type."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert (await rest.call("POST", "/v2/agents", key, data=AGENT, headers=headers)).status == 201


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "application/json; charset=utf-16",
        "application/json, text/html",
        "multipart/form-data; boundary=a",
    ],
)
async def test_other_media_type_is_415(rest: RestServer, key: str, content_type: str) -> None:
    """What is not said to be JSON in UTF-8 is not read as such."""
    answer = await rest.call("POST", "/v2/agents", key, data=AGENT, headers={"Content-Type": content_type})
    answer.error(415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)])
async def test_coded_body_is_unpacked(rest: RestServer, key: str, coding: str, pack: type[bytes]) -> None:
    """What gzip and deflate pack is understood."""
    data = pack(AGENT)
    lines = ("Content-Type: application/json", f"Content-Encoding: {coding}", f"Content-Length: {len(data)}")
    assert (await rest.send(head("POST", "/v2/agents", key, *lines) + data)).status == 201


async def test_unknown_coding_is_415_and_names_those_known(rest: RestServer, key: str) -> None:
    """Accept-Encoding says what would be taken (RFC 9110, section 15.5.16)."""
    lines = ("Content-Type: application/json", "Content-Encoding: rot13", f"Content-Length: {len(AGENT)}")
    answer = await rest.send(head("POST", "/v2/agents", key, *lines) + AGENT)
    answer.error(415, "UNSUPPORTED_MEDIA_TYPE")
    assert answer.headers["Accept-Encoding"] == "gzip, deflate"


async def test_broken_coding_is_400(rest: RestServer, key: str, caplog: pytest.LogCaptureFixture) -> None:
    """What says gzip and is none is the client's mistake: refused, and no failure in the log."""
    lines = ("Content-Encoding: gzip", f"Content-Length: {len(AGENT)}")
    answer = await rest.send(head("POST", "/v2/agents", key, *lines) + AGENT)
    answer.error(400, "BAD_REQUEST")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def _padded(size: int) -> bytes:
    return AGENT + b" " * (size - len(AGENT))


async def test_largest_body_is_taken_and_one_byte_more_is_413(rest: RestServer, key: str) -> None:
    """The bound is on the byte."""
    assert (await rest.call("POST", "/v2/agents", key, data=_padded(MAX_BODY_BYTES), headers=JSON)).status == 201
    answer = await rest.call("POST", "/v2/agents", key, data=_padded(MAX_BODY_BYTES + 1), headers=JSON)
    assert "1048576" in answer.error(413, "PAYLOAD_TOO_LARGE")["message"]


async def test_number_of_values_is_bounded(rest: RestServer, key: str) -> None:
    """Small ones by the hundred thousand cost more than a large one; commas and brackets in a text are no values."""

    def body(values: str) -> bytes:
        return b'{"name": "many", "metadata": {"x": [' + values.encode() + b"]}}"

    for value in ("[]", "0", "{}"):
        answer = await rest.call("POST", "/v2/agents", key, data=body(",".join([value] * MOST_VALUES)), headers=JSON)
        assert str(MOST_VALUES) in answer.error(413, "PAYLOAD_TOO_LARGE")["message"]
    for values in (",".join(["0"] * (MOST_VALUES - 10)), '"' + ",[{" * (MOST_VALUES // 2) + '\\", \\\\"'):
        assert (await rest.call("POST", "/v2/agents", key, data=body(values), headers=JSON)).status == 201


async def test_announced_size_is_refused_before_the_body_comes(rest: RestServer, key: str) -> None:
    """Content-Length alone is enough; nothing is read, and the connection is closed."""
    answer = await rest.send(head("POST", "/v2/agents", key, "Content-Length: 999999999999"))
    answer.error(413, "PAYLOAD_TOO_LARGE")
    assert answer.headers["Connection"] == "close"


async def test_chunked_body_is_bounded_too(rest: RestServer, key: str) -> None:
    """A body of no announced size is refused as soon as it is over, though it never ends."""
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    answer = await rest.send(head("POST", "/v2/agents", key, "Transfer-Encoding: chunked") + chunk * 17)
    answer.error(413, "PAYLOAD_TOO_LARGE")


async def test_chunked_body_within_the_bound_is_taken(rest: RestServer, key: str) -> None:
    """A client need not know the size beforehand."""
    body = b"5\r\n" + AGENT[:5] + b"\r\n7\r\n" + AGENT[5:] + b"\r\n0\r\n\r\n"
    assert (await rest.send(head("POST", "/v2/agents", key, "Transfer-Encoding: chunked") + body)).status == 201


async def test_unpacked_size_counts(rest: RestServer, key: str) -> None:
    """A small body that unpacks to a large one is refused."""
    data = gzip.compress(_padded(64 * MAX_BODY_BYTES))
    assert len(data) < MAX_BODY_BYTES
    lines = ("Content-Encoding: gzip", f"Content-Length: {len(data)}")
    (await rest.send(head("POST", "/v2/agents", key, *lines) + data)).error(413, "PAYLOAD_TOO_LARGE")


async def test_slow_body_is_given_up(rest: RestServer, key: str, clock: ManualClock) -> None:
    """A body has BODY_SECONDS from the head on, however it trickles; then 504, and the connection is closed."""
    assert (await rest.call("GET", "/v2/agents", key)).status == 200
    waiting = clock.sleeping
    async with rest.connection() as (reader, writer):
        writer.write(head("POST", "/v2/agents", key, "Content-Length: 100") + b'{"name":')
        await eventually(lambda: clock.sleeping > waiting)
        await clock.advance(BODY_SECONDS - 1)
        writer.write(b'"A')
        await clock.advance(1)
        answer = await read_answer(reader)
    answer.error(504, "TIMEOUT")
    assert answer.headers["Connection"] == "close"
    await eventually(lambda: clock.sleeping == waiting)


async def test_body_in_pieces_leaves_no_timer(rest: RestServer, key: str, clock: ManualClock) -> None:
    """What comes in time is taken, and its timer is gone."""
    waiting = clock.sleeping
    async with rest.connection() as (reader, writer):
        writer.write(head("POST", "/v2/agents", key, f"Content-Length: {len(AGENT)}") + AGENT[:3])
        await eventually(lambda: clock.sleeping > waiting)
        writer.write(AGENT[3:])
        assert (await read_answer(reader)).status == 201
    await eventually(lambda: clock.sleeping == waiting)


async def test_client_that_leaves_within_its_body_is_no_failure(
    rest: RestServer, key: str, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its timer goes with it, nothing is written, and nothing is logged as a failure."""
    waiting = clock.sleeping
    async with rest.connection() as (_, writer):
        writer.write(head("POST", "/v2/agents", key, "Content-Length: 100") + AGENT)
        await eventually(lambda: clock.sleeping > waiting)
    await eventually(lambda: clock.sleeping == waiting)
    assert "request_failed" not in capsys.readouterr().out
    assert (await rest.call("GET", "/v2/agents", key)).json()["pagination"]["total"] == 0


async def test_body_is_asked_for_only_when_it_is_wanted(rest: RestServer, key: str) -> None:
    """Expect: 100-continue gets 100 where the body will be read, and the refusal at once where it will not."""
    lines = ("Expect: 100-continue", f"Content-Length: {len(AGENT)}")
    async with rest.connection() as (reader, writer):
        writer.write(head("POST", "/v2/agents", key, *lines))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(AGENT)
        assert (await read_answer(reader)).status == 201
    for refused, status, code in (
        (head("POST", "/v2/agents", "none", *lines), 401, "INVALID_API_KEY"),
        (head("POST", "/v2/nothing", key, *lines), 404, "RESOURCE_NOT_FOUND"),
        (head("POST", "/v2/agents", key, *lines, "Content-Type: text/plain"), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (head("POST", "/v2/agents", key, lines[0], "Content-Length: 1048577"), 413, "PAYLOAD_TOO_LARGE"),
        (head("POST", "/v2/agents", key, "Expect: a miracle", lines[1]), 400, "BAD_REQUEST"),
    ):
        (await rest.send(refused)).error(status, code)


async def test_pipelined_requests_are_answered_in_order(rest: RestServer, key: str) -> None:
    """Ten requests sent at once, refusals and unread bodies among them, get ten answers in their order."""
    requests, statuses = list[bytes](), list[int]()
    for number in range(10):
        mark = f"X-Request-Id: n{number}"
        if number % 3 == 0:
            body = orjson.dumps({"name": f"A{number}"})
            requests.append(head("POST", "/v2/agents", key, mark, f"Content-Length: {len(body)}") + body)
            statuses.append(201)
        elif number % 3 == 1:
            requests.append(head("POST", "/v2/agents", "none", mark, f"Content-Length: {len(AGENT)}") + AGENT)
            statuses.append(401)
        else:
            requests.append(head("GET", "/v2/agents", key, mark))
            statuses.append(200)
    async with rest.connection() as (reader, writer):
        writer.write(b"".join(requests))
        answers = [await read_answer(reader) for _ in requests]
    assert [answer.status for answer in answers] == statuses
    assert [answer.headers["X-Request-Id"] for answer in answers] == [f"n{number}" for number in range(10)]
    assert answers[2].json()["pagination"]["total"] == 1
    assert answers[8].json()["pagination"]["total"] == 3


async def test_concurrent_requests_do_not_mix(rest: RestServer, key: str) -> None:
    """Fifty at once on many connections: each gets its own."""

    async def make(number: int) -> Answer:
        return await rest.call(
            "POST", "/v1/agents", key, body={"name": f"A{number}"}, headers={"X-Request-Id": f"n{number}"}
        )

    answers = await asyncio.gather(*(make(number) for number in range(50)))
    for number, answer in enumerate(answers):
        assert (answer.json()["name"], answer.headers["X-Request-Id"]) == (f"A{number}", f"n{number}")


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("gzip", gzip.compress(AGENT)[:-6]),
        ("gzip", gzip.compress(AGENT) * 2),
        ("gzip", zlib.compress(AGENT)),
        ("deflate", zlib.compress(AGENT)[:-2]),
        ("deflate", gzip.compress(AGENT)),
    ],
    ids=["gzip cut short", "gzip twice", "zlib for gzip", "deflate cut short", "gzip for deflate"],
)
async def test_packed_body_is_whole_and_one(rest: RestServer, key: str, coding: str, data: bytes) -> None:
    """A body cut short within its checksum is not what its sender meant."""
    lines = ("Content-Type: application/json", f"Content-Encoding: {coding}", f"Content-Length: {len(data)}")
    answer = await rest.send(head("POST", "/v2/agents", key, *lines) + data)
    answer.error(400, "BAD_REQUEST")


async def test_raw_deflate_is_understood(rest: RestServer, key: str) -> None:
    """Some send deflate without zlib's head (RFC 9110, section 8.4.1.2)."""
    packer = zlib.compressobj(wbits=-15)
    data = packer.compress(AGENT) + packer.flush()
    lines = ("Content-Type: application/json", "Content-Encoding: deflate", f"Content-Length: {len(data)}")
    assert (await rest.send(head("POST", "/v2/agents", key, *lines) + data)).status == 201


@pytest.mark.parametrize("path", ["/v2/agents", "/livez", "/nowhere"])
async def test_packed_body_that_nobody_reads_is_not_unpacked(rest: RestServer, path: str) -> None:
    """Else anybody, without a credential, has a thousand times of what it sends unpacked here. What is no gzip at all shows it."""
    lines = ("Content-Encoding: gzip", f"Content-Length: {len(AGENT)}")
    async with rest.connection() as (reader, writer):
        writer.write(head("POST", path, "none", *lines) + AGENT)
        assert (await read_answer(reader)).status in (401, 404, 405)
        writer.write(head("GET", "/livez", "none"))
        assert (await read_answer(reader)).status == 200
