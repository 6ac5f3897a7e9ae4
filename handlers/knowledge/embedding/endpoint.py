"""Vectors by an endpoint that speaks OpenAI's API (POST {url}/embeddings), whoever runs it.

Its address is the operator's own choice, so it may be on a private network. The client waits as `Retry-After` says and tries
again, where a job asks; a question is asked once.
"""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import openai
import orjson

from core.clock import Clock
from handlers.knowledge.embedding.embedder import EmbedderAway, Floats, TextRefused, checked
from handlers.webhooks.circuit import Circuit

TEXTS_A_CALL = 64
# About what 64 long chunks have: servers bound a call's tokens too (OpenAI: 300,000).
CHARACTERS_A_CALL = 200_000
# A model reads some thousand tokens at most; what is cut is not looked at by any.
MOST_CHARACTERS = 24_000
TEXTS_SECONDS = 60.0
# Under the patience for a question (questions.py), so that the circuit hears of an endpoint that stalls.
QUESTION_SECONDS = 1.25
TRIES_AGAIN = 3
# Statuses by which a server says that it will never take this text.
_REFUSED = frozenset({400, 413, 422})


class EndpointEmbedder:
    """One model of an endpoint. Its vectors' length is that of its first answer; another one later is a fault."""

    def __init__(
        self, url: str, key: str | None, model: str, clock: Clock, question_seconds: float = QUESTION_SECONDS
    ) -> None:
        self._client = openai.AsyncOpenAI(
            base_url=url,
            api_key=key or "none",  # some servers want none
            timeout=TEXTS_SECONDS,
            max_retries=TRIES_AGAIN,
        )
        self._once = self._client.with_options(max_retries=0, timeout=question_seconds)
        self._model = model
        self._clock = clock
        self._circuit = Circuit()
        self._dimensions: int | None = None

    @property
    def model(self) -> str:
        """The model's name, as the endpoint knows it."""
        return self._model

    async def embed(self, texts: Sequence[str]) -> Floats:
        """Return their rows, by calls of a bounded size."""
        rows = [await self._call(part, self._client) for part in parts_of(texts)]
        return np.concatenate(rows)

    async def embed_question(self, question: str) -> Floats:
        """Return its row; at once an error where the endpoint has failed lately."""
        return (await self._call([question[:MOST_CHARACTERS]], self._once))[0]

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def _call(self, texts: Sequence[str], client: openai.AsyncOpenAI) -> Floats:
        if self._circuit.state(self._clock.monotonic()) == "open":
            raise EmbedderAway("the endpoint has failed lately, and is left alone for a moment")
        try:
            rows = await self._asked(texts, client)
        except EmbedderAway:
            self._circuit.failed(self._clock.monotonic())
            raise
        self._circuit.succeeded()
        self._dimensions = rows.shape[1]
        return rows

    async def _asked(self, texts: Sequence[str], client: openai.AsyncOpenAI) -> Floats:
        try:
            answer = await client.embeddings.with_raw_response.create(
                model=self._model, input=list(texts), encoding_format="base64"
            )
            content = answer.content
        except openai.APIStatusError as error:
            refusal = TextRefused if error.status_code in _REFUSED else EmbedderAway
            raise refusal(f"the endpoint answers {error.status_code}") from error
        except openai.APIError as error:
            raise EmbedderAway(f"the endpoint does not answer: {type(error).__name__}") from error
        return checked(rows_of(content, len(texts)), len(texts), self._dimensions)


def parts_of(texts: Sequence[str]) -> list[list[str]]:
    """Return the texts, cut where one is too long, in parts that a call takes."""
    parts: list[list[str]] = [[]]
    room = CHARACTERS_A_CALL
    for text in texts:
        cut = text[:MOST_CHARACTERS]
        if parts[-1] and (len(parts[-1]) == TEXTS_A_CALL or len(cut) > room):
            parts.append([])
            room = CHARACTERS_A_CALL
        parts[-1].append(cut)
        room -= len(cut)
    return parts


def rows_of(content: bytes, texts: int) -> list[Any]:
    """Return the vectors of an answer in the order of their `index`; they are base64 (little-endian floats) or numbers."""
    try:
        data = orjson.loads(content)["data"]
        rows = {each.get("index", place): _row(each["embedding"]) for place, each in enumerate(data)}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise EmbedderAway("the endpoint's answer is no list of vectors") from error
    if len(data) != texts or rows.keys() != set(range(texts)):
        raise EmbedderAway(f"{len(data)} vectors came for {texts} texts")
    return [rows[index] for index in range(texts)]


def _row(embedding: Any) -> Any:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4")
    row = np.asarray(embedding, np.float64)
    if row.ndim != 1:
        raise ValueError("a vector is a list of numbers")
    return row
