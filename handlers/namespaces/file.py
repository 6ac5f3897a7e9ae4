"""Namespaces as the operator's file has them, for all organisations: TOML, a table for each.

[chat]
history_seconds = 3600

[prices]
delivery = "latest"
key = "symbol"
"""

import tomllib
from pathlib import Path
from typing import Any

from core.errors import HubError
from core.operations.validation import validated
from core.settings import SettingsError
from handlers.namespaces.checking import check
from handlers.namespaces.models import NamespaceSettings
from rooms.live_rules import LIVE, LOG_WILDCARDS
from rooms.namespace_rules import namespace_named, tables_of
from rooms.namespaces import Namespaces


def namespaces_of(path: Path | None) -> Namespaces:
    """Return the table, with what the file says over the built-in rules. Raises SettingsError with a line for each mistake."""
    if path is None:
        return Namespaces()
    set_: dict[str, dict[str, Any]] = {}
    wrong: list[str] = []
    for shown, settings in _read(path).items():
        name = namespace_named(shown)
        try:
            given = validated(NamespaceSettings, settings) if isinstance(settings, dict) else None
            if not isinstance(given, NamespaceSettings):
                raise SettingsError("it is no table")
            check(name, LIVE.get(name), given.given())
            set_[name] = given.given()
        except HubError as error:
            wrong += [f"HUB_NAMESPACES: [{shown}] {each}" for each in _told(error)]
        except SettingsError as error:
            wrong.append(f"HUB_NAMESPACES: {shown}: {error}")
    if wrong:
        raise SettingsError("\n".join(wrong))
    return Namespaces(*tables_of(LIVE, LOG_WILDCARDS, set_))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"HUB_NAMESPACES: {path} cannot be read: {type(error).__name__}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"HUB_NAMESPACES: {path} is not TOML: {error}") from error


def _told(error: HubError) -> list[str]:
    return [f"{each.field}: {each.message}" for each in error.details] or [error.text]
