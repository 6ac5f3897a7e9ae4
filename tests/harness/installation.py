"""The secret of the installation that a test's database is of: all that are copied from one template have the same."""

from core.store.migrate import installation_secret

_KNOWN: dict[str, str] = {}


def note_secret(url: str, secret: str) -> None:
    """Note what the database at `url` has: asking takes a connection, which is a tenth of a small test."""
    _KNOWN[url] = secret


def forget_secret(name: str) -> None:
    """Forget those of the database of this name: it is gone."""
    for url in [url for url in _KNOWN if f"/{name}?" in url or url.endswith(f"/{name}")]:
        del _KNOWN[url]


async def secret_of(url: str) -> str:
    """Return the secret of the database at `url`."""
    return _KNOWN.get(url) or await installation_secret(url)
