"""Evaluation by generating: an answerer sees pictures only, and what it writes is scored beside baselines and controls.

baselines   constant    the training split's median, most frequent category and most frequent text
            nearest     the nearest training pictures by the model's own vision features, where it offers them
            untrained   the base model before it was trained, where it had been pre-trained
controls    shuffled    each row gets another row's picture
            blank       each row gets a plain grey picture of its own size
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hangtag.answer import Template
from hangtag.catalogue import Catalogue
from hangtag.errors import RunError
from hangtag.evaluation.asking import Answerer, Asker, Estimator, Reader, distinct
from hangtag.evaluation.baselines import choose_k, constant_answer, nearest_rows, neighbour_answers
from hangtag.evaluation.bootstrap import Column, score
from hangtag.evaluation.by_category import score_by_category, unseen_categories
from hangtag.evaluation.controls import picture_use
from hangtag.evaluation.estimates import Read, found_fields
from hangtag.evaluation.journal import Journal
from hangtag.evaluation.levels import score_levels
from hangtag.evaluation.metrics import field_rows, mean, score_field
from hangtag.evaluation.splits import REASONS_SHOWN, Split, Values, control_pictures, read_split, require_rows
from hangtag.evaluation.warnings import warnings
from hangtag.examples.rows import PICTURE_COLUMNS
from hangtag.files import Run, write_json, write_jsonl
from hangtag.progress import Progress
from hangtag.reading import Error, Reading

UNREADABLE_SHOWN = 20

Answers = Sequence[Values | None]


def evaluate(
    answerer: Answerer,
    catalogue: Catalogue,
    split: str,
    template: Template,
    progress: Progress | None = None,
    seed: int = 0,
    pictures: Sequence[str] = PICTURE_COLUMNS,
    journal: Journal | None = None,
    untrained: Callable[[], Answerer] | None = None,
    minimise: Error = "mae",
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ask `answerer` for the tags of a split's pictures, and score what it writes.

    Args:
        answerer: see Answerer; where it is also a Reader, "nearest" joins the baselines; where it is an Estimator,
            estimates, intervals and confidence are found, calibrated on the validation split (of which it is asked
            too) unless that is the one evaluated.
        split: of the catalogue; constants and neighbours come from its train split.
        progress: called with the things shown so far, and those in all.
        seed: decides the bootstrap's resamples and which picture a shuffled row gets.
        pictures: the columns that name a row's pictures (the recipe's `data.pictures`).
        journal: keeps what has been asked.
        untrained: gives the base model as it was before training; called last. A RunError of its is a warning.
        minimise: the error for whose sake a number's estimate is chosen.

    Returns:
        metrics, the content of metrics.json; and predictions, a dict per row with file_name, truth, raw (the text,
        or None), answer (its fields, or None), readable, confidence and numbers. What the validation rows taught is
        metrics["calibration"].

    Raises:
        TableError: the catalogue lacks a field of the template.
        DataError: the split or the train split has no row with a usable truth.
        ImageError: a picture cannot be read.
    """
    catalogue.require_columns(template.names)
    splits = {
        name: read_split(catalogue, name, template, pictures) for name in dict.fromkeys(("train", "validation", split))
    }
    rows = require_rows(catalogue, split, splits)
    training = require_rows(catalogue, "train", splits).truths
    constant = constant_answer(template, training)

    controls = control_pictures(rows, seed)
    validation = splits["validation"]
    calibrates = isinstance(answerer, Estimator) and split != "validation" and bool(validation.truths)
    reader = answerer if isinstance(answerer, Reader) and len(training) > 1 else None
    asker = Asker(progress, 0, journal or Journal())
    asker.total = sum(len(distinct(each)) for each in (rows.images, *controls.values()))
    asker.total += len(distinct(validation.images)) if calibrates else 0
    asker.total += sum(len(each.images) for each in splits.values()) if reader else 0
    asker.total += len(distinct(rows.images)) if untrained else 0

    tested = _read(asker, answerer, "true", rows, template)
    validated = _read(asker, answerer, "validation", validation, template) if calibrates else None
    answers: dict[str, Answers] = {"true": tested.answers, "constant": [constant] * len(rows.truths)}
    for name, images in controls.items():
        answers[name] = [_fields(template, text) for text in asker.answers(name, answerer, images)]
    told: dict[str, Any] = {}
    if reader:
        features = {name: asker.features(f"features of {name}", reader, each.images) for name, each in splits.items()}
        told["k"], answers["nearest"] = _nearest(template, splits, features, split)
    without = ""
    if untrained:
        try:
            texts = asker.answers("untrained", untrained(), rows.images)
            answers["untrained"] = [_fields(template, text) for text in texts]
        except RunError as error:
            without = f"The untrained base is not among the baselines: {error}."

    columns = {name: _columns(template, rows.truths, each, constant) for name, each in answers.items()}
    sections, more, learned = found_fields(template, tested, validated, constant, minimise, seed)
    predictions = [
        {"file_name": file, "truth": truth, "raw": reading.text, "answer": answer, "readable": answer is not None}
        | found
        for file, truth, reading, answer, found in zip(
            rows.files, rows.truths, tested.readings, tested.answers, more, strict=True
        )
    ]
    metrics = {
        "split": split,
        "rows": len(rows.truths),
        "skipped": len(rows.reasons),
        "skipped_reasons": rows.reasons[:REASONS_SHOWN],
        "answers": {"readable": score(mean, np.array([each["readable"] for each in predictions]), seed=seed)},
        **_scores(template, columns, seed),
        "constant": constant,
        "limit": _limit(catalogue.info, split, template),
        "largest_class": _largest_class(template, rows.truths),
        **told,
        "picture_used": picture_use(template.fields, columns["true"], columns.get("shuffled"), seed),
        **sections,
        "calibration": learned.dump() if learned else None,
        **_parts(template, rows.truths, tested.answers, columns["true"], training, seed),
        "unreadable": [
            {"file_name": each["file_name"], "raw": each["raw"]} for each in predictions if not each["readable"]
        ][:UNREADABLE_SHOWN],
    }
    metrics["warnings"] = warnings(template, metrics, rows.truths, calibrates, split) + ([without] if without else [])
    return metrics, predictions


def _read(asker: Asker, answerer: Answerer, name: str, rows: Split, template: Template) -> Read:
    if isinstance(answerer, Estimator):
        readings = asker.readings(name, answerer, rows.images)
    else:
        readings = [Reading(text) for text in asker.answers(name, answerer, rows.images)]
    return Read(readings, [_fields(template, each.text) for each in readings], rows.truths)


def _fields(template: Template, text: str | None) -> Values | None:
    return None if text is None else template.read(text)


def _parts(
    template: Template,
    truths: Sequence[Values],
    answers: Answers,
    columns: Mapping[str, Mapping[str, Column]],
    training: Sequence[Values],
    seed: int,
) -> dict[str, Any]:
    """The scores by level and by category, and the categories that training never showed; what is empty is left out."""
    parts = {
        "levels": score_levels(template.fields, truths, answers, training, seed),
        "by_category": score_by_category(template.fields, truths, columns, seed),
        "unseen": unseen_categories(template.fields, truths, training),
    }
    return {name: part for name, part in parts.items() if part}


def write_evaluation(
    run_folder: Path, split: str, metrics: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]
) -> None:
    """Write RUN/evaluation/SPLIT/predictions.jsonl and, last, metrics.json, each whole."""
    folder = Run(Path(run_folder)).evaluation(split)
    write_jsonl(folder / "predictions.jsonl", predictions)
    write_json(folder / "metrics.json", metrics)


def _nearest(
    template: Template, splits: Mapping[str, Split], features: Mapping[str, NDArray[Any]], split: str
) -> tuple[int, Answers]:
    """The best k on validation (on train, each row without itself, where validation is empty), and the answers."""
    train = splits["train"].truths
    choosing = "validation" if splits["validation"].truths else "train"
    neighbours = {
        name: nearest_rows(features[name], features["train"], leave_out_self=name == "train")
        for name in {choosing, split}
    }
    k = choose_k(template, neighbours[choosing], train, splits[choosing].truths)
    return k, neighbour_answers(template, neighbours[split], k, train)


def _columns(template: Template, truths: Answers, answers: Answers, constant: Values) -> dict[str, dict[str, Column]]:
    """Each field's values per row."""
    fields = {}
    for name in template.names:
        written = [None if answer is None else answer[name] for answer in answers]
        fields[name] = field_rows(
            template.fields[name], [truth[name] for truth in truths if truth], written, constant[name]
        )
    return fields


def _scores(template: Template, columns: Mapping[str, Mapping[str, dict[str, Column]]], seed: int) -> dict[str, Any]:
    scores = {
        way: {"fields": {name: score_field(template.fields[name], rows, seed) for name, rows in fields.items()}}
        for way, fields in columns.items()
    }
    return {
        "fields": scores["true"]["fields"],
        "baselines": {name: scores[name] for name in ("constant", "nearest", "untrained") if name in scores},
        "controls": {name: scores[name] for name in ("shuffled", "blank") if name in scores},
    }


def _limit(info: Mapping[str, Any], split: str, template: Template) -> dict[str, Any]:
    """The best scores that any reader of the pictures could reach, where the catalogue knows them."""
    limit = info.get("limit_by_split", {}).get(split) or info.get("limit", {})
    return {name: limit[name] for name in template.names if name in limit}


def _largest_class(template: Template, truths: Sequence[Values]) -> dict[str, float]:
    """The share of each category field's most frequent value among the evaluated rows."""
    categories = [name for name in template.names if template.fields[name] == "category"]
    return {name: Counter(each[name] for each in truths).most_common(1)[0][1] / len(truths) for name in categories}
