"""What an MCP server knows an agent by is sent to it, to nobody else, and comes back out of nothing that it says."""

from collections.abc import Sequence
from typing import Any

import httpx2
import pytest
import structlog
from aiohttp import web

from core.clock import SystemClock
from core.ids import new_id
from core.jobs.jobs import Jobs
from core.outbound import Outbound
from core.seal import Seal
from core.store.database import Database
from handlers.agents.config import McpServer, config_of
from handlers.agents.credentials import Credential, Vault
from handlers.agents.models import AgentBody
from handlers.agents.tools.mcp_servers import connected
from handlers.agents.tools.mcp_transport import McpTransport
from handlers.agents.tools.tool import ToolError
from handlers.agents.tools.toolbox import Toolboxes
from handlers.knowledge.retrieval.retriever import Retriever
from tests.handlers.agents.executions.bureau import NEW_AGENT
from tests.handlers.agents.tools.calls import called, given, rights
from tests.handlers.agents.tools.mcp_server import listed, speaking
from tests.harness.organisations import Organisation
from tests.harness.outside import LOOPBACK, Handler, serving

HEADERS = {"authorization": "Bearer sesame-token", "x-key": "sesame-key"}


def outbound() -> Outbound:
    return Outbound(LOOPBACK, SystemClock())


def hearing(heard: list[Any], answer: Handler) -> Handler:
    """Do as `answer`, and note what was heard."""

    async def heard_first(request: web.Request) -> web.StreamResponse:
        heard.append({name: request.headers.get(name) for name in HEADERS})
        return await answer(request)

    return heard_first


async def test_each_request_carries_them():
    """The first, those that list tools and call them, and the one that ends the session."""
    heard: list[Any] = []
    answers = {"tools/list": listed("t"), "tools/call": {"content": [{"type": "text", "text": "Done"}]}}
    async with serving(hearing(heard, speaking(answers))) as port:
        servers = [McpServer(name="lib", url=f"http://127.0.0.1:{port}/mcp")]
        async with connected(servers, outbound(), {"lib": HEADERS}) as (there,):
            assert (await given(there.tools[0]))["result"] == "Done"
    assert len(heard) > 4
    assert heard == [HEADERS] * len(heard)


async def test_no_other_host_gets_them():
    """Neither one that the server leads to, nor whatever else the client would call."""
    heard: list[Any] = []

    async def moved(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": f"http://127.0.0.1:{other}/mcp"})

    async def here(_: web.Request) -> web.Response:
        return web.Response()

    async with serving(hearing(heard, here)) as other, serving(moved) as port:
        url = f"http://127.0.0.1:{port}/mcp"
        async with connected([McpServer(name="lib", url=url)], outbound(), {"lib": HEADERS}) as (there,):
            assert not there.is_ready
        assert heard == []
        transport = McpTransport(outbound(), url, HEADERS)
        for host in (f"http://127.0.0.1:{other}/mcp", f"http://127.0.0.2:{other}/mcp"):
            answer = await transport.handle_async_request(httpx2.Request("POST", host))
            await answer.aclose()
    assert heard == [dict.fromkeys(HEADERS)]


@pytest.mark.parametrize(
    "result",
    [
        {"content": [{"type": "text", "text": "sesame-token and Bearer sesame-token, sesame-key"}]},
        {"content": [{"type": "text", "text": "sesame-key is wrong"}], "isError": True},
        {"content": [], "structuredContent": {"a": "sesame-key"}},
        web.json_response({"jsonrpc": "2.0", "id": 3, "error": {"code": 1, "message": "no sesame-token here"}}),
        web.Response(status=401, text="sesame-token"),
    ],
    ids=["result", "failure", "structured", "error", "refused"],
)
async def test_server_that_repeats_them_is_not_heard_in_that(result: Any):
    """What a tool gives is kept and shown; and so is what goes wrong, which is also logged."""
    server = speaking({"tools/list": listed("t"), "tools/call": result})
    with structlog.testing.capture_logs() as logs:
        async with serving(server) as port:
            servers = [McpServer(name="lib", url=f"http://127.0.0.1:{port}/mcp")]
            async with connected(servers, outbound(), {"lib": HEADERS}) as (there,):
                told = await _told(there.tools)
    assert "sesame" not in told + str(logs)


async def _told(tools: Sequence[Any]) -> str:
    try:
        return str(await called(tools[0]))
    except ToolError as error:
        return str(error)


@pytest.mark.parametrize("secret", ["of a test", "of another"], ids=["opened", "of another secret"])
async def test_agent_is_known_in_a_run(database_url: str, organisation: Organisation, secret: str):
    """Out of what is kept of it. What cannot be opened is noted, and the server is not asked without."""
    heard: list[Any] = []
    database = Database(database_url, role="hub_app", size=2)
    async with serving(hearing(heard, speaking({"tools/list": listed("t")}))) as port:
        url, id = f"http://127.0.0.1:{port}/mcp", new_id()
        mcp = {"name": "lib", "url": url, "token": True, "headers": {"X-Key": True}}
        agent = AgentBody(name="A", config={"mcp": [mcp]})
        await organisation.rows(NEW_AGENT, organisation.id, id, "A", "{}")
        origin = f"http://127.0.0.1:{port}"
        credentials = [
            Credential("lib", "token", origin, "sesame-token"),
            Credential("lib", "headers.x-key", origin, "sesame-key"),
        ]
        keeping = Vault(Seal("of a test")).keeping(organisation.id, id, credentials)
        async with database.transaction(organisation.id) as db:
            await db.execute(keeping.query, *keeping.args)
        boxes = Toolboxes(
            database, Retriever(), outbound(), Vault(Seal(secret)), Jobs(clock := SystemClock(), lambda: None), clock
        )
        async with boxes.open(id, agent, config_of(agent), rights(org_id=organisation.id)) as box:
            has_tool, notes = box.named("lib__t") is not None, list(box.notes)
    await database.close()
    if secret == "of a test":
        assert (has_tool, notes) == (True, [])
        assert heard == [HEADERS] * len(heard)
    else:
        assert (has_tool, heard) == (False, [])
        assert [note for note in notes if "lib are missing" in note and "send it anew" in note]
