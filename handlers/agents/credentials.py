"""What MCP servers know an agent by: `token` and `headers` of a server in `config.mcp`. They are kept sealed beside the agent.

The agent itself, and so its answers, events and history, says `true` in the place of each. What a client writes there:

    a text      it is set
    true        it stays as it is; so does what is not named
    null        it goes, as all of a server's do with the server

Each is sealed for its server's scheme, host and port: where these change, it has to be given again, and it opens for no other.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast
from uuid import UUID

from pydantic import ValidationError

from core.errors import Detail, HubError
from core.operations.validation import invalid
from core.outbound import OutboundRefused, target_of
from core.seal import Seal
from core.store.queries import load_queries
from core.store.statements import Statements
from handlers.agents.config import MOST_SERVERS, McpServer
from handlers.resources.store import Beside

SQL = load_queries(Path(__file__).with_name("credentials.sql"))
TOKEN = "token"  # noqa: S105 - the name of the field
_HEADER = "headers."
MOST_HEADERS = 16
_LONGEST = 4_000
_PLACE = "config.mcp"
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
# What the calls themselves say.
_OWN = re.compile(
    r"host|accept|accept-encoding|connection|content-.*|transfer-encoding|te|trailer|upgrade|keep-alive|proxy-.*|mcp-.*|last-event-id",
    re.IGNORECASE,
)
# A text, or whether it is one that there is already.
_Secret = str | Literal[True]


@dataclass(frozen=True, slots=True)
class Credential:
    """One of a server, as it is to be: `secret` None is the one that is kept already."""

    server: str
    field: str
    origin: str
    secret: str | None


def purpose_of(org_id: UUID, agent_id: UUID, server: str, field: str, origin: str) -> str:
    """Return what a credential is sealed for (core/seal.py)."""
    return f"agent credential {org_id} {agent_id} {server} {field} {origin}"


def origin_of(url: str) -> str:
    """Return scheme, host and port of a server; raises OutboundRefused where nobody could call it."""
    return str(target_of(url).origin())


def concealed(before: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[dict[str, Any], Sequence[Credential]]:
    """Return a config as it is shown, and the credentials that are to be kept of it. `before`: as it was shown last.

    Raises HubError VALIDATION_ERROR with what is wrong, each at its `config.mcp[n]....`.
    """
    told = config.get("mcp")
    if told == before.get("mcp"):
        return dict(config), _all_of(_held(told))
    if not isinstance(told, list):
        # A server that is not in a list would have its token kept as it was written.
        if told is not None:
            raise HubError("VALIDATION_ERROR", details=[Detail(_PLACE, "INVALID_FORMAT", "Must be a list of servers")])
        return dict(config), ()
    reading = _Reading(before.get("mcp"))
    shown = [reading.read(each, f"{_PLACE}[{number}]") for number, each in enumerate(cast("list[Any]", told))]
    if len({each.server for each in reading.credentials}) > MOST_SERVERS:
        reading.refuse(_PLACE, f"At most {MOST_SERVERS} servers", "VALUE_OUT_OF_RANGE")
    if reading.wrong:
        raise HubError("VALIDATION_ERROR", details=reading.wrong)
    return {**config, "mcp": shown}, reading.credentials


def set_in(config: Mapping[str, Any]) -> Sequence[Credential]:
    """Return the credentials that a config, as it is shown, says are set."""
    return _all_of(_held(config.get("mcp")))


class Vault:
    """Seals the credentials of agents, and opens them for the calls of a run."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    def keeping(self, org_id: UUID, agent_id: UUID, credentials: Sequence[Credential]) -> Beside:
        """Return the statement that keeps these of an agent, and no others."""
        new = [(each, each.secret) for each in credentials if each.secret is not None]
        sealed = [self._seal.seal(_purpose(org_id, agent_id, each), secret) for each, secret in new]
        all_ = [each.server for each in credentials], [each.field for each in credentials]
        args = (agent_id, *all_, [each.server for each, _ in new], [each.field for each, _ in new], sealed)
        return Beside(SQL["keep"], args)

    async def headers(
        self, db: Statements, org_id: UUID, agent_id: UUID, servers: Sequence[McpServer]
    ) -> Mapping[str, Mapping[str, str] | None]:
        """Return what is sent to servers that know the agent by something, by their names; None where it cannot be opened."""
        wanted = [server for server in servers if server.fields]
        if not wanted:
            return {}
        rows = await db.fetch(SQL["credentials"], agent_id)
        kept = {(row["server"], row["field"]): row["sealed"] for row in rows}
        return {server.name: self._headers(org_id, agent_id, server, kept) for server in wanted}

    def _headers(
        self, org_id: UUID, agent_id: UUID, server: McpServer, kept: Mapping[tuple[str, str], str]
    ) -> Mapping[str, str] | None:
        headers: dict[str, str] = {}
        for field in server.fields:
            sealed = kept.get((server.name, field))
            credential = Credential(server.name, field, origin_of(server.url), None)
            secret = None if sealed is None else self._seal.open(_purpose(org_id, agent_id, credential), sealed)
            if secret is None:
                return None
            headers |= _header(field, secret)
        return headers


def _purpose(org_id: UUID, agent_id: UUID, credential: Credential) -> str:
    return purpose_of(org_id, agent_id, credential.server, credential.field, credential.origin)


def _header(field: str, secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"} if field == TOKEN else {field.removeprefix(_HEADER): secret}


@dataclass(frozen=True, slots=True)
class _Server:
    """What a server is known to have: where it is, and how each field is shown."""

    origin: str
    fields: Mapping[str, str]


def _held(told: Any) -> dict[str, _Server]:
    held: dict[str, _Server] = {}
    for each in cast("list[Any]", told) if isinstance(told, list) else ():
        fields = {field: shown for field, shown, value in _fields(each, "", []) if value is True}
        if fields and isinstance(each.get("name"), str) and isinstance(each.get("url"), str):
            held[each["name"]] = _Server(origin_of(each["url"]), fields)
    return held


def _all_of(held: Mapping[str, _Server]) -> list[Credential]:
    return [Credential(name, field, each.origin, None) for name, each in held.items() for field in each.fields]


def _fields(server: Any, place: str, wrong: list[Detail]) -> Iterator[tuple[str, str, Any]]:
    """Yield each field that a server names, how it is shown, and its value."""
    if not isinstance(server, dict):
        return
    told = cast("dict[str, Any]", server)
    if TOKEN in told:
        yield TOKEN, TOKEN, told[TOKEN]
    headers = told.get("headers", {})
    if not isinstance(headers, dict):
        if headers is not None:
            wrong.append(Detail(f"{place}.headers", "INVALID_FORMAT", "Must be an object of names and values"))
        return
    for name, value in cast("dict[str, Any]", headers).items():
        yield f"{_HEADER}{name.lower()}", name, value


class _Reading:
    """Goes through the servers of a config that was written."""

    def __init__(self, before: Any) -> None:
        self._held = _held(before)
        self._seen: set[str] = set()
        self.credentials: list[Credential] = []
        self.wrong: list[Detail] = []

    def refuse(self, place: str, message: str, code: str = "INVALID_FORMAT") -> None:
        """Note what is wrong."""
        self.wrong.append(Detail(place, code, message))

    def read(self, server: Any, place: str) -> Any:
        """Return a server as it is shown; what it is known by is noted."""
        if not isinstance(server, dict):
            self.refuse(place, "Must be an object")
            return server
        told = cast("dict[str, Any]", server)
        name = told.get("name")
        held = self._held.get(name, _Server("", {})) if isinstance(name, str) else _Server("", {})
        fields = self._merged(told, held, place)
        shown = {key: value for key, value in told.items() if key not in (TOKEN, "headers")}
        if not fields:
            return shown
        self._keep(told, held, fields, place)
        if TOKEN in fields:
            shown[TOKEN] = True
        headers = {each: True for field, (each, _) in fields.items() if field != TOKEN}
        return shown | ({"headers": headers} if headers else {})

    def _merged(self, told: Mapping[str, Any], held: _Server, place: str) -> dict[str, tuple[str, _Secret]]:
        """Return all that a server is known by from now on, and how each is shown."""
        fields: dict[str, tuple[str, _Secret]] = {field: (shown, True) for field, shown in held.fields.items()}
        if "headers" in told and told["headers"] is None:
            fields = {field: each for field, each in fields.items() if field == TOKEN}
        for field, shown, value in _fields(told, place, self.wrong):
            here = f"{place}.{TOKEN}" if field == TOKEN else f"{place}.{_HEADER}{shown[:100]}"
            if value is None:
                fields.pop(field, None)
            elif value is True and field not in held.fields:
                self.refuse(here, "There is none to keep: send it")
            elif value is True or self._may_be(field, shown, value, here):
                fields[field] = (shown, value)
        return fields

    def _may_be(self, field: str, shown: str, value: Any, place: str) -> bool:
        form = _TOKEN if field == TOKEN else _VALUE
        if field != TOKEN and (_NAME.fullmatch(shown) is None or _OWN.fullmatch(shown)):
            self.refuse(place, "There is no such header, or it is one that the calls have themselves")
        elif not isinstance(value, str) or len(value) > _LONGEST or form.fullmatch(value) is None:
            self.refuse(
                place,
                f"Must be a text of ASCII characters, at most {_LONGEST}; true where it stays, null where it goes",
            )
        else:
            return True
        return False

    def _keep(
        self, told: Mapping[str, Any], held: _Server, fields: Mapping[str, tuple[str, _Secret]], place: str
    ) -> None:
        named = {"name": told.get("name"), "url": told.get("url")}
        try:
            server = McpServer.model_validate(named)
            origin = origin_of(server.url)
        except ValidationError as error:
            self.wrong += invalid(named, error, place).details
            return
        except OutboundRefused as error:
            self.refuse(f"{place}.url", str(error))
            return
        if server.name in self._seen:
            self.refuse(f"{place}.name", "Another server has this name")
        self._seen.add(server.name)
        if len(fields) > MOST_HEADERS:
            self.refuse(f"{place}.headers", f"At most {MOST_HEADERS}", "VALUE_OUT_OF_RANGE")
        if TOKEN in fields and f"{_HEADER}authorization" in fields:
            self.refuse(f"{place}.{TOKEN}", "It is sent as Authorization, which is among the headers as well")
        if any(value is True for _, value in fields.values()) and held.origin != origin:
            self.refuse(
                f"{place}.url", f"What {held.origin} knows the agent by is sent to no other: send it anew, or null"
            )
        self.credentials += [
            Credential(server.name, field, origin, None if value is True else value)
            for field, (_, value) in fields.items()
        ]
