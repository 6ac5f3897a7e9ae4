"""Models behind an endpoint that speaks OpenAI's chat completions: the operator's choice, so it is called directly.

What the endpoint answers 429 or 5xx before its first word is asked once more, as its Retry-After says (the client does that); after
it nothing is asked twice. A stream that stands still is given up, and an endpoint that fails again and again is left alone for
a while, so that nobody waits for it.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, cast

import openai
from openai.types.chat import ChatCompletionMessageParam

from core.clock import Clock
from handlers.models.model import Message, ModelError
from handlers.webhooks.circuit import Circuit

CONNECT_SECONDS = 5.0
# Until the first piece of an answer, and between two.
STALLED_SECONDS = 20.0
TRIES = 2
# What is wrong with one request is no fault of the endpoint's.
_REFUSED = frozenset({400, 413, 422})
# Models that think first take other parameters, and count what they think.
_OLD_PARAMETERS = frozenset({"max_tokens", "temperature"})
_THOUGHT_TIMES = 4


class CompatibleModel:
    """One model of one endpoint. To be closed."""

    def __init__(self, url: str, name: str, key: str | None, clock: Clock, *, stalled: float = STALLED_SECONDS) -> None:
        self._name = name
        self._clock = clock
        self._circuit = Circuit()
        self._thinks = False
        self._client = openai.AsyncOpenAI(
            base_url=url,
            api_key=key or "none",  # some servers want none
            timeout=openai.Timeout(stalled, connect=CONNECT_SECONDS),
            max_retries=TRIES - 1,
        )

    @property
    def name(self) -> str:
        """The model's name, as the endpoint knows it."""
        return self._name

    async def write(self, messages: Sequence[Message], *, most_tokens: int) -> AsyncGenerator[str]:
        """Yield the text as it is written. Raises ModelError; at once where the endpoint has failed lately."""
        if self._circuit.state(self._clock.monotonic()) == "open":
            raise ModelError(f"{self._name} has failed lately, and is left alone for a moment")
        try:
            async with aclosing(self._pieces(messages, most_tokens)) as pieces:
                async for piece in pieces:
                    yield piece
        except openai.APIStatusError as error:
            if error.status_code not in _REFUSED:
                self._circuit.failed(self._clock.monotonic())
            raise ModelError(f"{self._name} answers {error.status_code}") from error
        except (openai.OpenAIError, ModelError, ValueError) as error:
            self._circuit.failed(self._clock.monotonic())
            raise ModelError(f"{self._name} does not answer to the end: {type(error).__name__}") from error
        self._circuit.succeeded()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _pieces(self, messages: Sequence[Message], most_tokens: int) -> AsyncGenerator[str]:
        is_ended = False
        stream = await self._stream(messages, most_tokens)
        async with stream:
            async for chunk in stream:
                text, ends = _read(chunk)
                is_ended = is_ended or ends
                if text:
                    yield text
        if not is_ended:
            raise ModelError("the answer ended early")

    async def _stream(self, messages: Sequence[Message], most_tokens: int) -> openai.AsyncStream[Any]:
        if not self._thinks:
            try:
                return await self._create(messages, {"max_tokens": most_tokens, "temperature": 0})
            except openai.BadRequestError as error:
                if error.param not in _OLD_PARAMETERS:
                    raise
                self._thinks = True
        return await self._create(messages, {"max_completion_tokens": most_tokens * _THOUGHT_TIMES})

    async def _create(self, messages: Sequence[Message], bounds: dict[str, Any]) -> openai.AsyncStream[Any]:
        sent = [{"role": each.role, "content": each.content} for each in messages]
        return await self._client.chat.completions.create(
            model=self._name, messages=cast("list[ChatCompletionMessageParam]", sent), stream=True, **bounds
        )


def _read(chunk: Any) -> tuple[str, bool]:
    """Return the text of a part of an answer, and whether it is the last. Endpoints write what they like; raises ModelError."""
    try:
        choices = chunk.choices
        if not choices:  # some tell of what was used at the end
            return "", False
        delta, ends = choices[0].delta, choices[0].finish_reason is not None
        text: Any = None if delta is None else delta.content
    except (AttributeError, TypeError, LookupError) as error:
        raise ModelError("what came is no part of an answer") from error
    if text is not None and not isinstance(text, str):
        raise ModelError("what came is no text")
    return text or "", ends
