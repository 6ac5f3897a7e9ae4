"""What the searched scopes know of a question's words: how many chunks have them, and what an unknown one was meant to be."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from core.store.statements import Statements
from handlers.knowledge.retrieval.index import SQL
from handlers.knowledge.retrieval.lexemes import quoted, scoped
from handlers.knowledge.retrieval.question import Question
from handlers.knowledge.retrieval.scoring import BUDGET, Scope, Weighed
from handlers.knowledge.retrieval.typos import may_be_typo, meant

# In the order of the question: each is looked up in each scope.
_MOST_LOOKUPS = 20_000
_MOST_UNKNOWN = 8
_MOST_NEAR = 32
_MOST_OF_A_BEGINNING = 24


class Vocabulary:
    """The counts of one search."""

    def __init__(self, db: Statements, scopes: Sequence[Scope]) -> None:
        self._db = db
        self._scopes = [each.scope for each in scopes]
        self._changed = [each.scope for each in scopes if each.changes]
        self.counts: dict[str, int] = {}

    async def known(self, question: Question) -> tuple[Question, dict[str, str]]:
        """Return the question with what its unknown words were meant to be, and which these are; fills `counts`."""
        terms = question.terms[: max(16, _MOST_LOOKUPS // len(self._scopes))]
        await self._count(terms)
        unknown = [each for each in question.words if not any(term in self.counts for term in each[1])]
        if not unknown:
            return question, {}
        if self._changed:
            await self._find_fresh(unknown)
        corrected: dict[str, list[str]] = {}
        for word, its in islice(_may_be_wrong(unknown, self.counts), _MOST_UNKNOWN):
            found = await self._meant(its[0])
            if found:
                corrected[word] = found
        if not corrected:
            return question, {}
        words = tuple((word, (*its, *corrected.get(word, ()))) for word, its in question.words)
        return replace(question, words=words), {word: found[0] for word, found in corrected.items()}

    async def beginnings(self, beginnings: Sequence[str]) -> list[Weighed]:
        """Return what counts for words with these beginnings: each as one where it is rare, else its most frequent words."""
        weighed: list[Weighed] = []
        for each in beginnings:
            rows = await self._db.fetch(SQL["beginnings"], self._scopes, each)
            total = sum(row["chunks"] for row in rows)
            if total <= BUDGET:
                weighed.append(Weighed(each, total, is_beginning=True))
            else:
                weighed += [Weighed(row["lexeme"], row["chunks"]) for row in rows[:_MOST_OF_A_BEGINNING]]
        return weighed

    async def _count(self, terms: Sequence[str]) -> None:
        rows = await self._db.fetch(SQL["counts"], self._scopes, terms)
        self.counts.update((row["lexeme"], row["chunks"]) for row in rows)
        for row in await self._db.fetch(SQL["fresh"], self._changed, terms) if self._changed else ():
            chunks = self.counts.pop(row["lexeme"], 0) + row["chunks"]
            if chunks > 0:
                self.counts[row["lexeme"]] = chunks

    async def _find_fresh(self, unknown: Sequence[tuple[str, tuple[str, ...]]]) -> None:
        """Count terms once that stand in the index, though very many changes hide them."""
        terms = [term for _, its in unknown for term in its]
        room = max(1, _MOST_LOOKUPS // 10 // len(self._changed))
        asked = {quoted(scoped(scope, term)): term for term in terms[:room] for scope in self._changed}
        for row in await self._db.fetch("SELECT lexemes_present($1) AS lexeme", list(asked)):
            term = asked[row["lexeme"]]
            self.counts[term] = self.counts.get(term, 0) + 1

    async def _meant(self, term: str) -> list[str]:
        rows = await self._db.fetch(
            "SELECT lexeme, chunks FROM lexemes_near($1, $2, $3)", term, self._scopes, _MOST_NEAR
        )
        found = meant(term, ((row["lexeme"], row["chunks"]) for row in rows))
        counts = {row["lexeme"]: row["chunks"] for row in rows}
        self.counts.update((each, counts[each]) for each in found)
        return found


def _may_be_wrong(
    unknown: Sequence[tuple[str, tuple[str, ...]]], counts: dict[str, int]
) -> list[tuple[str, tuple[str, ...]]]:
    still = (each for each in unknown if not any(term in counts for term in each[1]))
    return [each for each in still if may_be_typo(each[0])]
