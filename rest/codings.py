"""Answers in the content coding that their caller likes best (RFC 9110, section 12.5.3); streams are never packed."""

from multidict import MultiMapping

from core.content.codings import Coding, accepted, coding_of, packed
from core.content.fields import list_header
from core.content.validators import in_coding
from core.errors import HubError
from rest.asked import Answer


def codings_of(headers: MultiMapping[str]) -> tuple[Coding, ...] | None:
    """Return what the caller takes, None where it does not say. Raises NOT_ACCEPTABLE where it takes nothing that there is."""
    if "Accept-Encoding" not in headers:
        return None
    codings = accepted(list_header(headers, "Accept-Encoding") or "")
    if not codings:
        raise HubError("NOT_ACCEPTABLE", "Accept-Encoding rules out zstd, gzip and identity, and there is no other")
    return codings


async def pack(answer: Answer, codings: tuple[Coding, ...]) -> None:
    """Put the body of `answer` into one of the codings; short ones stay as they are, where they may.

    So do those that nobody may keep: they hold secrets, and how well a body packs tells of what is in it (BREACH).
    """
    headers = answer.headers
    if not answer.body or headers.get("Cache-Control") == "no-store":
        return
    coding = coding_of(codings, len(answer.body))
    if coding == "identity":
        return
    answer.body = await packed(answer.body, coding)
    headers["Content-Encoding"] = coding
    varies = headers.get("Vary", "")
    if "Accept-Encoding" not in varies:
        headers["Vary"] = f"{varies}, Accept-Encoding" if varies else "Accept-Encoding"
    if "ETag" in headers:
        headers["ETag"] = in_coding(headers["ETag"], coding)
