"""Content codings (RFC 9110, sections 8.4.1 and 12.5.3): which ones a client takes, and bodies in them.

zstd comes first where the client likes both alike: at its level here it costs a tenth of gzip's time and packs better.
"""

import asyncio
import re
import sys
import zlib
from functools import lru_cache
from typing import Literal

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Coding = Literal["zstd", "gzip", "identity"]

# What is shorter fits into one packet as it is.
LEAST_BYTES = 1024
# A body as long as this would hold the loop for over a millisecond: a thread packs it.
LONG_BYTES = 64 * 1024
PACKED: tuple[Coding, ...] = ("zstd", "gzip")
_CODINGS: tuple[Coding, ...] = (*PACKED, "identity")
_ALIASES = {"x-gzip": "gzip"}  # RFC 9110, section 8.4.1.3
_WEIGHT = re.compile(r"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)
# For bodies that are made for one answer: time counts, and the next levels win next to nothing on JSON of this size.
_QUICK: dict[Coding, int] = {"zstd": 1, "gzip": 1}
# For texts that are packed once. RFC 9659: a window of at most 8 MiB, which zstd exceeds only from level 20 on.
_SMALL: dict[Coding, int] = {"zstd": 15, "gzip": 9}
# A context is made once: that takes longer than to pack an answer.
_ZSTD = zstd.ZstdCompressor(_QUICK["zstd"])


@lru_cache(maxsize=256)
def accepted(header: str) -> tuple[Coding, ...]:
    """Return what an Accept-Encoding value takes, what it likes best first; empty where it takes nothing that there is.

    `identity` is among them unless it is ruled out. An element that is not well formed is passed over.
    """
    named = dict(filter(None, map(_element, header.split(","))))
    # What is named by nothing: no coding, and no coding at all is the last resort.
    others = named.get("*")
    weights: dict[Coding, float] = {coding: named.get(coding, others or 0.0) for coding in _CODINGS}
    if "identity" not in named and others is None:
        weights["identity"] = 0.0001
    return tuple(sorted((each for each in _CODINGS if weights[each]), key=lambda coding: -weights[coding]))


def _element(text: str) -> tuple[str, float] | None:
    name, _, parameter = text.partition(";")
    weight = _WEIGHT.fullmatch(parameter.strip()) if parameter else None
    name = name.strip().lower()
    if not name or (parameter and weight is None):
        return None
    return _ALIASES.get(name, name), float(weight[1]) if weight else 1.0


def coding_of(codings: tuple[Coding, ...], length: int) -> Coding:
    """Return in which of the accepted codings a body of `length` bytes is sent; there is at least one."""
    return "identity" if length < LEAST_BYTES and "identity" in codings else codings[0]


async def packed(body: bytes, coding: Coding) -> bytes:
    """Return `body` in a coding, at little cost: the loop is held for a millisecond at most."""
    if coding == "zstd" and len(body) < LONG_BYTES:
        return _ZSTD.compress(body, zstd.ZstdCompressor.FLUSH_FRAME)
    if len(body) < LONG_BYTES:
        return _packed(body, coding, _QUICK[coding])
    return await asyncio.to_thread(_packed, body, coding, _QUICK[coding])


async def packed_small(body: bytes, coding: Coding) -> bytes:
    """Return `body` in a coding, as small as it gets; for what is kept."""
    return await asyncio.to_thread(_packed, body, coding, _SMALL[coding])


def _packed(body: bytes, coding: Coding, level: int) -> bytes:
    if coding == "zstd":
        return zstd.compress(body, level)
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()
