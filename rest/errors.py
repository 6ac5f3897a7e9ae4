"""Errors as HTTP: the same object for every refusal, with the headers that its status asks for."""

from collections.abc import Mapping

from aiohttp import web

from core.clock import Clock
from core.errors import HubError
from rest.asked import Answer, ErrorForm
from rest.forms import PLAIN
from rest.limits import tell_limit

# On every answer: what a client wrote is never taken for a page or a script, whatever a name contains; and every answer, as a
# refusal at least, has other forms (RFC 9110, section 12.5.5).
SAFE: Mapping[str, str] = {"X-Content-Type-Options": "nosniff", "Vary": "Accept"}
# Where the refusal has none of its own (RFC 6750, section 3).
CHALLENGE = 'Bearer realm="aimatrix"'


class ErrorAnswers:
    """Renders HubErrors."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def answer(
        self, error: HubError, request_id: str, headers: Mapping[str, str] = SAFE, form: ErrorForm = PLAIN
    ) -> Answer:
        """Return the answer for `error`; `headers` are those that the answer has besides."""
        said = {**headers, **error.headers, "X-Request-Id": request_id, "Content-Type": form.media_type}
        if error.status == 401:
            said.setdefault("WWW-Authenticate", CHALLENGE)
        if error.quota is not None:
            tell_limit(error.quota, said)
        if error.retry_after is not None:
            said["Retry-After"] = str(error.retry_after)
        return Answer(error.status, said, form.error(error, request_id, self._clock.now()))

    def response(
        self, error: HubError, request_id: str, headers: Mapping[str, str] = SAFE, form: ErrorForm = PLAIN
    ) -> web.Response:
        """Return the same for aiohttp."""
        return response_of(self.answer(error, request_id, headers, form))


def response_of(answer: Answer) -> web.Response:
    """Return `answer` as aiohttp sends it."""
    return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
