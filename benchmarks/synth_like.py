"""How near `hangtag synth --like` comes to a real table, and how far it stays from its rows, by SDMetrics.

    python benchmarks/synth_like.py TABLE... [--shop-rows 6000] [--repeats 3] [--large-rows 1000000]
                                    [--large-columns 60] [--venv FOLDER]

Each table is halved at random; what is made from one half is scored against that half, beside the other half (a
second real sample), the half bootstrapped with 10 % jitter, a Gaussian copula and columns shuffled independently.
"synth --like" is scored against the half with its rare categories folded likewise, and against the half as it is.
With --shop-rows a table of shop_table.py's is one of them, under the name "shop".
"New rows" are new in all columns and titles, "new content" in categories, numbers and dates alone.
Then one large table is made, read, learned, drawn and written, pictures apart. SDMetrics runs in a virtual environment
of its own, made at first use, without its dependency copulas, which is no free software: only metrics that do not
need it are used. Prints tables and, last, one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import types
import venv
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import shop_table

PACKAGES = ["numpy", "pandas<3", "scipy", "scikit-learn", "tqdm", "plotly", "pyarrow", "pillow"]
MIN_COUNT = 5
SCORED = 400
"""Rows of which new rows and distances are computed."""
WORDS = "Check Wool Silk Leather Cotton Red Black Blue Slim Classic Long Short Soft Quilted Mini"
MEASURES = ("pair trends", "diagnostic", "new rows", "new content", "median DCR", "DCR protection", "seconds")


def python_with_sdmetrics(folder: Path) -> Path:
    """The interpreter of a virtual environment that has SDMetrics."""
    python = folder / "bin" / "python"
    if not (folder / "whole").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "sdmetrics>=0.21"], check=True)
        (folder / "whole").touch()
    return python


def without_copulas() -> None:
    """SDMetrics imports one name of copulas for a metric that is not used here."""
    for name in ("copulas", "copulas.univariate", "copulas.univariate.base"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["copulas.univariate.base"].Univariate = object  # type: ignore[attr-defined]


def frame(rows: list[tuple[str, ...]], names: list[str], kinds: dict[str, str]) -> Any:
    """What SDMetrics reads: numbers, dates, categories; everything else is an identifier."""
    import pandas

    made = pandas.DataFrame(rows, columns=names)
    for name, kind in kinds.items():
        if kind == "number":
            made[name] = pandas.to_numeric(made[name], errors="coerce").astype(float)
        elif kind == "date":
            made[name] = pandas.to_datetime(made[name], errors="coerce")
        elif kind == "category":
            made[name] = made[name].replace({"": None})
    return made


def folded(real: Any, kinds: dict[str, str]) -> Any:
    """Rare categories as `synth --like` folds them, so that "other" is a category of the reference."""
    real = real.copy()
    for name, kind in kinds.items():
        if kind == "category":
            counts = real[name].value_counts()
            rare = set(counts[counts < MIN_COUNT].index) - {"N.A.", "n.a."}
            real[name] = real[name].map(lambda value, rare=rare: "other" if value in rare else value)
    return real


def bootstrap(real: Any, kinds: dict[str, str], rng: np.random.Generator) -> Any:
    made = real.iloc[rng.integers(0, len(real), len(real))].reset_index(drop=True)
    for name, kind in kinds.items():
        if kind == "number":
            jitter = 1 + 0.1 * rng.standard_normal(len(real))
            made[name] = (made[name] * jitter).clip(real[name].min(), real[name].max())
    return made


def shuffled(real: Any, rng: np.random.Generator) -> Any:
    made = real.copy()
    for name in made.columns:
        made[name] = real[name].to_numpy()[rng.permutation(len(real))]
    return made


def gaussian_copula(real: Any, rng: np.random.Generator) -> Any:
    """Normal scores of ranks (ties and categories, the commonest first, spread at random), their correlation, back."""
    from scipy.stats import norm

    scores, orders = [], []
    for name in real.columns:
        column = real[name]
        codes = column.astype(object).where(column.notna(), None)
        if column.dtype == object:
            ranks = codes.map({value: place for place, value in enumerate(codes.value_counts(dropna=False).index)})
            ranks = ranks.fillna(-1).to_numpy(float)
        else:
            ranks = column.rank(method="dense").fillna(0).to_numpy(float)
        order = np.lexsort((rng.random(len(real)), ranks))
        place = np.empty(len(real))
        place[order] = np.arange(len(real))
        scores.append(norm.ppf((place + 0.5) / len(real)))
        orders.append(order)
    drawn = rng.multivariate_normal(np.zeros(len(scores)), np.corrcoef(scores), len(real), method="eigh")
    made = real.copy()
    for number, name in enumerate(real.columns):
        places = np.minimum((norm.cdf(drawn[:, number]) * len(real)).astype(int), len(real) - 1)
        made[name] = real[name].to_numpy()[orders[number][places]]
    return made


def score(real: Any, made: Any, kinds: dict[str, str]) -> dict[str, float]:
    """The measures of one made table against the half that it was made from."""
    from sdmetrics.reports.single_table import DiagnosticReport
    from sdmetrics.reports.single_table._properties import ColumnPairTrends
    from sdmetrics.single_table import DCRBaselineProtection, NewRowSynthesis

    types_ = {"number": "numerical", "date": "datetime", "category": "categorical"}
    names = [name for name, kind in kinds.items() if kind in types_ and real[name].nunique(dropna=False) > 1]
    titles = [name for name, kind in kinds.items() if kind == "text"]
    all_columns = {"columns": {name: {"sdtype": types_.get(kinds[name], "categorical")} for name in names + titles}}
    few_rows = made[names + titles].sample(min(SCORED, len(made)), random_state=0).reset_index(drop=True)
    new_rows = NewRowSynthesis.compute(real[names + titles], few_rows, all_columns)
    real, made = real[names], made[names]
    about = {"columns": {name: {"sdtype": types_[kinds[name]]} for name in names}}
    report = DiagnosticReport()
    report.generate(real, made, about, verbose=False)
    few = made.sample(min(SCORED, len(made)), random_state=0).reset_index(drop=True)
    DCRBaselineProtection._seed = 0
    breakdown = DCRBaselineProtection.compute_breakdown(real, few, {**about}, None)
    return {
        "pair trends": float(ColumnPairTrends().get_score(real, made, about)),
        "diagnostic": float(report.get_score()),
        "new rows": float(new_rows),
        "new content": float(NewRowSynthesis.compute(real, few, about)),
        "median DCR": float(breakdown["median_DCR_to_real_data"]["synthetic_data"]),
        "DCR protection": float(breakdown["score"]),
    }


def score_table(path: Path, repeats: int) -> dict[str, dict[str, float]]:
    """Measures by way of making, means over the repeats."""
    without_copulas()
    from hangtag.catalogue.like.columns import encode
    from hangtag.catalogue.like.sampling import sample
    from hangtag.catalogue.like.table_model import TableModel
    from hangtag.catalogue.table import Table, read_table

    table = read_table(path)
    found: dict[str, list[dict[str, float]]] = {}
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        order = rng.permutation(len(table.rows))
        half = len(order) // 2
        parts = [[table.rows[place] for place in order[start : start + half]] for start in (0, half)]
        started = time.perf_counter()
        model = TableModel(encode(Table(table.columns, parts[0], [])), MIN_COUNT, repeat)
        columns = [column.texts() for column in sample(model, half, repeat).columns]
        seconds = time.perf_counter() - started
        kinds = {part.name: part.nature.kind for part in model.parts}
        real, second = (frame([tuple(row.values()) for row in rows], table.columns, kinds) for rows in parts)
        ours = frame(list(zip(*columns, strict=True)), table.columns, kinds)
        ways = {
            "synth --like": (folded(real, kinds), ours), "the same, not folded": (real, ours),
            "second real sample": (real, second),
            "bootstrap, 10 % jitter": (real, bootstrap(real, kinds, rng)),
            "Gaussian copula": (real, gaussian_copula(real, rng)), "shuffled columns": (real, shuffled(real, rng)),
        }  # fmt: skip
        for way, (reference, made) in ways.items():
            found.setdefault(way, []).append(score(reference, made, kinds))
        found["synth --like"][-1]["seconds"] = seconds
    return {
        way: {name: float(np.mean([each[name] for each in all_])) for name in all_[0]} for way, all_ in found.items()
    }


def large_table(path: Path, rows: int, columns: int) -> None:
    """Products in three rows each, their categories, price in two currencies, and ever more numbers and categories."""
    import pyarrow
    import pyarrow.compute as pc
    from pyarrow import csv

    rng = np.random.default_rng(0)
    products = rows // 3 + 1
    product, leaf = rng.integers(0, products, rows), rng.choice(60, products, p=rng.dirichlet(np.ones(60)))
    words = np.array(WORDS.split())
    price = np.floor(np.exp(rng.normal(5 + leaf * 0.03, 0.6)))[product].astype(int)

    def text(values: Any) -> Any:
        return pyarrow.array(values).cast(pyarrow.string())

    parts = [text(words[rng.integers(0, len(words), products)]) for _ in range(4)]
    title = pc.binary_join_element_wise(*parts, text(rng.integers(0, 9000, products)), " ").take(product)
    code = text(26_000_000 + rng.permutation(54_900_000)[:products][product])
    made = {"product_code": code, "title": title}
    made |= {f"category{level}_code": text(leaf[product] % size) for level, size in ((1, 3), (2, 12), (3, 60))}
    made |= {name: pc.binary_join_element_wise("KIND", made[name], " ") for name in list(made) if "category" in name}
    made["itemurl"] = pc.binary_join_element_wise("https://www.example.com/p/x", code, "-")
    made["price"], made["price_eur"] = text(price), text(np.round(price * 0.9225, 2))
    made["date"] = text((np.datetime64("2020-01-01") + rng.integers(0, 1500, rows)).astype(str))
    made["note"] = pc.binary_join_element_wise(*(text(words[rng.integers(0, len(words), rows)]) for _ in range(6)), " ")
    for number in range(columns - len(made)):
        if number % 2:
            made[f"number{number}"] = text(np.round(price * rng.lognormal(0, 0.3, rows), 2))
        else:
            size = (3, 8, 40, 300)[number // 2 % 4]
            values = text((rng.integers(0, size, rows) * rng.random(rows) ** 2).astype(int))
            made[f"category{number}"] = pc.binary_join_element_wise("value", values, " ")
    csv.write_csv(pyarrow.table(dict(list(made.items())[:columns])), path)


def make_large(path: Path) -> dict[str, float]:
    """Seconds and memory of all but the pictures, for a table in a file."""
    import resource

    from hangtag.catalogue.like.columns import read_columns
    from hangtag.catalogue.like.sampling import sample
    from hangtag.catalogue.like.synth_like import divide
    from hangtag.catalogue.like.table_model import TableModel
    from hangtag.catalogue.like.writing import write_rows

    times = [time.perf_counter()]
    columns = read_columns(path)
    times.append(time.perf_counter())
    model = TableModel(columns, MIN_COUNT)
    times.append(time.perf_counter())
    rows = len(columns[0].codes)
    made, roles = sample(model, rows), model.roles
    del columns, model
    times.append(time.perf_counter())
    files = [f"images/{number * 0x9E3779B97F4A7C15 % 2**128:032x}.jpg" for number in range(rows)]
    splits = divide(made, roles, files, 0)
    times.append(time.perf_counter())
    write_rows(path.with_suffix(".new.csv"), files, made.columns, [column.name for column in made.columns], splits)
    times.append(time.perf_counter())
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = dict(zip(("read", "learn", "draw", "split", "write"), np.diff(times).tolist(), strict=True))
    processor = usage.ru_utime + usage.ru_stime
    return {**spent, "in all": times[-1] - times[0], "processor": processor, "GB": usage.ru_maxrss / 1e6}


def show(name: str, ways: dict[str, dict[str, float]]) -> None:
    print(f"\n{name}\n{'':24}" + "".join(f"{measure:>16}" for measure in MEASURES))
    for way, found in ways.items():
        print(f"{way:24}" + "".join(f"{found[each]:16.3f}" if each in found else " " * 16 for each in MEASURES))


def within(python: Path, *arguments: str) -> Any:
    """What this file prints when it is run by another interpreter, as JSON."""
    source = str(Path(__file__).parents[1] / "src")
    command = [python, "-W", "ignore", __file__, *arguments]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": source}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def score_tables(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measures by table, each named by its folder and file."""
    tables = {f"{path.parent.name}/{path.stem}": path for path in asked.tables}
    if asked.shop_rows:
        tables["shop"] = folder / "shop.csv"
        shop_table.write(tables["shop"], asked.shop_rows)
    found, python = {}, python_with_sdmetrics(asked.venv) if tables else None
    for name, path in tables.items():
        assert python
        found[name] = within(python, str(path), "--step", "score", "--repeats", str(asked.repeats))
        show(name, found[name])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", type=Path)
    parser.add_argument("--shop-rows", type=int, default=0, help="0: no such table")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large-rows", type=int, default=1_000_000, help="0: no large table")
    parser.add_argument("--large-columns", type=int, default=60)
    parser.add_argument("--venv", type=Path, default=Path(tempfile.gettempdir()) / "hangtag-sdmetrics")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step:
        warnings.filterwarnings("ignore")
        path = asked.tables[0]
        print(json.dumps(score_table(path, asked.repeats) if asked.step == "score" else make_large(path)))
        return
    with tempfile.TemporaryDirectory() as folder:
        results: dict[str, Any] = {"repeats": asked.repeats, "tables": score_tables(asked, Path(folder))}
        if asked.large_rows:
            path, size = Path(folder) / "large.csv", {"rows": asked.large_rows, "columns": asked.large_columns}
            large_table(path, *size.values())
            results["large"] = size | within(Path(sys.executable), str(path), "--step", "large")
            print(", ".join(f"{name} {value:,.1f}" for name, value in results["large"].items()))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
