"""HEAD at every path that has GET: the same answer without its body (RFC 9110, section 9.3.2)."""

from collections.abc import Mapping

import aiohttp
from multidict import CIMultiDict

from core.store.engines import EngineUrls
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.stream_client import open_stream
from tests.harness.waiting import eventually

# What the document does not describe.
OTHERS = (
    "/", "/docs", "/web/page.js", "/asyncapi.json", "/docs/migration-v1-v2.md", "/metrics", "/.well-known/jwks.json",
    "/v2/connections/{id}/trace?seconds=1", "/nothing", "/v2/nothing", "/agents",
)  # fmt: skip
# What is of one answer alone, or of its moment; a length only where there is a body, or would be.
OWN = ("x-request-id", "date", "transfer-encoding")
A_JOB = """
INSERT INTO jobs (id, org_id, kind, payload, run_at, created_at)
VALUES (gen_random_uuid(), $1, 'none', '{}', now(), now()) RETURNING id
"""
OF_ITS_MOMENT = ("/metrics", "/healthz", "/v2/connections", "/trace", "/v2/subscriptions", "/v2/audit")


async def test_head_answers_as_get_without_a_body(
    database_url: str, redis_url: str, engines: EngineUrls, organisation: Organisation, hubs: HubProcesses
) -> None:
    """Status and headers, over a real hub: all that its document has, and what it has besides."""
    hub = await hubs.start(urls=EngineUrls(database_url, engines.superuser_url, redis_url))
    key = await organisation.key()
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        RestClient(hub.base_url, key) as rest,
        open_stream(hub.stream_url, key) as stream,
        aiohttp.ClientSession(hub.base_url, headers=headers) as client,
    ):
        ids = {"connections": (await stream.expect("welcome"))["connection"]}
        for kind in ("agents", "knowledge", "twins"):
            body = {"name": "A", "metadata": {"text": "x" * 2000}}
            ids[kind] = (await rest.call("POST", f"/v2/{kind}", body)).body["id"]
        done = await rest.call("POST", f"/v2/agents/{ids['agents']}/execute", {"query": "How?"})
        assert done.status == 200, done
        ids["executions"] = done.body["id"]
        done = await rest.call("POST", f"/v2/twins/{ids['twins']}/simulate", {"scenario": "demand_spike", "runs": 2})
        assert done.status == 200, done
        ids["simulations"] = done.body["id"]
        ids["branches"] = (await rest.call("POST", f"/v2/twins/{ids['twins']}/branches", {"name": "B"})).body["id"]
        ids["keys"] = (await rest.call("POST", "/v2/keys", {"name": "CI", "scopes": ["read:agents"]})).body["id"]
        (job,) = await organisation.rows(A_JOB, organisation.id)
        ids["jobs"] = str(job["id"])
        ids |= {"chats": "lobby", "namespaces": "chat"}
        ids |= await _of_the_log(rest)
        document = (await rest.call("GET", "/openapi.json")).body
        for path in (*(path for path, methods in document["paths"].items() if "get" in methods), *OTHERS):
            kind = path.split("/")[2] if "{id}" in path else ""
            asked = path.replace("{id}", ids.get(kind, "")).replace("{replay}", ids["replay"])
            asked = asked.replace("{channel}", "chat:lobby")
            asked += f"?to={ids['twins']}" if path.endswith("/paths") else ""
            (status, said, whole), (head_status, head_said, nothing) = [
                await _ask(client, method, asked) for method in ("GET", "HEAD")
            ]
            assert (head_status, nothing) == (status, b""), path
            # A dead letter and an attempt have no id here, so there is none.
            assert status == (404 if "nothing" in path or "{" in asked else 200), path
            assert whole, path
            if any(part in path for part in OF_ITS_MOMENT):
                for headers_of_it in (said, head_said):
                    for name in ("Content-Length", "ETag"):
                        headers_of_it.pop(name, None)
            assert _shared(head_said) == _shared(said), path


async def _of_the_log(rest: RestClient) -> dict[str, str]:
    """Return ids of what stands on the log: an event, its type, a subscription with a replay, a webhook."""

    async def event() -> str | None:
        found = (await rest.call("GET", "/v2/events")).body["data"]
        # Three resources, and what an execution and a simulation have told: the list stays as it is from then on.
        is_all = {each["type"] for each in found} >= {"agent.execution.completed", "twin.simulation.completed"}
        return found[0]["id"] if is_all else None

    wanted = {"name": "A", "types": ["agent.*"]}
    subscription = (await rest.call("POST", "/v2/subscriptions", wanted)).body["id"]
    replay = await rest.call("POST", f"/v2/subscriptions/{subscription}/replay", {"from": {"position": "0"}})
    webhook = await rest.call("POST", "/v2/webhooks", {"url": "https://hooks.example/", "events": ["agent.*"]})
    return {
        "events": await eventually(event, what="the log has all"),
        "event-types": "agent.created",
        "subscriptions": subscription,
        "replay": replay.body["id"],
        "webhooks": webhook.body["id"],
    }


async def _ask(client: aiohttp.ClientSession, method: str, path: str) -> tuple[int, CIMultiDict[str], bytes]:
    async with client.request(method, path) as answer:
        return answer.status, CIMultiDict(answer.headers), await answer.read()


def _shared(headers: Mapping[str, str]) -> dict[str, str]:
    named = {name.lower(): value for name, value in headers.items()}
    return {name: value for name, value in named.items() if name not in OWN and "ratelimit" not in name}
