"""Agents by SQLAlchemy's ORM and pydantic's response models, as FastAPI's documentation has them."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from rest_access import Access, Caller
from rest_bodies import AgentAnswer, AgentBody, AgentPage, Pagination, Written
from rest_tables import Agent, AgentHistory, Audit, Outbox, new_id
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker


def add_routes(app: FastAPI, access: Access, reads: AsyncEngine, writes: AsyncEngine) -> None:
    """Put the routes into `app`; `reads` commits each statement by itself."""
    reader = Annotated[tuple[Caller, dict[str, str]], Depends(access.reader)]
    writer = Annotated[tuple[Caller, dict[str, str]], Depends(access.writer)]
    reading: async_sessionmaker[AsyncSession] = async_sessionmaker(reads, expire_on_commit=False)
    writing: async_sessionmaker[AsyncSession] = async_sessionmaker(writes, expire_on_commit=False)

    @app.get("/v2/agents/{agent_id}", response_model=AgentAnswer)
    async def get(agent_id: UUID, request: Request, response: Response, allowed: reader) -> AgentAnswer | Response:
        caller, headers = allowed
        async with reading() as session:
            agent = await session.get(Agent, (caller.org_id, agent_id))
        if agent is None:
            raise HTTPException(404)
        tag = headers["ETag"] = f'"{agent.version}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        response.headers.update(headers)
        return AgentAnswer.model_validate_json(agent.document)

    @app.get("/v2/agents")
    async def list_(
        response: Response,
        allowed: reader,
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
        per_page: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> AgentPage:
        caller, headers = allowed
        ours = Agent.org_id == caller.org_id
        newest = select(Agent).where(ours).order_by(Agent.created_at.desc(), Agent.id.desc())
        async with reading() as session:
            agents = (await session.scalars(newest.limit(per_page).offset((page - 1) * per_page))).all()
            total = await session.scalar(select(func.count()).select_from(Agent).where(ours))
        response.headers.update(headers)
        data = [AgentAnswer.model_validate_json(agent.document) for agent in agents]
        return AgentPage(data=data, pagination=Pagination(page=page, per_page=per_page, total=total or 0))

    @app.post("/v2/agents", status_code=201)
    async def create(body: AgentBody, response: Response, allowed: writer) -> AgentAnswer:
        caller, headers = allowed
        new = Written(body)
        async with writing() as session:
            session.add_all(_rows(body, new, caller))
            await session.commit()
        told = {"Location": f"/v2/agents/{new.id}", "ETag": '"1"', "X-Event-Id": str(new.event_id)}
        response.headers.update(headers | told)
        return AgentAnswer.model_validate_json(new.document)


def _rows(body: AgentBody, new: Written, caller: Caller) -> tuple[Agent, AgentHistory, Audit, Outbox]:
    audit, org, subject = new_id(), caller.org_id, f"agents/{new.id}"
    return (
        Agent(
            org_id=org,
            id=new.id,
            version=1,
            name=body.name,
            type=body.type,
            status=body.status,
            created_at=new.now,
            updated_at=new.now,
            document=new.document,
            search=new.search,
        ),
        AgentHistory(
            org_id=org, id=new.id, version=1, from_event=new.event_id, from_time=new.now, document=new.document
        ),
        Audit(
            id=audit,
            org_id=org,
            time=new.now,
            caller=caller.subject,
            operation="agents.create",
            target=subject,
            request_id=f"req_{audit}",
            outcome="ok",
        ),
        Outbox(
            org_id=org,
            event_id=new.event_id,
            type="agent.created",
            subject=subject,
            channel=f"agents:{new.id}",
            time=new.now,
            envelope=new.envelope,
        ),
    )
