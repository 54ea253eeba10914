"""Scores of written fields against true ones, by the field's kind: values per row, then a statistic over the rows.

    text       exact, chrf, rouge_l, token_f1      means of 0..1 per row
    category   accuracy, macro_f1
    number     mae, median_ape, smape (0..2), rmsle, within_10, within_20

An unreadable answer is never dropped: text scores 0, a category is wrong, a number gets the constant baseline's value.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hangtag.answer import Kind, Value
from hangtag.evaluation.bootstrap import Column, Score, Statistic, replicates, score
from hangtag.reading import LARGEST, SMALLEST, signed_log

Form = Literal["percent", "decimal", "amount"]
Floats = NDArray[np.float64]

_ROUNDING = 1 + 1e-12  # 21.89 is within 10 % of 19.90, whatever binary fractions say
_WORD = re.compile(r"[^\W_]+")


def mean(values: Column) -> Column:
    return np.asarray(values.mean(-1))


def median(values: Column) -> Column:
    return np.asarray(np.median(values, -1))


def root_mean_square(values: Column) -> Column:
    return np.asarray(np.sqrt((values**2).mean(-1)))


def macro_f1(truth: Column, answer: Column) -> Column:
    """F1 averaged over the classes that occur in `truth`, each class counting the same.

    Args:
        truth, answer: class numbers [..., n]; an answer of -1 is no class.

    Returns:
        [...] in 0..1. A class that is only written, never true, costs precision where it was written by mistake
        for another, but is no class of its own (scikit-learn's `labels=unique(truth)`).
    """
    classes = int(max(truth.max(initial=-1), answer.max(initial=-1))) + 1
    shape = truth.shape[:-1]
    sets = np.arange(int(np.prod(shape))).reshape(*shape, 1) * classes

    def count(numbers: Column, where: Column) -> Column:
        return np.bincount((sets + numbers)[where], minlength=sets.size * classes).reshape(*shape, classes)

    true = count(truth, truth >= 0)
    hits = count(truth, truth == answer)
    f1 = 2 * hits / np.maximum(true + count(answer, answer >= 0), 1)
    return np.asarray(np.where(true > 0, f1, 0).sum(-1) / (true > 0).sum(-1))


def show_amount(value: float) -> str:
    """A number in its field's own unit for people: `1,299`, `19.5`, `0.042` or `2.1e+20`."""
    size = abs(value)
    if size >= 1e9:
        return f"{value:.1e}"
    return f"{value:,.0f}" if size >= 100 else f"{float(f'{value:.3g}'):,}".removesuffix(".0")


@dataclass(frozen=True)
class Metric:
    """How a score is taken from rows, and how it is shown. `gives` names the columns of `field_rows` it takes."""

    name: str
    kind: Kind
    label: str
    form: Form
    higher_is_better: bool
    statistic: Statistic
    gives: tuple[str, ...]

    def score(self, rows: dict[str, Column], seed: int) -> Score:
        """The score of some rows' values, with its interval."""
        return score(self.statistic, *(rows[name] for name in self.gives), seed=seed)

    def replicates(self, rows: dict[str, Column], seed: int) -> Floats:
        """The score on resamples of the rows, which are the same for equal seeds."""
        return replicates(self.statistic, *(rows[name] for name in self.gives), seed=seed)

    def show(self, value: float) -> str:
        """A value of this metric for people: `97.4 %`, `0.914` or `1,299`."""
        if self.form == "percent":
            return f"{100 * value:.1f} %" if abs(value) < 100 else f"{100 * value:.1e} %"
        if self.form == "decimal":
            return f"{value:.3f}"
        return show_amount(value)

    def show_difference(self, value: float) -> str:
        """A difference of two values, signed and without the unit: `+1.3` points of percent, `−0.021` or `−12.4`."""
        size = self.show(abs(value)).removesuffix(" %")
        sign = "" if not re.search("[1-9]", size) else "−" if value < 0 else "+"
        return sign + size

    def show_interval(self, score: Score) -> str:
        """An interval for people, without the unit: `95.1–98.9`."""
        return "–".join(self.show(each).removesuffix(" %") for each in (score["low"], score["high"]))


METRICS: dict[str, Metric] = {
    each.name: each
    for each in [
        Metric("exact", "text", "exact", "percent", True, mean, ("exact",)),
        Metric("chrf", "text", "chrF", "decimal", True, mean, ("chrf",)),
        Metric("rouge_l", "text", "ROUGE-L", "decimal", True, mean, ("rouge_l",)),
        Metric("token_f1", "text", "token F1", "decimal", True, mean, ("token_f1",)),
        Metric("accuracy", "category", "accuracy", "percent", True, mean, ("right",)),
        Metric("macro_f1", "category", "macro F1", "decimal", True, macro_f1, ("truth", "answer")),
        Metric("mae", "number", "mean error", "amount", False, mean, ("error",)),
        Metric("median_ape", "number", "median error", "percent", False, median, ("relative",)),
        Metric("smape", "number", "SMAPE", "decimal", False, mean, ("symmetric",)),
        Metric("rmsle", "number", "RMSLE", "decimal", False, root_mean_square, ("log",)),
        Metric("within_10", "number", "within 10 %", "percent", True, mean, ("within_10",)),
        Metric("within_20", "number", "within 20 %", "percent", True, mean, ("within_20",)),
    ]
}
READABLE = Metric("readable", "text", "readable", "percent", True, mean, ("readable",))
MAIN_METRIC: dict[Kind, Metric] = {
    "text": METRICS["chrf"],
    "category": METRICS["accuracy"],
    "number": METRICS["median_ape"],
}


def words(text: str) -> list[str]:
    """Runs of letters and digits of any script, lower-cased; on ASCII text the same as rouge-score's tokens."""
    return _WORD.findall(text.lower())


def chrf(truth: str, answer: str) -> float:
    """Sentence chrF2 in 0..1 (Popović, 2015): character 1- to 6-grams without white space, recall weighs beta = 2.

    As sacrebleu's default: precision and recall are averaged over the orders that both texts have.
    """
    truth, answer = ("".join(text.split()) for text in (truth, answer))
    if truth == answer:
        return float(truth != "")
    orders = range(1, min(6, len(truth), len(answer)) + 1)
    precision = recall = 0.0
    for order in orders:
        wanted, written = (
            Counter(text[i : i + order] for i in range(len(text) - order + 1)) for text in (truth, answer)
        )
        hits = (wanted & written).total()
        precision += hits / written.total() / len(orders)
        recall += hits / wanted.total() / len(orders)
    return 5 * precision * recall / (4 * precision + recall) if precision and recall else 0.0


def _f1(hits: int, wanted: int, written: int) -> float:
    return 2 * hits / (wanted + written) if hits else 0.0


def token_f1(truth: str, answer: str) -> float:
    """F1 of the words as a multiset, in 0..1 (Rajpurkar et al., 2016; the same as ROUGE-1)."""
    wanted, written = words(truth), words(answer)
    return _f1((Counter(wanted) & Counter(written)).total(), len(wanted), len(written))


def rouge_l(truth: str, answer: str) -> float:
    """F1 of the longest common subsequence of words, in 0..1 (Lin, 2004; no stemming)."""
    wanted, written = words(truth), words(answer)
    lengths = [0] * (len(written) + 1)
    for word in wanted:
        diagonal = 0
        for place, other in enumerate(written, 1):
            longest = diagonal + 1 if word == other else max(lengths[place], lengths[place - 1])
            diagonal, lengths[place] = lengths[place], longest
    return _f1(lengths[-1], len(wanted), len(written))


def text_rows(truths: Sequence[str], answers: Sequence[str | None]) -> dict[str, Column]:
    """Scores [n] of texts, 0..1; 0 where the answer is None. `exact` heeds case."""

    def each(measure: Callable[[str, str], float]) -> Floats:
        pairs = zip(truths, answers, strict=True)
        return np.array([0.0 if answer is None else measure(truth, answer) for truth, answer in pairs])

    exact = np.array([truth == answer for truth, answer in zip(truths, answers, strict=True)])
    return {"exact": exact, "chrf": each(chrf), "rouge_l": each(rouge_l), "token_f1": each(token_f1)}


def category_rows(truths: Sequence[str], answers: Sequence[str | None]) -> dict[str, Column]:
    """Class numbers [n] of `truth` and `answer` (-1 where it is None), and whether they are the same (`right`)."""
    known = sorted({*truths, *(answer for answer in answers if answer is not None)})
    numbers: dict[str | None, int] = {name: number for number, name in enumerate(known)}
    truth = np.array([numbers[each] for each in truths])
    answer = np.array([numbers.get(each, -1) for each in answers])
    return {"truth": truth, "answer": answer, "right": truth == answer}


def number_rows(truth: Floats, answer: Floats) -> dict[str, Column]:
    """Errors [n] of numbers.

    error      |answer - truth|
    relative   error / |truth|; for a truth of zero, error / 0.01, the smallest number an answer can hold
    symmetric  2 error / (|answer| + |truth|), 0..2; 0 where both are zero
    log        log(1 + answer) - log(1 + truth), as `signed_log` takes it
    within_N   error is at most N % of |truth|

    Numbers beyond 1e100 count as 1e100, so that every score stays finite.
    """
    truth, answer = (np.clip(each, -LARGEST, LARGEST) for each in (truth, answer))
    error, size = np.abs(answer - truth), np.abs(truth)
    total = np.abs(answer) + size
    return {
        "error": error,
        "relative": error / np.maximum(size, SMALLEST),
        "symmetric": 2 * error / np.where(total > 0, total, 1),
        "log": signed_log(answer) - signed_log(truth),
        "within_10": error <= 0.1 * size * _ROUNDING,
        "within_20": error <= 0.2 * size * _ROUNDING,
    }


def field_rows(
    kind: Kind, truths: Sequence[Value], answers: Sequence[Value | None], constant: Value
) -> dict[str, Column]:
    """Values per row for one field of any kind; `constant` takes the place of a number that is None."""
    if kind == "number":
        filled = [constant if answer is None else answer for answer in answers]
        return number_rows(np.array(truths, float), np.array(filled, float))
    texts, written = [str(each) for each in truths], [None if each is None else str(each) for each in answers]
    return text_rows(texts, written) if kind == "text" else category_rows(texts, written)


def is_right(kind: Kind, answer: Value, truth: Value) -> bool:
    """Whether an answer is the true one, a number within 20 % of it."""
    if kind == "number":
        return bool(number_rows(np.array([truth], float), np.array([answer], float))["within_20"][0])
    return answer == truth


def score_field(kind: Kind, rows: dict[str, Column], seed: int) -> dict[str, Score]:
    """Every metric of a kind from the columns of `field_rows`, each with its interval."""
    return {metric.name: metric.score(rows, seed) for metric in METRICS.values() if metric.kind == kind}


def confusion(truths: Sequence[str], answers: Sequence[str | None], labels: Sequence[str]) -> NDArray[np.int64]:
    """How often each category was written for each true one.

    Returns:
        counts [K, K + 1], true categories down and written ones across in the order of `labels`;
        the last column counts answers that are none of them, unreadable ones among them.
    """
    numbers: dict[str | None, int] = {label: number for number, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels) + 1), np.int64)
    for truth, answer in zip(truths, answers, strict=True):
        counts[numbers[truth], numbers.get(answer, len(labels))] += 1
    return counts
