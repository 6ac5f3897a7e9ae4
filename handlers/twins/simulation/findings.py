"""What indicators mean, in sentences that a planner reads first."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from handlers.twins.simulation.model import Model

MOST_FINDINGS = 12


@dataclass(frozen=True, slots=True)
class _Sentence:
    """`says` holds {node}, {value} and {unit} of time; it is left out where the value is `unless`."""

    measure: str
    says: str
    is_share: bool = False
    unless: float | None = None


# The first are told first.
_SENTENCES = (
    _Sentence("stock_outs", "The {node} runs out {value} times"),
    _Sentence("service_level", "The {node} gives {value} of what is wanted at once", is_share=True),
    _Sentence("most_backlog", "At most {value} units are owed by the {node}"),
    _Sentence("recovery_time", "The {node} has recovered on average {value} {unit}s after the change began", unless=0),
    _Sentence("lost", "The {node} loses sales of {value} units"),
    _Sentence("mean_wait", "The mean wait at {node} is {value} {unit}s"),
    _Sentence("mean_queue", "On average {value} wait at {node}"),
    _Sentence("turned_away", "{value} are turned away at {node}"),
    _Sentence("utilisation", "The utilisation of {node} is {value}", is_share=True),
    _Sentence("most", "The most of {node} is {value}"),
    _Sentence("time_of_most", "{node} has its most at {unit} {value}"),
    _Sentence("at_end", "At the end {node} is {value}"),
)
_OF_THE_WHOLE = (
    _Sentence("total_cost", "The costs are {value}"),
    _Sentence("total_revenue", "The revenue is {value}"),
    _Sentence("profit", "The profit is {value}"),
)


def findings(model: Model, indicators: Mapping[str, Mapping[str, Any]], *, runs: int) -> list[str]:
    """Return sentences of what differs from the baseline beyond chance; without a baseline, of what matters most.

    `indicators` are those of a summary. At most MOST_FINDINGS, those of the whole model last.
    """
    of_nodes = list(_told(model, indicators, _SENTENCES, has_nodes=True))
    of_the_whole = list(_told(model, indicators, _OF_THE_WHOLE, has_nodes=False))
    found = [*of_nodes[: MOST_FINDINGS - len(of_the_whole)], *of_the_whole]
    if not found and any("change" in told for told in indicators.values()):
        plural = "" if runs == 1 else "s"
        return [f"Nothing differs from the baseline beyond chance, in {runs} run{plural}."]
    return found


def _told(
    model: Model, indicators: Mapping[str, Mapping[str, Any]], sentences: tuple[_Sentence, ...], *, has_nodes: bool
) -> Iterator[str]:
    for sentence in sentences:
        for name, told in indicators.items():
            node, _, measure = name.rpartition(".")
            if measure == sentence.measure and bool(node) == has_nodes and _is_worth_it(sentence, told):
                yield _written(sentence, model, node, told)


def _is_worth_it(sentence: _Sentence, told: Mapping[str, Any]) -> bool:
    if told["mean"] is None or told["mean"] == sentence.unless:
        return False
    return "change" not in told or (_is_clear(told["change"]) and _is_seen(sentence, told))


def _is_seen(sentence: _Sentence, told: Mapping[str, Any]) -> bool:
    """Tell whether a reader sees the change in the digits that are written."""
    baseline = told["baseline"]["mean"]
    return baseline is None or _number(told["mean"], sentence) != _number(baseline, sentence)


def _is_clear(change: Mapping[str, Any]) -> bool:
    """Tell whether the interval of a change leaves out zero; of one run, whether there is a change."""
    if change["low"] is None or change["high"] is None:
        return bool(change["mean"])
    return change["low"] > 0 or change["high"] < 0


def _written(sentence: _Sentence, model: Model, node: str, told: Mapping[str, Any]) -> str:
    text = sentence.says.format(
        node=node.replace("_", " "), value=_number(told["mean"], sentence), unit=model.time_unit
    )
    text = text[0].upper() + text[1:]
    baseline = told.get("baseline")
    if baseline is None or baseline["mean"] is None or sentence.unless == baseline["mean"]:
        return f"{text}."
    return f"{text} (baseline {_number(baseline['mean'], sentence)})."


def _number(value: float, sentence: _Sentence) -> str:
    """Write a value with the digits that people read."""
    if sentence.is_share:
        return f"{100 * value:.1f} %"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 1 or value == 0 else f"{value:.2g}"
