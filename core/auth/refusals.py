"""Refusals of credentials, as RFC 6750 wants them told. No text repeats any part of a credential."""

from core.errors import HubError

# RFC 6750, section 3: an answer of 401 says how to authenticate, and names no error where no credential was sent.
INVALID = 'error="invalid_token"'
_CHALLENGE = 'Bearer realm="aimatrix"'


def unauthenticated(message: str | None = None) -> HubError:
    """Return the refusal of a request that carries no credential."""
    return HubError("AUTHENTICATION_REQUIRED", message, headers={"WWW-Authenticate": _CHALLENGE})


def invalid_key(message: str | None = None) -> HubError:
    """Return the refusal of what is no valid API key."""
    return HubError("INVALID_API_KEY", message, headers=_invalid())


def invalid_token(message: str) -> HubError:
    """Return the refusal of a token that was never valid here."""
    return HubError("INVALID_TOKEN", message, headers=_invalid())


def expired_token() -> HubError:
    """Return the refusal of a token that was valid once."""
    return HubError("EXPIRED_TOKEN", headers=_invalid())


def _invalid() -> dict[str, str]:
    return {"WWW-Authenticate": f"{_CHALLENGE}, {INVALID}"}
