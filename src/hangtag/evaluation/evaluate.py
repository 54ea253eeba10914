"""Evaluation by generating: an answerer sees pictures only, and what it writes is scored beside baselines and controls.

baselines   constant   the training split's median, most frequent category and most frequent text
            nearest    the nearest training pictures by the model's own vision features, where it offers them
controls    shuffled   each row gets another row's picture
            blank      each row gets a plain grey picture of its own size
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hangtag.answer import Template, Value
from hangtag.catalogue import Catalogue
from hangtag.catalogue.pictures import picture_size
from hangtag.errors import DataError
from hangtag.evaluation.baselines import choose_k, constant_answer, nearest_rows, neighbour_answers
from hangtag.evaluation.bootstrap import Column, score
from hangtag.evaluation.controls import blank_picture, derangement, picture_use
from hangtag.evaluation.metrics import field_rows, mean, score_field
from hangtag.examples.rows import PICTURE_COLUMNS, sort_rows
from hangtag.files import Run, write_json, write_jsonl
from hangtag.progress import Progress

Picture = Path | Image.Image
Shown = Picture | tuple[Picture, ...]
Values = dict[str, Value]
Answers = Sequence[Values | None]

_FEATURES_AT_ONCE = 256
_REASONS_SHOWN = 5


class Answerer(Protocol):
    """Writes an answer's text for each picture, or for each row of several or none; None where it never ended."""

    def answers(self, images: Sequence[Shown], progress: Progress | None = None) -> list[str | None]: ...


@runtime_checkable
class Reader(Protocol):
    """Turns what is shown into features [n, d]. An answerer that is one gets the nearest-neighbour baseline."""

    def features(self, images: Sequence[Shown]) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Split:
    """The rows of a split whose truth can be used, and why the others cannot.

    `files` name the rows; `images` are what is shown of each, one picture or a tuple.
    """

    files: list[str]
    truths: list[Values]
    images: list[Shown]
    reasons: list[str]


def read_split(catalogue: Catalogue, split: str, template: Template, pictures: Sequence[str]) -> Split:
    """A split's rows with their true values as an answer holds them; rows without are left out, with the reason."""
    usable, rejected = sort_rows(catalogue, split, template, pictures)
    return Split(
        [catalogue.rows[row.number - 1]["file_name"] for row in usable],
        [row.values for row in usable],
        [row.pictures[0] if len(row.pictures) == 1 else row.pictures for row in usable],
        [f"{catalogue.rows[int(each['row']) - 1]['file_name']}: {each['detail']}" for each in rejected],
    )


def evaluate(
    answerer: Answerer,
    catalogue: Catalogue,
    split: str,
    template: Template,
    progress: Progress | None = None,
    seed: int = 0,
    pictures: Sequence[str] = PICTURE_COLUMNS,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ask `answerer` for the tags of a split's pictures, and score what it writes.

    Args:
        answerer: see Answerer; where it is also a Reader, "nearest" joins the baselines.
        split: of the catalogue; constants and neighbours come from its train split.
        progress: called with the pictures done and the pictures in all.
        seed: decides the bootstrap's resamples and which picture a shuffled row gets.
        pictures: the columns that name a row's pictures (the recipe's `data.pictures`).

    Returns:
        metrics, the content of metrics.json; and predictions, a dict per row with file_name, truth, raw (the text,
        or None), answer (its fields, or None) and readable.

    Raises:
        TableError: the catalogue lacks a field of the template.
        DataError: the split or the train split has no row with a usable truth.
        ImageError: a picture cannot be read.
    """
    catalogue.require_columns(template.names)
    splits = {
        name: read_split(catalogue, name, template, pictures) for name in dict.fromkeys(("train", "validation", split))
    }
    rows = _require_rows(catalogue, split, splits)
    constant = constant_answer(template, _require_rows(catalogue, "train", splits).truths)

    shown = _pictures(rows, seed)
    reader = answerer if isinstance(answerer, Reader) and len(splits["train"].truths) > 1 else None
    featured = sum(len(each.images) for each in splits.values()) if reader else 0
    steps = _Steps(progress, sum(len(_distinct(each)) for each in shown.values()) + featured)

    raw = {name: steps.answers(answerer, images) for name, images in shown.items()}
    answers: dict[str, Answers] = {
        name: [None if text is None else template.read(text) for text in texts] for name, texts in raw.items()
    }
    answers["constant"] = [constant] * len(rows.truths)
    found: dict[str, Any] = {}
    if reader:
        features = {name: steps.features(reader, each.images) for name, each in splits.items()}
        found["k"], answers["nearest"] = _nearest(template, splits, features, split)

    columns = {name: _columns(template, rows.truths, each, constant) for name, each in answers.items()}
    readable = np.array([answer is not None for answer in answers["true"]])
    metrics = {
        "split": split,
        "rows": len(rows.truths),
        "skipped": len(rows.reasons),
        "skipped_reasons": rows.reasons[:_REASONS_SHOWN],
        "answers": {"readable": score(mean, readable, seed=seed)},
        **_scores(template, columns, seed),
        "limit": _limit(catalogue.info, split, template),
        "largest_class": _largest_class(template, rows.truths),
        **found,
        "picture_used": picture_use(template.fields, columns["true"], columns.get("shuffled"), seed),
    }
    kept = zip(rows.files, rows.truths, raw["true"], answers["true"], strict=True)
    return metrics, [
        {"file_name": file, "truth": truth, "raw": text, "answer": answer, "readable": answer is not None}
        for file, truth, text, answer in kept
    ]


def write_evaluation(
    run_folder: Path, split: str, metrics: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]
) -> None:
    """Write RUN/evaluation/SPLIT/predictions.jsonl and, last, metrics.json, each whole."""
    folder = Run(Path(run_folder)).evaluation(split)
    write_jsonl(folder / "predictions.jsonl", predictions)
    write_json(folder / "metrics.json", metrics)


def _pictures(rows: Split, seed: int) -> dict[str, list[Shown]]:
    """What each row is shown: its own picture, another row's (where that is possible), and a blank of its own size."""
    source = derangement(rows.files, seed)
    shuffled = {} if source is None else {"shuffled": [rows.images[place] for place in source]}
    blanks: dict[tuple[int, int], Image.Image] = {}

    def blank(picture: Picture) -> Image.Image:
        assert isinstance(picture, Path)
        size = picture_size(picture)
        return blanks.setdefault(size, blank_picture(size))

    blanked: list[Shown] = [tuple(map(blank, each)) if isinstance(each, tuple) else blank(each) for each in rows.images]
    return {"true": [*rows.images], **shuffled, "blank": blanked}


def _key(shown: Shown) -> Any:
    if isinstance(shown, tuple):
        return tuple(map(_key, shown))
    return shown if isinstance(shown, Path) else id(shown)


def _distinct(images: Sequence[Shown]) -> dict[Any, Shown]:
    """What is to be asked about, each once."""
    return {_key(image): image for image in images}


class _Steps:
    """Asks the answerer and tells how many of all pictures are done."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def _tell(self, done: int) -> None:
        if self.progress:
            self.progress(done, self.total)

    def answers(self, answerer: Answerer, images: Sequence[Shown]) -> list[str | None]:
        def progress(done: int, total: int, note: str = "") -> None:
            self._tell(self.done + done)

        distinct = _distinct(images)
        texts = answerer.answers(list(distinct.values()), progress)
        self.done += len(distinct)
        self._tell(self.done)
        text_of = dict(zip(distinct, texts, strict=True))
        return [text_of[_key(image)] for image in images]

    def features(self, reader: Reader, images: Sequence[Shown]) -> NDArray[Any]:
        found = []
        for start in range(0, len(images), _FEATURES_AT_ONCE):
            found.append(reader.features(images[start : start + _FEATURES_AT_ONCE]))
            self.done += len(found[-1])
            self._tell(self.done)
        return np.concatenate(found) if found else np.empty((0, 0))


def _require_rows(catalogue: Catalogue, split: str, splits: Mapping[str, Split]) -> Split:
    rows = splits[split]
    if rows.truths:
        return rows
    if rows.reasons:
        listed = "; ".join(rows.reasons[:_REASONS_SHOWN])
        raise DataError(f"{catalogue.path}: no row of split {split!r} has a usable truth; mend the table: {listed}")
    there = Counter(row["split"] for row in catalogue.rows)
    named = ", ".join(f"{name} ({count} rows)" for name, count in there.items())
    raise DataError(f"{catalogue.path} has no rows of split {split!r}; there is: {named or 'no row at all'}")


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
        "baselines": {name: scores[name] for name in ("constant", "nearest") if name in scores},
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
