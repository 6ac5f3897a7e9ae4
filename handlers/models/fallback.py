"""Several models as one: where one fails before its first piece, the next is asked. No I/O of its own."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import structlog

from handlers.models.model import Message, Model, ModelError, Request, Written, text_of


class FallbackModel:
    """Asks `models` in their order; there is one at least. What somebody has read a piece of is never begun again by another."""

    def __init__(self, models: Sequence[Model]) -> None:
        self._models = models

    @property
    def name(self) -> str:
        """The name of the first."""
        return self._models[0].name

    async def respond(self, request: Request) -> AsyncGenerator[Written]:
        """Yield a turn of the first that begins one. Raises ModelError, the last one's; it is final where all are."""
        is_final = True
        for model in self._models:
            is_begun = False
            try:
                async with aclosing(model.respond(request)) as parts:
                    async for part in parts:
                        is_begun = True
                        yield part
            except ModelError as error:
                is_final = is_final and error.is_final
                if is_begun:
                    raise
                if model is self._models[-1]:
                    raise ModelError(str(error), is_final=is_final, is_unfit=error.is_unfit) from error
                structlog.get_logger().warning("model_failed", model=model.name, detail=str(error))
            else:
                return

    async def write(self, messages: Sequence[Message], *, most_tokens: int) -> AsyncGenerator[str]:
        """Yield the text of a turn of the first that begins one. Raises ModelError."""
        turn = self.respond(Request(messages, most_tokens, temperature=0))
        async with aclosing(text_of(turn)) as pieces:
            async for piece in pieces:
                yield piece
