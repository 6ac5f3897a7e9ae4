"""The hub's tables as SQLAlchemy knows them, and how it connects to them.

Whoever connects sees every organisation; the statements name the caller's. The outbox is one of the benchmark's own, like the
hub's: what is in it nobody relays, so that the hub does not work on the server's core for a peer.
"""

import secrets
import time
from datetime import datetime
from typing import ClassVar
from uuid import UUID

import asyncpg
from sqlalchemy import BigInteger, Text, Uuid
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# As many as the hub has.
POOL_SIZE = 20
# Of every session of the hub too.
SESSION = {"role": "hub_owner", "search_path": "hub,public", "jit": "off"}


class Base(DeclarativeBase):
    """The tables."""

    type_annotation_map: ClassVar = {datetime: TIMESTAMP(timezone=True), str: Text, int: BigInteger, UUID: Uuid}


class Agent(Base):
    """An agent; `document` is its JSON."""

    __tablename__ = "agents"
    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    name: Mapped[str]
    type: Mapped[str]
    status: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    document: Mapped[str]
    search: Mapped[str]


class AgentHistory(Base):
    """A version of an agent."""

    __tablename__ = "agents_history"
    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    from_event: Mapped[UUID]
    from_time: Mapped[datetime]
    document: Mapped[str]


class Outbox(Base):
    """An event that waits for its relay."""

    __tablename__ = "outbox"
    __table_args__: ClassVar = {"schema": "benchmark"}
    seq: Mapped[int] = mapped_column(primary_key=True)
    org_id: Mapped[UUID]
    event_id: Mapped[UUID]
    type: Mapped[str]
    subject: Mapped[str]
    channel: Mapped[str]
    time: Mapped[datetime]
    envelope: Mapped[str]


class Audit(Base):
    """Who has done what."""

    __tablename__ = "audit"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    org_id: Mapped[UUID]
    time: Mapped[datetime]
    caller: Mapped[str]
    operation: Mapped[str]
    target: Mapped[str]
    request_id: Mapped[str]
    outcome: Mapped[str]


def engine(url: str, isolation_level: str) -> AsyncEngine:
    """Return an engine whose connections are used latest first, and are not reset between two uses that have committed."""

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(url, server_settings=SESSION)

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        isolation_level=isolation_level,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_use_lifo=True,
        pool_reset_on_return=None,
    )


def new_id() -> UUID:
    """Return an id that is later than those before (RFC 9562, section 5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    return UUID(int=(milliseconds << 80) | (7 << 76) | (2 << 62) | secrets.randbits(62) | (secrets.randbits(12) << 64))
