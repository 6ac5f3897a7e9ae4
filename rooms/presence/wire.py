"""How presence travels through Redis: names of keys and channels, and the form of a message. rooms.lua has the rest."""

from dataclasses import dataclass
from uuid import UUID

from core.events.event import Entry
from rooms.wire import SEPARATOR, VERSION


@dataclass(frozen=True, slots=True)
class Diff(Entry):
    """What has changed in a room. `position` is its version; `envelope` holds `joined`, `left`, `updated` and `count`.

    It is the inside of a JSON object, without the braces. It goes on from version `after`: the one before, but where what was
    missed is told in one.
    """

    epoch: str
    after: int


ROOM_KEYS = ("room", "connections", "members", "order", "said", "touched")


def nodes_key(org_id: UUID) -> str:
    """Name what holds the leases of nodes in an organisation. The braces are a hash tag, in each of these names."""
    return f"presence:{{{org_id}}}:nodes"


def index_key(org_id: UUID, incarnation: str) -> str:
    """Name what an incarnation of a node has registered."""
    return f"presence:{{{org_id}}}:of:{incarnation}"


def room_keys(org_id: UUID, channel: str) -> list[str]:
    """Name all that there is of a room, in the order of ROOM_KEYS."""
    beginning = f"presence:{{{org_id}}}:"
    return [f"{beginning}{what}:{channel}" for what in ROOM_KEYS]


def changed_keys(org_id: UUID, incarnation: str, channel: str) -> list[str]:
    """Name all that a script touches that changes a room for an incarnation, and what never is.

    By that one key the script is refused as long as the slot of the others is moved key by key (rooms.lua).
    """
    beginning = f"presence:{{{org_id}}}:"
    of_room = [f"{beginning}{what}:{channel}" for what in ROOM_KEYS]
    return [f"{beginning}nodes", f"{beginning}of:{incarnation}", *of_room, f"{beginning}nothing"]


def news_channel(org_id: UUID, channel: str) -> str:
    """Name the pub/sub channel of a room's diffs."""
    return f"presence:{{{org_id}}}:{channel}"


def decode_diff(channel: str, message: bytes) -> tuple[str, Diff] | None:
    """Read a message: its epoch and what it tells. None where it has another form, such as that of a later release."""
    try:
        version, epoch, number, body = message.decode().split(SEPARATOR, 3)
        return (epoch, Diff(int(number), channel, body, epoch, int(number) - 1)) if version == VERSION else None
    except ValueError:
        return None
