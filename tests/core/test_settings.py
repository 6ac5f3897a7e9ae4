"""Settings: what cannot be is said in a line that names the setting, and nothing of a password."""

import pytest

from core.settings import Settings, SettingsError


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("DATABASE_URL", "mysql://hub@host/x"),
        ("DATABASE_URL", "postgresql://hub:sesame@host:port/x"),
        ("DATABASE_URL", "postgresql://hub:sesame/s@host/x"),
        ("DATABASE_URL", "postgresql://hub:sesame@[::1/x"),
        ("DATABASE_URL", "postgresql://hub:sesame@host:99999/x"),
        ("REDIS_URL", "host:6379"),
        ("REDIS_URL", "redis://:sesame@host:port"),
        ("REDIS_URL", "redis://:sesame/s@host"),
        ("REDIS_URL", "redis://:sesame@host:99999"),
        ("REDIS_URL", "redis://:sesame@host:1,host:99999"),
        ("REDIS_URL", "redis://:sesame@host?db=x"),
    ],
)
def test_address_that_cannot_be_read_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch, name: str, url: str):
    """It is told at once, not as a traceback of the first driver that reads it."""
    monkeypatch.setenv(name, url)
    with pytest.raises(SettingsError, match=name) as wrong:
        Settings.load()
    assert "sesame" not in str(wrong.value)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("DATABASE_URL", "postgresql://hub:a%2Fb@/aimatrix?host=/run/engines"),
        ("DATABASE_URL", "postgres://hub@one:5432,two:5433,[::1]:5434,four/x?target_session_attrs=primary"),
        ("REDIS_URL", "redis://user:word@host:6379/2"),
        ("REDIS_URL", "rediss://[::1]"),
        ("REDIS_URL", "redis://user:word@one:7000,two:7001,[::1]:7002"),
        ("REDIS_URL", "unix:///run/redis.sock?db=1"),
    ],
)
def test_address_that_a_driver_reads_is_taken(monkeypatch: pytest.MonkeyPatch, name: str, url: str):
    """Sockets, several hosts, IPv6."""
    monkeypatch.setenv(name, url)
    assert url in (Settings.load().database_url, Settings.load().redis_url)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("[", "no JSON"),
        ("7", "a list"),
        ("[7]", r"\[0\] is no object"),
        ('[{"url": "https://x/v1", "model": "m"}]', r"\[0\].name"),
        ('[{"name": "a", "model": "m"}]', r"\[0\].url"),
        ('[{"name": "a", "url": "ftp://x"}]', "no address"),
        ('[{"name": "a", "url": "https://me:sesame@x"}]', "no login"),
        ('[{"name": "a", "url": "https://x:99999"}]', "no address"),
        ('[{"name": "a", "url": "https://x", "key": 7}]', r"\[0\].key"),
        ('[{"name": "a", "url": "https://x", "secret": "sesame"}]', "not known"),
        ('[{"name": "a", "url": "https://x"}, {"name": "a", "url": "https://y"}]', r"\[1\].name is taken"),
        ('[{"name": "extractive", "url": "https://x"}]', "is taken"),
        ('[{"name": "of-the-name", "url": "https://x"}]', "is taken"),
        (f"[{','.join(['7'] * 33)}]", "at most 32"),
    ],
    ids=lambda value: value[:40],
)
def test_models_that_cannot_be_read_are_told_without_their_keys(monkeypatch: pytest.MonkeyPatch, told: str, said: str):
    """Where they are wrong is told."""
    monkeypatch.setenv("HUB_MODELS", told.replace('"model"', '"key": "sesame", "model"'))
    monkeypatch.setenv("HUB_MODEL_NAME", "of-the-name")
    monkeypatch.setenv("HUB_MODEL_URL", "https://x/v1")
    with pytest.raises(SettingsError, match=said) as wrong:
        Settings.load()
    assert "HUB_MODEL" in str(wrong.value)
    assert "sesame" not in str(wrong.value)


def test_models_show_no_keys(monkeypatch: pytest.MonkeyPatch):
    """Nor what stands in the query of an address. A model's name is the provider's own where that has no other."""
    monkeypatch.setenv("HUB_MODELS", '[{"name": "small", "url": "http://x/v1?key=sesame", "key": "sesame"}]')
    settings = Settings.load()
    (provider,) = settings.models
    assert (provider.name, provider.model, provider.key) == ("small", "small", "sesame")
    assert "sesame" not in f"{settings!r} {provider}".replace("?key=sesame", "")
    assert str(provider) == "small (small at http://x/v1)"
