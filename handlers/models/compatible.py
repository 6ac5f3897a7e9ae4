"""Models behind an endpoint that speaks OpenAI's chat completions: the operator's choice, so it is called directly.

What fails before the first piece of an answer is asked once more, after as long as the endpoint wants; after it nothing is asked
twice. A stream that stands still is given up, one that only says that it lives as well, and an endpoint that fails again and again
is left alone for a while, so that nobody waits for it.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from typing import Any

import httpx2
import openai

from core.clock import Clock
from handlers.models.dialect import Dialect
from handlers.models.model import Delta, Message, ModelError, Request, Written, text_of
from handlers.models.reading import Reading
from handlers.models.sse import Events
from handlers.models.transport import Transport
from handlers.webhooks.circuit import Circuit

CONNECT_SECONDS = 5.0
# Until anything comes of an answer, and between two parts of it.
STALLED_SECONDS = 20.0
# Between two pieces of one that says meanwhile that it lives.
SILENT_SECONDS = 120.0
TRIES = 2
# Before the second try: where the endpoint says nothing, and at most. Who is told to wait longer asks another.
_PAUSE_SECONDS = 0.5
MOST_PAUSE_SECONDS = 10.0
# Behind the last piece, for what was used; and behind the last word, so that the connection can be used again.
_TAIL_SECONDS = 2.0
_DRAIN_SECONDS = 0.2
# What is wrong with one request is no fault of the endpoint's.
_REFUSED = frozenset({400, 413, 422})
# Nor does it help to ask these again.
_FINAL = _REFUSED | {401, 403, 404, 405, 501}
# A token is a few characters; endpoints need not keep to a number of them.
_LONGEST_TOKEN = 32
_LONGEST_REST = 4096
_TOO_LONG = "context_length_exceeded"


class _Failed(ModelError):
    """`after`: the seconds after which it may be asked again; None: not now. `counts`: it is the endpoint's fault."""

    def __init__(
        self, message: str, *, after: float | None = None, is_final: bool = False, counts: bool = True
    ) -> None:
        super().__init__(message, is_final=is_final)
        self.after = after
        self.counts = counts


class CompatibleModel:
    """One model of one endpoint, which knows it as `model`; `name` is the hub's own for it. To be closed."""

    def __init__(
        self,
        url: str,
        model: str,
        key: str | None,
        clock: Clock,
        *,
        name: str | None = None,
        stalled: float = STALLED_SECONDS,
    ) -> None:
        self._model = model
        self._name = name or model
        self._clock = clock
        self._stalled = stalled
        self._circuit = Circuit()
        self._probes = 0
        self._dialect = Dialect()
        timeout = openai.Timeout(stalled, connect=min(CONNECT_SECONDS, stalled))
        self._client = openai.AsyncOpenAI(
            base_url=url,
            api_key=key or "none",  # some servers want none
            timeout=timeout,
            max_retries=0,
            http_client=httpx2.AsyncClient(transport=Transport(), timeout=timeout, follow_redirects=True),
        )

    @property
    def name(self) -> str:
        """The model's name, as the hub's settings have it."""
        return self._name

    async def respond(self, request: Request) -> AsyncGenerator[Written]:
        """Yield a turn as it is written. Raises ModelError, also in its middle; at once where the endpoint has failed lately."""
        is_probe = self._enter()
        try:
            async with aclosing(self._tried(request)) as parts:
                async for part in parts:
                    yield part
        except _Failed as error:
            if error.counts:
                self._circuit.failed(self._clock.monotonic())
            raise
        finally:
            self._probes -= is_probe
        self._circuit.succeeded()

    async def write(self, messages: Sequence[Message], *, most_tokens: int) -> AsyncGenerator[str]:
        """Yield the text as it is written. Raises ModelError, also in its middle."""
        turn = self.respond(Request(messages, most_tokens, temperature=0))
        async with aclosing(text_of(turn)) as pieces:
            async for piece in pieces:
                yield piece

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _enter(self) -> bool:
        """Return whether this is the one who finds out whether the endpoint is well again."""
        state = self._circuit.state(self._clock.monotonic())
        if state == "open" or (state == "half_open" and self._probes):
            raise ModelError(f"{self._name} has failed lately, and is left alone for a moment")
        self._probes += state == "half_open"
        return state == "half_open"

    async def _tried(self, request: Request) -> AsyncGenerator[Written]:
        for left in reversed(range(TRIES)):
            is_begun = False
            try:
                async with aclosing(self._answer(request)) as parts:
                    async for part in parts:
                        is_begun = True
                        yield part
            except _Failed as error:
                if error.after is None or is_begun or not left:
                    raise
                await self._clock.sleep(error.after)
            else:
                return

    async def _answer(self, request: Request) -> AsyncGenerator[Written]:
        reading = Reading(self._name, request.most_tokens * _LONGEST_TOKEN + _LONGEST_REST)
        with self._translated():
            async with self._opened(request) as response, aclosing(_body_of(response)) as chunks:
                events = Events()
                async with aclosing(self._texts(chunks, events, reading)) as texts:
                    async for text in texts:
                        yield Delta(text)
                if not reading.is_ended:
                    raise ModelError("its answer ends early")
                await _tail(chunks, events, reading)
            calls = list(reading.calls())
        for call in calls:
            yield call
        yield reading.finished()

    async def _texts(self, chunks: AsyncIterator[bytes], events: Events, reading: Reading) -> AsyncGenerator[str]:
        """Yield the pieces, up to the last."""
        heard, since = 0, self._clock.monotonic()
        async for chunk in chunks:
            text, wrong = reading.read_all(events.feed(chunk))
            if text:
                yield text
            if wrong is not None:
                raise wrong
            now = self._clock.monotonic()
            if reading.heard > heard:
                heard, since = reading.heard, now
            elif now - since > SILENT_SECONDS:
                raise TimeoutError
            if reading.is_ended:
                return

    @asynccontextmanager
    async def _opened(self, request: Request) -> AsyncGenerator[Any]:
        """Ask, in the endpoint's dialect, which may be found out by that."""
        async with AsyncExitStack() as stack:
            dialect = self._dialect
            while True:
                try:
                    response = await self._asked(stack, dialect.body(self._model, request))
                except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                    other = dialect.without(error.param, error.message)
                    if other is None:
                        raise
                    dialect = other
                else:
                    break
            self._dialect = dialect
            kind = response.headers.get("content-type", "text/event-stream")
            if not kind.lower().startswith("text/event-stream"):
                raise ModelError("what it answers is no stream")
            yield response

    async def _asked(self, stack: AsyncExitStack, body: dict[str, Any]) -> Any:
        # As it is: to look through what is typed takes the client as long as all else of a request, 0.7 ms.
        asking = self._client.chat.completions.with_streaming_response.create(
            model=self._model, messages=(), stream=True, extra_body=body
        )
        # An endless refusal would have no end by itself.
        async with asyncio.timeout(self._stalled + CONNECT_SECONDS):
            return await stack.enter_async_context(asking)

    @contextmanager
    def _translated(self) -> Generator[None]:
        """Raise what goes wrong as _Failed, without what the endpoint says: that may have parts of the key, or of the prompt."""
        try:
            yield
        except openai.APIStatusError as error:
            raise self._of_status(error) from error
        except (openai.APITimeoutError, httpx2.TimeoutException, TimeoutError) as error:
            raise _Failed(f"{self._name} stands still") from error
        except ModelError as error:
            after = None if error.is_final else _pause()
            message = f"{self._name} does not answer to the end: {error}"
            raise _Failed(message, after=after, is_final=error.is_final, counts=not error.is_final) from error
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, ValueError) as error:
            message = f"{self._name} does not answer to the end: {type(error).__name__}"
            raise _Failed(message, after=_pause()) from error

    def _of_status(self, error: openai.APIStatusError) -> _Failed:
        status = error.status_code
        if status in _FINAL:
            reason = ": more is asked than it can take" if error.code == _TOO_LONG else ""
            return _Failed(f"{self._name} answers {status}{reason}", is_final=True, counts=status not in _REFUSED)
        after = _wanted(error.response.headers)
        # Who has too much to do is well: to leave it alone would fail all runs for what a moment's patience mends.
        return _Failed(
            f"{self._name} answers {status}", after=None if after > MOST_PAUSE_SECONDS else after, counts=status != 429
        )


def _body_of(response: Any) -> AsyncGenerator[bytes]:
    """Return the chunks; decoding those that are not coded would cost as much as reading them."""
    is_coded = response.headers.get("content-encoding", "identity").lower() != "identity"
    return response.iter_bytes() if is_coded else aiter(response.http_response.stream)


async def _tail(chunks: AsyncIterator[bytes], events: Events, reading: Reading) -> None:
    """Read what comes behind an answer: what was used. The answer is whole without it."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_DRAIN_SECONDS if reading.is_done else _TAIL_SECONDS) as timer:
            async for chunk in chunks:
                for data in events.feed(chunk):
                    reading.read(data)
                if reading.is_done:
                    timer.reschedule(loop.time() + _DRAIN_SECONDS)
    except (TimeoutError, httpx2.HTTPError, ValueError):
        return


def _wanted(headers: httpx2.Headers) -> float:
    """Return the seconds that an endpoint wants to be left alone for."""
    try:
        wanted = (
            float(headers["retry-after-ms"]) / 1000 if "retry-after-ms" in headers else float(headers["retry-after"])
        )
    except (KeyError, ValueError):  # dates are rare, and about as long as no header
        return _pause()
    return wanted if wanted >= 0 else _pause()


def _pause() -> float:
    # Those whom one failure has met do not come back all together.
    return _PAUSE_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
