"""Texts that are the same for everybody and change only with the release: hashed and packed once, kept in memory."""

from collections.abc import Mapping

from multidict import MultiMapping

from core.content.codings import Coding, accepted, coding_of, packed_small
from core.content.fields import list_header
from core.content.validators import held, in_coding, tag_of

# Asked again each time, which a 304 makes cheap: after a release nobody should read what was before.
REVALIDATED = "public, no-cache"
# Under a name that has the hash of what it names (RFC 8246).
IMMUTABLE = "public, max-age=31536000, immutable"


class Text:
    """A text with its media type; `headers` are those that answers with it have besides."""

    def __init__(
        self, body: bytes, media_type: str, headers: Mapping[str, str] | None = None, *, cache: str = REVALIDATED
    ) -> None:
        self.body = body
        self.etag = tag_of(body)
        vary = ", ".join(filter(None, ((headers or {}).get("Vary"), "Accept-Encoding")))
        self._headers = {**(headers or {}), "Cache-Control": cache, "Vary": vary}
        self._media_type = media_type
        self._packed: dict[Coding, bytes] = {"identity": body}

    async def answer(self, asked: MultiMapping[str]) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body for a GET with the headers `asked`.

        A client that takes no coding that there is gets the text as it is.
        """
        if_none_match, accept_encoding = list_header(asked, "If-None-Match"), list_header(asked, "Accept-Encoding")
        codings = None if accept_encoding is None else accepted(accept_encoding)
        if if_none_match is not None and (tag := held(if_none_match, self.etag, codings)) is not None:
            return 304, {**self._headers, "ETag": tag}, b""
        coding = coding_of(codings, len(self.body)) if codings else "identity"
        headers = {**self._headers, "ETag": in_coding(self.etag, coding), "Content-Type": self._media_type}
        if coding != "identity":
            headers["Content-Encoding"] = coding
        return 200, headers, await self._in(coding)

    async def _in(self, coding: Coding) -> bytes:
        found = self._packed.get(coding)
        if found is None:
            found = self._packed[coding] = await packed_small(self.body, coding)
        return found
