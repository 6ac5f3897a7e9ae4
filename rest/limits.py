"""The limit on requests as HTTP tells it: the X-RateLimit headers, and the fields of draft-ietf-httpapi-ratelimit-headers-11."""

from functools import lru_cache

from core.quota import WINDOW_SECONDS, Quota

# RFC 9651, section 3.3.1: an Integer has up to 15 digits.
_MOST = 10**15 - 1


def tell_limit(quota: Quota, headers: dict[str, str]) -> None:
    """Put what holds after this request into an answer's headers."""
    limit, policy = _fixed(quota.limit, quota.burst)
    headers["X-RateLimit-Limit"] = limit
    headers["X-RateLimit-Remaining"] = str(quota.remaining)
    headers["X-RateLimit-Reset"] = str(quota.reset)
    headers["X-RateLimit-Window"] = "3600"
    headers["RateLimit-Policy"] = policy
    hour = f'"hour";r={min(quota.remaining, _MOST)};t={quota.resets_in}'
    # Section 5: where Retry-After stands too, both speak of the same moment.
    burst_in = f";t={quota.retry_after}" if quota.retry_after is not None and quota.burst_remaining < 1 else ""
    headers["RateLimit"] = f'{hour}, "burst";r={min(quota.burst_remaining, _MOST)}{burst_in}'


@lru_cache(maxsize=1024)
def _fixed(limit: int, burst: int) -> tuple[str, str]:
    """Return what changes only with the limit itself. The bucket's window is the time in which it fills."""
    fills_in = -(-burst * WINDOW_SECONDS // limit) if limit else WINDOW_SECONDS
    policy = f'"hour";q={min(limit, _MOST)};w={WINDOW_SECONDS}, "burst";q={min(burst, _MOST)};w={min(max(1, fills_in), _MOST)}'
    return str(limit), policy
