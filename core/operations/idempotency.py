"""First results of writes, kept for a day under the caller's key: a retry gets the first result and does nothing twice.

One advisory lock an (organisation, operation, key) for the length of a transaction; the row is read in a later statement than the
lock, and commits with the effect. Refusals are not kept: the caller may mend the request and use the key again.

    transaction   what a crash leaves                     what a repeat then meets
      write       nothing, or effect and result           it runs, or gets the result
      none        a claim with a lease                    409 until the lease ends, then it runs; a late first run is fenced off

The day and the leases are judged by PostgreSQL's clock: nodes' clocks differ, and one that is set would do things twice.
"""

import base64
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel

from core.auth.caller import Caller
from core.errors import Detail, HubError
from core.operations.operation import Operation
from core.store.queries import load_queries
from core.store.statements import Statements

SQL: Mapping[str, str] = load_queries(Path(__file__).with_name("finish.sql"))
_MOST = 255
_FORM = re.compile(rf"[\x21-\x7e]{{1,{_MOST}}}")
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Key:
    """A caller's key for one operation, with the hash of the validated input that it stands for.

    `name` is what the row is found by; `cipher` is there where the result is kept sealed.
    """

    operation: str
    name: str
    input_hash: bytes
    cipher: AESGCM | None = None

    def seal(self, result: str) -> str:
        """Return what is kept of a result."""
        if self.cipher is None:
            return result
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self.cipher.encrypt(nonce, result.encode(), self.input_hash)
        return base64.b64encode(nonce + sealed).decode()

    def open(self, kept: str) -> str:
        """Return the result of what was kept under this key."""
        if self.cipher is None:
            return kept
        sealed = base64.b64decode(kept)
        return self.cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self.input_hash).decode()


@dataclass(frozen=True, slots=True)
class Stored:
    """A first result as it was kept."""

    result: str
    event_id: UUID | None


class IdempotencyKeys:
    """Turns what callers send into Keys; `secret` is the installation's.

    A result that holds a secret is sealed (AES-256-GCM) under what the installation's secret and the caller's key make together,
    and the row is named by a hash of both: the database has neither the result nor the key that opens it (docs/architecture.md).
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def of(self, operation: Operation, key: str, data: BaseModel, caller: Caller) -> Key:
        """Check the form of a caller's key and bind it to its input; raises HubError VALIDATION_ERROR.

        Keys are the organisation's, so that another of a service's credentials can repeat what was begun under the first. A caller
        that is restricted to some resources gets first results of callers with the same restriction only: what is kept may be of a
        resource that it may not see, and it is given back without asking the operation. A secret is given back to its subject only,
        with the scopes that it had.
        """
        check_key(key)
        canonical = orjson.dumps(data.model_dump(mode="json", exclude_unset=True), option=orjson.OPT_SORT_KEYS)
        if caller.resource_ids is not None:
            canonical += orjson.dumps(sorted(str(each) for each in caller.resource_ids))
        if operation.holds_secret:
            return self._sealed(operation.name, key, sha256(canonical).digest(), caller)
        return Key(operation.name, key, sha256(canonical).digest())

    def _sealed(self, operation: str, key: str, input_hash: bytes, caller: Caller) -> Key:
        whose = orjson.dumps([str(caller.org_id), operation, key, caller.subject, sorted(caller.scopes)])
        name = base64.urlsafe_b64encode(hmac.digest(self._secret, b"idempotency name" + whose, "sha256")).decode()
        cipher = AESGCM(hmac.digest(self._secret, b"idempotency seal" + whose, "sha256"))
        return Key(operation, name, input_hash, cipher)


def check_key(key: str) -> None:
    """Raise HubError VALIDATION_ERROR where a caller's key is not well formed."""
    if _FORM.fullmatch(key) is None:
        detail = Detail("Idempotency-Key", "INVALID_FORMAT", f"1 to {_MOST} visible ASCII characters")
        raise HubError("VALIDATION_ERROR", details=[detail])


def key_of_part(key: str, index: int) -> str:
    """Return the key of one operation of a request that has `key`: `<key>#<index>`, behind the key's hash where it is too long."""
    part = f"{key}#{index}"
    return part if len(part) <= _MOST else f"{sha256(key.encode()).hexdigest()}#{index}"


async def first_result(db: Statements, key: Key) -> Stored | None:
    """Take the key for this transaction and return what was kept under it, None where it is new.

    Raises HubError RESOURCE_LOCKED while another request works under the key, IDEMPOTENCY_KEY_REUSED for another input.
    """
    if not await db.fetchval(SQL["lock_key"], key.operation, key.name):
        raise _in_flight()
    row: Any = await db.fetchrow(SQL["stored"], key.operation, key.name)
    if row is None:
        return None
    if row["input_hash"] != key.input_hash:
        raise HubError("IDEMPOTENCY_KEY_REUSED")
    if row["result"] is not None:
        return Stored(key.open(row["result"]), row["event_id"])
    if row["leased"]:
        raise _in_flight()
    return None


@dataclass(slots=True)
class Claim:
    """A key that an operation of several steps works under. The end of its lease is its fencing token: it only rises."""

    key: Key
    lease_until: Any

    @classmethod
    async def take(cls, db: Statements, key: Key, seconds: float) -> "Claim":
        """Note in this transaction that the key is worked on for at most `seconds`; `first_result` has found it free.

        Raises HubError RESOURCE_LOCKED where a run whose lease had ended has finished after all.
        """
        lease_until = await db.fetchval(SQL["claim"], key.operation, key.name, key.input_hash, seconds)
        if lease_until is None:
            raise _in_flight()
        return cls(key, lease_until)

    async def hold(self, db: Statements) -> None:
        """Keep others from the claim until this transaction ends; raises HubError RESOURCE_LOCKED where one has it by now."""
        if not await db.fetchval(SQL["hold_claim"], self.key.operation, self.key.name, self.lease_until):
            raise _in_flight()

    async def resolve(self, db: Statements, result: str, event_id: UUID | None) -> None:
        """Keep the result in the claim's place; raises HubError RESOURCE_LOCKED where another has taken it over."""
        await self.hold(db)
        key = self.key
        await db.execute(SQL["resolve_claim"], key.operation, key.name, key.seal(result), event_id)

    async def drop(self, db: Statements) -> None:
        """Give the key back, where it is still this claim's: the operation was refused after its first step."""
        await db.execute(SQL["drop_claim"], self.key.operation, self.key.name, self.lease_until)


def _in_flight() -> HubError:
    return HubError("RESOURCE_LOCKED", "A request with this idempotency key is being worked on", retry_after=1)
