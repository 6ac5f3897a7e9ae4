"""Tools of MCP servers (Model Context Protocol, streamable HTTP), each as `<server>__<tool>`.

A server is somebody else's: what it lists and answers is bounded in time and size, and is data. One that is away brings no tools,
which is noted, and the run goes on. What it asks back (to have a model write, or a person answer) is refused.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
import orjson
import structlog
from mcp import MCPError
from mcp import types as mcp
from mcp.client import Client
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from pydantic import ValidationError

from core.deadline import end_tasks, ended_within, within
from core.masking import MASK
from core.outbound import Outbound
from handlers.agents.config import JOINT, LONGEST_DESCRIPTION, McpServer
from handlers.agents.tools.mcp_transport import MOST_BYTES, McpTransport
from handlers.agents.tools.outside import told
from handlers.agents.tools.tool import Calling, ToolError, ToolResult
from handlers.models.model import ToolSpec

# Until all servers have said what tools they have; a slower one is away.
LIST_SECONDS = 10.0
CALL_SECONDS = 60.0
# What a server is given to hear that its session ends.
_END_SECONDS = 3.0
# Of one server.
MOST_TOOLS = 64
_MOST_PAGES = 8
_MOST_SCHEMA_BYTES = 16 * 1024
_LONGEST_NAME = 64
_LONGEST_MESSAGE = 2_000
# What a call is known by in every attempt, for servers that do a thing once.
KEY = "aimatrix.com/idempotency-key"
_NO_NAME = re.compile(r"[^A-Za-z0-9_-]")
_NONE: Mapping[str, Mapping[str, str] | None] = {}
# Shorter ones stand in many texts by chance.
_LEAST_MASKED = 8

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class McpTool:
    """One tool of a server."""

    server: "McpConnection"
    name: str
    spec: ToolSpec
    needs_approval: bool = False

    async def call(self, calling: Calling, arguments: Mapping[str, Any]) -> ToolResult:
        """Have the server do it. Raises ToolError where it fails, or does not answer in time."""
        return ToolResult(await self.server.call(self.name, calling, arguments))


class McpConnection:
    """A session with one server, for as long as its task runs. `tools` are there once it `is_ready`.

    `headers` are what the server knows the agent by; of what it says, they are taken out.
    """

    def __init__(self, server: McpServer, outbound: Outbound, headers: Mapping[str, str]) -> None:
        self._server = server
        self._secrets = [secret for each in headers.values() for secret in (each, each.removeprefix("Bearer "))]
        self._transport = McpTransport(outbound, server.url, headers)
        self._clock = outbound.clock
        self._session: ClientSession | None = None
        self._ends = asyncio.Event()
        self.tools: Sequence[McpTool] = ()
        self.notes: list[str] = []
        self.ready = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"MCP server {server.name}")

    @property
    def is_ready(self) -> bool:
        """Whether it has told its tools, and is still there."""
        return self.ready.is_set() and not self._task.done()

    @property
    def missing(self) -> str:
        """What is to be told of a server that is not ready."""
        return f"The tools of {self._server.name} are missing: {self._failure() or 'it does not answer'}"

    def _failure(self) -> str | None:
        if not self._task.done() or self._task.cancelled():
            return self._transport.failure
        error = self._task.exception()
        return None if error is None else self._transport.failure or _first_of(error)

    async def opened(self) -> None:
        """Return when it is ready, or has failed."""
        ready = asyncio.ensure_future(self.ready.wait())
        try:
            await asyncio.wait({ready, self._task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()

    async def call(self, name: str, calling: Calling, arguments: Mapping[str, Any]) -> str:
        """Return what a tool gives, as a model is given it."""
        left = min(CALL_SECONDS, calling.deadline - self._clock.monotonic())
        try:
            result = await self._within(left, self._called(name, calling.key, arguments))
        except MCPError as error:
            message = self._transport.failure or self._masked(error.message)
            raise ToolError(
                told({"server": self._server.name}, "error", message[:_LONGEST_MESSAGE], is_cut=False)
            ) from error
        except ValidationError as error:
            raise ToolError(f"{self._server.name} answered what is no result of a tool") from error
        text = self._masked(_text_of(result))
        if result.is_error:
            raise ToolError(told({"server": self._server.name}, "error", text[:_LONGEST_MESSAGE], is_cut=False))
        return told({"server": self._server.name}, "result", text, is_cut=False)

    def _masked(self, text: str) -> str:
        """Return what a server says without what it knows the agent by, which it may repeat."""
        for secret in self._secrets:
            if len(secret) >= _LEAST_MASKED:
                text = text.replace(secret, MASK)
        return text

    async def _called(self, name: str, key: str, arguments: Mapping[str, Any]) -> mcp.CallToolResult:
        if self._session is None:
            raise ToolError(f"{self._server.name} is away")
        params = mcp.CallToolRequestParams(name=name, arguments=dict(arguments), _meta={KEY: key})
        # Not by call_tool(): that holds results against patterns of the server's own, which could run for ever.
        return await self._session.send_request(mcp.CallToolRequest(params=params), mcp.CallToolResult)

    async def _within(self, seconds: float, work: Coroutine[Any, Any, Answer]) -> Answer:
        task = asyncio.ensure_future(work)
        try:
            await ended_within(self._clock, max(seconds, 0), task, self._task)
            if task.done():
                return task.result()
            if self._task.done():
                raise ToolError(f"{self._server.name} has gone away")
            raise ToolError(f"{self._server.name} did not answer within {max(seconds, 0):.2g} s")
        finally:
            await end_tasks([task])

    async def close(self) -> None:
        """End the session, and tell the server so where it listens."""
        self._ends.set()
        if self.ready.is_set():
            await ended_within(self._clock, _END_SECONDS, self._task)
        await end_tasks([self._task])
        if (failure := self._failure()) is not None:
            structlog.get_logger().info("mcp_server_failed", server=self._server.name, detail=failure)

    async def _run(self) -> None:
        # Anyio's scopes must be left by the task that has entered them, so a task of its own has them.
        async with (
            httpx2.AsyncClient(transport=self._transport, trust_env=False) as http,
            Client(
                streamable_http_client(self._server.url, http_client=http, max_sse_event_size=MOST_BYTES), cache=None
            ) as client,
        ):
            self.tools = await self._listed(client.session)
            self._session = client.session
            self.ready.set()
            await self._ends.wait()

    async def _listed(self, session: ClientSession) -> Sequence[McpTool]:
        tools: dict[str, McpTool] = {}
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = await session.list_tools(params=mcp.PaginatedRequestParams(cursor=cursor))
            for each in page.tools:
                if len(tools) == MOST_TOOLS:
                    self.notes.append(f"{self._server.name} has over {MOST_TOOLS} tools: the others are left out")
                    return list(tools.values())
                self._take(each, tools)
            cursor = page.next_cursor
            if cursor is None:
                break
        return list(tools.values())

    def _take(self, tool: mcp.Tool, tools: dict[str, McpTool]) -> None:
        name = f"{self._server.name}{JOINT}{_NO_NAME.sub('_', tool.name)}"
        schema = tool.input_schema
        is_object = schema.get("type", "object") == "object" and len(orjson.dumps(schema)) <= _MOST_SCHEMA_BYTES
        if not is_object or len(name) > _LONGEST_NAME or name in tools:
            shown = _NO_NAME.sub("_", tool.name[:_LONGEST_NAME])
            self.notes.append(
                f"{self._server.name} has a tool {shown} that cannot be taken: its name or schema is too long"
            )
            return
        described = (tool.description or tool.title or "")[:LONGEST_DESCRIPTION]
        tools[name] = McpTool(self, tool.name, ToolSpec(name, described, schema))


@asynccontextmanager
async def connected(
    servers: Sequence[McpServer], outbound: Outbound, headers: Mapping[str, Mapping[str, str] | None] = _NONE
) -> AsyncGenerator[Sequence[McpConnection]]:
    """Give a connection to each server, at once: those that answer in time are ready.

    `headers` are sent to the servers of these names; None: they cannot be, and the server is not called.
    """
    called = [(each, headers.get(each.name, {})) for each in servers]
    connections = [McpConnection(each, outbound, own) for each, own in called if own is not None]
    try:
        with suppress(TimeoutError):
            await within(outbound.clock, LIST_SECONDS, _opened(connections))
        yield connections
    finally:
        await asyncio.gather(*(each.close() for each in connections))


async def _opened(connections: Sequence[McpConnection]) -> None:
    for each in connections:
        await each.opened()


def _text_of(result: mcp.CallToolResult) -> str:
    parts = [_part(each) for each in result.content]
    if not parts and result.structured_content is not None:
        return orjson.dumps(result.structured_content).decode()
    return "\n".join(parts)


def _part(block: mcp.ContentBlock) -> str:
    if isinstance(block, mcp.TextContent):
        return block.text
    if isinstance(block, mcp.EmbeddedResource) and isinstance(block.resource, mcp.TextResourceContents):
        return block.resource.text
    if isinstance(block, mcp.ResourceLink):
        return str(block.uri)
    return f"(left out: {block.type})"


def _first_of(error: BaseException) -> str:
    """Name what is at the bottom of groups of exceptions."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]  # pyright: ignore[reportUnknownMemberType]
    return type(error).__name__
