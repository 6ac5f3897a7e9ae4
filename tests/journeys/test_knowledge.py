"""A knowledge base from its first file to its answers, as the snippets of the API's guide have it, with this project's own docs."""

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.harness.hub_process import HubProcess
from tests.harness.rest_client import RestClient
from tests.harness.stream_client import StreamClient, open_stream
from tests.harness.waiting import eventually
from tests.journeys.test_page import hub, key, organisation

__all__ = ["hub", "key", "organisation"]  # fixtures: one hub for all of these

CHECKOUT = Path(__file__).parents[2]
INSTALL = "How do I install the SDK?"
# As salesforce names them, one a request.
CONTACTS = [
    {"Name": "Jane Doe", "Company": "Acme Corporation", "Email": "jane.doe@acme.example", "Phone": "+1 555 0100"},
    {"Name": "Grzegorz Brzęczyszczykiewicz", "Company": "Chrząszcz Logistics", "Email": "g@chrzaszcz.example"},
    {"Name": "John Smith", "Company": "Initech", "Email": "john@initech.example"},
]


def files() -> dict[str, str]:
    """Return what the globs `docs/**/*.md` and `README.md` name, by their paths."""
    paths = [*sorted((CHECKOUT / "docs").glob("**/*.md")), CHECKOUT / "README.md"]
    return {path.relative_to(CHECKOUT).as_posix(): path.read_text() for path in paths}


@pytest.fixture
async def client(hub: HubProcess, key: str) -> AsyncIterator[RestClient]:
    """A client with that key."""
    async with RestClient(hub.base_url, key, timeout=60) as made:
        yield made


async def post(client: RestClient, path: str, body: Any, status: int = 200) -> Any:
    answer = await client.call("POST", path, body)
    assert answer.status == status, answer
    return answer.body


async def statistics(client: RestClient, base: str) -> Any:
    return (await client.call("GET", f"/v2/knowledge/{base}/statistics")).body


async def ingested(client: RestClient, base: str, count: int) -> None:
    """Wait until as many documents are ready."""

    async def ready() -> bool:
        documents = (await statistics(client, base))["documents"]
        assert documents["failed"] == 0, documents
        return documents["ready"] == count

    await eventually(ready, within=60, what=f"{count} documents are ready")


async def upload(client: RestClient, base: str, contents: dict[str, str]) -> None:
    """Upload what the hub lacks, as a client with globs does."""
    manifest = [{"name": name, "hash": sha256(text.encode()).hexdigest()} for name, text in contents.items()]
    path = f"/v2/knowledge/{base}/documents"
    wanted = (await post(client, f"{path}/manifest", {"documents": manifest}))["upload"]
    for begin in range(0, len(wanted), 10):
        sent = [
            {"name": name, "content": contents[name], "metadata": {"folder": name.rpartition("/")[0] or "."}}
            for name in wanted[begin : begin + 10]
        ]
        assert (await client.call("POST", path, {"documents": sent})).status in (201, 202)


async def progress(stream: StreamClient, base: str, count: int) -> list[int]:
    """Read events until nothing is pending; returns how many documents were ready in each."""
    seen: list[int] = []
    while True:
        event = (await stream.expect("event"))["event"]
        if event["type"] != "knowledge.ingestion.progress" or event["subject"] != f"knowledge/{base}":
            continue
        seen.append(event["data"]["ready"])
        if not event["data"]["pending"] and sum(seen) >= count:
            return seen


async def test_docs_are_uploaded_found_and_moved(client: RestClient, hub: HubProcess, key: str):
    """Create with globs, tell the files, upload, watch, ask, ask again, export, import: the same is found."""
    contents = files()
    made = await post(
        client,
        "/v2/knowledge",
        {"name": "Product Documentation", "type": "documentation", "sources": ["docs/**/*.md"]},
        201,
    )
    base = made["id"]
    async with open_stream(hub.stream_url, key) as stream:
        await stream.expect("welcome")
        await stream.subscribe("knowledge")
        await upload(client, base, contents)
        assert await progress(stream, base, len(contents))
    await ingested(client, base, len(contents))
    manifest = [{"name": name, "hash": sha256(text.encode()).hexdigest()} for name, text in contents.items()]
    told = await post(client, f"/v2/knowledge/{base}/documents/manifest", {"documents": manifest})
    assert (told["upload"], told["unchanged"], told["missing"]) == ([], len(contents), [])

    asked = {"question": INSTALL, "max_results": 5, "include_metadata": True}
    for version in ("v1", "v2"):
        found = await post(client, f"/{version}/knowledge/{base}/query", asked)
        assert 0 < len(found["results"]) <= 5
        assert all(each["metadata"]["folder"] in ("docs", ".") for each in found["results"])
        answer = (await post(client, f"/{version}/knowledge/{base}/query", {**asked, "mode": "answer"}))["answer"]
        assert {each["name"] for each in answer["citations"]} == {"docs/clients.md"}
        assert "openapi.json" in answer["text"], answer
    question = {"question": "How long are failed jobs kept?", "mode": "answer"}
    told = await post(client, f"/v2/knowledge/{base}/query", question)
    answer = told["answer"]
    assert answer["citations"][0]["name"] == "docs/jobs.md"
    assert "30" in answer["text"]

    await _logged(client, base, told["query_id"])
    await _moved(client, hub, base, len(contents), key)


async def _logged(client: RestClient, base: str, last: str) -> None:
    """Every question stands in the log, and one can be judged."""

    async def five() -> Any:
        data = (await client.call("GET", f"/v2/knowledge/{base}/queries")).body["data"]
        return data if len(data) == 5 else None

    newest, *_, first = await eventually(five)
    assert first["question"] == INSTALL
    assert newest["id"] == last
    path = f"/v2/knowledge/{base}/queries/{last}/feedback"
    await post(client, path, {"helpful": True, "document_id": newest["documents"][0]})
    assert (await statistics(client, base))["queries"]["day"]["count"] == 5


async def _moved(client: RestClient, hub: HubProcess, base: str, count: int, key: str) -> None:
    """What was exported and imported is the same base: the same documents, the same found."""
    bearer = {"Authorization": f"Bearer {key}"}
    url = f"{hub.base_url}/v2/knowledge"
    async with aiohttp.ClientSession(headers=bearer) as session:
        async with session.get(f"{url}/{base}/export") as exported:
            lines = await exported.read()
        async with session.post(
            f"{url}/import", data=lines, headers={"Content-Type": "application/x-ndjson"}
        ) as imported:
            told = await imported.json()
            assert imported.status == 201, told
    assert told["documents"] == {"created": count, "refused": 0, "errors": []}
    copy = told["knowledge"]["id"]
    await ingested(client, copy, count)
    for question in (INSTALL, "idempotency key", "What does a 429 mean?", '"at least once"'):

        async def alike(question: str = question) -> bool:
            before, after = [await _found(client, id, question) for id in (base, copy)]
            return bool(before) and before == after

        # How often words stand in a base is counted a few seconds after its documents are ready.
        await eventually(alike, within=60, what=f"{question} finds the same in the copy")
    async with aiohttp.ClientSession(headers=bearer) as session, session.get(f"{url}/{copy}/export") as again:
        assert await again.read() == lines


async def _found(client: RestClient, base: str, question: str) -> list[tuple[str, str]]:
    results = (await post(client, f"/v2/knowledge/{base}/query", {"question": question}))["results"]
    return [(each["name"], each["content"]) for each in results]


async def test_import_takes_what_it_can_and_tells_what_was_refused(client: RestClient, hub: HubProcess, key: str):
    """One document that is none does not keep the others out, whichever were sent together with it."""
    documents = [{"name": f"{number}.txt", "content": f"Number {number}."} for number in range(60)]
    documents[7] = {"name": "seven.pdf", "content_base64": "no base64"}
    documents[8] = {"name": "../eight.txt", "content": "8"}
    lines = [
        {"format": "aimatrix.knowledge/1", "knowledge": {"name": "Numbers"}},
        *({"document": each} for each in documents),
        {"end": {"documents": 60}},
    ]
    body = b"".join(orjson.dumps(each) + b"\n" for each in lines)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{hub.base_url}/v2/knowledge/import", data=body) as answer,
    ):
        told = await answer.json()
        assert answer.status == 201, told
    assert (told["documents"]["created"], told["documents"]["refused"]) == (58, 2)
    errors = {each["name"]: (each["code"], each["message"]) for each in told["documents"]["errors"]}
    assert {name: code for name, (code, _) in errors.items()} == {
        "seven.pdf": "VALIDATION_ERROR",
        "../eight.txt": "VALIDATION_ERROR",
    }
    assert "base64" in errors["seven.pdf"][1]
    assert (await statistics(client, told["knowledge"]["id"]))["documents"]["total"] == 58


async def test_contacts_are_found_by_name_company_and_typo(client: RestClient):
    """Posted one by one as a connector does, each a base that is one record; found when its 201 has come."""
    for contact in CONTACTS:
        await post(client, "/v1/knowledge", {"type": "contact", "data": contact, "source": "salesforce"}, 201)
    for question, name in (
        ("Jane Doe", "Jane Doe"),
        ("acme", "Jane Doe"),
        ("Who works at Initech?", "John Smith"),
        ("Brzeczyszczykiewicz", "Grzegorz Brzęczyszczykiewicz"),
        ("Acme Corporatoin", "Jane Doe"),
        ("Jhon Smith", "John Smith"),
    ):
        found = await post(client, "/v2/knowledge/query", {"question": question, "type": "contact"})
        assert found["results"], question
        assert found["results"][0]["name"] == name, question
