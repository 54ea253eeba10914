"""From several evaluated runs to their comparison and its page: what `hangtag compare` does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from hangtag.errors import HangtagError, RunError, UsageError
from hangtag.evaluation.comparison import Evaluated, align, compare, comparison_json
from hangtag.evaluation.written import read_evaluation
from hangtag.files import Run, write_json, write_whole
from hangtag.report.comparison import comparison_table, furthest_apart, render_comparison

TABLE, PAGE = "comparison.json", "comparison.html"


def compare_runs(folders: Sequence[Path], split: str, out: Path) -> tuple[Table, Path]:
    """Compare the evaluations of a split, write comparison.json and comparison.html; return table and page.

    Args:
        folders: run folders, at least two; the others are compared to the first.
        out: where the two files go; older ones there are replaced.

    Raises:
        UsageError: fewer than two runs, or one of them twice.
        RunError: a run has no usable evaluation of the split; what is wrong with each of them in one message.
        DataError: the runs are not about the same rows, truths and fields.
    """
    runs = align(_read(folders, split))
    compared = compare(runs)
    apart = furthest_apart(runs)
    rows = [
        {"file_name": each.file_name, "truth": each.truth, "answers": each.answers, "spread": each.spread}
        for each in apart
    ]
    write_json(out / TABLE, {**comparison_json(split, runs, compared), "rows_apart": rows})
    write_whole(out / PAGE, render_comparison(split, runs, compared, apart))
    return comparison_table(split, runs, compared), out / PAGE


def _read(folders: Sequence[Path], split: str) -> list[Evaluated]:
    if len(folders) < 2:
        raise UsageError("a comparison takes two runs or more: hangtag compare RUN RUN...; one alone: hangtag evaluate")
    real = [folder.resolve() for folder in folders]
    twice = next((folder for place, folder in enumerate(folders) if real[place] in real[:place]), None)
    if twice is not None:
        raise UsageError(f"{twice} is given twice; name each run once")
    runs, problems = [], []
    for folder, name in zip(folders, short_names(folders), strict=True):
        try:
            if not folder.is_dir():
                raise RunError(f"there is no run folder {folder}")
            runs.append(Evaluated(name, folder, *read_evaluation(Run(folder), split)))
        except HangtagError as error:
            problems.append(str(error))
    if problems:
        raise RunError("\n".join(problems))
    return runs


def short_names(folders: Sequence[Path]) -> list[str]:
    """The shortest end of each path that no other path has: `demo`, or `a/demo` and `b/demo`."""
    whole = [Path(os.path.abspath(folder)).parts for folder in folders]

    def shortest(place: int) -> str:
        parts = whole[place]
        others = [other for each, other in enumerate(whole) if each != place]
        size = next(
            size for size in range(1, len(parts) + 1) if all(other[-size:] != parts[-size:] for other in others)
        )
        return Path(*parts[-size:]).as_posix()

    return [shortest(place) for place in range(len(folders))]
