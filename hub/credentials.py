"""All that tells who calls and how many may be there, wired for one node."""

from dataclasses import dataclass

from core.auth.authenticator import Authenticator
from core.auth.jwks import Jwks
from core.auth.seats import Seats
from core.auth.signing import SigningKeys, TokenIssuer
from core.auth.tickets import Tickets
from core.auth.tokens import IssuerKeys, TokenVerifier
from core.clock import Clock
from core.operations.operation import Operation
from core.outbound import Outbound
from core.settings import Settings
from core.store.database import Database
from core.store.migrate import installation_id
from core.store.redis import Redis
from handlers.keys.operations import Keys
from handlers.tickets.operations import StreamTickets
from handlers.tokens.operations import Tokens
from hub.engines import Addresses


@dataclass(frozen=True, slots=True)
class Credentials:
    """The parts; `secret` is what keys are hashed with."""

    secret: str
    keys: SigningKeys
    issuer: TokenIssuer
    authenticator: Authenticator
    tickets: Tickets
    seats: Seats

    def operations(self) -> list[Operation]:
        """Return the operations on credentials."""
        kinds = (Keys(self.secret), Tokens(self.issuer), StreamTickets(self.tickets))
        return [operation for kind in kinds for operation in kind.operations()]

    async def close(self) -> None:
        """End what is under way, and give the seats of this node back."""
        await self.authenticator.close()
        await self.seats.close()


async def credentials_of(
    settings: Settings,
    addresses: Addresses,
    database: Database,
    redis: Redis,
    secret: str,
    clock: Clock,
    *,
    node: str,
) -> Credentials:
    """Wire the parts for the node of this name; the caller closes them."""
    outbound = Outbound(settings.outbound_allow, clock)
    configured = Jwks(settings.jwks_url, outbound, clock) if settings.jwks_url else None
    own = SigningKeys(database, addresses.database_url, secret, clock)
    names = [f"aimatrix-hub:{await installation_id(addresses.database_url)}"]
    if settings.public_url is not None and (configured is None or settings.public_url != settings.jwt_issuer):
        names.insert(0, settings.public_url)
    # Tokens of the installation's name go on when the hub gets a public address.
    trusted: dict[str, IssuerKeys] = dict.fromkeys(names, own)
    tokens = TokenVerifier(
        issuer=settings.jwt_issuer, audience=settings.jwt_audience, keys=configured, clock=clock, own=trusted
    )
    return Credentials(
        secret=secret,
        keys=own,
        issuer=TokenIssuer(own, name=names[0], audience=settings.jwt_audience),
        authenticator=Authenticator(database, secret, tokens, clock),
        tickets=Tickets(redis, secret, clock),
        seats=Seats(redis, clock, node=node),
    )
