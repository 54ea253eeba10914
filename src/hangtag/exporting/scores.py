"""The content of metrics.json on a card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hangtag.evaluation.metrics import METRICS, READABLE


def score_rows(metrics: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of scores: the model with its intervals, then limit, baselines and controls."""
    others = {name: way["fields"] for part in ("baselines", "controls") for name, way in metrics.get(part, {}).items()}
    limit = metrics.get("limit", {})
    head = ["", "model", *(["limit"] if limit else []), *others]
    readable = metrics["answers"]["readable"]
    rows = [["readable answers", f"{READABLE.show(readable['value'])} ({READABLE.show_interval(readable)})"]]
    for field, scores in metrics["fields"].items():
        for name, score in scores.items():
            metric = METRICS[name]
            cells = [f"{field}, {metric.label}", f"{metric.show(score['value'])} ({metric.show_interval(score)})"]
            if limit:
                best = limit.get(field, {}).get(name)
                cells.append("" if best is None else metric.show(best))
            rows.append([*cells, *(metric.show(way[field][name]["value"]) for way in others.values())])
    return head, [row + [""] * (len(head) - len(row)) for row in rows]


def number_lines(metrics: Mapping[str, Any]) -> Iterator[str]:
    """What each number is worth as an estimate, and what its intervals cover, in sentences."""
    for name, told in metrics.get("estimates", {}).items():
        scores = told["errors"][told["minimises"]]
        errors = ", ".join(
            f"{METRICS[each].label} {METRICS[each].show(scores[each]['value'])}" for each in ("mae", "median_ape")
        )
        line = f"{name} estimated from the model's own probabilities: {errors}"
        interval = metrics.get("intervals", {}).get(name, {})
        if "coverage" in interval:
            coverage = interval["coverage"]
            line += (
                f"; its {100 * interval['level']:.0f} % intervals hold {READABLE.show(coverage['value'])} "
                f"({READABLE.show_interval(coverage)}) of the true values, median width "
                f"{METRICS['mae'].show(interval['median_width']['value'])}"
            )
        yield line + "."
