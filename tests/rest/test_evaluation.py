"""Measuring a knowledge base over REST: by questions whose documents are known."""

import argparse
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from core.errors import HubError
from core.settings import Settings
from core.store.database import Database
from hub.commands.evaluate import read_questions, run
from tests.handlers.knowledge.retrieval.library import Library
from tests.harness.organisations import Organisation
from tests.rest.server import Answer, RestServer

_TEXTS = {
    "docs/sdk.md": "Install the SDK with pip install aimatrix, then import it.",
    "docs/billing.md": "An invoice is sent at the end of each month, and paid by card.",
    "docs/start.md": "To install anything you need a key. Install what you like; install it often.",
}


@pytest.fixture
async def library(database_url: str, organisation: Organisation) -> AsyncIterator[Library]:
    database = Database(database_url, role="hub_app", size=2)
    yield Library(database, organisation.id)
    await database.close()


@pytest.fixture
async def base(rest: RestServer, key: str, library: Library) -> str:
    """A base with three documents."""
    made = (await rest.call("POST", "/v2/knowledge", key, body={"name": "Docs"})).json()
    for name, text in _TEXTS.items():
        await library.document(UUID(made["id"]), name, text)
    return made["id"]


async def evaluate(rest: RestServer, key: str, base: str, *questions: tuple[str, list[str]], **more: Any) -> Answer:
    asked = [{"question": question, "relevant": relevant} for question, relevant in questions]
    return await rest.call("POST", f"/v2/knowledge/{base}/evaluate", key, body={"questions": asked, **more})


async def test_measures_are_means_of_what_each_question_found(rest: RestServer, key: str, base: str) -> None:
    answer = await evaluate(
        rest, key, base, ("When does the invoice come?", ["docs/billing.md"]), ("weather", ["docs/sdk.md"])
    )

    assert answer.status == 200
    told = answer.json()
    assert (told["ndcg"], told["recall"], told["mrr"], told["k"]) == (0.5, 0.5, 0.5, 10)
    assert told["questions"][0]["ranks"] == {"docs/billing.md": 1}
    assert told["questions"][0]["found"] == ["docs/billing.md"]
    assert told["questions"][1] == {
        "question": "weather",
        "ndcg": 0.0,
        "recall": 0.0,
        "reciprocal_rank": 0.0,
        "ranks": {"docs/sdk.md": None},
        "found": [],
    }


async def test_rank_of_a_relevant_document_that_is_second(rest: RestServer, key: str, base: str) -> None:
    told = (await evaluate(rest, key, base, ("install", ["docs/sdk.md", "docs/start.md"]))).json()
    (judged,) = told["questions"]
    second = next(name for name, rank in judged["ranks"].items() if rank == 2)

    alone = (await evaluate(rest, key, base, ("install", [second]))).json()

    assert judged["ndcg"] == 1.0
    assert alone["ndcg"] == round(1 / math.log2(3), 4)
    assert alone["mrr"] == 0.5


async def test_k_is_how_many_documents_count(rest: RestServer, key: str, base: str) -> None:
    told = (await evaluate(rest, key, base, ("install", ["docs/sdk.md", "docs/start.md"]), k=1)).json()

    assert len(told["questions"][0]["found"]) == 1
    assert told["questions"][0]["recall"] == 1.0  # of twice as many


async def test_documents_by_id_and_documents_that_are_not_there(
    rest: RestServer, key: str, base: str, library: Library
) -> None:
    ids = {row["name"]: str(row["id"]) for row in await library.rows("SELECT id, name FROM documents")}

    told = (await evaluate(rest, key, base, ("invoice", [ids["docs/billing.md"], "docs/gone.md"]))).json()

    assert told["questions"][0]["ranks"] == {ids["docs/billing.md"]: 1, "docs/gone.md": None}
    assert told["questions"][0]["recall"] == 0.5
    assert told["unknown"] == ["docs/gone.md"]


async def test_record_is_found_by_its_bases_name(rest: RestServer, key: str) -> None:
    body = {"name": "Jane Doe", "type": "contact", "data": {"company": "Acme", "email": "jane@example.com"}}
    made = (await rest.call("POST", "/v2/knowledge", key, body=body)).json()

    told = (await evaluate(rest, key, made["id"], ("Who works at Acme?", ["Jane Doe"]))).json()

    assert (told["ndcg"], told["unknown"]) == (1.0, [])


@pytest.mark.parametrize(
    "body",
    [
        {"questions": []},
        {"questions": [{"question": " ", "relevant": ["a"]}]},
        {"questions": [{"question": "a", "relevant": []}]},
        {"questions": [{"question": "a", "relevant": ["a"]}] * 201},
        {"questions": [{"question": "a", "relevant": ["a"]}], "k": 0},
        {"questions": [{"question": "a", "relevant": ["a"]}], "depth": 3},
    ],
)
async def test_what_cannot_be_measured_is_refused(rest: RestServer, key: str, base: str, body: dict[str, Any]) -> None:
    answer = await rest.call("POST", f"/v2/knowledge/{base}/evaluate", key, body=body)

    answer.error(422, "VALIDATION_ERROR")


async def test_questions_that_are_long_together_are_refused(rest: RestServer, key: str, base: str) -> None:
    answer = await evaluate(rest, key, base, *[("word " * 10_000, ["a"])] * 5)

    answer.error(413, "PAYLOAD_TOO_LARGE")


async def test_base_that_is_not_there_is_404(rest: RestServer, key: str, base: str) -> None:
    answer = await evaluate(rest, key, "01978f3e-5a70-7c3d-9b42-6f0d2c1e8a55", ("invoice", ["docs/billing.md"]))

    answer.error(404, "RESOURCE_NOT_FOUND")


async def test_evaluation_stands_in_no_log_of_queries(rest: RestServer, key: str, base: str) -> None:
    await evaluate(rest, key, base, ("invoice", ["docs/billing.md"]))

    logged = (await rest.call("GET", f"/v2/knowledge/{base}/queries", key)).json()

    assert logged["data"] == []


async def test_command_tells_measures_and_the_worst_questions(
    rest: RestServer,
    key: str,
    base: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(
        '{"question": "invoice", "relevant": ["docs/billing.md"]}\n{"question": "weather", "relevant": ["docs/sdk.md"]}\n'
    )
    monkeypatch.setenv("HUB_KEY", key)
    asked = argparse.Namespace(base=base, questions=file, url=f"http://127.0.0.1:{rest.port}", k=10, least=0.6)

    code = await run(Settings.load(), asked)

    assert code == 1
    assert capsys.readouterr().out.splitlines() == [
        "2 questions: nDCG@10 0.500, recall@20 0.500, MRR 0.500",
        "  0.00  weather  (docs/sdk.md not found)",
    ]


async def test_command_says_why_the_hub_refuses(
    rest: RestServer, key: str, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "questions.json"
    file.write_text('[{"question": "invoice"}]')
    monkeypatch.setenv("HUB_KEY", key)
    asked = argparse.Namespace(base=base, questions=file, url=f"http://127.0.0.1:{rest.port}", k=10, least=None)

    with pytest.raises(HubError, match=r"questions\[0\].relevant"):
        await run(Settings.load(), asked)


def test_file_that_is_no_json_is_said(tmp_path: Path) -> None:
    file = tmp_path / "questions.txt"
    file.write_text("How do I install the SDK?")

    with pytest.raises(HubError, match="neither a JSON array nor lines of JSON"):
        read_questions(file)
