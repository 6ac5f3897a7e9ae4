"""The lines of a long body, one by one as they come: no more is held than one of them."""

from collections.abc import AsyncGenerator

from aiohttp import StreamReader, web

from core.clock import Clock
from core.deadline import within
from core.errors import HubError

# A document of 32 MiB in base64, and what is said of it.
MOST_LINE_BYTES = 44 * 1024 * 1024
# A client that sends nothing for so long is given up.
SILENCE_SECONDS = 30.0


async def lines_of(request: web.Request, clock: Clock) -> AsyncGenerator[bytes]:
    """Give the lines of the body without their ends, empty ones left out.

    Raises HubError BAD_REQUEST for a body that breaks off, PAYLOAD_TOO_LARGE for a line over MOST_LINE_BYTES, TIMEOUT for silence.
    """
    if "Expect" in request.headers:
        # RFC 9110, section 10.1.1, as for other bodies (rest/requests.py).
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    held = bytearray()
    while part := await _next(request.content, clock):
        *ended, begun = part.split(b"\n")
        for end in ended:
            held += end
            if held.strip():
                yield bytes(held)
            held.clear()
        held += begun
        if len(held) > MOST_LINE_BYTES:
            raise HubError("PAYLOAD_TOO_LARGE", f"A line is over {MOST_LINE_BYTES >> 20} MiB")
    if held.strip():
        yield bytes(held)


async def _next(content: StreamReader, clock: Clock) -> bytes:
    try:
        return await within(clock, SILENCE_SECONDS, content.readany())
    except TimeoutError as error:
        raise HubError("TIMEOUT", f"Nothing more of the body came for {SILENCE_SECONDS:.0f} seconds") from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise HubError("BAD_REQUEST", "The body ends early, or its transfer coding is broken") from error
