"""Does `hangtag audit` find wrong tags? An invented catalogue with some rows damaged, a model trained on it as it is.

    python benchmarks/audit.py --work /some/folder                # the demo's size, two seeds of damage
    python benchmarks/audit.py --rows 600 --seeds 0 --set train.epochs=3

For each seed the demo recipe is trained on the damaged catalogue, `hangtag audit --split all` ranks its rows, and the
ranking is held against what was damaged: area under ROC, and precision at the number of damaged rows, with 95 %
bootstrap intervals over rows; overall, for each kind of damage (its rows against all undamaged ones), and for each
field's own score against the kinds that concern it. What is in --work already is used again.

Damage falls on 3 % of all rows, evenly over four kinds; rows and partners are drawn at random:

title      the title of a row with another title
category   the category of a row with another category, so that frequent ones are frequent here too
price      times 10 or divided by 10, with equal chances, and whole, as all invented prices are
picture    the picture of a row with another title
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hangtag.catalogue.store import csv_text
from hangtag.catalogue.synth import synthesise
from hangtag.evaluation.bootstrap import percentiles
from hangtag.files import Run, write_json
from hangtag.recipe import load_recipe
from hangtag.report.audit import audit
from hangtag.terminal import hush_transformers, note, terminal_stages
from hangtag.training.train import train

Row = dict[str, str]
KINDS = ("title", "category", "price", "picture")
TITLE, CATEGORY, PRICE = "title", "category3_code", "full_price"
CONCERNS = {TITLE: ("title", "picture"), CATEGORY: ("category", "picture"), PRICE: ("price", "picture")}
RESAMPLES = 1000


def damaged(rows: Sequence[Row], share: float, seed: int) -> tuple[list[Row], dict[int, str]]:
    """The rows of a table with a share of them damaged, and the kind of damage by place."""
    random = np.random.default_rng(seed)
    places = random.choice(len(rows), round(share * len(rows)), replace=False).tolist()
    kinds = {place: KINDS[number % len(KINDS)] for number, place in enumerate(places)}
    changed = {place: damage(rows, place, kinds[place], random) for place in sorted(kinds)}
    return [changed.get(place, row) for place, row in enumerate(rows)], kinds


def damage(rows: Sequence[Row], place: int, kind: str, random: np.random.Generator) -> Row:
    """One row, damaged; it never stays as it was."""
    row = rows[place]
    if kind == "price":
        price = float(row[PRICE])
        up = random.random() < 0.5 or round(price / 10) < 1
        return {**row, PRICE: f"{price * 10 if up else price / 10:.0f}"}
    unlike = CATEGORY if kind == "category" else TITLE
    taken = {"title": TITLE, "category": CATEGORY, "picture": "file_name"}[kind]
    others = [other for other in rows if other[unlike] != row[unlike] and other["file_name"] != row["file_name"]]
    return {**row, taken: others[int(random.integers(len(others)))][taken]}


def damaged_catalogue(source: Path, folder: Path, share: float, seed: int) -> dict[int, str]:
    """A copy of a catalogue with damaged rows; the kinds by place are kept beside it."""
    listed = folder.with_name(f"{folder.name}-damage.json")
    if not listed.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        with open(source / "metadata.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        new, kinds = damaged(rows, share, seed)
        (folder / "metadata.csv").write_text(csv_text(list(rows[0]), new), encoding="utf-8")
        write_json(listed, {str(place): kind for place, kind in kinds.items()})
    return {int(place): kind for place, kind in json.loads(listed.read_text()).items()}


def area(wrong_N: NDArray[np.bool_], score_N: NDArray[np.float64]) -> float:
    """Area under ROC: the share of pairs of a wrong and a right row in which the wrong one scores higher."""
    order = np.argsort(score_N, kind="stable")
    _, first, count = np.unique(score_N[order], return_index=True, return_counts=True)
    rank_N = np.empty(len(score_N))
    rank_N[order] = np.repeat(first + (count - 1) / 2 + 1, count)
    wrong = int(wrong_N.sum())
    return float((rank_N[wrong_N].sum() - wrong * (wrong + 1) / 2) / (wrong * (len(score_N) - wrong)))


def precision(wrong_N: NDArray[np.bool_], score_N: NDArray[np.float64]) -> float:
    """The share of wrong rows among as many highest scores as there are wrong rows."""
    return float(wrong_N[np.argsort(-score_N, kind="stable")[: wrong_N.sum()]].mean())


def measured(wrong_N: NDArray[np.bool_], score_N: NDArray[np.float64]) -> dict[str, list[float]]:
    """Both measures, each with the ends of its interval."""
    random, found = np.random.default_rng(0), {}
    drawn = [random.integers(0, len(wrong_N), len(wrong_N)) for _ in range(RESAMPLES)]
    for name, measure in (("auc", area), ("precision", precision)):
        again = np.array([measure(wrong_N[rows], score_N[rows]) for rows in drawn if wrong_N[rows].any()])
        found[name] = [round(each, 4) for each in (measure(wrong_N, score_N), *percentiles(again))]
    return found


def held_against(table: Path, kinds: dict[int, str]) -> dict[str, Any]:
    """An audit.csv against the damaged rows."""
    with open(table, newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    kind_N = np.array([kinds.get(int(each["row"]) - 1, "") for each in found])
    score_N = np.array([float(each["score"]) for each in found])
    results = {"all": measured(kind_N != "", score_N)}
    for kind in KINDS:
        among = (kind_N == kind) | (kind_N == "")
        results[kind] = measured(kind_N[among] == kind, score_N[among])
        results[kind]["recall"] = [round(float((kind_N[: len(kinds)] == kind).sum() / (kind_N == kind).sum()), 4)]
    for name, concerned in CONCERNS.items():
        own = np.array([float(each[f"{name} score"]) for each in found])
        results[f"score of {name}"] = measured(np.isin(kind_N, concerned), own)
    named = {"title": TITLE, "category": CATEGORY, "price": PRICE, "picture": "everything"}
    right = [each["disagrees"].startswith(named[kind]) for each, kind in zip(found, kind_N, strict=True) if kind]
    return results | {"named": round(float(np.mean(right)), 4), "rows": len(found), "damaged": len(kinds)}


def show(seed: int, results: dict[str, Any]) -> None:
    """A table on stdout."""
    print(f"\nseed of damage {seed}: {results['damaged']} of {results['rows']:,} rows damaged")
    for name, each in results.items():
        if isinstance(each, dict):
            cells = [
                f"{key} {value[0]:.4f} ({value[1]:.4f}-{value[2]:.4f})" for key, value in each.items() if value[1:]
            ]
            found = f"  found in the first {results['damaged']}: {each['recall'][0]:.2f}" if "recall" in each else ""
            print(f"  {name:<24} {'  '.join(cells)}{found}")
    print(f"  what disagrees is named rightly for {results['named']:.2f} of the damaged rows")


def main() -> None:
    """Damage, train, audit, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3040)
    parser.add_argument("--share", type=float, default=0.03)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("runs/audit-benchmark"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the demo recipe")
    asked = parser.parse_args()
    hush_transformers()
    source = asked.work / "catalogue"
    if not (source / "catalogue.json").is_file():
        synthesise(source, rows=asked.rows, seed=0)
    every = {}
    for seed in asked.seeds:
        folder, run = asked.work / f"damaged-{seed}", Run(asked.work / f"run-{seed}")
        kinds = damaged_catalogue(source, folder, asked.share, seed)
        train(load_recipe("demo", [f"data.path={folder}", *asked.set]), run.path, terminal_stages, note)
        started = time.monotonic()
        done = audit(run.path, folds=asked.folds, stages=terminal_stages, say=note)
        every[seed] = held_against(done.csv, kinds) | {"audit_seconds": round(time.monotonic() - started)}
        show(seed, every[seed])
    print(json.dumps(every))


if __name__ == "__main__":
    main()
