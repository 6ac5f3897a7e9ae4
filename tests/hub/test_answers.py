"""Answers of a knowledge base on a whole hub, whose only models are those of HUB_MODELS: the first of them writes."""

import orjson

from core.store.engines import EngineUrls
from tests.harness.fake_provider import FakeProvider, serving
from tests.harness.hub_process import HubProcesses
from tests.harness.organisations import Organisation
from tests.harness.rest_client import RestClient
from tests.harness.waiting import eventually

ASKED = {"question": "How do I install the SDK?", "mode": "answer"}
DOCUMENT = {"name": "install.md", "content": "# SDK\n\nInstall the SDK with pip install aimatrix."}


async def test_first_of_several_models_writes_answers(
    engines: EngineUrls, database_url: str, redis_url: str, hubs: HubProcesses, organisation: Organisation
):
    """No HUB_MODEL_NAME is needed; the endpoint is told its own name of the model, and its key."""
    async with serving(FakeProvider()) as provider, serving(FakeProvider()) as other:
        models = [
            {"name": "small", "url": provider.url, "model": "of-theirs", "key": "sk-small"},
            {"name": "large", "url": other.url},
        ]
        hub = await hubs.start(
            urls=EngineUrls(database_url, engines.superuser_url, redis_url),
            environment={"HUB_MODELS": orjson.dumps(models).decode()},
        )
        async with RestClient(hub.base_url, await organisation.key(), timeout=60) as client:
            base = (await client.call("POST", "/v2/knowledge", {"name": "Docs", "type": "documentation"})).body["id"]
            await client.call("POST", f"/v2/knowledge/{base}/documents", {"documents": [DOCUMENT]})

            async def ready() -> bool:
                found = await client.call("GET", f"/v2/knowledge/{base}/statistics")
                return found.body["documents"]["ready"] == 1

            await eventually(ready, within=60, what="the document is ready")
            answer = (await client.call("POST", f"/v2/knowledge/{base}/query", ASKED)).body["answer"]
        assert (answer["generated"], answer["text"]) == (True, provider.text)
        assert [each["name"] for each in answer["citations"]] == ["install.md"]
        assert ([call["model"] for call in provider.calls], provider.keys) == (["of-theirs"], ["Bearer sk-small"])
        assert other.calls == []
