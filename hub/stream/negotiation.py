"""Which of the extensions that a client offers is agreed: permessage-deflate (RFC 7692, section 7.1), without context. No I/O.

Offers are read by RFC 6455, section 9.1; the first one that the hub can keep is taken.
"""

import re

from core.errors import HubError
from hub.stream.deflate import WINDOW_BITS

_NAME = "permessage-deflate"
# The hub keeps no context, since what it sends is compressed once for all, nor lets the client keep any, which it may always ask
# for (7.1.1.2): an inflator for each connection would be 40 KiB of memory.
_ANSWER = f"{_NAME}; server_no_context_takeover; client_no_context_takeover"
_BITS = frozenset(str(bits) for bits in range(8, 16))
# Of each parameter of an offer (7.1.1, 7.1.2) the values that it may have; None stands for no value.
_VALUES: dict[str, frozenset[str | None]] = {
    "server_no_context_takeover": frozenset({None}),
    "client_no_context_takeover": frozenset({None}),
    "server_max_window_bits": _BITS,
    "client_max_window_bits": _BITS | {None},
}
_TCHAR = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_TOKEN = re.compile(rf"{_TCHAR}+")
_PARAMETER = re.compile(rf"""({_TCHAR}+)(?:[ \t]*=[ \t]*({_TCHAR}+|"(?:\\?{_TCHAR})+"))?""")

_Parameters = list[tuple[str, str | None]]


def extensions_for(offers: str) -> str | None:
    """Return the `Sec-WebSocket-Extensions` of the answer to one with `offers`; None where nothing is agreed.

    Raises HubError BAD_REQUEST for what is no list of extensions: the RFC wants such a handshake to fail.
    """
    agreed = [_answer_to(name, parameters) for name, parameters in map(_offer, _split(offers, ",")) if name]
    return next(filter(None, agreed), None)


def _answer_to(name: str, parameters: _Parameters) -> str | None:
    """Return the answer to one offer; None where it is of another extension, or one to decline (7.1)."""
    named = dict(parameters)
    if name != _NAME or len(named) < len(parameters):
        return None
    if any(value not in _VALUES.get(parameter, ()) for parameter, value in parameters):
        return None
    window = named.get("server_max_window_bits")
    if window is None:
        return _ANSWER
    # The answer names the window, at most as large as the client's (7.1.2.1).
    return f"{_ANSWER}; server_max_window_bits={WINDOW_BITS}" if int(window) >= WINDOW_BITS else None


def _offer(text: str) -> tuple[str, _Parameters]:
    if not text:
        return "", []  # lists may have empty elements (RFC 7230, section 7)
    name, *rest = _split(text, ";")
    if not _TOKEN.fullmatch(name):
        raise _malformed()
    return name, [_parameter(each) for each in rest]


def _parameter(text: str) -> tuple[str, str | None]:
    found = _PARAMETER.fullmatch(text)
    if found is None:
        raise _malformed()
    value: str | None = found[2]
    return found[1], None if value is None else value.strip('"').replace("\\", "")


def _split(text: str, mark: str) -> list[str]:
    # Quoted values hold tokens only, so neither mark stands in one.
    return [part.strip(" \t") for part in text.split(mark)]


def _malformed() -> HubError:
    return HubError("BAD_REQUEST", "`Sec-WebSocket-Extensions` is no list of extensions (RFC 6455, section 9.1)")
