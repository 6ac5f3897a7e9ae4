"""How much clients may send: frames and bytes, by connection and, on this node, by organisation. No clock, no I/O, no timer.

A frame costs the part of a second that its sender may send such in: 1 / frames a second, or its bytes / bytes a second, whichever
is more. Of what a client has saved up, `BURST_SECONDS` count. A frame over that is refused; who goes on for as long again, refused,
is a flood.
"""

from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

from core.auth.caller import Caller
from core.auth.tiers import TIERS, Limits

BURST_SECONDS = 2.0
# All connections of an organisation send at most as much as so many of them, on one node.
ORGANISATION_SHARE = 10
# When a flood may come back.
FLOOD_SLOT_MS = 10_000
# Answered by Meter.take: the connection is to end.
FLOOD: Final = float("inf")
# What sums of parts of seconds are wrong by.
_ROUNDING = 1e-9
# Who has not said who it is.
_UNKNOWN = TIERS["free"]


class Account:
    """What an organisation's connections may still send, in seconds."""

    __slots__ = ("__weakref__", "_at", "left")

    def __init__(self) -> None:
        self.left = BURST_SECONDS
        self._at = 0.0

    def fill(self, now: float) -> float:
        """Let time pass; return what is left."""
        if now > self._at:
            self.left = min(BURST_SECONDS, self.left + now - self._at)
            self._at = now
        return self.left


class Inbound:
    """The accounts of a node; one lives as long as a connection has it. Counts what was refused, and floods."""

    def __init__(self) -> None:
        self.refused = 0
        self.floods = 0
        self._accounts: WeakValueDictionary[UUID, Account] = WeakValueDictionary()

    def of(self, org_id: UUID) -> Account:
        """Return an organisation's account."""
        account = self._accounts.get(org_id)
        if account is None:
            account = self._accounts[org_id] = Account()
        return account


class Meter:
    """Of one connection. Plain numbers: there is one for each socket, and it is asked for each frame."""

    __slots__ = ("_account", "_at", "_caller", "_excess", "_left", "_node", "_per_byte", "_per_frame")

    def __init__(self, node: Inbound) -> None:
        self._node = node
        self._at = 0.0
        # What it may send still, and what it may still send over that before it is a flood: both fill with time.
        self._left = BURST_SECONDS
        self._excess = BURST_SECONDS
        self._account: Account | None = None
        self._caller: Caller | None = None
        self._set(_UNKNOWN)

    def take(self, size: int, now: float, caller: Caller | None) -> float:
        """Count a frame of `size` bytes; return 0 where it may be done, else after how many seconds to send it again, or FLOOD.

        `now` is when it came, in monotonic seconds.
        """
        if caller is not self._caller and caller is not None:
            self._caller = caller
            self._account = self._node.of(caller.org_id)
            self._set(caller.limits)
        if now > self._at:
            passed, self._at = now - self._at, now
            self._left = min(BURST_SECONDS, self._left + passed)
            self._excess = min(BURST_SECONDS, self._excess + passed)
        # Also a frame that alone is more than its sender may ever save up goes, once nothing else did.
        cost = min(max(self._per_frame, size * self._per_byte), BURST_SECONDS)
        if self._left + _ROUNDING < cost:
            return self._refused(cost)
        account = self._account
        if account is not None:
            part = cost / ORGANISATION_SHARE
            if account.fill(now) + _ROUNDING < part:
                self._node.refused += 1
                return part - account.left  # others of its organisation sent as much: no flood of this one
            account.left -= part
        self._left -= cost
        return 0.0

    def _refused(self, cost: float) -> float:
        self._node.refused += 1
        if self._excess + _ROUNDING < cost:
            self._node.floods += 1
            return FLOOD
        self._excess -= cost
        return cost - self._left

    def _set(self, limits: Limits) -> None:
        self._per_frame = 1 / max(1, limits.frames_per_second)
        self._per_byte = 1 / max(1, limits.bytes_per_second)
