"""Knowledge bases leave as a long answer and come in as a long body, over real sockets."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from core.errors import HubError
from core.operations.results import Poured
from handlers.knowledge.moving.form import MEDIA_TYPE, first_line, last_line
from rest.moving.lines import MOST_LINE_BYTES, SILENCE_SECONDS
from rest.moving.pouring import attachment, pour
from tests.harness.clock import ManualClock
from tests.harness.organisations import Organisation
from tests.harness.waiting import eventually
from tests.rest.server import RestServer, head

PART = 1 << 16
LINES = {"Content-Type": MEDIA_TYPE}
BASE = first_line('{"name":"Docs","sources":["docs/**/*.md"]}')


async def made(rest: RestServer, key: str, **body: Any) -> str:
    return (await rest.call("POST", "/v2/knowledge", key, body={"name": "Docs", **body})).json()["id"]


async def bases(rest: RestServer, key: str) -> list[str]:
    return [each["name"] for each in (await rest.call("GET", "/v2/knowledge", key)).json()["data"]]


class TestExport:
    async def test_base_is_sent_as_lines(self, rest: RestServer, key: str):
        id = await made(rest, key, metadata={"team": "docs"})
        answer = await rest.call("GET", f"/v2/knowledge/{id}/export", key)
        assert (answer.status, answer.headers["Content-Type"]) == (200, MEDIA_TYPE)
        assert answer.headers["Content-Disposition"] == 'attachment; filename="docs.ndjson"'
        assert answer.headers["Cache-Control"] == "no-store"
        assert "RateLimit" in answer.headers
        base, end = map(orjson.loads, answer.body.splitlines())
        assert base["knowledge"]["metadata"] == {"team": "docs"}
        assert end == {"end": {"documents": 0}}

    async def test_head_has_no_body(self, rest: RestServer, key: str):
        id = await made(rest, key)
        answer = await rest.call("HEAD", f"/v2/knowledge/{id}/export?format=csv", key)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["Content-Type"].startswith("text/csv")

    async def test_refusals_are_errors_as_all_others(self, rest: RestServer, key: str, organisation: Organisation):
        id = await made(rest, key)
        path = f"/v2/knowledge/{id}/export"
        (await rest.call("GET", path)).error(401, "AUTHENTICATION_REQUIRED")
        poor = await organisation.key(["write:knowledge"])
        (await rest.call("GET", path, poor)).error(403, "INSUFFICIENT_SCOPE")
        (await rest.call("GET", f"{path}?format=xml", key)).error(422, "VALIDATION_ERROR")
        (await rest.call("GET", f"{path}?colour=red", key)).error(400, "UNKNOWN_PARAMETER")
        (await rest.call("POST", path, key)).error(405, "METHOD_NOT_ALLOWED")
        (await rest.call("GET", "/v2/knowledge/none/export", key)).error(404, "RESOURCE_NOT_FOUND")

    async def test_it_is_in_the_audit(self, rest: RestServer, key: str):
        id = await made(rest, key)
        await rest.call("GET", f"/v2/knowledge/{id}/export", key)
        await rest.trail.flush()
        entries = (await rest.call("GET", "/v2/audit?operation=knowledge.export", key)).json()["data"]
        assert [each["target"] for each in entries] == [f"knowledge/{id}"]


class TestImport:
    async def test_base_is_made(self, rest: RestServer, key: str):
        answer = await rest.call("POST", "/v2/knowledge/import", key, data=BASE + last_line(0), headers=LINES)
        assert answer.status == 201, answer
        told = answer.json()
        assert told["knowledge"]["sources"] == ["docs/**/*.md"]
        assert told["documents"] == {"created": 0, "refused": 0, "errors": []}
        assert answer.headers["Location"] == f"/v2/knowledge/{told['knowledge']['id']}"
        assert await bases(rest, key) == ["Docs"]

    @pytest.mark.parametrize(
        "body",
        [b"", b"{}", b"nonsense", BASE, BASE + b"nonsense\n", BASE + last_line(1), BASE + last_line(0) + BASE],
    )
    async def test_what_is_no_whole_export_leaves_nothing(self, rest: RestServer, key: str, body: bytes):
        answer = await rest.call("POST", "/v2/knowledge/import", key, data=body, headers=LINES)
        error = answer.error(422, "VALIDATION_ERROR")
        assert error["details"][0]["field"].startswith("lines[")
        assert await bases(rest, key) == []

    async def test_base_that_is_refused_is_told_so(self, rest: RestServer, key: str):
        body = first_line('{"name":""}') + last_line(0)
        answer = await rest.call("POST", "/v2/knowledge/import", key, data=body, headers=LINES)
        assert answer.error(422, "VALIDATION_ERROR")["details"][0]["field"] == "name"

    async def test_head_decides_first(self, rest: RestServer, key: str, organisation: Organisation):
        path, body = "/v2/knowledge/import", BASE + last_line(0)
        (await rest.call("POST", path, key, body={})).error(415, "UNSUPPORTED_MEDIA_TYPE")
        packed = {**LINES, "Content-Encoding": "gzip"}
        (await rest.call("POST", path, key, data=body, headers=packed)).error(415, "UNSUPPORTED_MEDIA_TYPE")
        keyed = {**LINES, "Idempotency-Key": "a"}
        (await rest.call("POST", path, key, data=body, headers=keyed)).error(400, "BAD_REQUEST")
        poor = await organisation.key(["read:knowledge"])
        (await rest.call("POST", path, poor, data=body, headers=LINES)).error(403, "INSUFFICIENT_SCOPE")
        (await rest.call("POST", path, data=body, headers=LINES)).error(401, "AUTHENTICATION_REQUIRED")

    async def test_line_over_the_bound_is_refused(self, rest: RestServer, key: str):
        """Before it is over: no more than the bound is held of it."""
        async with rest.connection() as (reader, writer):
            length = f"Content-Length: {2 * MOST_LINE_BYTES}"
            writer.write(head("POST", "/v2/knowledge/import", key, f"Content-Type: {MEDIA_TYPE}", length) + BASE)
            sending = asyncio.create_task(_send(writer, b"x" * (1 << 20), MOST_LINE_BYTES // (1 << 20) + 2))
            assert b" 413 " in await reader.readline()
            sending.cancel()
            await asyncio.wait({sending})
        assert await bases(rest, key) == []

    async def test_client_that_falls_silent_is_given_up(self, rest: RestServer, key: str, clock: ManualClock):
        async with rest.connection() as (reader, writer):
            writer.write(
                head("POST", "/v2/knowledge/import", key, f"Content-Type: {MEDIA_TYPE}", "Content-Length: 999")
            )
            writer.write(BASE)
            await eventually(lambda: _there(rest, key))
            await clock.advance(SILENCE_SECONDS + 1)
            assert b" 504 " in await reader.readline()
        assert await bases(rest, key) == []

    async def test_client_that_leaves_leaves_nothing(self, rest: RestServer, key: str):
        async with rest.connection() as (_, writer):
            writer.write(
                head("POST", "/v2/knowledge/import", key, f"Content-Type: {MEDIA_TYPE}", "Content-Length: 999")
            )
            writer.write(BASE)
            await eventually(lambda: _there(rest, key))

        async def gone() -> bool:
            return not await bases(rest, key)

        await eventually(gone)


async def _there(rest: RestServer, key: str) -> bool:
    return bool(await bases(rest, key))


async def _send(writer: asyncio.StreamWriter, part: bytes, times: int) -> None:
    for _ in range(times):
        writer.write(part)
        await writer.drain()


class Endless:
    """An answer that goes on until it is closed; counts its parts."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.parts = 0
        self.is_closed = False
        self._fails_at = fails_at

    async def make(self) -> AsyncGenerator[bytes]:
        try:
            while True:
                if self.parts == self._fails_at:
                    raise HubError("RESOURCE_CONFLICT")
                self.parts += 1
                yield b"x" * PART
        finally:
            self.is_closed = True


@pytest.fixture
async def poured() -> AsyncIterator[tuple[str, list[Endless]]]:
    """A server that pours what is put into the list, and its address."""
    sources: list[Endless] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await pour(request, Poured("text/plain", "a", sources[0].make()), {})
        except HubError as error:
            return web.Response(status=error.status)

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/", sources
    await runner.cleanup()


class TestPouring:
    @pytest.mark.parametrize(
        ("name", "header"),
        [
            ("a b.md", 'attachment; filename="a b.md"'),
            ("ä.md", "attachment; filename=\"_.md\"; filename*=UTF-8''%C3%A4.md"),
            ('"; x="\r\n', "attachment; filename=\"__ x=___\"; filename*=UTF-8''%22%3B%20x%3D%22%0D%0A"),
        ],
    )
    def test_name_of_a_file_stays_a_name(self, name: str, header: str):
        assert attachment(name).replace('"_;', '"__') == header

    async def test_nothing_is_made_ahead_of_a_slow_client(self, poured: tuple[str, list[Endless]]):
        """What the sockets hold, and no more; and nothing goes on when the client has left."""
        url, sources = poured
        sources.append(source := Endless())
        async with aiohttp.ClientSession() as session:
            response = await session.get(url)
            for _ in range(100):
                await response.content.readexactly(PART)
            assert source.parts < 100 + 500
            response.close()
        await eventually(lambda: source.is_closed)

    async def test_error_in_mid_way_cuts_the_connection(self, poured: tuple[str, list[Endless]]):
        """Nobody takes a part for the whole."""
        url, sources = poured
        sources.append(source := Endless(fails_at=3))
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            assert response.status == 200
            with pytest.raises(aiohttp.ClientError):
                await response.read()
        assert source.is_closed

    async def test_error_before_the_first_part_has_a_status(self, poured: tuple[str, list[Endless]]):
        url, sources = poured
        sources.append(Endless(fails_at=0))
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            assert response.status == 409
