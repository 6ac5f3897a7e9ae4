"""The providers of language models that the operator names by HUB_MODELS: read, and never shown with their keys."""

from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import orjson

MOST_PROVIDERS = 32
LONGEST_NAME = 200
# The hub's own model.
BUILT_IN = "extractive"
_FIELDS = ("name", "url", "model", "key")


@dataclass(frozen=True, slots=True)
class ModelProvider:
    """A model behind an endpoint that speaks OpenAI's chat completions: agents call it `name`, the endpoint knows it as `model`."""

    name: str
    url: str
    model: str
    key: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Return what may be shown to whoever runs the hub; a query of a URL may have a key."""
        return f"{self.name} ({self.model} at {self.url.partition('?')[0]})"


def read_providers(value: object) -> object:
    """Return the providers of a JSON list; raises ValueError, which says where, and repeats nothing: there are keys in it."""
    if not isinstance(value, str):
        return value
    try:
        told = orjson.loads(value or "[]")
    except orjson.JSONDecodeError:
        raise ValueError('it is no JSON: write [{"name": "...", "url": "https://...", "model": "..."}]') from None
    if not isinstance(told, list) or len(told := cast("list[Any]", told)) > MOST_PROVIDERS:
        raise ValueError(f"it is a list of at most {MOST_PROVIDERS} objects")
    providers = tuple(_provider(each, f"[{place}]") for place, each in enumerate(told))
    names = [BUILT_IN, *(provider.name for provider in providers)]
    for place, name in enumerate(names[1:]):
        if name in names[: place + 1]:
            raise ValueError(f"[{place}].name is taken: {name}")
    return providers


def _provider(told: Any, place: str) -> ModelProvider:
    if not isinstance(told, dict):
        raise ValueError(f"{place} is no object")
    fields = cast("dict[str, Any]", told)
    strange = next((name for name in fields if name not in _FIELDS), None)
    if strange is not None:
        raise ValueError(f"{place} has a member that is not known; there are {', '.join(_FIELDS)}")
    name = _text(fields, "name", place)
    model = _text(fields, "model", place) if "model" in fields else name
    url = _text(fields, "url", place)
    if not _is_address(url):
        raise ValueError(f"{place}.url is no address: write http:// or https://, a host, and no login")
    return ModelProvider(name, url, model, None if fields.get("key") is None else _text(fields, "key", place))


def _text(fields: dict[str, Any], name: str, place: str) -> str:
    value = fields.get(name)
    longest = LONGEST_NAME if name in ("name", "model") else 4_096
    if not isinstance(value, str) or not 1 <= len(value.strip()) <= len(value) <= longest or not value.isprintable():
        raise ValueError(f"{place}.{name} is a text of 1 to {longest} characters")
    return value


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
        )
    except ValueError:
        return False
