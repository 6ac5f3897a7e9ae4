"""The model of the `semantic` extra: what it makes of sentences is known, and its process may die."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import numpy as np
import pytest

from handlers.knowledge.embedding.embedder import EmbedderAway
from handlers.knowledge.embedding.minilm.embedder import MiniLMEmbedder, folder_of_model

FOLDER = folder_of_model()
pytestmark = pytest.mark.skipif(FOLDER is None, reason="the semantic extra is not installed: make semantic")


@pytest.fixture
async def minilm() -> AsyncIterator[MiniLMEmbedder]:
    assert FOLDER is not None
    made = MiniLMEmbedder(FOLDER)
    yield made
    await made.close()


async def test_known_similarities(minilm: MiniLMEmbedder):
    """The model's makers publish these for it (Sentence Transformers' documentation and the model's card)."""
    rows = await minilm.embed(["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."])
    assert np.allclose(rows @ rows.T, [[1, 0.6660, 0.1046], [0.6660, 1, 0.1411], [0.1046, 0.1411, 1]], atol=1e-4)
    rows = await minilm.embed(["That is a happy person", "That is a happy dog", "That is a very happy person"])
    assert np.allclose(rows[0] @ rows[1:].T, [0.695, 0.943], atol=1e-3)


async def test_text_has_one_vector_whatever_stands_beside_it(minilm: MiniLMEmbedder):
    """Texts of one call do not see each other; long ones, empty ones and other scripts are texts too."""
    texts = ["", "word " * 5_000, "Ünïcödé 文字 \U0001f600", "\x00", "How do I install the SDK?"]
    together = await minilm.embed(texts)
    for text, row in zip(texts, together, strict=True):
        assert np.allclose(await minilm.embed_question(text), row, atol=1e-5)


async def test_question_goes_before_texts(minilm: MiniLMEmbedder):
    """Whoever waits for an answer does not wait for an ingestion."""
    texts = asyncio.create_task(minilm.embed(["a long text of many words " * 40] * 40))
    await minilm.embed_question("first?")
    assert not texts.done()
    texts.cancel()


async def test_process_that_dies_is_started_anew(minilm: MiniLMEmbedder):
    """What it was at fails, and the next is done."""
    await minilm.embed_question("alive?")
    assert minilm.pid is not None
    texts = asyncio.create_task(minilm.embed(["a long text of many words " * 40] * 40))
    os.kill(minilm.pid, signal.SIGKILL)
    with pytest.raises(EmbedderAway):
        await texts
    assert (await minilm.embed_question("alive again?")).shape == (384,)


async def test_who_stops_waiting_leaves_no_answer_behind(minilm: MiniLMEmbedder):
    """The next one gets its own."""
    expected = await minilm.embed_question("mine?")
    given_up = asyncio.create_task(minilm.embed(["another's"]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    given_up.cancel()
    assert np.array_equal(await minilm.embed_question("mine?"), expected)
