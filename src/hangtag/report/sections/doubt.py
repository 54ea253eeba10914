"""How far the model's own doubt can be believed: intervals of numbers, confidences, and estimates beside the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from hangtag.evaluation.metrics import METRICS, show_amount
from hangtag.report.table import Cell
from hangtag.report.trust import coverage, kept, reliability
from hangtag.report.words import counted, share

ESTIMATES = {
    "greedy": "the written answer",
    "mae": "for the mean error",
    "mape": "for the mean relative error",
    "rmsle": "for RMSLE",
    "smape": "for SMAPE",
    "within_20": "for within 20 %",
}


@dataclass(frozen=True)
class Figure:
    """A drawing under its heading, with what is to be read from it."""

    title: str
    drawing: Markup
    caption: str


@dataclass(frozen=True)
class Estimates:
    """The errors of a number's estimates: a row each, a column for each error, the best of a column marked.

    `used` is the row whose estimates the page shows; `covered` the share of the probability that was read, in words.
    """

    field: str
    columns: list[tuple[str, bool]]
    rows: list[tuple[str, list[Cell | None]]]
    used: str
    covered: str


def intervals(metrics: Mapping[str, Any]) -> list[tuple[Figure, str]]:
    """For each number with intervals its coverage, and what it was over many divisions of the rows."""
    found = []
    for name, each in metrics.get("intervals", {}).items():
        if "coverage" not in each:
            continue
        level = share(each["level"], 1)
        covered = _with_interval(each["coverage"])
        width = f"median width {show_amount(each['median_width']['value'])}"
        relative = f", {share(each['median_relative_width']['value'], 1)} of the number"
        caption = (
            f"Set on {counted(each['calibration_rows'], 'validation row')}. On these rows the {level} interval holds "
            f"the true {name} for {covered}; {width}{relative}. Lines are 95\u00a0% intervals; on the diagonal, "
            "as many lie inside as were asked for."
        )
        drawing = coverage(name, each["by_level"])
        found.append((Figure(f"{name}: intervals asked for and found", drawing, caption), _divisions(each, level)))
    return found


def _divisions(interval: Mapping[str, Any], level: str) -> str:
    part = interval.get("divisions")
    if not part:
        return ""
    mean, least, most = (share(part["coverage"][key], 1) for key in ("mean", "least", "most"))
    sd = f"{100 * part['coverage']['sd']:.1f}"
    return (
        f"Over {part['count']:,} random divisions of {counted(part['rows'], 'row')} into calibration and test, the "
        f"{level} interval held the true value for {mean} on average (standard deviation {sd} points, from {least} "
        f"to {most}), with a median width of {show_amount(part['median_width'])}."
    )


def _with_interval(score: Mapping[str, float]) -> str:
    low, high = (f"{100 * score[end]:.1f}" for end in ("low", "high"))
    return f"{share(score['value'], 1)} ({low}–{high})"


def confidences(metrics: Mapping[str, Any]) -> list[Figure]:
    """For each field with confidences: the reliability plot, and what answering only when sure gives."""
    found = []
    for name, each in metrics.get("confidence", {}).items():
        number = "within_20" in metrics["fields"].get(name, {})
        right = "within 20\u00a0% of the true number" if number else "right"
        if each.get("bins"):
            rows = counted(each["calibration_rows"], "validation row")
            caption = (
                f"Calibrated on {rows}; expected calibration error {share(each['ece'], 1)}. A dot’s area is its number "
                "of rows, a line its 95\u00a0% interval; on the diagonal, confidence is as good as its word."
                + (f" An answer is right {right}." if number else "")
            )
            found.append(Figure(f"{name}: confidence and truth", reliability(name, each["bins"]), caption))
        if each.get("kept"):
            words = _kept_words(each["kept"], right)
            found.append(Figure(f"{name}: answer only when sure", kept(name, each["kept"]), words))
    return found


def _kept_words(steps: list[Mapping[str, Any]], right: str) -> str:
    half = min(steps, key=lambda step: abs(step["share"] - 0.5))
    whole = max(steps, key=lambda step: step["share"])
    words = f"Of all answers {_with_interval(whole['right'])} are {right}"
    if half is not whole:
        least = share(half["least_confidence"], 1)
        surest = f"the surest {share(half['share'], 1)} (confidence at least {least})"
        words += f"; of {surest}, {_with_interval(half['right'])}"
    return f"{words}. The band is the 95\u00a0% interval."


def estimates(metrics: Mapping[str, Any]) -> list[Estimates]:
    """A table for each number whose distribution was read."""
    return [_estimates(name, each) for name, each in metrics.get("estimates", {}).items() if each.get("errors")]


def _estimates(name: str, each: Mapping[str, Any]) -> Estimates:
    errors = each["errors"]
    there = {error for scores in errors.values() for error in scores}
    columns = [metric for metric in METRICS.values() if metric.name in there]
    rows: dict[str, list[Cell | None]] = {way: [] for way in errors}
    for metric in columns:
        values = {way: scores[metric.name]["value"] for way, scores in errors.items() if metric.name in scores}
        best = (max if metric.higher_is_better else min)(values.values())
        for way, scores in errors.items():
            score = scores.get(metric.name)
            marked = score is not None and score["value"] == best and len(values) > 1
            rows[way].append(score and Cell(metric.show(score["value"]), metric.show_interval(score), marked))
    used, covered = each.get("minimises", ""), each.get("covered")
    return Estimates(
        name,
        [(metric.label, metric.higher_is_better) for metric in columns],
        [(ESTIMATES.get(way, way), cells) for way, cells in rows.items()],
        ESTIMATES.get(used, used),
        "" if covered is None else share(covered, 1),
    )
