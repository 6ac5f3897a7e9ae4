"""Who may have to do with webhooks, and where they may lead."""

from core.auth.caller import Caller
from core.errors import Detail, HubError
from core.outbound import Outbound, OutboundFailed, OutboundRefused

# A name that does not answer is looked up again at each delivery; nobody waits longer for it here.
_LOOK_UP_SECONDS = 5.0


def check_caller(caller: Caller, *, sees_events: bool = False) -> None:
    """Return where the caller may; raises HubError FORBIDDEN where it is for some resources only, else INSUFFICIENT_SCOPE.

    Who decides which events go where, or gets a secret, has `read:events` too: it could else read what it may not.
    """
    if caller.resource_ids is not None:
        raise HubError(
            "FORBIDDEN", "This credential is for some resources only; webhooks are of the whole organisation"
        )
    if sees_events and not caller.has("read:events"):
        raise HubError("INSUFFICIENT_SCOPE", "This needs the scope read:events too")


async def check_url(outbound: Outbound, url: str) -> None:
    """Return where messages may be sent there now; raises HubError VALIDATION_ERROR.

    A name that has no address, or is not known in time, passes: it is judged again at each delivery.
    """
    try:
        await outbound.check(url, timeout=_LOOK_UP_SECONDS)
    except OutboundRefused as refused:
        raise HubError("VALIDATION_ERROR", details=[Detail("url", "INVALID_FORMAT", str(refused))]) from refused
    except OutboundFailed:
        return
