"""Every setting of the hub: read once at start, typed, frozen, handed down from `hub/main.py`.

A setting comes from the environment (`HUB_*`, `DATABASE_URL`, `REDIS_URL`, `PORT`) or from an option of the command line.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import AliasChoices, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from redis.asyncio.connection import parse_url

from core.model_providers import BUILT_IN, ModelProvider, read_providers

_ORIGIN = re.compile(r"https?://[a-z0-9.\-\[\]:]+")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(value: object) -> object:
    if isinstance(value, str):
        return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in value.split(",") if part.strip())
    return value


def _origins(value: object) -> object:
    if not isinstance(value, str):
        return value
    origins = tuple(part.strip().lower().rstrip("/") for part in value.split(",") if part.strip())
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin} is no origin: write https://host or https://host:port")
    return origins


def _database_url(value: object) -> object:
    # What the drivers say of an address may quote a part of its password, so it is not repeated, here and below.
    if isinstance(value, str) and not _is_address_of_postgresql(value):
        raise ValueError("it is no address of PostgreSQL: write postgresql://user:password@host:port/database")
    return value


def _is_address_of_postgresql(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    hosts = parts.netloc.rpartition("@")[2].split(",")  # there may be several
    ports = [host.rpartition("]")[2].partition(":")[2] or "0" for host in hosts]
    return parts.scheme in ("postgresql", "postgres") and all(port.isdecimal() and int(port) < 65536 for port in ports)


def _redis_url(value: object) -> object:
    if isinstance(value, str):
        try:
            for seed in seeds_of(value):
                parse_url(seed)
        except ValueError:
            raise ValueError("it is no address of Redis: write redis://host:port, rediss:// or unix:///path") from None
    return value


def seeds_of(url: str) -> list[str]:
    """Return the URL of each server that is named in `url`: redis://user:password@one:7000,two:7000 names two."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return [url]
    login, at, hosts = parts.netloc.rpartition("@")
    return [
        urlunsplit((parts.scheme, f"{login}{at}{host.strip()}", parts.path, parts.query, ""))
        for host in hosts.split(",")
    ]


class SettingsError(Exception):
    """A setting has a value that it cannot have; the message names it and says what it takes."""


class Settings(BaseSettings):
    """The settings; the description of each is what `doctor` and the README show."""

    model_config = SettingsConfigDict(env_prefix="HUB_", frozen=True, extra="ignore", populate_by_name=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(
        8080,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("HUB_PORT", "PORT"),
        description="Port to listen on (then PORT); 0 takes a free one and prints it.",
    )
    data: Path = Field(Path(".data"), description="Folder of the embedded engines and of dev-key.")
    public_url: str | None = Field(
        None,
        description="Address that clients use, when it is not the one listened on; its origin may open sockets.",
    )
    origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)] = Field(
        (), description="Comma-separated origins whose pages may open sockets and use REST besides the hub's own."
    )
    database_url: Annotated[str | None, BeforeValidator(_database_url)] = Field(
        None,
        validation_alias="DATABASE_URL",
        description="PostgreSQL 16 or later; without it the hub starts its own.",
    )
    redis_url: Annotated[str | None, BeforeValidator(_redis_url)] = Field(
        None,
        validation_alias="REDIS_URL",
        description="Redis 7 or later, or Valkey, or a cluster of it (nodes by comma); without it the hub starts its own.",
    )
    log: str = Field("info", pattern="^(debug|info|warning|error)$", description="Least level that is logged.")
    drain: float = Field(10.0, ge=0, le=3600, description="Seconds that a stopping node gives its sockets.")
    returns_per_second: int = Field(
        500, ge=1, le=100_000, description="Sockets a second that a stopping node sends to the others."
    )
    presence_grace: float = Field(
        5.0, ge=0, le=300, description="Seconds for which a client that was cut off stays present in its channels."
    )
    handshakes_waiting: int = Field(
        2000,
        ge=1,
        description="Streams that may wait in a process for their turn to open; more are refused with a slot.",
    )
    handshakes_per_second: int = Field(
        1000,
        ge=1,
        le=100_000,
        description="Streams that open in a process in a second, at most; others wait, or come back at a slot.",
    )
    overload_lag_ms: int = Field(
        500,
        ge=20,
        le=60_000,
        description="Milliseconds by which the event loop may be late, in the middle of a second, before joins are refused.",
    )
    memory_mib: int | None = Field(
        None,
        ge=128,
        description="MiB that a process may have in memory before joins are refused; else 85 % of its control group's limit, "
        "which all of the group use, or 75 % of the machine's.",
    )
    waiting_mib: int = Field(
        256,
        ge=1,
        description="MiB that may wait in a process for clients that read slowly; above it the worst are cut.",
    )
    waiting_mib_per_organisation: int = Field(
        64, ge=1, description="MiB that may wait in a process for the slow readers of one organisation."
    )
    namespaces: Path | None = Field(
        None, description="File (TOML) that says what goes for the channels of each namespace (docs/namespaces.md)."
    )
    fanout_slice: int = Field(
        1000,
        ge=1,
        le=1_000_000,
        description="Members of a room that are written to in one go, others' work in between.",
    )
    tls_cert: Path | None = Field(
        None,
        description="Certificate chain (PEM) of the hub's address; with HUB_TLS_KEY it speaks HTTPS, and plain HTTP ends.",
    )
    tls_key: Path | None = Field(None, description="Private key (PEM) of HUB_TLS_CERT.")
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = Field(
        (),
        description=(
            "Comma-separated networks of proxies whose X-Forwarded-Proto and X-Forwarded-For are believed; "
            "with any, plain HTTP ends."
        ),
    )
    v1: bool = Field(default=True, description="Whether the deprecated version 1 is served; else its paths answer 410.")
    jobs: bool = Field(
        default=True, description="Whether `serve` does jobs too; else `python -m hub work` must run somewhere."
    )
    parsers: int = Field(
        2, ge=1, le=64, description="Processes that read documents, at most; they run while there are any."
    )
    parser_mib: int = Field(
        1024, ge=400, le=65_536, description="MiB of address space that a process that reads documents may take."
    )
    parser_seconds: float = Field(30.0, gt=0, le=3600, description="Seconds that reading a document may take.")
    simulators: int = Field(
        2, ge=1, le=64, description="Processes that simulate twins, at most; they run while there are any simulations."
    )
    simulator_mib: int = Field(
        1024, ge=700, le=65_536, description="MiB of address space that a process that simulates may take."
    )
    debug: bool = Field(
        default=False,
        description="Whether every answer of REST and the log have the request's detail and times, secrets masked.",
    )
    outbound_allow: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = Field(
        (), description="Comma-separated networks that the hub may call besides public addresses."
    )
    model_url: str | None = Field(
        None,
        pattern="^https?://",
        description="Endpoint that speaks OpenAI's API and writes answers (POST {url}/chat/completions); else they are quoted.",
    )
    model_key: str | None = Field(None, repr=False, description="Key of HUB_MODEL_URL, where it wants one.")
    model_name: str | None = Field(
        None, min_length=1, max_length=200, description="Model of HUB_MODEL_URL that writes the answers."
    )
    models: Annotated[tuple[ModelProvider, ...], NoDecode, BeforeValidator(read_providers)] = Field(
        (),
        repr=False,
        description="JSON list of more models for agents; without HUB_MODEL_NAME the first writes the answers too: "
        "{name, url, model, key}, the last two where needed.",
    )
    jwt_issuer: str = Field("aimatrix.com", description="`iss` of the configured issuer's tokens.")
    jwt_audience: str = Field("api.aimatrix.com", description="`aud` that a token must have.")
    jwks_url: str | None = Field(
        None, description="Where the issuer's public keys are; without it only the hub's own tokens are accepted."
    )
    knowledge_mib: int = Field(
        10_240,
        ge=1,
        description="MiB that the documents of an organisation may have together, in their current versions.",
    )
    query_log: Literal["on", "off", "without_text"] = Field(
        "on",
        description="Whether questions to knowledge bases are kept: on, without_text (all but the questions), off.",
    )
    telemetry_days: int = Field(
        30, ge=1, le=3650, description="Days for which points of telemetry are kept; older ones are refused."
    )
    telemetry_second_days: int = Field(
        30,
        ge=1,
        le=3650,
        description="Days for which telemetry is kept by the second, no fewer than HUB_TELEMETRY_DAYS.",
    )
    telemetry_minute_days: int = Field(
        365,
        ge=1,
        le=36_500,
        description="Days for which telemetry is kept by the minute, no fewer than HUB_TELEMETRY_DAYS.",
    )
    telemetry_hour_days: int = Field(
        1825,
        ge=1,
        le=36_500,
        description="Days for which telemetry is kept by the hour, no fewer than HUB_TELEMETRY_DAYS.",
    )
    query_log_days: int = Field(
        30, ge=1, le=3650, description="Days that questions to knowledge bases, and their counts, are kept."
    )
    secret: str | None = Field(
        None,
        min_length=32,
        repr=False,
        description="Secret under which API keys are hashed and signing keys encrypted; else one is made and kept in the database.",
    )
    embedding: str = Field(
        "auto",
        pattern="^(auto|off)$",
        description="`auto`: vectors by HUB_EMBEDDING_URL, else by the `semantic` extra where it is installed; or `off`.",
    )
    embedding_url: str | None = Field(
        None,
        pattern="^https?://",
        description="Endpoint that speaks OpenAI's API and gives vectors, as https://api.openai.com/v1.",
    )
    embedding_key: str | None = Field(None, repr=False, description="Key of HUB_EMBEDDING_URL, where it wants one.")
    embedding_model: str | None = Field(
        None, min_length=1, max_length=200, description="Model of HUB_EMBEDDING_URL that gives the vectors."
    )
    engine_user: str = Field("nobody", description="Account of the embedded engines when the hub runs as root.")

    @model_validator(mode="after")
    def _has_both_of_tls(self) -> "Settings":
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("HUB_TLS_CERT and HUB_TLS_KEY go together")
        return self

    @model_validator(mode="after")
    def _has_both_of_model(self) -> "Settings":
        if (self.model_url is None) != (self.model_name is None):
            raise ValueError("HUB_MODEL_URL and HUB_MODEL_NAME go together")
        if self.model_name is not None and self.model_name in (BUILT_IN, *(each.name for each in self.models)):
            raise ValueError(f"HUB_MODEL_NAME is taken, by {BUILT_IN} or by one of HUB_MODELS")
        return self

    @model_validator(mode="after")
    def _has_both_of_embedding(self) -> "Settings":
        if (self.embedding_url is None) != (self.embedding_model is None):
            raise ValueError("HUB_EMBEDDING_URL and HUB_EMBEDDING_MODEL go together")
        return self

    @property
    def https_only(self) -> bool:
        """Whether plain HTTP is redirected or refused."""
        return self.tls_cert is not None or bool(self.trusted_proxies)

    @classmethod
    def load(cls, **overrides: Any) -> "Settings":
        """Read the environment; an override that is not None wins over it.

        Raises SettingsError with one line a wrong setting.
        """
        try:
            return cls(**{name: value for name, value in overrides.items() if value is not None})
        except (ValidationError, ValueError) as error:
            raise SettingsError(_explain(error)) from error


def _explain(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    # What is wrong with several together has no place, and names them itself.
    return "\n".join(
        ": ".join((*(variable_of(str(place)) for place in item["loc"][:1]), item["msg"])) for item in error.errors()
    )


def variable_of(field: str) -> str:
    """Name the environment variable of a setting, given the setting's name or one of its variables."""
    if field.isupper():
        return field
    named = {"database_url": "DATABASE_URL", "redis_url": "REDIS_URL"}
    return named.get(field, f"HUB_{field.upper()}")
