"""What makes vectors, whoever does it, and how it fails. No I/O.

EmbeddingError
  EmbedderAway    no answer, or a wrong one: later it may be right
  TextRefused     these texts are not taken; one by one most of them may be
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# pgvector's halfvec has 16,000, its number in the tables less; no model that is in use comes near.
MOST_DIMENSIONS = 16_000


class EmbeddingError(Exception):
    """There are no vectors."""


class EmbedderAway(EmbeddingError):
    """The model does not answer, or not as it must; the same may work later."""


class TextRefused(EmbeddingError):
    """The model does not take one of these texts, whenever it is asked."""


class Embedder(Protocol):
    """A model. All its vectors are of one length, and those of `model` by name are comparable wherever they were made."""

    @property
    def model(self) -> str:
        """Its name, as vectors are kept under."""
        ...

    async def embed(self, texts: Sequence[str]) -> Floats:
        """Return a row of length one for each text, however many they are. Raises EmbeddingError."""
        ...

    async def embed_question(self, question: str) -> Floats:
        """Return one row, before all texts that wait, and without trying twice. Raises EmbeddingError."""
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...


def checked(rows: Sequence[Sequence[float]] | Floats, texts: int, dimensions: int | None) -> Floats:
    """Return a model's answer as rows of length one; raises EmbedderAway where it is not `texts` rows of `dimensions` numbers."""
    if len(rows) != texts:
        raise EmbedderAway(f"{len(rows)} vectors came for {texts} texts")
    found = {len(row) for row in rows}
    if len(found) != 1 or not 0 < min(found) <= MOST_DIMENSIONS or found != {dimensions or min(found)}:
        raise EmbedderAway(f"vectors came with {_either(found)} dimensions, not {dimensions or 'all the same'}")
    # Out of range for 32 bits is infinite, which is found below.
    with np.errstate(over="ignore", invalid="ignore"):
        made = np.asarray(rows, np.float32)
        lengths = np.linalg.norm(made, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise EmbedderAway("vectors came with what is no number, or with nothing but zeros")
    return made / lengths


def _either(counts: set[int]) -> str:
    return " or ".join(str(count) for count in sorted(counts)[:3])
