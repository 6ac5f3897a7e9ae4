"""Which models this process can ask: the one that chunks are embedded by, and any other that is at hand by its name."""

from core.clock import Clock
from core.settings import Settings
from handlers.knowledge.embedding.embedder import Embedder
from handlers.knowledge.embedding.minilm.embedder import MODEL, MiniLMEmbedder, folder_of_model

# Of models that were configured before; their scopes are given to the current one within minutes.
MOST_FORMER = 4


class Embedders:
    """By the settings. `current` is None where vectors are off, or nothing gives any. Nothing is started before it is asked."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._made: dict[str, Embedder] = {}
        self.current = self._current()

    def named(self, model: str) -> Embedder | None:
        """Return the embedder of a model: the installed one, or what the endpoint may know by this name."""
        if model in self._made or self.current is None:
            return self._made.get(model)
        folder = folder_of_model() if model == MODEL else None
        if folder is not None:
            self._made[model] = MiniLMEmbedder(folder)
        elif self._settings.embedding_url is not None and len(self._made) <= MOST_FORMER:
            self._made[model] = self._endpoint(model)
        return self._made.get(model)

    async def close(self) -> None:
        """Let go of all of them."""
        for each in self._made.values():
            await each.close()

    def _current(self) -> Embedder | None:
        settings = self._settings
        if settings.embedding == "off":
            return None
        if settings.embedding_model is not None:
            made = self._endpoint(settings.embedding_model)
        elif (folder := folder_of_model()) is not None:
            made = MiniLMEmbedder(folder)
        else:
            return None
        self._made[made.model] = made
        return made

    def _endpoint(self, model: str) -> Embedder:
        # Its client takes a second and 50 MiB: only who is given an endpoint pays them.
        from handlers.knowledge.embedding.endpoint import EndpointEmbedder

        settings = self._settings
        assert settings.embedding_url is not None  # noqa: S101 - it goes with the model
        return EndpointEmbedder(settings.embedding_url, settings.embedding_key, model, self._clock)
