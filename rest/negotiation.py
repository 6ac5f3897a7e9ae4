"""Which form a request is in and wants its answer in: the one place that looks at `Accept` and `Content-Type`.

Plain JSON, unless the client names JSON:API; `application/problem+json` (RFC 9457) is a form of refusals only. What else a client
accepts changes nothing: it gets plain JSON (RFC 9110, section 12.5.1, lets a server do so).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from multidict import MultiMapping

from core.errors import HubError
from rest.asked import ErrorForm
from rest.forms import JSON, PLAIN, PROBLEM, PROBLEMS
from rest.jsonapi.errors import JSONAPI, JsonApiErrors

EVENTS = "text/event-stream"
_ERRORS = JsonApiErrors()
# JSON:API's own two parameters: `ext` asks for extensions, which an endpoint has or has not; profiles that are not known are
# ignored.
_PARAMETERS = frozenset({"profile", "ext"})


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a request's headers say: `errors` is the form of refusals where no route is known; `refused` why it is not served.

    `is_extended` tells whether the body uses the endpoint's extension of JSON:API.
    """

    is_jsonapi: bool = False
    sends_jsonapi: bool = False
    errors: ErrorForm = PLAIN
    refused: str | None = None
    is_extended: bool = False

    def check(self) -> None:
        """Raise HubError where the headers ask for what there is not (JSON:API, "Server Responsibilities")."""
        if self.refused is not None:
            allowed = f"Send and accept {JSONAPI} without parameters other than profile, and an ext that is known here"
            raise HubError(self.refused, allowed)


@dataclass(frozen=True, slots=True)
class _Media:
    name: str
    parameters: tuple[str, ...]
    weight: float
    extensions: frozenset[str]

    def is_known(self, extension: str | None) -> bool:
        """Tell whether it has no parameter, and no extension, that an endpoint with `extension` does not know."""
        return _PARAMETERS.issuperset(self.parameters) and self.extensions <= {extension}


def spoken_of(headers: MultiMapping[str], extension: str | None = None) -> Spoken:
    """Return what the headers of a request say to an endpoint, which has this extension of JSON:API."""
    accept = headers.getall("Accept", None)
    return _spoken("*/*" if not accept else ", ".join(accept), headers.get("Content-Type", ""), extension)


@lru_cache(maxsize=256)
def _spoken(accept: str, content_type: str, extension: str | None) -> Spoken:
    accepted = [*_media_of(accept)]
    sent = next(_media_of(content_type), None)
    sends = sent is not None and sent.name == JSONAPI
    offers = [each for each in accepted if each.name == JSONAPI]
    usable = [each.weight for each in offers if each.is_known(extension)]
    is_jsonapi = _is_preferred(accepted, max(usable)) if usable else sends and not _names(accepted, JSON)
    problems = PROBLEMS if _names(accepted, PROBLEM) else PLAIN
    refused: str | None = None
    if sent is not None and sends and not sent.is_known(extension):
        refused = "UNSUPPORTED_MEDIA_TYPE"
    elif offers and not usable:
        refused = "NOT_ACCEPTABLE"
    is_extended = sent is not None and bool(sent.extensions)
    return Spoken(is_jsonapi, sends, _ERRORS if is_jsonapi or refused else problems, refused, is_extended)


def accepts_events(headers: MultiMapping[str]) -> bool:
    """Tell whether a client names server-sent events as what it takes."""
    return accepts(headers, EVENTS)


def accepts(headers: MultiMapping[str], media_type: str) -> bool:
    """Tell whether a client names a media type, without wildcards, as what it takes."""
    accept = headers.getall("Accept", None)
    return accept is not None and _names([*_media_of(", ".join(accept))], media_type)


def _is_preferred(accepted: list[_Media], weight: float) -> bool:
    """Tell whether JSON:API with `weight` is wanted rather than plain JSON; of equals it is the first that is named."""
    plain = next((each for each in accepted if each.name == JSON), None)
    if weight == 0 or plain is None:
        return weight > 0
    first = next(each for each in accepted if each.name in (JSON, JSONAPI))
    return weight > plain.weight or (weight == plain.weight and first.name == JSONAPI)


def _names(accepted: list[_Media], name: str) -> bool:
    return any(each.name == name and each.weight > 0 for each in accepted)


def _media_of(header: str) -> Iterator[_Media]:
    """Give the media types of a header; what follows `q` is no parameter of the type (RFC 9110, section 12.5.1)."""
    for element in _split(header, ","):
        name, *rest = (part.strip() for part in _split(element, ";"))
        parameters: list[str] = []
        extensions = frozenset[str]()
        weight = 1.0
        for part in rest:
            key, _, value = part.partition("=")
            key = key.strip().lower()
            if key == "q":
                weight = _weight(value)
                break
            if key == "ext":
                extensions = frozenset(value.strip().strip('"').split())
            if key:
                parameters.append(key)
        yield _Media(name.lower(), tuple(parameters), weight, extensions)


def _weight(text: str) -> float:
    digits = text.strip()
    is_number = digits.replace(".", "", 1).isdecimal() and digits.isascii()
    return min(1.0, float(digits)) if is_number else 1.0


def _split(text: str, separator: str) -> Iterator[str]:
    """Split where `separator` is not within quotes."""
    if '"' not in text:
        yield from text.split(separator)
        return
    begin, quoted, escaped = 0, False, False
    for place, character in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == separator and not quoted:
            yield text[begin:place]
            begin = place + 1
    yield text[begin:]
