"""A run folder as training and evaluation leave it: a drawn shop, and the answers of someone who sees it badly."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from PIL import Image, ImageDraw

from hangtag.answer import Template
from hangtag.catalogue import Catalogue, open_catalogue
from hangtag.evaluation import evaluate, write_evaluation
from hangtag.evaluation.bootstrap import score
from hangtag.evaluation.metrics import METRICS, field_rows, mean, median, number_rows, score_field

COLOURS = {"Crimson": (178, 34, 52), "Navy": (28, 44, 92), "Olive": (96, 108, 46), "Sand": (206, 178, 132)}
KINDS = ["SHIRT", "TROUSERS", "SCARF", "TOTE", "BELT", "SNEAKER", "COAT", "DRESS", "HAT"]
MATERIALS = ["cotton", "wool", "linen", "leather & suede"]
ANSWER = "Product: {title}, Category: {category3_code}, Full Price: {full_price}"
FIELDS = {"title": "text", "category3_code": "category", "full_price": "number"}


def draw(colour: tuple[int, int, int], kind: int, size: float) -> Image.Image:
    """A plain product on a light ground: its outline tells the kind, its size the price."""
    picture = Image.new("RGB", (200, 240), (238, 234, 228))
    pen, centre, half = ImageDraw.Draw(picture), np.array([100, 125]), 40 + 45 * size
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    radius = half * (1 + 0.3 * np.cos((kind % 7 + 2) * angles))
    outline = [
        (float(x), float(y)) for x, y in centre + radius[:, None] * np.stack([np.sin(angles), -np.cos(angles)], 1)
    ]
    pen.polygon(outline, fill=colour, outline=tuple(each // 2 for each in colour))
    return picture


def draw_shop(folder: Path, rows: int, kinds: Sequence[str] = KINDS, seed: int = 0) -> Catalogue:
    """A catalogue of `rows` products with the columns title, category3_code, full_price, weight."""
    generator = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["file_name", "title", "category3_code", "full_price", "weight", "split"])
    for row in range(rows):
        kind, size = int(min(generator.geometric(0.22) - 1, len(kinds) - 1)), generator.random()
        if len(kinds) > len(KINDS):
            kind = int(generator.integers(len(kinds)))
        name, colour = list(COLOURS.items())[generator.integers(len(COLOURS))]
        material = MATERIALS[generator.integers(len(MATERIALS))]
        price = round(float(np.exp(4 + 3.5 * size + 0.1 * kind) * generator.lognormal(0, 0.05)))
        file = f"images/{row:05}.jpg"
        draw(colour, kind, size).save(folder / file, quality=85)
        split = ("test", "validation", "train", "train", "train")[row % 5]
        title = f"{name} {material} {kinds[kind].lower()}"
        writer.writerow([file, title, kinds[kind], price, f"{0.2 + size:.2f}", split])
    (folder / "metadata.csv").write_text(table.getvalue())
    (folder / "catalogue.json").write_text(json.dumps({"limit": {"full_price": {"median_ape": 0.034, "mae": 41.0}}}))
    return open_catalogue(folder)


@dataclass
class Shortsighted:
    """Knows every product by its picture's file, but tells it badly; of any other picture it makes one thing up."""

    catalogue: Catalogue
    template: Template
    mistakes: float = 0.12
    unreadable: float = 0.02
    known: dict[Path, dict[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self.known = {self.catalogue.image_path(row): row for row in self.catalogue.rows}

    def answers(self, images: Sequence, progress: Callable | None = None) -> list[str | None]:
        return [self.answer(image) for image in images]

    def answer(self, image: Path | Image.Image) -> str | None:
        row = self.known[image] if isinstance(image, Path) else self.catalogue.rows[0]
        generator = np.random.default_rng(list(row["file_name"].encode()))
        if generator.random() < self.unreadable:
            return None if generator.random() < 0.5 else "Product: a thing, about 20 <dollars>"
        values = self.template.clean(row)
        for name, kind in self.template.fields.items():
            if kind == "number":
                values[name] = float(round(values[name] * generator.lognormal(0, 0.12), 2))
            elif generator.random() < self.mistakes:
                other = self.catalogue.rows[generator.integers(len(self.catalogue.rows))]
                values[name] = other[name]
        return self.template.write(values)

    def features(self, images: Sequence) -> np.ndarray:
        return np.stack([np.asarray(Image.open(image).resize((6, 6)), float).ravel() - 128 for image in images])


def doubted(metrics: dict, predictions: list, fields: dict[str, str], seed: int = 0) -> None:
    """Adds what an answerer with probabilities gives, invented but consistent, to an evaluation of one without."""
    generator = np.random.default_rng(seed)
    for each in predictions:
        each["confidence"] = each["numbers"] = None
        if each["readable"]:
            each["confidence"] = {
                name: float(generator.beta(*((9, 1) if each["answer"][name] == each["truth"][name] else (4, 3))))
                for name, kind in fields.items()
                if kind != "number"
            }
            each["numbers"] = {
                name: _interval(each["answer"][name], generator) for name, kind in fields.items() if kind == "number"
            }
    metrics["unreadable"] = [
        {"file_name": each["file_name"], "raw": each["raw"]} for each in predictions if not each["readable"]
    ][:20]
    metrics["warnings"] = ["The calibration split has few rows, so intervals of 95 % are wide."]
    untrained = json.loads(json.dumps(metrics["baselines"]["constant"]))
    metrics["baselines"]["untrained"] = untrained
    for name, kind in fields.items():
        _doubted_field(metrics, predictions, fields, name, kind)


def _interval(value: float, generator: np.random.Generator) -> dict[str, float]:
    estimate = float(value * generator.lognormal(0, 0.03))
    return {"estimate": estimate, "low": estimate * 0.83, "high": estimate * 1.2}


def _share(right: np.ndarray) -> dict[str, float]:
    return score(mean, right, seed=0)


def _doubted_field(metrics: dict, predictions: list, fields: dict[str, str], name: str, kind: str) -> None:
    readable = [each for each in predictions if each["readable"]]
    if not readable:
        return
    truth = np.array([each["truth"][name] for each in readable])
    if kind == "number":
        found = [each["numbers"][name] for each in readable]
        low, high, best = (np.array([each[key] for each in found]) for key in ("low", "high", "estimate"))

        def covered(level: float) -> dict[str, float]:
            wider = level / 0.9
            return _share((best - (best - low) * wider <= truth) & (truth <= best + (high - best) * wider))

        coverage = {"mean": 0.902, "sd": 0.015, "least": 0.86, "most": 0.94}
        metrics.setdefault("intervals", {})[name] = {
            "level": 0.9,
            "calibration_rows": 40,
            "coverage": covered(0.9),
            "median_width": score(median, high - low, seed=0),
            "median_relative_width": score(median, (high - low) / np.maximum(np.abs(best), 0.01), seed=0),
            "by_level": [{"level": level, "coverage": covered(level)} for level in (0.5, 0.8, 0.9, 0.95)],
            "divisions": {"count": 100, "rows": 80, "coverage": coverage, "median_width": float(np.median(high - low))},
        }
        answers = {"greedy": np.array([each["answer"][name] for each in readable]), "mae": best, "mape": best * 0.98}
        errors = {way: score_field("number", number_rows(truth, each), 0) for way, each in answers.items()}
        metrics.setdefault("estimates", {})[name] = {"minimises": "mae", "covered": 0.97, "errors": errors}
        return
    sure = np.array([each["confidence"][name] for each in readable])
    right = np.array([each["answer"][name] == each["truth"][name] for each in readable])
    group = np.minimum((10 * sure).astype(int), 9)
    order = np.argsort(-sure)
    steps = [(share, order[: max(1, round(share * len(order)))]) for share in np.arange(1, 11) / 10]
    metrics.setdefault("confidence", {})[name] = {
        "calibration_rows": 40,
        "ece": float(np.mean(np.abs(sure - right))),
        "bins": [
            {"low": place / 10, "high": (place + 1) / 10, "rows": int((group == place).sum()),
             "confidence": float(sure[group == place].mean()), "right": _share(right[group == place])}
            for place in range(10) if (group == place).any()
        ],
        "kept": [
            {"share": float(share), "rows": len(rows), "least_confidence": float(sure[rows].min()),
             "right": _share(right[rows])}
            for share, rows in steps
        ],
    }  # fmt: skip
    if kind == "category":
        _doubted_categories(metrics, predictions, fields, name)


def _doubted_categories(metrics: dict, predictions: list, fields: dict[str, str], name: str) -> None:
    counts = Counter(each["truth"][name] for each in predictions).most_common()
    labels = [label for label, _ in counts[:60]]
    groups = [(label, [each for each in predictions if each["truth"][name] == label]) for label in labels]
    if len(counts) > 60:
        groups.append(("(all others)", [each for each in predictions if each["truth"][name] not in labels]))
    kept = {"text": ("exact", "chrf"), "category": ("accuracy",), "number": ("mae", "median_ape")}

    def scores(rows: list, field: str, kind: str) -> dict:
        written = [None if each["answer"] is None else each["answer"][field] for each in rows]
        columns = field_rows(kind, [each["truth"][field] for each in rows], written, 0.0)
        return {metric: METRICS[metric].score(columns, 0) for metric in kept[kind]}

    metrics.setdefault("by_category", {})[name] = [
        {"category": label, "rows": len(rows),
         "fields": {field: scores(rows, field, kind) for field, kind in fields.items()}}
        for label, rows in groups
    ]  # fmt: skip
    metrics.setdefault("unseen", {})[name] = [{"category": "KILT", "rows": 2}]
    whole = metrics["fields"][name]
    metrics.setdefault("levels", {})[name] = [{"level": level, **whole} for level in (1, 2)]


def write_log(path: Path, epochs: int = 20, steps: int = 57) -> None:
    generator = np.random.default_rng(0)
    records = []
    for step in range(10, epochs * steps + 1, 10):
        loss = 0.18 + 5.8 * np.exp(-step / 120) + 0.9 * np.exp(-step / 500) + generator.normal(0, 0.03)
        records.append(
            {"step": step, "epoch": step / steps, "loss": float(loss), "learning_rate": 2e-3, "seconds": 0.2 * step}
        )
        if step % (5 * steps) < 10:
            records.append({"step": step, "epoch": step / steps, "validation_loss": float(loss) + 0.09})
    path.write_text("".join(json.dumps(each) + "\n" for each in records))


def toml_table(values: dict[str, str]) -> str:
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items())


def make_run(
    run: Path,
    catalogue: Catalogue,
    answer: str = ANSWER,
    fields: dict[str, str] = FIELDS,
    doubting: bool = True,
    **badness,
) -> Path:
    """A run folder with recipe, environment, log and an evaluation of the test split.

    Args:
        doubting: whether the evaluation has confidences, intervals and what else an answerer with probabilities gives.
    """
    run.mkdir(parents=True)
    task = f"[task]\nanswer = {json.dumps(answer)}\n[task.fields]\n{toml_table(fields)}\n"
    (run / "recipe.toml").write_text(f'[model]\nbase = "nano"\n[data]\npath = "{catalogue.path}"\n{task}')
    (run / "environment.json").write_text(json.dumps({"python": "3.11", "packages": {"torch": "2.13.0"}}))
    write_log(run / "log.jsonl")
    template = Template(answer, fields)
    metrics, predictions = evaluate(Shortsighted(catalogue, template, **badness), catalogue, "test", template)
    if doubting:
        doubted(metrics, predictions, fields)
    write_evaluation(run, "test", metrics, predictions)
    return run


@pytest.fixture(scope="session")
def shop(tmp_path_factory) -> Catalogue:
    return draw_shop(tmp_path_factory.mktemp("shop") / "catalogue", rows=200)


@pytest.fixture(scope="session")
def run(tmp_path_factory, shop) -> Path:
    """A run evaluated on the shop's test split."""
    return make_run(tmp_path_factory.mktemp("runs") / "demo", shop, unreadable=0.07)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One headless Chromium for all pages."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine to open the page in")
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def builders():
    """Functions that make other shops and runs."""
    return draw_shop, make_run
