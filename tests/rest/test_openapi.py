"""The examples of the OpenAPI document: each is run against a hub, and answered as it says."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import jsonschema
import pytest

from core.store.engines import EngineUrls
from handlers.namespaces.models import NamespaceSettings
from handlers.resources.shown import example_of
from handlers.twins.branches.models import BranchChange
from handlers.twins.models import TwinBody
from rest.door import VERSIONS
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.stream_client import open_stream
from tests.harness.waiting import eventually

Rows = Callable[..., Awaitable[list[Any]]]


def referred(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Return a part of a document, or that which it refers to."""
    if "$ref" not in part:
        return part
    _, _, kind, name = part["$ref"].split("/")
    return document["components"][kind][name]


A_JOB = """
INSERT INTO jobs (id, org_id, kind, payload, run_at, created_at, started_at, max_attempts, progress)
VALUES (gen_random_uuid(), $1, 'of.a.test', '{}', now(), now(), now(), 5, '{"pages":1,"of":10}') RETURNING id
"""
A_QUERY = """
INSERT INTO knowledge_queries (org_id, id, knowledge_id, time, question, mode, results, found, best_score, took_ms, caller, helpful,
    helped_by, judged_at)
SELECT org_id, gen_random_uuid(), id, now(), 'Why?', 'search', 1, ARRAY[id], 1.5, 1.5, 'user:ada', true, id, now()
FROM knowledge WHERE id = $1 RETURNING id
"""
# What only a run that waits, or writes, can be asked: tests/hub/test_executions.py and the tests of sessions do. And a twin
# without a source is fetched by nobody.
OF_A_MOMENT = {
    "/v2/executions/{id}/answers",
    "/v2/agents/{id}/sessions/{session}/cancel",
    "/v2/twins/{id}/sync",
}
KNOWN = {f"/{version.name}" for version in VERSIONS}


class Examples:
    """Sends the examples of a document as they stand; only ids, which nobody can know before, are put in."""

    def __init__(self, document: dict[str, Any], rest: RestClient, media: str, rows: Rows) -> None:
        self._document = document
        self._rows = rows
        self._rest = rest
        self._media = media
        self.ids: dict[str, str] = {}

    async def run(self, path: str, method: str) -> None:
        """Send the example of an operation; its answer is the one that stands beside it."""
        operation = self._document["paths"][path][method]
        kind = path.split("/")[2] if path.startswith("/v") and "{" in path else ""
        if kind in (made_here := {"branches": self._branch, "simulations": self._simulation}):
            self.ids[kind] = await made_here[kind]()
        taken = self._whole(operation.get("requestBody", {})).get("content", {})
        media = self._media if not taken or self._media in taken else next(iter(taken))
        sent = taken[media]["examples"]["example"]["value"] if taken else None
        here = await self._place(path, method, kind)
        if sent is not None and "id" in sent.get("data", ()):
            sent = {"data": {**sent["data"], "id": self.ids[kind]}}
        if sent is not None and path == "/v2/telemetry":
            of_many: Any = sent["data"]["attributes"] if "data" in sent else sent
            of_many["points"][0]["twin_id"] = await self._twin()
        if sent is not None and path == "/v1/agents/execute":
            held: Any = sent["data"]["attributes"] if "data" in sent else sent
            held["agent_id"] = self.ids["agents"]
        headers = {"Accept": media, "Content-Type": media} | {
            name.replace("-", "_"): value
            for name, value in self._headers_of(operation)
            if name not in ("Idempotency-Key", "If-None-Match")
        }
        answer = await self._rest.call(method.upper(), here, sent, **headers)
        status, described = next(iter(operation["responses"].items()))
        described = self._whole(described)
        assert answer.status == int(status), (path, method, answer)
        assert described["headers"].keys() >= {"X-Request-Id"}
        if "content" not in described:
            assert answer.text == ""
            return
        content = described["content"]
        written = content[media] if media in content else content["application/json"]
        schema = {**written["schema"], "components": self._document["components"]}
        jsonschema.validate(answer.body, schema, format_checker=jsonschema.FormatChecker())
        if "examples" in written:
            _is_like(written["examples"]["example"]["value"], answer.body, (path, method))
        made = answer.body.get("data", {}) if "vnd.api" in media else answer.body
        if path.endswith("/execute"):
            self.ids["executions"] = made["id"]
        if status == "201" and "id" in made and "{" not in path:
            self.ids[path.split("/")[2]] = made["id"]
        elif method == "get" and path.count("/") == 2 and "links" in answer.body and answer.body["data"]:
            # Of what clients do not make, as events, one that is there.
            self.ids.setdefault(path.split("/")[2], answer.body["data"][0]["id"])

    async def _place(self, path: str, method: str, kind: str) -> str:
        """Return a path with what is there in the places of names."""
        return await self._below(path.replace("{id}", self.ids.get(kind, "")), path, method)

    async def _below(self, here: str, path: str, method: str) -> str:
        """Return `here` with what is below the resource of `path` in the places of names."""
        here = await self._in_chat(here.replace("{channel}", "chat:lobby"))
        if "{replay}" in here:
            here = here.replace("{replay}", await self._replay(here.partition("/replays/")[0]))
        if "/documents" in path and method != "post":
            here = here.replace("{document}", await self._read_document(here.partition("/documents")[0]))
        if "{document}" in here:
            here = here.replace(
                "{document}", await self._read_document(here.partition("/documents")[0], url="https://x.example/")
            )
        if "{session}" in here:
            here = await self._session(here)
        if "{query}" in here:
            here = here.replace("{query}", await self._query())
        if path.endswith("/paths"):
            goal = await self._contained(here.removesuffix("/paths"))
            here = f"{here}?{'filter[to]' if 'vnd.api' in self._media else 'to'}={goal}"
        if "{letter}" in here:
            here = here.replace("{letter}", await self._dead_letter(here.partition("/dead-letters/")[0]))
        if "{delivery}" in here:
            here = here.replace("{delivery}", await self._delivery(here.partition("/deliveries/")[0]))
        return here

    async def _branch(self) -> str:
        """Have a branch of a twin that differs from it; returns its id."""
        twin = await self._rest.call("POST", "/v2/twins", example_of(TwinBody))
        made = await self._rest.call("POST", f"/v2/twins/{twin.body['id']}/branches", {"name": "More stock"})
        changed = await self._rest.call("PATCH", f"/v2/branches/{made.body['id']}", example_of(BranchChange))
        return changed.body["id"]

    async def _twin(self) -> str:
        """Make a twin; returns its id."""
        return (await self._rest.call("POST", "/v2/twins", {"name": "Pump"})).body["id"]

    async def _in_chat(self, here: str) -> str:
        """Return `here` with what is in a chat in the places of names."""
        if here.startswith("/v2/chats/") and "{message}" in here:
            return here.replace("{message}", await self._said())
        return here.replace("{sanction}", await self._muted()) if "{sanction}" in here else here

    async def _said(self) -> str:
        """Say something in the chat; returns the message's id."""
        said = await self._rest.call("POST", "/v2/channels/chat:lobby/publish", {"data": {"text": "Hello"}})
        return said.body["event_id"]

    async def _muted(self) -> str:
        """Mute somebody in the chat; returns the mute's id."""
        return (await self._rest.call("POST", "/v2/chats/lobby/mutes", {"subject": "user-18"})).body["id"]

    async def _session(self, path: str) -> str:
        """Return a path in a session of an agent, in which a message was answered."""
        sessions, _, rest = path.partition("/{session}")
        session = (
            await self._rest.call("POST", sessions, {"title": "Installation", "metadata": {"ticket": "4711"}})
        ).body["id"]
        messages = f"{sessions}/{session}/messages"
        said = await self._rest.call("POST", messages, {"text": "How do I install the SDK?"})
        assert said.status == 200, said
        return f"{sessions}/{session}{rest}".replace("{message}", said.body["message_id"])

    async def _simulation(self) -> str:
        """Have a twin simulated; returns the id of what was done."""
        body = {"scenario": "demand_spike", "runs": 2}
        done = await self._rest.call("POST", f"/v2/twins/{self.ids['twins']}/simulate", body)
        assert done.status == 200, done
        return done.body["id"]

    async def _query(self) -> str:
        """Have a query be in the log of a base; returns its id."""
        (row,) = await self._rows(A_QUERY, UUID(self.ids["knowledge"]))
        return str(row["id"])

    async def _contained(self, twin: str) -> str:
        """Have a twin contain another; returns that one's id."""
        made = (await self._rest.call("POST", "/v2/twins", {"name": "Pump 7"})).body["id"]
        related = await self._rest.call("PATCH", twin, {"relationships": [{"name": "contains", "target": made}]})
        assert related.status == 200, related
        return made

    async def _read_document(self, base: str, url: str | None = None) -> str:
        """Have a document of a base that is read, and that is as if it came from `url`; returns its id."""
        sent = {
            "name": "docs/install.md",
            "content": f"# Installation\n\nRun {len(self.ids)}.",
            "metadata": {"team": "docs"},
        }
        made = await self._rest.call("POST", f"{base}/documents", {**sent, "wait": 20})
        assert made.status in (201, 202), made
        id = made.body["data"][0]["id"]
        if url is not None:
            await self._rows("UPDATE documents SET url = $1 WHERE id = $2", url, UUID(id))
        return id

    async def _replay(self, subscription: str) -> str:
        """Begin another replay, which runs; returns its id."""
        begun = await self._rest.call("POST", f"{subscription}/replay", {"from": {"position": "0"}, "rate": 0.001})
        return begun.body["id"]

    async def _delivery(self, webhook: str) -> str:
        """Have an event be on its way to a webhook, which was paused by now; returns the delivery's id."""
        await self._rest.call("POST", f"{webhook}/enable")
        made = self._whole(self._document["paths"]["/v2/agents"]["post"]["requestBody"])
        await self._rest.call("POST", "/v2/agents", made["content"]["application/json"]["examples"]["example"]["value"])

        async def first() -> Any:
            return (await self._rest.call("GET", f"{webhook}/deliveries")).body["data"]

        return (await eventually(first))[0]["id"]

    async def _dead_letter(self, subscription: str) -> str:
        """Have an event of the subscription be given up; returns the dead letter's id."""
        await self._rest.call("POST", f"{subscription}/replay", {"from": {"position": "0"}})
        pulled = (await self._rest.call("POST", f"{subscription}/pull", {"max": 1, "wait_seconds": 20})).body
        hold = pulled["deliveries"][0]["ack_id"]
        await self._rest.call(
            "POST", f"{subscription}/nack", {"ack_ids": [hold], "dead_letter": True, "reason": "no such customer"}
        )
        return (await self._rest.call("GET", f"{subscription}/dead-letters")).body["data"][0]["id"]

    def _headers_of(self, operation: dict[str, Any]) -> list[tuple[str, str]]:
        given = (self._whole(each) for each in operation.get("parameters", ()))
        return [(each["name"], str(each["example"])) for each in given if each["in"] == "header"]

    def _whole(self, part: dict[str, Any]) -> dict[str, Any]:
        return referred(self._document, part)


def _is_like(example: Any, answer: Any, where: Any) -> None:
    """The same names, and the same kinds of values; what is stored stands in both as it was sent."""
    # A job that has said nothing, a session in which nothing was said, a document that is not found, a receiver that did not
    # answer; and a message has no context.
    may_lack = where[-1] in ("progress", "head_id") or where[-2] in ("ranks", "attempts")
    if (may_lack and answer is None) or (where[-1] == "context" and answer == {}):
        return
    if isinstance(example, dict):
        assert answer.keys() >= example.keys(), where
        for name, value in example.items():
            _is_like(value, answer[name], (*where, name))
    elif isinstance(example, list) and example and answer:
        _is_like(example[0], answer[0], where)
    elif example is not None:
        assert type(answer) is type(example), (where, example, answer)


@pytest.mark.parametrize("media", ["application/json", "application/vnd.api+json"])
async def test_every_example_is_answered_as_it_says(
    media: str, database_url: str, redis_url: str, engines: EngineUrls, organisation: Organisation, hubs: HubProcesses
) -> None:
    """Against a real hub, in the order in which things are made, read, changed and removed; in both forms."""
    hub = await hubs.start(urls=EngineUrls(database_url, engines.superuser_url, redis_url))
    key = await organisation.key()
    order = ("post", "get", "put", "patch", "delete")
    async with RestClient(hub.base_url, key) as rest, open_stream(hub.stream_url, key) as stream:
        document = (await rest.call("GET", "/openapi.json")).body
        examples = Examples(document, rest, media, organisation.rows)
        examples.ids["connections"] = (await stream.expect("welcome"))["connection"]
        # The hub has no operation that makes one by itself.
        (job,) = await organisation.rows(A_JOB, organisation.id)
        examples.ids["jobs"] = str(job["id"])
        # A type is made by the PUT that also changes it, and by its own name.
        examples.ids["event-types"] = "custom.order.placed"
        # So is a namespace; this is the first of all.
        examples.ids |= {"chats": "lobby", "namespaces": "aaa"}
        assert (await rest.call("PUT", "/v2/namespaces/aaa", example_of(NamespaceSettings))).status == 200
        example = {"example": {"id": "17", "version": 3}}
        assert (await rest.call("PUT", "/v2/event-types/custom.order.placed", example)).status == 200
        # What is inside a thing needs the thing: longer paths come later.
        paths = sorted(document["paths"], key=lambda path: (path.count("/"), path))
        for start in ("/v1/", "/v2/", "/v3/", "/"):
            within = [path for path in paths if path.startswith(start) and (start != "/" or path[:3] not in KNOWN)]
            for method in order:
                # And what is inside goes before it.
                for path in reversed(within) if method == "delete" else within:
                    if method in document["paths"][path] and path not in OF_A_MOMENT:
                        await examples.run(path, method)
