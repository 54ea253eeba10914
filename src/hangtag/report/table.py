"""The table of scores: the model beside baselines, controls and the limit; for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from hangtag.evaluation.bootstrap import Score
from hangtag.evaluation.metrics import METRICS, READABLE, Metric


@dataclass(frozen=True)
class Cell:
    """A shown value; `best` where no other column but the limit does better."""

    text: str
    interval: str = ""
    best: bool = False


@dataclass(frozen=True)
class ScoreRow:
    """One metric of one field across the columns; None where a column has no such score."""

    field: str
    metric: Metric
    cells: dict[str, Cell | None]


@dataclass(frozen=True)
class ScoreTable:
    """Columns in order, of model, limit, constant, nearest, shuffled, blank those that are there; and the rows."""

    columns: list[str]
    rows: list[ScoreRow]

    def by_field(self) -> Iterator[tuple[str, list[ScoreRow]]]:
        """Each field's rows together, in order."""
        for field in dict.fromkeys(row.field for row in self.rows):
            yield field, [row for row in self.rows if row.field == field]


def score_table(metrics: Mapping[str, Any]) -> ScoreTable:
    """Lay out the content of metrics.json."""
    others = {name: way["fields"] for part in ("baselines", "controls") for name, way in metrics.get(part, {}).items()}
    limit = metrics.get("limit", {})
    columns = ["model", *(["limit"] if limit else []), *others]
    rows = [_row("answers", READABLE, {"model": metrics["answers"]["readable"]}, None, columns)]
    for field, scores in metrics["fields"].items():
        for name, score in scores.items():
            ways = {"model": score} | {way: fields[field][name] for way, fields in others.items()}
            rows.append(_row(field, METRICS[name], ways, limit.get(field, {}).get(name), columns))
    return ScoreTable(columns, rows)


def _row(field: str, metric: Metric, ways: Mapping[str, Score], limit: float | None, columns: list[str]) -> ScoreRow:
    pick = max if metric.higher_is_better else min
    best = pick(score["value"] for score in ways.values())
    cells: dict[str, Cell | None] = dict.fromkeys(columns)
    for way, score in ways.items():
        marked = score["value"] == best and len(ways) > 1
        cells[way] = Cell(metric.show(score["value"]), metric.show_interval(score), marked)
    if limit is not None:
        cells["limit"] = Cell(metric.show(limit))
    return ScoreRow(field, metric, cells)


def plain_table(title: str, caption: str = "") -> Table:
    """A table for the terminal without frame, its title above and its caption below; rows and columns are to come."""
    return Table(
        title=Text(title),
        caption=Text(caption) if caption else None,
        title_justify="left",
        caption_justify="left",
        title_style="bold",
        caption_style="",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def summary_table(metrics: Mapping[str, Any]) -> Table:
    """The content of metrics.json as a table for the terminal, the best of each row in bold."""
    table = score_table(metrics)
    caption = [metrics.get("picture_used", ""), *_number_lines(metrics), *metrics.get("warnings", [])]
    shown = plain_table(
        f"{metrics['rows']:,} rows of the {metrics['split']} split, with 95 % intervals", "\n".join(caption)
    )
    shown.add_column("", min_width=14, overflow="fold")
    for name in table.columns:
        shown.add_column(name, justify="left" if name == "model" else "right", no_wrap=True)
    for field, rows in table.by_field():
        shown.add_row(Text(field, style="bold cyan"))
        for row in rows:
            shown.add_row(Text(f"  {row.metric.label}"), *(_text(row.cells[name], name) for name in table.columns))
    return shown


def _number_lines(metrics: Mapping[str, Any]) -> Iterator[str]:
    """What each number is worth as an estimate, and its intervals, in a sentence."""
    for name, told in metrics.get("estimates", {}).items():
        shown = (METRICS[each] for each in ("mae", "median_ape"))
        scores = told["errors"][told["minimises"]]
        errors = ", ".join(f"{each.label} {each.show(scores[each.name]['value'])}" for each in shown)
        line = f"{name} estimated from the model's probabilities: {errors}"
        interval = metrics.get("intervals", {}).get(name, {})
        if "coverage" in interval:
            held, level = READABLE.show(interval["coverage"]["value"]), f"{100 * interval['level']:.0f} %"
            width = METRICS["mae"].show(interval["median_width"]["value"])
            line += f"; {level} intervals hold {held} of the true values, median width {width}"
        yield line + "."


def _text(cell: Cell | None, column: str) -> Text:
    if cell is None:
        return Text("")
    text = Text(cell.text, style="bold green" if cell.best else "")
    if column == "model" and cell.interval:
        text.append(f" ({cell.interval})", style="not bold default")
    return text
