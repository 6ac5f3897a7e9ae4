"""The models that there are: those of the settings, and the built-in one, which needs none."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.clock import Clock
from core.errors import Detail, HubError
from core.model_providers import BUILT_IN, ModelProvider
from core.settings import Settings
from handlers.models.extractive import ExtractiveModel
from handlers.models.fallback import FallbackModel
from handlers.models.model import Model

if TYPE_CHECKING:
    from handlers.models.compatible import CompatibleModel


class Models:
    """Models by their names. Each is made when it is first asked for, and shared by all: so are its connections and its circuit."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._clock = clock
        self._providers = {provider.name: provider for provider in providers_of(settings)}
        self._opened: dict[str, CompatibleModel] = {}
        self._built_in = ExtractiveModel()

    @property
    def names(self) -> Sequence[str]:
        """All that there are; the first is the default."""
        return [*self._providers, BUILT_IN]

    def open(self) -> None:
        """Make all of them now: a client and its certificates take a third of a second."""
        for name in self._providers:
            self._model(name)

    def check(self, names: Sequence[str], *, field: str = "config.model") -> None:
        """Raise HubError VALIDATION_ERROR, at `field`, where one of `names` is no model."""
        unknown = [name for name in names if name not in self.names]
        if unknown:
            message = f"There is no model {unknown[0]}; there are {', '.join(self.names)}"
            raise HubError("VALIDATION_ERROR", details=[Detail(field, "INVALID_FORMAT", message)])

    def named(self, names: Sequence[str] = ()) -> Model:
        """Return these as one, each asked where those before it fail; the default where there are none.

        Those that are not configured any more are left out; raises HubError VALIDATION_ERROR where none is left.
        """
        known = [name for name in dict.fromkeys(names) if name in self.names]
        if names and not known:
            self.check(names)
        models = [self._model(name) for name in known or self.names[:1]]
        return models[0] if len(models) == 1 else FallbackModel(models)

    @property
    def configured(self) -> Model | None:
        """The first of the settings; None where there is but the built-in one."""
        return next((self._model(name) for name in self._providers), None)

    async def close(self) -> None:
        """Close the connections of all."""
        while self._opened:
            _, model = self._opened.popitem()
            await model.close()

    def _model(self, name: str) -> Model:
        if name == BUILT_IN:
            return self._built_in
        if name not in self._opened:
            # Its client takes half a second, and 40 MiB, which a hub without such models does without.
            from handlers.models.compatible import CompatibleModel

            provider = self._providers[name]
            self._opened[name] = CompatibleModel(
                provider.url, provider.model, provider.key, self._clock, name=provider.name
            )
        return self._opened[name]


def providers_of(settings: Settings) -> list[ModelProvider]:
    """Return what the settings configure; that of HUB_MODEL_NAME comes first."""
    if settings.model_url is None or settings.model_name is None:
        return list(settings.models)
    first = ModelProvider(settings.model_name, settings.model_url, settings.model_name, settings.model_key)
    return [first, *settings.models]
