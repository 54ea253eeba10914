"""The report: one page that holds all it shows, from what a run folder and its catalogue hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from hangtag.catalogue import Catalogue, open_catalogue
from hangtag.errors import DataError, RunError
from hangtag.evaluation.written import read_evaluation
from hangtag.files import Run, read_json, read_jsonl, write_whole
from hangtag.reading import LARGEST
from hangtag.recipe import Recipe, load_recipe
from hangtag.report.gallery import Ranking, rank
from hangtag.report.plots import learning_curve, scatter
from hangtag.report.sections import made
from hangtag.report.sections.cards import payload, pictures
from hangtag.report.sections.categories import categories
from hangtag.report.sections.doubt import confidences, estimates, intervals
from hangtag.report.sections.summary import against_baselines, headline, key_figures, warnings
from hangtag.report.table import score_table
from hangtag.report.templates import fill

STYLES = ("page.css", "report.css")
_UNREADABLE_SHOWN = 20


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
    folder, missing = _pictures(recipe, catalogue)
    levels = {name: each["level"] for name, each in metrics.get("intervals", {}).items()}
    ranking = rank(fields, predictions, levels)
    shown = pictures(ranking, folder)
    log, log_problem = _log(run)
    environment = read_json(run.environment) if run.environment.is_file() else {}
    figures = key_figures(fields, metrics)
    return fill(
        "page.html.jinja",
        STYLES,
        "report.js",
        payload(fields, ranking, shown),
        name=run.path.absolute().name,
        metrics=metrics,
        base=made.base(run, recipe),
        data=str(catalogue.path if catalogue else recipe.data.path),
        figures=figures,
        headline=headline(figures, metrics),
        against=against_baselines(figures, metrics),
        warnings=warnings(metrics),
        table=score_table(metrics),
        curve=learning_curve(log),
        log_problem=log_problem,
        trained=made.trained(log),
        fields=list(fields.items()),
        scatters={name: _scatter(name, predictions, ranking) for name, kind in fields.items() if kind == "number"},
        levels=levels,
        estimates=estimates(metrics),
        intervals=intervals(metrics),
        confidences=confidences(metrics),
        categories=categories(fields, metrics, predictions),
        ranking=ranking,
        pictures=shown,
        missing=missing,
        unreadable=sum(not each["readable"] for each in predictions),
        unreadable_rows=_unreadable(metrics, predictions),
        facts=made.facts(run, recipe, log, environment),
        recipe=recipe.dump(),
        environment=json.dumps(environment, indent=1, ensure_ascii=False) if environment else "",
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


def _unreadable(metrics: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The first unreadable answers, as the evaluation or, where that was older, the predictions list them."""
    found = metrics.get("unreadable", [each for each in predictions if not each["readable"]])
    return list(found[:_UNREADABLE_SHOWN])


def _scatter(name: str, predictions: Sequence[Mapping[str, Any]], ranking: Ranking) -> tuple[Markup, bool] | None:
    """The drawing, and whether its dots have estimates; None where no answer is readable."""
    rows = [index for index in sorted(ranking.place_of) if predictions[index]["readable"]]
    if not rows:
        return None
    places = [ranking.place_of[index] for index in rows]
    lines = [next(line for line in ranking.cards[place].lines if line.name == name) for place in places]
    spans = [line.span for line in lines if line.span]
    reach = [end for span in spans for end in span if end is not None and abs(end) <= LARGEST]
    truths, written = ([predictions[index][key][name] for index in rows] for key in ("truth", "answer"))
    labels = [predictions[index]["file_name"] for index in rows]
    return scatter(name, truths, written, labels, places, reach), bool(spans)
