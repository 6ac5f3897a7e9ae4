"""A token issuer for tests: real RSA keys, and a real server for its public ones."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from tests.harness.clock import ManualClock


@cache
def rsa_key(name: str, bits: int = 2048) -> RSAPrivateKey:
    """Return the key of this name; making one takes long, so the suite shares them."""
    del name
    return generate_private_key(65537, bits)


def _text(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode().rstrip("=")


def jwk(kid: str | None, key: RSAPrivateKey, /, **changes: Any) -> dict[str, Any]:
    """Return the public part as a JWK; a change to None removes the member."""
    numbers = key.public_key().public_numbers()
    made = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": _text(numbers.n), "e": _text(numbers.e)}
    return {name: value for name, value in (made | changes).items() if value is not None}


class Issuer:
    """Signs tokens, and answers its key set; `answer` replaces what it serves, `fetches` counts."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.published: list[dict[str, Any]] = [jwk("k1", rsa_key("k1"))]
        self.answer: web.Response | None = None
        self.fetches = 0
        self.url = ""

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a good token; a change to None removes one."""
        now = int(self.clock.now().timestamp())
        made = {
            "iss": "aimatrix.com",
            "aud": "api.aimatrix.com",
            "sub": "user-1",
            "iat": now,
            "exp": now + 600,
            "scope": ["read:agents", "write:agents"],
            "org_id": "acme",
        }
        return {name: value for name, value in (made | changes).items() if value is not None}

    def token(
        self,
        *,
        key: RSAPrivateKey | None = None,
        kid: str | None = "k1",
        headers: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """Return a token, signed whatever its header and claims are."""
        header = {"alg": "RS256", "typ": "JWT", "kid": kid, **(headers or {})}
        body = unsigned({name: value for name, value in header.items() if value is not None}, self.claims(**changes))
        return signed(body.rstrip("."), key or rsa_key("k1"))

    async def serve(self, request: web.Request) -> web.Response:
        """Answer the key set."""
        del request
        self.fetches += 1
        return self.answer or web.json_response({"keys": self.published})


@asynccontextmanager
async def issuing(clock: ManualClock) -> AsyncGenerator[Issuer]:
    """Give an issuer whose key set is served on loopback."""
    issuer = Issuer(clock)
    app = web.Application()
    app.router.add_get("/jwks.json", issuer.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks.json"
    try:
        yield issuer
    finally:
        await runner.cleanup()


def unsigned(header: Mapping[str, Any], claims: Mapping[str, Any], signature: bytes = b"") -> str:
    """Return a token with whatever header and signature."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def signed(body: str, key: RSAPrivateKey) -> str:
    """Return `header.claims` with a signature of RS256."""
    signature = key.sign(body.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


@asynccontextmanager
async def silent_server() -> AsyncGenerator[str]:
    """Give the URL of a server that takes connections and never says a word."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _reader, writer: writers.append(writer), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        for writer in writers:
            writer.close()
            await writer.wait_closed()
        server.close()
        await server.wait_closed()
