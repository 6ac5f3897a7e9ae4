"""`evaluate`: asks a running hub how well it searches a knowledge base, by questions whose documents are known."""

import argparse
import os
from pathlib import Path
from statistics import fmean
from typing import Any

import aiohttp
import orjson

from core.errors import CATALOGUE, HubError
from core.settings import Settings
from handlers.knowledge.evaluation.models import MOST_QUESTIONS

_SHOWN = 10
_SECONDS = 60.0


def add_to(commands: Any) -> None:
    """Add `evaluate` and what it takes."""
    one = commands.add_parser("evaluate", help="measure how well a knowledge base is searched")
    one.add_argument("--base", required=True, metavar="ID", help="the knowledge base")
    help_ = 'a JSON array, or lines, of {"question": ..., "relevant": [names or ids of documents]}'
    one.add_argument("--questions", required=True, type=Path, metavar="FILE", help=help_)
    one.add_argument("--url", help="the hub (http://127.0.0.1 and HUB_PORT)")
    one.add_argument("--k", type=int, default=10, help="how many documents nDCG looks at (10)")
    one.add_argument("--least", type=float, help="exit with 1 where nDCG is below this")
    one.set_defaults(command=run)


async def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print the measures and the worst questions. Raises OSError and HubError where there is nothing to print."""
    questions = read_questions(arguments.questions)
    url = arguments.url or f"http://127.0.0.1:{settings.port}"
    key = os.environ.get("HUB_KEY") or (settings.data / "dev-key").read_text().strip()
    parts: list[dict[str, Any]] = []
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, headers={"Authorization": f"Bearer {key}"}) as session:
        for first in range(0, len(questions), MOST_QUESTIONS):
            some = questions[first : first + MOST_QUESTIONS]
            body = {"questions": some, "k": arguments.k}
            parts.append(await _evaluated(session, f"{url}/v2/knowledge/{arguments.base}/evaluate", body))
    ndcg = _tell(parts, arguments.k)
    return 1 if arguments.least is not None and ndcg < arguments.least else 0


def read_questions(file: Path) -> list[Any]:
    """Return the questions of a file. Raises OSError, and HubError where it has none or is no JSON."""
    text = file.read_bytes().strip()
    try:
        found = orjson.loads(text) if text.startswith(b"[") else [orjson.loads(line) for line in text.splitlines()]
    except orjson.JSONDecodeError as error:
        raise HubError("BAD_REQUEST", f"{file} is neither a JSON array nor lines of JSON: {error}") from error
    if not found:
        raise HubError("BAD_REQUEST", f"{file} has no questions")
    return found


async def _evaluated(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        async with session.post(url, json=body) as response:
            answer = orjson.loads(await response.read())
    except (aiohttp.ClientError, orjson.JSONDecodeError) as error:
        raise HubError("BAD_GATEWAY", f"No hub answers at {url}: {error}") from error
    if response.status == 200:
        return answer
    error = answer["error"]
    details = "".join(f"\n{each['field']}: {each['message']}" for each in error["details"])
    code = error["code"] if error["code"] in CATALOGUE else "BAD_GATEWAY"
    raise HubError(code, f"{error['code']}: {error['message']}{details}")


def _tell(parts: list[dict[str, Any]], k: int) -> float:
    """Print all; returns the mean nDCG."""
    judged = [each for part in parts for each in part["questions"]]
    means = {name: fmean(each[name] for each in judged) for name in ("ndcg", "recall", "reciprocal_rank")}
    print(  # noqa: T201 - the command's answer
        f"{len(judged)} questions: nDCG@{k} {means['ndcg']:.3f}, recall@{2 * k} {means['recall']:.3f}, "
        f"MRR {means['reciprocal_rank']:.3f}"
    )
    for each in sorted(judged, key=lambda each: each["ndcg"])[:_SHOWN]:
        if each["ndcg"] < 1:
            ranks = ", ".join(f"{name} {rank or 'not found'}" for name, rank in each["ranks"].items())
            print(f"  {each['ndcg']:.2f}  {each['question'][:100]}  ({ranks})")  # noqa: T201
    if unknown := list(dict.fromkeys(name for part in parts for name in part["unknown"])):
        print(f"The base does not have: {', '.join(unknown)}")  # noqa: T201
    return means["ndcg"]
