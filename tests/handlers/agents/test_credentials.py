"""What MCP servers know an agent by: kept sealed and shown to nobody, changed one by one, lost with its server."""

from typing import Any
from uuid import UUID

import orjson
import pytest

from core.operations.results import Document
from core.store.database import Database
from handlers.agents.config import McpServer
from handlers.agents.credentials import MOST_HEADERS, Vault
from tests.handlers.house import OPERATIONS, SEAL, House, refused
from tests.harness.relaying import relaying

TOKEN, KEY, OTHER = "sesame-of-the-token", "sesame-of-a-header", "sesame-of-another"
FILES: dict[str, Any] = {"name": "files", "url": "https://files.example/mcp"}
MAIL: dict[str, Any] = {"name": "mail", "url": "https://mail.example:8443/mcp"}
EVERY_TABLE = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'hub' AND table_type = 'BASE TABLE'"
)


async def made(house: House, *servers: dict[str, Any]) -> Document:
    return await house.run("agents.create", name="Ada", config={"mcp": list(servers), "model": "extractive"})


async def patched(house: House, id: UUID, *servers: Any) -> list[Any]:
    """Change an agent's servers; returns them as they are shown."""
    change = {"id": str(id), "if_match": None, "body": {"config": {"mcp": list(servers)}}}
    return servers_in(await house.run("agents.update", **change))


def servers_in(shown: Document) -> list[Any]:
    return orjson.loads(shown.body)["config"]["mcp"]


async def sent(house: House, id: UUID, *servers: dict[str, Any]) -> Any:
    """Return what the servers of an agent are sent."""
    database = Database(house.url, role="hub_app", size=1)
    async with database.read(house.caller.org_id) as db:
        found = [McpServer.model_validate(each) for each in servers]
        headers = await Vault(SEAL).headers(db, house.caller.org_id, id, found)
    await database.close()
    return headers


async def kept(house: House) -> set[tuple[str, str]]:
    rows = await house.rows("SELECT server, field FROM agent_credentials")
    return {(row["server"], row["field"]) for row in rows}


async def test_credentials_stand_in_no_answer_and_in_no_row(house: House):
    """Answers of now and then, lists, events, audit, idempotency: `true` says that one is set."""
    server = {**FILES, "token": TOKEN, "headers": {"X-Key": KEY}}
    fields = {"name": "Ada", "config": {"mcp": [server]}}
    outcome = await house.runner.run(
        OPERATIONS["agents.create"], house.caller, fields, request_id="r", idempotency_key="once"
    )
    document: Document = outcome.result
    assert servers_in(document) == [{**FILES, "token": True, "headers": {"X-Key": True}}]
    again = await house.runner.run(
        OPERATIONS["agents.create"], house.caller, fields, request_id="r", idempotency_key="once"
    )
    assert again.replayed
    await patched(house, document.id, {**FILES, "token": OTHER})
    id = str(document.id)
    async with relaying(house.url) as relay:
        await relay.settled()
    for told in (await house.run("agents.get", id=id), await house.run("agents.get", id=id, as_of="1")):
        assert servers_in(told) == [{**FILES, "token": True, "headers": {"X-Key": True}}]
    tables = [row["table_name"] for row in await house.rows(EVERY_TABLE)]
    assert {"agents", "agents_history", "agent_credentials", "events", "audit", "idempotency"} <= {*tables}
    for table in tables:
        rows = await house.rows(f"SELECT to_jsonb(t)::text AS row FROM {table} AS t")  # noqa: S608 - a table's name
        assert not [row for row in rows if "sesame" in row["row"]], table


async def test_one_is_changed_and_the_others_stay(house: House):
    """Those that are not named, and those that are sent back as they were shown; by PATCH and by PUT."""
    agent = await made(house, {**FILES, "token": TOKEN, "headers": {"X-Key": KEY}}, {**MAIL, "token": OTHER})
    both = [{**FILES, "token": True, "headers": {"X-Key": True}}, {**MAIL, "token": True}]
    assert await patched(house, agent.id, {**FILES, "headers": {"x-key": "anew"}}, MAIL) == [
        {**FILES, "token": True, "headers": {"x-key": True}},
        {**MAIL, "token": True},
    ]
    assert await sent(house, agent.id, *both) == {
        "files": {"authorization": f"Bearer {TOKEN}", "x-key": "anew"},
        "mail": {"authorization": f"Bearer {OTHER}"},
    }
    shown = orjson.loads((await house.run("agents.get", id=str(agent.id))).body)
    replaced = await house.run("agents.replace", id=str(agent.id), if_match=None, body={**shown, "name": "Grace"})
    assert servers_in(replaced) == shown["config"]["mcp"]
    change = {"id": str(agent.id), "if_match": None, "body": {"name": "Ada", "config": {"model": None}}}
    assert servers_in(await house.run("agents.update", **change)) == shown["config"]["mcp"]
    assert (await sent(house, agent.id, *both))["mail"] == {"authorization": f"Bearer {OTHER}"}


async def test_they_go_by_null_and_with_their_server(house: House):
    """And with the agent; a server of the same name that comes later has none of them."""
    agent = await made(house, {**FILES, "token": TOKEN, "headers": {"A": KEY, "B": KEY}}, {**MAIL, "token": OTHER})
    assert await kept(house) == {("files", "token"), ("files", "headers.a"), ("files", "headers.b"), ("mail", "token")}
    shown = await patched(house, agent.id, {**FILES, "token": None, "headers": {"A": None}}, MAIL)
    assert shown == [{**FILES, "headers": {"B": True}}, {**MAIL, "token": True}]
    assert await patched(house, agent.id, {**FILES, "headers": None}, MAIL) == [FILES, {**MAIL, "token": True}]
    assert await kept(house) == {("mail", "token")}
    assert await patched(house, agent.id, FILES) == [FILES]
    assert await kept(house) == set()
    assert await patched(house, agent.id, FILES, MAIL) == [FILES, MAIL]
    await patched(house, agent.id, {**FILES, "token": TOKEN})
    await house.run("agents.update", id=str(agent.id), if_match=None, body={"config": None})
    assert await kept(house) == set()
    await patched(house, agent.id, {**FILES, "token": TOKEN})
    await house.run("agents.delete", id=str(agent.id))
    assert await kept(house) == set()


@pytest.mark.parametrize(
    "url",
    ["https://other.example/mcp", "http://files.example/mcp", "https://files.example:444/mcp"],
    ids=["host", "scheme", "port"],
)
async def test_they_are_for_one_address(house: House, url: str):
    """Whoever may change an agent does not get its tokens sent to a host of theirs; another path of the same host does."""
    agent = await made(house, {**FILES, "token": TOKEN})
    moved = {**FILES, "url": url}
    for server in (moved, {**moved, "token": True}):
        error = await refused(patched(house, agent.id, server))
        assert [each.field for each in error.details] == ["config.mcp[0].url"]
    assert await patched(house, agent.id, {**moved, "token": None}) == [moved]
    await patched(house, agent.id, {**FILES, "token": TOKEN})
    assert await patched(house, agent.id, {**moved, "token": OTHER}) == [{**moved, "token": True}]
    there = {**moved, "url": f"{url}/of/v2", "token": True}
    assert await patched(house, agent.id, there) == [there]
    assert await sent(house, agent.id, there) == {"files": {"authorization": f"Bearer {OTHER}"}}
    # As if somebody had changed the rows: it opens for no other.
    assert await sent(house, agent.id, {**FILES, "token": True}) == {"files": None}


async def test_they_open_for_no_other_agent_and_under_no_other_secret(house: House):
    """A row that is copied gives nothing away; nor does a dump without HUB_SECRET."""
    first, second = [await made(house, {**FILES, "token": secret}) for secret in (TOKEN, OTHER)]
    await house.rows("DELETE FROM agent_credentials WHERE agent_id = $1", first.id)
    await house.rows("UPDATE agent_credentials SET agent_id = $1 WHERE agent_id = $2", first.id, second.id)
    shown = {**FILES, "token": True}
    assert await sent(house, first.id, shown) == {"files": None}
    assert await sent(house, second.id, shown) == {"files": None}


@pytest.mark.parametrize(
    ("server", "field"),
    [
        ({**FILES, "token": 7}, "config.mcp[0].token"),
        ({**FILES, "token": ""}, "config.mcp[0].token"),
        ({**FILES, "token": "two words"}, "config.mcp[0].token"),
        ({**FILES, "token": "x" * 4_001}, "config.mcp[0].token"),
        ({**FILES, "token": True}, "config.mcp[0].token"),
        ({**FILES, "token": {"secret": "s"}}, "config.mcp[0].token"),
        ({**FILES, "headers": "X-Key: s"}, "config.mcp[0].headers"),
        ({**FILES, "headers": {"X-Key": True}}, "config.mcp[0].headers.X-Key"),
        ({**FILES, "headers": {"X-Key": "a\r\nX-Other: b"}}, "config.mcp[0].headers.X-Key"),
        ({**FILES, "headers": {"X Key": "a"}}, "config.mcp[0].headers.X Key"),
        ({**FILES, "headers": {"Host": "other.example"}}, "config.mcp[0].headers.Host"),
        ({**FILES, "headers": {"Mcp-Session-Id": "a"}}, "config.mcp[0].headers.Mcp-Session-Id"),
        ({**FILES, "headers": {f"H{n}": "a" for n in range(MOST_HEADERS + 1)}}, "config.mcp[0].headers"),
        ({**FILES, "token": "a", "headers": {"authorization": "Basic a"}}, "config.mcp[0].token"),
        ({"url": FILES["url"], "token": "a"}, "config.mcp[0].name"),
        ({"name": "a__b", "url": FILES["url"], "token": "a"}, "config.mcp[0].name"),
        ({"name": "files", "token": "a"}, "config.mcp[0].url"),
        ({"name": "files", "url": "https://ada:pw@files.example", "token": "a"}, "config.mcp[0].url"),
        ("files", "config.mcp[0]"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_what_cannot_be_kept_is_refused(house: House, server: Any, field: str):
    """At once, and not when the agent is executed: it would stand in the agent."""
    error = await refused(made(house, server))
    assert field in [each.field for each in error.details]
    assert await house.rows("SELECT 1 FROM agents") == []


async def test_servers_are_a_list_with_each_name_once(house: House):
    """A token that stands elsewhere would be shown."""
    server = {**FILES, "token": "a"}
    error = await refused(house.run("agents.create", name="Ada", config={"mcp": server}))
    assert [each.field for each in error.details] == ["config.mcp"]
    error = await refused(made(house, server, server))
    assert [each.field for each in error.details] == ["config.mcp[1].name"]
    many = [{**server, "name": f"files{number}"} for number in range(9)]
    assert [each.field for each in (await refused(made(house, *many))).details] == ["config.mcp"]
