"""The models that there are, by the settings."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import orjson
import pytest

from core.clock import SystemClock
from core.errors import HubError
from core.settings import Settings
from handlers.models.model import Delta, Finished, Message, Model, ModelError, Request
from handlers.models.providers import Models
from tests.harness.clock import ManualClock
from tests.harness.fake_provider import FakeProvider, Turn, after_one_word, serving, status

REQUEST = Request([Message("user", "How?")], 100)


async def turn_of(model: Model) -> tuple[str, Finished]:
    async with aclosing(model.respond(REQUEST)) as parts:
        *before, end = [part async for part in parts]
    assert isinstance(end, Finished)
    return "".join(part.text for part in before if isinstance(part, Delta)), end


@pytest.fixture
async def other() -> AsyncIterator[FakeProvider]:
    async with serving(FakeProvider(turns=[Turn(["The other."])])) as served:
        yield served


@pytest.fixture
async def models(
    monkeypatch: pytest.MonkeyPatch, provider: FakeProvider, other: FakeProvider, clock: ManualClock
) -> AsyncIterator[Models]:
    several = [{"name": "other", "url": other.url, "model": "of-theirs", "key": "sk-other"}]
    monkeypatch.setenv("HUB_MODEL_URL", provider.url)
    monkeypatch.setenv("HUB_MODEL_NAME", "tiny")
    monkeypatch.setenv("HUB_MODELS", orjson.dumps(several).decode())
    made = Models(Settings.load(), clock)
    yield made
    await made.close()


async def test_hub_without_providers_has_a_model():
    models = Models(Settings.load(), SystemClock())
    assert models.names == ["extractive"]
    assert models.configured is None
    assert (await turn_of(models.named([])))[1].model == "extractive"
    await models.close()


async def test_each_is_reached_by_its_name(models: Models, provider: FakeProvider, other: FakeProvider):
    """The endpoint is told its own name of the model, and its own key; answers tell the hub's name."""
    assert models.names == ["tiny", "other", "extractive"]
    assert (await turn_of(models.named()))[1].model == "tiny"
    assert (await turn_of(models.named(["extractive"])))[1].model == "extractive"
    assert await turn_of(models.named(["other"])) == ("The other.", Finished("stop", "other", 1, 1))
    assert (provider.calls[0]["model"], provider.keys) == ("tiny", ["Bearer none"])
    assert (other.calls[0]["model"], other.keys) == ("of-theirs", ["Bearer sk-other"])
    assert models.named(["other"]) is models.named(["other"])
    assert models.configured is models.named(["tiny"])


async def test_next_is_asked_where_one_fails(models: Models, provider: FakeProvider):
    """Before its first piece: who wrote is told by the end."""
    provider.refuses = {"model"}
    chain = models.named(["tiny", "other"])
    assert chain.name == "tiny"
    assert (await turn_of(chain))[1].model == "other"


async def test_what_was_begun_is_not_begun_again_by_another(
    models: Models, provider: FakeProvider, other: FakeProvider
):
    provider.faults.append(after_one_word(None))
    with pytest.raises(ModelError, match="tiny"):
        await turn_of(models.named(["tiny", "other"]))
    assert other.calls == []


async def test_where_all_fail_the_last_one_is_told(models: Models, provider: FakeProvider, other: FakeProvider):
    """It is final only where asking again is of no use with any."""
    provider.refuses = other.refuses = {"model"}
    with pytest.raises(ModelError, match="other answers 400") as caught:
        await turn_of(models.named(["tiny", "other"]))
    assert caught.value.is_final
    provider.refuses = set()
    provider.faults.append(status(429, **{"Retry-After": "60"}))
    with pytest.raises(ModelError, match="other answers 400") as caught:
        await turn_of(models.named(["tiny", "other"]))
    assert not caught.value.is_final


async def test_name_that_there_is_not(models: Models):
    """It is refused where it is written; where it was taken away since, others of the list are asked."""
    models.check(["tiny", "extractive"])
    with pytest.raises(HubError) as caught:
        models.check(["tiny", "huge"], field="model")
    (detail,) = caught.value.details
    assert (caught.value.code, detail.field) == ("VALIDATION_ERROR", "model")
    assert detail.message == "There is no model huge; there are tiny, other, extractive"
    with pytest.raises(HubError):
        models.named(["huge"])
    assert models.named(["huge", "other"]).name == "other"
