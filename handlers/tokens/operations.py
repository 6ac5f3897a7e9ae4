"""What can be done with tokens: one is made, for a user of the caller's organisation, and the hub keeps nothing of it."""

from datetime import datetime, timedelta
from typing import Annotated

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core.auth.keys import check_scope_names
from core.auth.signing import LONGEST_SECONDS, TokenIssuer
from core.auth.tokens import LONGEST_SUBJECT, what_is_wrong_with_subject
from core.clock import rfc3339
from core.operations.context import Context
from core.operations.operation import Operation, operation, operations_of
from core.operations.results import Made
from handlers.described import Described
from handlers.keys.models import ResourceIds, Scopes
from handlers.keys.powers import check_scopes, given_resources
from handlers.resources.models import Body
from handlers.resources.shown import EXAMPLE_TIME


def _subject(text: str) -> str:
    wrong = what_is_wrong_with_subject(text)
    if wrong is not None:
        raise ValueError(wrong)
    return text


class NewToken(Body):
    """A token to make: who it is for, what it may do (at most what the caller may), and for how many seconds."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"subject": "user:ada", "scopes": ["read:agents"]}]})

    subject: Annotated[
        str, AfterValidator(_subject), Described("minLength", 1), Described("maxLength", LONGEST_SUBJECT)
    ]
    scopes: Scopes
    expires_in: int = Field(3600, ge=1, le=LONGEST_SECONDS)
    resource_ids: ResourceIds | None = None


class Token(BaseModel):
    """A token: what it may do at most, and until when."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"token": "eyJ...", "subject": "user:ada", "scopes": ["read:agents"], "expires_at": EXAMPLE_TIME}
            ]
        }
    )

    token: str
    subject: str
    scopes: list[str]
    expires_at: datetime


class Tokens:
    """Tokens of the hub's own."""

    def __init__(self, issuer: TokenIssuer) -> None:
        self._issuer = issuer

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return operations_of(self)

    @operation(
        "tokens.create",
        scope="write:keys",
        transaction="none",
        input=NewToken,
        result=Made,
        shows=Token,
        holds_secret=True,
    )
    async def create(self, ctx: Context, new: NewToken) -> Made:
        """Make a token for one of the organisation's own users. It ends no later than the credential that made it."""
        check_scope_names(new.scopes)
        check_scopes(ctx.caller, new.scopes)
        expires_at = ctx.now + timedelta(seconds=new.expires_in)
        if ctx.caller.expires_at is not None:
            expires_at = min(expires_at, ctx.caller.expires_at)
        expires_at = expires_at.replace(microsecond=0)  # tokens count whole seconds
        scopes = sorted(set(new.scopes))
        token = await self._issuer.issue(
            ctx.caller,
            new.subject,
            scopes,
            issued_at=ctx.now,
            expires_at=expires_at,
            resource_ids=given_resources(ctx.caller, new.resource_ids),
        )
        # Nobody gets a token that the audit does not have.
        async with ctx.transaction():
            made = {"token": token, "subject": new.subject, "scopes": scopes, "expires_at": rfc3339(expires_at)}
        return Made(orjson.dumps(made).decode())
