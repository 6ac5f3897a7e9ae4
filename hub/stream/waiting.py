"""What waits for clients that read slowly, added up for each organisation and for the node, and bounded.

Only the slow path comes here: a client that reads is in no account. Where a bound is passed, those for whom most waits are cut with
the code of slow readers, in the next turn of the loop; so no organisation's slow readers take the memory of the others.
"""

import asyncio
from collections.abc import Iterable
from typing import Protocol
from uuid import UUID
from weakref import WeakValueDictionary


class Waits(Protocol):
    """A connection whose client does not take what is there for it; hashed by identity."""

    @property
    def held_bytes(self) -> int:
        """What waits for it."""
        ...

    def cut_slow(self) -> None:
        """End it; what waited is dropped, and out of its account, before this returns."""
        ...


class Account:
    """One organisation's share: `bytes` of all that waits, and the connections for which it does."""

    __slots__ = ("__weakref__", "_waiting", "bytes", "members")

    def __init__(self, waiting: "Waiting") -> None:
        self._waiting = waiting
        self.bytes = 0
        self.members: dict[Waits, None] = {}

    def add(self, size: int) -> None:
        """Count bytes that begin to wait; a negative number, those that do no longer."""
        self.bytes += size
        self._waiting.count(self, size)


class Waiting:
    """All accounts of a node; sizes in bytes. `cut` counts the connections that were ended for it."""

    def __init__(self, *, per_organisation: int, most: int) -> None:
        self.bytes = 0
        self.cut = 0
        self._per_organisation = per_organisation
        self._most = most
        self._accounts: WeakValueDictionary[UUID, Account] = WeakValueDictionary()
        self._is_due = False

    def of(self, org_id: UUID) -> Account:
        """Return an organisation's account; it lives as long as a connection has it."""
        account = self._accounts.get(org_id)
        if account is None:
            account = self._accounts[org_id] = Account(self)
        return account

    def count(self, account: Account, size: int) -> None:
        """Add what an account has counted; for Account."""
        self.bytes += size
        if size > 0 and not self._is_due and (account.bytes > self._per_organisation or self.bytes > self._most):
            # Not at once: whoever writes goes through the members of rooms meanwhile.
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._relieve)

    def _relieve(self) -> None:
        self._is_due = False
        accounts = list(self._accounts.values())
        for account in accounts:
            if account.bytes > self._per_organisation:
                self._cut(account, account.bytes - self._per_organisation)
        # What is still too much for the node comes from those organisations for which most waits.
        while accounts and self.bytes > self._most:
            worst = max(accounts, key=lambda each: each.bytes)
            if not self._cut(worst, self.bytes - self._most):
                return

    def _cut(self, account: Account, surplus: int) -> bool:
        """Cut the worst of an account until `surplus` bytes less wait; tell whether that was any."""
        before = account.bytes
        for member in _worst_first(account.members):
            if before - account.bytes >= surplus:
                break
            self.cut += 1
            member.cut_slow()
        return account.bytes < before


def _worst_first(members: Iterable[Waits]) -> list[Waits]:
    return sorted(members, key=lambda each: each.held_bytes, reverse=True)
