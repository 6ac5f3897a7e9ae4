"""What the hub is compared with: BM25 of the library bm25s, on the very same chunks."""

from collections.abc import Callable
from typing import Any

import bm25s
import Stemmer

from benchmarks.retrieval.library import DEPTH, Base

Ranker = Callable[[str], list[int]]


def bm25(base: Base) -> Ranker:
    """Return BM25 as bm25s has it where nothing is said (Lucene's, k1 1.5, b 0.75), with English stop words and stems."""
    stemmer = Stemmer.Stemmer("english")
    ids = [chunk.id for chunk in base.chunks]
    index: Any = bm25s.BM25()
    index.index(_tokens([chunk.text for chunk in base.chunks], stemmer), show_progress=False)
    depth = min(DEPTH, len(ids))

    def ranked(question: str) -> list[int]:
        places, scores = index.retrieve(_tokens([question], stemmer), k=depth, show_progress=False)
        return [ids[place] for place, score in zip(places[0], scores[0], strict=True) if score > 0]

    return ranked


def _tokens(texts: list[str], stemmer: Any) -> Any:
    return bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)
