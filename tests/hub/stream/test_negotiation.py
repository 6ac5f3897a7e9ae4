"""What is agreed of the extensions that a client offers: a table of offers and answers, and other libraries' opinion of both."""

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.headers import parse_extension

from core.errors import HubError
from hub.stream.negotiation import extensions_for

AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
SMALLER = f"{AGREED}; server_max_window_bits=12"
DEFLATE = "permessage-deflate"

# RFC 7692, section 7.1, and RFC 6455, section 9.1.
TABLE = {
    "": None,
    DEFLATE: AGREED,
    f" {DEFLATE}\t": AGREED,
    f"{DEFLATE}; client_max_window_bits": AGREED,  # Chromium, Firefox, aiohttp, node
    f"{DEFLATE}; server_max_window_bits=12; client_max_window_bits=12": SMALLER,  # the websockets library
    f"{DEFLATE};server_no_context_takeover;client_no_context_takeover": AGREED,
    f"{DEFLATE} ; client_max_window_bits = 8": AGREED,
    f'{DEFLATE}; server_max_window_bits="12"': SMALLER,
    f'{DEFLATE}; server_max_window_bits="1\\5"': SMALLER,
    f"{DEFLATE}; server_max_window_bits=15": SMALLER,
    # A window that the hub does not make: the next offer may do.
    f"{DEFLATE}; server_max_window_bits=11": None,
    f"{DEFLATE}; server_max_window_bits=8": None,
    f"{DEFLATE}; server_max_window_bits=10, {DEFLATE}": AGREED,
    f"{DEFLATE}; server_max_window_bits=10, {DEFLATE}; server_max_window_bits=13, {DEFLATE}": SMALLER,
    # Values and parameters that an offer cannot have: it is declined, which is no fault of the handshake.
    f"{DEFLATE}; server_max_window_bits": None,
    f"{DEFLATE}; server_max_window_bits=16": None,
    f"{DEFLATE}; server_max_window_bits=7": None,
    f"{DEFLATE}; server_max_window_bits=012": None,
    f"{DEFLATE}; server_max_window_bits=+12": None,
    f"{DEFLATE}; server_max_window_bits=x": None,
    f"{DEFLATE}; client_max_window_bits=7": None,
    f"{DEFLATE}; client_max_window_bits=99999999999999999999": None,
    f"{DEFLATE}; server_no_context_takeover=1": None,
    f"{DEFLATE}; client_no_context_takeover=true": None,
    f"{DEFLATE}; server_no_context_takeover; server_no_context_takeover": None,
    f"{DEFLATE}; client_max_window_bits; client_max_window_bits=12": None,
    f"{DEFLATE}; level=9": None,
    f"{DEFLATE}; level=9, {DEFLATE}": AGREED,
    f"{DEFLATE}; Server_No_Context_Takeover": None,
    # Other extensions, and empty elements of the list.
    "x-webkit-deflate-frame": None,
    f"x-{DEFLATE}": None,
    f"{DEFLATE}-2; client_max_window_bits": None,
    f"x-other; a=1; b, {DEFLATE}": AGREED,
    f",, {DEFLATE} ,": AGREED,
    ",": None,
}
# The handshake must fail (RFC 6455, section 9.1).
MALFORMED = [
    "permessage deflate",
    ";",
    f"{DEFLATE};",
    f"{DEFLATE}; =1",
    f"{DEFLATE}; a=",
    f"{DEFLATE}; a=b=c",
    f'{DEFLATE}; a="',
    f'{DEFLATE}; a=""',
    f'{DEFLATE}; a="b c"',
    f'{DEFLATE}; a="b,c"',
    f"{DEFLATE}; a(b)",
    "permessagé-deflate",
    f"{DEFLATE}; a={'x' * 4000}é",
    f'{DEFLATE}; a="{"x" * 4000}',
]


@pytest.mark.parametrize(("offers", "answer"), TABLE.items(), ids=list(TABLE))
def test_offer_gets_its_answer(offers: str, answer: str | None):
    """The first offer that can be kept; none where there is none."""
    assert extensions_for(offers) == answer


@pytest.mark.parametrize("offers", MALFORMED, ids=range(len(MALFORMED)))
def test_what_is_no_list_of_extensions_is_refused(offers: str):
    """Also beside a good offer."""
    for text in (offers, f"{DEFLATE}, {offers}"):
        with pytest.raises(HubError) as refused:
            extensions_for(text)
        assert refused.value.code == "BAD_REQUEST"


@pytest.mark.parametrize(
    ("server_bits", "client_bits", "no_context"),
    list(itertools.product((None, 8, 11, 12, 15), (True, None, 9, 15), (False, True))),
)
def test_another_library_takes_the_answer_to_its_offer(
    server_bits: int | None, client_bits: int | bool | None, *, no_context: bool
):
    """Whatever it offers: agreed without context on either side, with a window that it can bear, or declined."""
    factory = ClientPerMessageDeflateFactory(
        server_no_context_takeover=no_context,
        client_no_context_takeover=no_context,
        server_max_window_bits=server_bits,
        client_max_window_bits=client_bits,
    )
    offer = Headers(
        {"a": "; ".join([DEFLATE, *(k if v is None else f"{k}={v}" for k, v in factory.get_request_params())])}
    )
    answer = extensions_for(offer["a"])
    if server_bits in (8, 11):
        assert answer is None
        return
    assert answer is not None
    ((name, parameters),) = parse_extension(answer)
    agreed = factory.process_response_params(parameters, [])
    assert name == factory.name
    assert agreed.remote_no_context_takeover
    assert agreed.local_no_context_takeover
    assert agreed.remote_max_window_bits == (15 if server_bits is None else 12)


@given(st.text(max_size=200) | st.text('permessage-deflate;,="\\ x', max_size=60))
def test_any_text_is_answered_or_refused(offers: str):
    """Never another error."""
    answer = None
    with contextlib.suppress(HubError):
        answer = extensions_for(offers)
    assert answer in (None, AGREED, SMALLER)
