"""What was measured, as Markdown. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.retrieval.compared import difference, ndcgs
from handlers.knowledge.evaluation.measures import Measures, means

_NAMES = {
    "words": "**the hub**, by words",
    "both": "**the hub**, by words and meaning",
    "vectors": "vectors alone, all compared",
    "bm25s": "`bm25s`, stems and stop words of English",
    "ts_rank": "PostgreSQL's `ts_rank`, any word",
    "ts_rank_cd": "PostgreSQL's `ts_rank_cd`, any word",
}


@dataclass(frozen=True, slots=True)
class Judged:
    """What each system has reached for each question of a set, by the key of the system."""

    key: str
    says: str
    chunks: int
    by: dict[str, list[Measures]]


def markdown(of: Sequence[Judged]) -> str:
    """Write a table for each set, and the goals."""
    parts = [f"**{_capital(each.says)}**, {each.chunks:,} chunks:\n\n{_table(each)}" for each in of]
    return "\n\n".join([*parts, _goals(of)]) + "\n"


def _table(of: Judged) -> str:
    lines = [
        "| system | nDCG@10 | recall@20 | MRR | nDCG@10 over `bm25s` (95% of samples) |",
        "|---|---|---|---|---|",
    ]
    base = ndcgs(of.by["bm25s"])
    for key, name in _NAMES.items():
        if key in of.by:
            mean = means(of.by[key])
            apart = "" if key == "bm25s" else _apart(ndcgs(of.by[key]), base)
            lines.append(f"| {name} | {mean.ndcg:.3f} | {mean.recall:.3f} | {mean.mrr:.3f} | {apart} |")
    return "\n".join(lines)


def _apart(of: Sequence[float], to: Sequence[float]) -> str:
    apart = difference(of, to)
    return f"{apart.mean:+.3f} ({apart.least:+.3f} to {apart.most:+.3f})"


def _goals(of: Sequence[Judged]) -> str:
    lines = ["| set | goal | measured | |", "|---|---|---|---|"]
    for each in of:
        scores = {key: means(measures).ndcg for key, measures in each.by.items()}
        lines.append(_goal(each.key, "by words, at least `bm25s`", scores["words"] / scores["bm25s"], 1.0))
        if "both" in scores:
            least = 1.0 if each.key == "technical" else 1.05
            wanted = "no worse than" if each.key == "technical" else "at least 5% over"
            lines.append(
                _goal(each.key, f"by words and meaning, {wanted} words alone", scores["both"] / scores["words"], least)
            )
    return "\n".join(["**Goals**, by nDCG@10:", "", *lines])


def _goal(key: str, says: str, ratio: float, least: float) -> str:
    # As it is shown: a thousandth is no difference.
    met = round(ratio, 3) >= least
    return f"| {key} | {says} | {ratio:.3f} x | {'reached' if met else '**missed**'} |"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
