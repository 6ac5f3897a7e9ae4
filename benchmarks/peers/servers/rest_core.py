"""Agents by SQLAlchemy Core: statements that are built once, in as few round trips as the hub's; documents are sent as stored."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from rest_access import Access, Caller
from rest_bodies import AgentBody, Written
from rest_tables import Agent, AgentHistory, Audit, Outbox, new_id
from sqlalchemy import bindparam, func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

_AGENTS, _HISTORY = Agent.__table__, AgentHistory.__table__
_OURS = _AGENTS.c.org_id == bindparam("org")
FIND = select(_AGENTS.c.version, _AGENTS.c.document).where(_OURS, _AGENTS.c.id == bindparam("agent"))
_PAGE = (
    select(_AGENTS.c.document)
    .where(_OURS)
    .order_by(_AGENTS.c.created_at.desc(), _AGENTS.c.id.desc())
    .limit(bindparam("most"))
    .offset(bindparam("skipped"))
    .subquery()
)
LIST = select(
    select(func.array_agg(_PAGE.c.document)).scalar_subquery(),
    select(func.count()).select_from(_AGENTS).where(_OURS).scalar_subquery(),
)


def _inserted(table: Any, **names: str) -> Any:
    return insert(table).values({column: bindparam(name) for column, name in names.items()})


_OF_AGENT = {"org_id": "org", "id": "agent", "version": "version", "document": "document"}
# Two rows a statement, as the hub writes them.
CREATE = _inserted(_HISTORY, **_OF_AGENT, from_event="event", from_time="now").add_cte(
    _inserted(
        _AGENTS,
        **_OF_AGENT,
        name="name",
        type="type",
        status="status",
        created_at="now",
        updated_at="now",
        search="search",
    ).cte("made")
)
FINISH = _inserted(
    Outbox.__table__,
    org_id="org",
    event_id="event",
    type="type",
    subject="subject",
    channel="channel",
    time="now",
    envelope="envelope",
).add_cte(
    _inserted(
        Audit.__table__,
        id="audit",
        org_id="org",
        time="now",
        caller="caller",
        operation="operation",
        target="subject",
        request_id="request",
        outcome="outcome",
    ).cte("audited")
)


def add_routes(app: FastAPI, access: Access, reads: AsyncEngine, writes: AsyncEngine) -> None:
    """Put the routes into `app`; `reads` commits each statement by itself."""
    reader = Annotated[tuple[Caller, dict[str, str]], Depends(access.reader)]
    writer = Annotated[tuple[Caller, dict[str, str]], Depends(access.writer)]

    @app.get("/v2/agents/{agent_id}")
    async def get(agent_id: UUID, request: Request, allowed: reader) -> Response:
        caller, headers = allowed
        async with reads.connect() as connection:
            row = (await connection.execute(FIND, {"org": caller.org_id, "agent": agent_id})).one_or_none()
        if row is None:
            raise HTTPException(404)
        tag = headers["ETag"] = f'"{row.version}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(row.document, headers=headers, media_type="application/json")

    @app.get("/v2/agents")
    async def list_(
        allowed: reader,
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
        per_page: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> Response:
        caller, headers = allowed
        parameters = {"org": caller.org_id, "most": per_page, "skipped": (page - 1) * per_page}
        async with reads.connect() as connection:
            documents, total = (await connection.execute(LIST, parameters)).one()
        told = f'"pagination":{{"page":{page},"per_page":{per_page},"total":{total}}}'
        text = f'{{"data":[{",".join(documents or ())}],{told}}}'
        return Response(text, headers=headers, media_type="application/json")

    @app.post("/v2/agents")
    async def create(body: AgentBody, allowed: writer) -> Response:
        caller, headers = allowed
        new, audit = Written(body), new_id()
        parameters = {"org": caller.org_id, "agent": new.id, "event": new.event_id, "now": new.now}
        row = {"version": 1, "name": body.name, "type": body.type, "status": body.status, "search": new.search}
        event = {"type": "agent.created", "channel": f"agents:{new.id}", "envelope": new.envelope, "audit": audit}
        subject = f"agents/{new.id}"
        async with writes.begin() as connection:
            await connection.execute(CREATE, {**parameters, **row, "document": new.document})
            done = {"caller": caller.subject, "operation": "agents.create", "request": f"req_{audit}", "outcome": "ok"}
            await connection.execute(FINISH, {**parameters, **event, **done, "subject": subject})
        headers |= {"Location": f"/v2/{subject}", "ETag": '"1"', "X-Event-Id": str(new.event_id)}
        return Response(new.document, 201, headers, media_type="application/json")
