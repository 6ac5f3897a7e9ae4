"""MCP servers over loopback: one of the official package, and one that says what a test wants."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from aiohttp import web
from mcp.server.mcpserver import Context, MCPServer

from core.deadline import end_tasks
from handlers.agents.tools.mcp_servers import KEY
from tests.harness.outside import Handler
from tests.harness.waiting import eventually


class _Server(uvicorn.Server):
    """Leaves the process's signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@asynccontextmanager
async def mcp_serving(server: MCPServer, *, stateless: bool = False) -> AsyncGenerator[str]:
    """Serve; gives the URL."""
    app = server.streamable_http_app(stateless_http=stateless)
    running = _Server(uvicorn.Config(app, log_level="critical", ws="none", timeout_graceful_shutdown=1))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        task = asyncio.create_task(running.serve(sockets=[listening]))
        try:
            await eventually(lambda: running.started)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
        finally:
            running.should_exit = True
            await asyncio.wait({task}, timeout=10)
            await end_tasks([task])


def library() -> MCPServer:
    """Return a server whose tools answer, fail, hang, say too much, and tell the key of their call."""
    server = MCPServer("library")

    @server.tool()
    def find(title: str, shelf: int = 1) -> str:
        """Find a book."""
        return f"{title} stands on shelf {shelf}"

    @server.tool()
    def burn(title: str) -> str:
        """Fail."""
        raise ValueError(f"{title} may not be burnt")

    @server.tool()
    async def wait() -> str:
        """Hang."""
        await asyncio.Event().wait()
        return ""

    @server.tool()
    def copy(megabytes: int) -> str:
        """Say too much."""
        return "x" * (megabytes << 20)

    @server.tool()
    def key(ctx: Context) -> str:
        """Tell the call's key."""
        meta = ctx.request_context.meta or {}
        return str(dict(meta).get(KEY))

    return server


def speaking(answers: Mapping[str, Any]) -> Handler:
    """A server that answers each method with this result, and everything else with an error."""

    async def answer(request: web.Request) -> web.Response:
        asked = await request.json() if request.body_exists else {}
        if "id" not in asked:
            return web.Response(status=202)
        if asked["method"] == "initialize":
            hello = {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "a", "version": "1"},
            }
            return web.json_response(
                {"jsonrpc": "2.0", "id": asked["id"], "result": hello}, headers={"Mcp-Session-Id": "s1"}
            )
        found = answers.get(asked["method"])
        if isinstance(found, web.Response):
            return found
        if found is None:
            error = {"code": -32601, "message": "no such method"}
            return web.json_response({"jsonrpc": "2.0", "id": asked["id"], "error": error})
        return web.json_response({"jsonrpc": "2.0", "id": asked["id"], "result": found})

    return answer


def listed(*names: str, **schema: Any) -> dict[str, Any]:
    return {"tools": [{"name": name, "inputSchema": {"type": "object", **schema}} for name in names]}
