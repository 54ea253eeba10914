"""Validation: the loss over the whole split, and answers really written for some of its pictures, scored.

answer_score    0..1, the mean over rows and fields of chrF (text), being right (category) and 1 - relative error, at
                least 0 (number); an unreadable answer scores 0
readable        share of the answers that could be read
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hangtag.answer import Template, Value
from hangtag.evaluation.metrics import field_rows
from hangtag.examples.loading import Steps
from hangtag.prediction.tagger import Tagger
from hangtag.training.samples import Sample


def spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` places, evenly spaced, always the same ones."""
    return [count * number // most for number in range(most)] if count > most else list(range(count))


def write_answers(tagger: Tagger, steps: Steps, chosen: Sequence[int], at_once: int) -> list[Sample]:
    """The model's answers for the rows chosen, so many written at once, with their scores."""
    template, texts = tagger.recipe.task.template, []
    rows = [steps.examples.rows[place] for place in chosen]
    for start in range(0, len(chosen), at_once):
        inputs = steps.prompts(chosen[start : start + at_once])
        texts += tagger.write({name: each.to(tagger.model.device) for name, each in inputs.items()})
    answers = [None if text is None else template.read(text) for text in texts]
    scores = answer_scores(template, [row.values for row in rows], answers)
    return [
        Sample(row.pictures, template.write(row.values), text, float(score))
        for row, text, score in zip(rows, texts, scores, strict=True)
    ]


def answer_scores(
    template: Template, truths: Sequence[dict[str, Value]], answers: Sequence[dict[str, Value] | None]
) -> np.ndarray:
    """Each row's score, 0..1."""
    readable = np.array([answer is not None for answer in answers])
    total = np.zeros(len(truths))
    for name, kind in template.fields.items():
        true = [truth[name] for truth in truths]
        columns = field_rows(kind, true, [None if each is None else each[name] for each in answers], 0.0)
        if kind == "text":
            total += columns["chrf"]
        elif kind == "category":
            total += columns["right"]
        else:
            total += np.maximum(1 - columns["relative"], 0) * readable
    return total / len(template.fields)


def answer_metrics(written: Sequence[Sample], template: Template) -> dict[str, float]:
    """answer_score and readable of some answers."""
    if not written:
        return {}
    readable = [each.written is not None and template.read(each.written) is not None for each in written]
    return {
        "answer_score": round(float(np.mean([each.score or 0.0 for each in written])), 6),
        "readable": round(float(np.mean(readable)), 6),
    }
