"""What `doctor` says of the marks of overload: those that make no sense for this machine, or beside each other."""

from collections.abc import Iterator

from core.settings import Settings
from hub.commands.finding import Finding
from hub.overload.memory import MIB, limit_of, memory_of

# What a node has in memory that does nothing, with room for some thousand streams.
LEAST_MIB = 256


def overload_findings(settings: Settings, limit: int | None = None) -> Iterator[Finding]:
    """Give the findings; `limit` is how many bytes this process can have, as the system says."""
    yield _memory(settings, limit_of() if limit is None else limit)
    yield _waiting(settings)
    if settings.waiting_mib_per_organisation > settings.waiting_mib:
        yield Finding(
            f"One organisation's slow readers may take {settings.waiting_mib_per_organisation} MiB, all together "
            f"{settings.waiting_mib}",
            "Set HUB_WAITING_MIB_PER_ORGANISATION below HUB_WAITING_MIB: else one takes all of it.",
        )
    yield _handshakes(settings)


def _memory(settings: Settings, limit: int) -> Finding:
    mark = settings.memory_mib * MIB if settings.memory_mib is not None else memory_of(None).mark
    what = f"Joins are refused from {mark // MIB} MiB of memory on"
    if not mark:
        return Finding("How much memory there is cannot be found out", "Set HUB_MEMORY_MIB.")
    if limit and mark > limit:
        return Finding(f"{what}, but there are only {limit // MIB}", "Set HUB_MEMORY_MIB below that, or leave it out.")
    if mark < LEAST_MIB * MIB:
        return Finding(what, f"Give it more, or set HUB_MEMORY_MIB to {LEAST_MIB} or more.")
    return Finding(what)


def _waiting(settings: Settings) -> Finding:
    mark = settings.memory_mib
    what = f"{settings.waiting_mib} MiB may wait for slow readers"
    if mark is not None and settings.waiting_mib > mark / 2:
        return Finding(f"{what}, of {mark} MiB in all", "Set HUB_WAITING_MIB to at most half of HUB_MEMORY_MIB.")
    return Finding(what)


def _handshakes(settings: Settings) -> Finding:
    taken, sent = settings.handshakes_per_second, settings.returns_per_second
    what = f"A node takes {taken} new streams a second, and one that stops sends {sent}"
    if taken < sent:
        return Finding(what, "Set HUB_RETURNS_PER_SECOND no higher than HUB_HANDSHAKES_PER_SECOND.")
    return Finding(what)
