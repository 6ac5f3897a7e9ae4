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
