"""Vectors of texts, kept in benchmarks/build, so that a run makes only those that no run before has made."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from handlers.knowledge.embedding.embedder import Embedder, Floats


class KeptVectors:
    """By the hash of model and text."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, Floats] = {}
        self._new = 0
        if file.exists():
            with np.load(file) as kept:
                self._known = dict(zip(kept["keys"].tolist(), kept["rows"], strict=True))

    async def of(self, embedder: Embedder, texts: Sequence[str]) -> list[Floats]:
        """Return a row for each text."""
        keys = [sha256(f"{embedder.model}\0{text}".encode()).hexdigest() for text in texts]
        missing = [(key, text) for key, text in zip(keys, texts, strict=True) if key not in self._known]
        if missing:
            rows = await embedder.embed([text for _, text in missing])
            self._known |= dict(zip((key for key, _ in missing), rows, strict=True))
            self._new += len(missing)
        if self._new >= 2_000:
            self.save()
        return [self._known[key] for key in keys]

    def save(self) -> None:
        """Keep all."""
        if self._new:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            np.savez(self._file, keys=np.array(list(self._known)), rows=np.stack(list(self._known.values())))
            self._new = 0
