"""What a caller may give away: never more than it has itself."""

from collections.abc import Collection, Iterable
from uuid import UUID

from core.auth.caller import Caller
from core.errors import HubError


def check_scopes(caller: Caller, scopes: Iterable[str]) -> None:
    """Return where the caller has all of `scopes`; raises HubError INSUFFICIENT_SCOPE that names the others."""
    missing = sorted(set(scopes) - caller.scopes)
    if missing:
        raise HubError(
            "INSUFFICIENT_SCOPE", f"A credential gives at most its own scopes; it lacks {', '.join(missing)}"
        )


def given_resources(caller: Caller, wanted: Collection[UUID] | None) -> list[UUID] | None:
    """Return the restriction of what the caller makes: the one wanted, else its own (None: no restriction).

    Raises HubError FORBIDDEN where it is wider than the caller's own.
    """
    own = caller.resource_ids
    if wanted is None:
        return None if own is None else sorted(own)
    if own is not None and not own.issuperset(wanted):
        raise HubError("FORBIDDEN", "A credential gives at most the resources that it may touch itself")
    return sorted(set(wanted))


def check_holds(caller: Caller, scopes: Iterable[str], resource_ids: Collection[UUID] | None) -> None:
    """Return where the caller may do all that a key with these may; raises as the others here."""
    check_scopes(caller, scopes)
    if resource_ids is None and caller.resource_ids is not None:
        raise HubError("FORBIDDEN", "The key may touch more resources than this credential")
    given_resources(caller, resource_ids)
