"""FastAPI with SQLAlchemy's asyncio on asyncpg, doing what the hub's REST does.

    python rest_server.py DATABASE_URL REDIS_URL core|orm

Rows, key check, limit, outbox and audit of a create are as in the hub. No deadline, idempotency, metrics or traces; reads leave no
audit. The secret that keys are hashed with is in PEER_SECRET.
"""

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import asyncpg
import rest_core
import rest_orm
from fastapi import FastAPI
from rest_access import Access
from rest_tables import SESSION, engine
from serving import serve

DATABASE_URL, REDIS_URL, KIND = sys.argv[1:]

access = Access(REDIS_URL, os.environ["PEER_SECRET"])
reads, writes = engine(DATABASE_URL, "AUTOCOMMIT"), engine(DATABASE_URL, "READ COMMITTED")


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncGenerator[None]:
    """Connect, serve, disconnect."""
    async with asyncpg.create_pool(DATABASE_URL, min_size=1, max_size=2, server_settings=SESSION) as pool:
        await access.open(pool)
        yield
        await access.close()
    await reads.dispose()
    await writes.dispose()


app = FastAPI(lifespan=lifespan, openapi_url=None)
{"core": rest_core, "orm": rest_orm}[KIND].add_routes(app, access, reads, writes)

if __name__ == "__main__":
    serve(app)
