"""Where a client is in all channels of its stream, as one short text: the `id` of server-sent events, the `cursor` of polls.

    1042.5f3a9c1e                                   the log: position and epoch
    1042k.5f3a9c1e                                  of 1042 itself the channel of all of its kind alone has been told
    1042.5f3a9c1e~aB3dE9xQ.7.a8f1.6746              and a live room: its name's digest, its offset and epoch
    ~aB3dE9xQ.7.a8f1.6746                           a live room alone

It holds nothing that its reader may not say itself, so it is not signed: whoever makes one up gets a reset, or another place in
channels that the credential may have anyway. No I/O here.
"""

import base64
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b

from hub.stream.members import MAX_OFFSET
from rooms.names import is_of_log

# Of all parts: 128 live rooms take 4 KiB.
MOST_CHARACTERS = 7 * 1024
_DIGEST_BYTES = 6
_LOG = re.compile(r"(\d{1,19})(k?)\.([A-Za-z0-9.]{1,64})", re.ASCII)
_ROOM = re.compile(r"([A-Za-z0-9_-]{8})\.(\d{1,19})\.([A-Za-z0-9.]{1,64})", re.ASCII)
# An epoch that no channel has: who gives it is reset.
_NO_EPOCH = "?"

Place = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a client says that it has. `log` counts for every channel of the log; `rooms` are by digest.

    `kinds_have_it`: the channels of all of a kind have the position of `log` itself, those of one resource all before it.
    Where the text could not be read `is_lost` is set: the client has been somewhere, and nobody knows where.
    """

    log: Place | None = None
    kinds_have_it: bool = False
    rooms: Mapping[str, Place] = field(default_factory=dict[str, Place])
    is_lost: bool = False

    def place_in(self, channel: str) -> Mapping[str, str]:
        """Return from where the channel goes on, as its item of a subscribe frame says it; nothing: from the present."""
        if self.is_lost:
            return {"offset": "0", "epoch": _NO_EPOCH}
        if not is_of_log(channel):
            place = self.rooms.get(digest_of(channel))
        elif self.log is None:
            place = None
        else:
            # What was told of the position itself comes again, and is left out (places.py).
            place = (self.log[0] - self.kinds_have_it, self.log[1])
        return {} if place is None else {"offset": str(place[0]), "epoch": place[1]}


def cursor_of(text: str) -> Cursor:
    """Read a cursor; what is none is lost, and so is one that another release has written in another way."""
    if not text or len(text) > MOST_CHARACTERS:
        return Cursor(is_lost=bool(text))
    first, *others = text.split("~")
    log = _LOG.fullmatch(first)
    rooms = [_ROOM.fullmatch(each) for each in others]
    places = {each[1]: (int(each[2]), each[3]) for each in rooms if each is not None}
    if (first and log is None) or len(places) != len(others):
        return Cursor(is_lost=True)
    at = None if log is None else (int(log[1]), log[3])
    kinds_have_it = log is not None and bool(log[2])
    highest = max([0 if at is None else at[0], *(offset for offset, _ in places.values())])
    if highest > MAX_OFFSET or (kinds_have_it and at is not None and at[0] == 0):
        return Cursor(is_lost=True)
    return Cursor(at, kinds_have_it, places)


def text_of(log: Place | None, rooms: Collection[str], *, kinds_have_it: bool) -> str:
    """Write a cursor; `rooms` are texts of `room_text`."""
    first = "" if log is None else f"{log[0]}{'k' if kinds_have_it else ''}.{log[1]}"
    return "~".join([first, *rooms]) if rooms else first


def room_text(channel: str, place: Place) -> str:
    """Write the part of a live room."""
    return f"{digest_of(channel)}.{place[0]}.{place[1]}"


@lru_cache(4096)
def digest_of(channel: str) -> str:
    """Return what stands for a channel's name: 48 bits, so that two of a client's rooms never share it."""
    return base64.urlsafe_b64encode(blake2b(channel.encode(), digest_size=_DIGEST_BYTES).digest()).decode()
