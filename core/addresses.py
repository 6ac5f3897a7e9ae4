"""Addresses as connections and proxies write them."""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_address(text: str) -> Address | None:
    """Return the address that a text is, None where it is none; an IPv4 one that IPv6 carries (RFC 4291, 2.5.5.2) as IPv4."""
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])  # without the zone
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed
