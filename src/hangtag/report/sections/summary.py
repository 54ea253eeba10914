"""The top of the page: one telling figure for each field, what they come to in a sentence, and what to beware of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hangtag.answer import Kind
from hangtag.catalogue.describing.spread import cut
from hangtag.evaluation.metrics import METRICS, Metric
from hangtag.evaluation.warnings import about_unseen
from hangtag.report.words import counted

KEY_METRIC: dict[Kind, str] = {"text": "exact", "category": "accuracy", "number": "median_ape"}
_UNSEEN_SHOWN = 20
_DIRECTIONS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])
"""Marks that turn the direction of writing; one in a table's text would turn the rest of our sentence."""


@dataclass(frozen=True)
class KeyFigure:
    """One field's most telling score, in words for the headline and in figures for its tag.

    `rival` is the best baseline and its score; `doubtful` names the baselines it is not shown to be better than.
    """

    field: str
    label: str
    value: str
    interval: str
    rival: str
    sentence: str
    doubtful: list[str]


def key_figures(fields: Mapping[str, Kind], metrics: Mapping[str, Any]) -> list[KeyFigure]:
    """A figure for each field."""
    return [_key_figure(name, kind, metrics) for name, kind in fields.items()]


def _key_figure(name: str, kind: Kind, metrics: Mapping[str, Any]) -> KeyFigure:
    metric = METRICS[KEY_METRIC[kind]]
    score = metrics["fields"][name][metric.name]
    baselines = {way: each["fields"][name][metric.name]["value"] for way, each in metrics["baselines"].items()}
    pick = max if metric.higher_is_better else min
    best = pick(baselines, key=lambda way: baselines[way])
    value = metric.show(score["value"])
    rival = f"{best}: {metric.show(baselines[best])}"
    short = f"best baseline: {metric.show(baselines[best])}"
    words: dict[Kind, tuple[str, str]] = {
        "text": ("right word for word", f"{name} is right word for word for {value} ({short})"),
        "category": ("right", f"{name} is right for {value} ({short})"),
        "number": (
            "median error",
            f"half of the written {name} values lie within {value} of the true one ({short})",
        ),
    }
    label, sentence = words[kind]
    doubtful = [way for way, other in baselines.items() if not _better(metric, score, other)]
    return KeyFigure(name, label, value, metric.show_interval(score), rival, sentence, doubtful)


def _better(metric: Metric, score: Mapping[str, float], other: float) -> bool:
    return score["low"] > other if metric.higher_is_better else score["high"] < other


def headline(figures: list[KeyFigure], metrics: Mapping[str, Any]) -> str:
    """What the figures come to."""
    found = "; ".join(figure.sentence for figure in figures)
    return f"On {counted(metrics['rows'], 'picture')}, {found}."


def against_baselines(figures: list[KeyFigure], metrics: Mapping[str, Any]) -> str:
    """Whether the baselines are beaten, in a sentence; a baseline inside the interval is not."""
    doubtful = [f"{figure.field} (than {' or '.join(figure.doubtful)})" for figure in figures if figure.doubtful]
    if doubtful:
        return f"Not shown to be better than a baseline: {', '.join(doubtful)}."
    return f"Better than each baseline ({', '.join(metrics['baselines'])}) in every field."


def warnings(metrics: Mapping[str, Any]) -> list[str]:
    """Whole sentences on what a reader should beware of; the page lists more of what training never showed."""
    told_below = about_unseen(metrics)
    found = [each for each in metrics.get("warnings", []) if each not in told_below]
    if metrics["skipped"]:
        reasons = metrics["skipped_reasons"]
        more = "; …" if metrics["skipped"] > len(reasons) else ""
        shown = "; ".join(cut(reason, 300) for reason in reasons)
        rows = counted(metrics["skipped"], "row")
        found.append(f"{rows} could not be scored, since the true value cannot be used: {shown}{more}")
    for field, unseen in metrics.get("unseen", {}).items():
        if unseen:
            named = ", ".join(f"{cut(each['category'], 60)} ({each['rows']:,})" for each in unseen[:_UNSEEN_SHOWN])
            more = f" and {len(unseen) - _UNSEEN_SHOWN:,} more" if len(unseen) > _UNSEEN_SHOWN else ""
            rows = counted(sum(each["rows"] for each in unseen), "row")
            kinds = counted(len(unseen), "value", "values")
            found.append(f"Training never showed {kinds} of {field} that {rows} here have: {named}{more}.")
    return [each.translate(_DIRECTIONS) for each in found]
