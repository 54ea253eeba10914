"""The report: one page that holds all it shows, from what a run folder and its catalogue hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from hangtag.answer import Kind
from hangtag.catalogue import Catalogue, open_catalogue
from hangtag.errors import DataError, RunError
from hangtag.evaluation.metrics import METRICS
from hangtag.evaluation.written import read_evaluation
from hangtag.files import Run, read_json, read_jsonl, write_whole
from hangtag.recipe import Recipe, load_recipe
from hangtag.report.gallery import card, worst_and_best
from hangtag.report.plots import confusion_matrix, learning_curve, mix_ups, scatter
from hangtag.report.table import score_table
from hangtag.report.templates import fill

KEY_METRIC: dict[Kind, str] = {"text": "exact", "category": "accuracy", "number": "median_ape"}


@dataclass(frozen=True)
class KeyFigure:
    """One field's most telling score, in words for the headline and in figures for its tag."""

    field: str
    label: str
    value: str
    interval: str
    constant: str
    sentence: str


def write_report(run: str | Path, split: str = "test", catalogue: Catalogue | None = None) -> Path:
    """Write RUN/report.html about one evaluated split.

    Args:
        run: a run folder with recipe.toml and an evaluation of the split; log and environment are shown if there.
        split: the evaluated split.
        catalogue: the evaluated one, for the pictures; by default the recipe's. Without it the page has no pictures.

    Returns:
        The page's path.

    Raises:
        RunError: no recipe, or no evaluation of the split.
        DataError: a file of the run is damaged, or metrics and predictions do not belong together.
    """
    folder = Run(Path(run))
    recipe = _recipe(folder)
    metrics, predictions = read_evaluation(folder, split)
    write_whole(folder.report, render(folder, recipe, metrics, predictions, catalogue))
    return folder.report


def _recipe(run: Run) -> Recipe:
    if not run.recipe.is_file():
        raise RunError(f"{run.path} is no run folder: it has no recipe.toml; train one with `hangtag train`")
    return load_recipe(run.recipe)


def render(
    run: Run,
    recipe: Recipe,
    metrics: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    catalogue: Catalogue | None = None,
) -> str:
    """The page's HTML."""
    fields = {name: recipe.task.fields[name] for name in metrics["fields"]}
    pictures, missing = _pictures(recipe, catalogue)
    worst, best = ([card(fields, each, pictures) for each in part] for part in worst_and_best(fields, predictions))
    log, log_problem = _log(run)
    return fill(
        "page.html.jinja",
        name=run.path.absolute().name,
        metrics=metrics,
        model=recipe.model.base,
        data=str(catalogue.path if catalogue else recipe.data.path),
        figures=[_key_figure(name, kind, metrics) for name, kind in fields.items()],
        table=score_table(metrics),
        curve=learning_curve(log),
        log_problem=log_problem,
        trained=_trained(log),
        scatters={name: _scatter(name, predictions) for name, kind in fields.items() if kind == "number"},
        confusions={name: _confusion(name, predictions) for name, kind in fields.items() if kind == "category"},
        unreadable=sum(not each["readable"] for each in predictions),
        galleries={"Worst answers": worst, "Best answers": best},
        missing=missing,
        recipe=recipe.dump(),
        environment=_environment(run),
    )


def _pictures(recipe: Recipe, catalogue: Catalogue | None) -> tuple[Path | None, str]:
    """The catalogue's folder, or None and why."""
    try:
        return (catalogue or open_catalogue(recipe.data.path)).path, ""
    except DataError as error:
        return None, str(error)


def _log(run: Run) -> tuple[list[dict[str, Any]], str]:
    """The training log, or nothing and why; a page can do without."""
    if not run.log.is_file():
        return [], "This run has no log.jsonl."
    try:
        return read_jsonl(run.log), ""
    except DataError as error:
        return [], str(error)


def _trained(log: Sequence[Mapping[str, Any]]) -> str:
    """How long training took, in a few words."""
    last = {key: each[key] for each in log for key in ("step", "epoch", "seconds") if key in each}
    if "step" not in last:
        return ""
    parts = [f"{last['step']:,.0f} steps"]
    if "epoch" in last:
        parts.append(f"{last['epoch']:.3g} epochs")
    if "seconds" in last:
        parts.append(f"{last['seconds'] / 60:.1f} minutes")
    return ", ".join(parts)


def _environment(run: Run) -> str:
    return json.dumps(read_json(run.environment), indent=1, ensure_ascii=False) if run.environment.is_file() else ""


def _key_figure(name: str, kind: Kind, metrics: Mapping[str, Any]) -> KeyFigure:
    metric = METRICS[KEY_METRIC[kind]]
    score = metrics["fields"][name][metric.name]
    constant = metrics["baselines"]["constant"]["fields"][name][metric.name]["value"]
    value, interval = metric.show(score["value"]), metric.show_interval(score)
    words: dict[Kind, tuple[str, str]] = {
        "text": ("right word for word", f"{name} is right word for word for {value} of the pictures"),
        "category": ("right", f"{name} is right for {value}"),
        "number": ("median error", f"half of the written {name} values lie within {value} of the true one"),
    }
    label, sentence = words[kind]
    return KeyFigure(name, label, value, interval, metric.show(constant), sentence)


def _answers(predictions: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [None if each["answer"] is None else each["answer"][name] for each in predictions]


def _scatter(name: str, predictions: Sequence[Mapping[str, Any]]) -> Markup | None:
    readable = [each for each in predictions if each["readable"]]
    if not readable:
        return None
    truths = [each["truth"][name] for each in readable]
    return scatter(name, truths, _answers(readable, name), [each["file_name"] for each in readable])


def _confusion(name: str, predictions: Sequence[Mapping[str, Any]]) -> tuple[Markup, list[tuple[str, str, int]]]:
    truths, written = [each["truth"][name] for each in predictions], _answers(predictions, name)
    return confusion_matrix(name, truths, written), mix_ups(truths, written)
