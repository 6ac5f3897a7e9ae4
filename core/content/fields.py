"""Header fields as their standard reads them."""

from multidict import MultiMapping


def list_header(headers: MultiMapping[str], name: str) -> str | None:
    """Return a header's value, None where it is not there; several of one name are one list (RFC 9110, section 5.3)."""
    values = headers.getall(name, ())
    return ", ".join(values) if values else None
