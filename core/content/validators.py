"""Validators and conditions of reads (RFC 9110, sections 8.8 and 13.1): strong entity tags, and dates of whole seconds.

A representation in a content coding is another one (section 8.8.3.3): its tag ends with `.` and the coding's name.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from hashlib import sha256

from core.content.codings import PACKED, Coding

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def tag_of(body: bytes) -> str:
    """Return an entity tag made of the body itself."""
    return f'"{sha256(body).hexdigest()[:24]}"'


def in_coding(tag: str, coding: Coding) -> str:
    """Return the tag of the representation in `coding`; `tag` is that of the plain one."""
    return tag if coding == "identity" else f'{tag[:-1]}.{coding}"'


def held(condition: str, tag: str, codings: Collection[Coding] | None) -> str | None:
    """Return the tag by which an If-None-Match value says that its client has this, None where it does not (section 13.1.2).

    `tag` is that of the plain representation, `codings` are those that the client takes, None where it did not say. What it
    has in one of them it need not get again in another: of several representations the server chooses. Compared weakly.
    """
    if condition.strip() == "*":
        return tag
    for named in condition.split(","):
        strong = named.strip().removeprefix("W/")
        if strong == tag:
            return tag
        # The tags here hold no comma, and none begins with another and a point.
        if any(strong == in_coding(tag, coding) for coding in (PACKED if codings is None else codings)):
            return strong
    return None


# What is read is mostly read again: a look takes half the time.
@lru_cache(maxsize=4096)
def http_date(moment: datetime) -> str:
    """Write a moment in UTC as an HTTP date (section 5.6.7), whatever the locale; the fraction of its second is left out."""
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    return f"{day}, {moment.day:02} {month} {moment.year:04} {moment.hour:02}:{moment.minute:02}:{moment.second:02} GMT"


def is_unchanged(since: str, modified: datetime) -> bool:
    """Tell whether nothing was modified after an If-Modified-Since value; one that is no date says nothing (section 13.1.3)."""
    moment = _moment(since)
    return moment is not None and modified.replace(microsecond=0) <= moment


@lru_cache(maxsize=256)
def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    # Dates without an offset, and "-0000", are UTC.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
