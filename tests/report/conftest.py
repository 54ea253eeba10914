"""A run folder as training and evaluation leave it: a drawn shop, and the answers of someone who sees it badly."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from hangtag.answer import Template
from hangtag.catalogue import Catalogue, open_catalogue
from hangtag.evaluation import evaluate, write_evaluation
from hangtag.reading import Distribution, Reading

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


class Doubting(Shortsighted):
    """Says too how sure it is: surer where it is right, and a price within 10 % or so of what it wrote."""

    def readings(self, images: Sequence, progress: Callable | None = None, truths: Sequence | None = None) -> list:
        return [self.reading(image) for image in images]

    def reading(self, image: Path | Image.Image) -> Reading:
        text = self.answer(image)
        answer = None if text is None else self.template.read(text)
        if answer is None:
            return Reading(text)
        row = self.known[image]
        generator = np.random.default_rng([7, *row["file_name"].encode()])
        sure, numbers = {}, {}
        for name, kind in self.template.fields.items():
            if kind == "number":
                centre = answer[name] * generator.lognormal(0, 0.03)
                values = np.unique(np.round(centre * np.exp(np.linspace(-0.3, 0.3, 41)), 2))
                weights = np.exp(-0.5 * (np.log(values / centre) / 0.08) ** 2)
                numbers[name] = Distribution(values, weights / weights.sum(), 0.97)
            else:
                sure[name] = float(generator.beta(*((9, 1) if answer[name] == row[name] else (4, 3))))
        return Reading(text, sure, numbers)


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
    answerer = (Doubting if doubting else Shortsighted)(catalogue, template, **badness)
    untrained = partial(Shortsighted, catalogue, template, mistakes=1.0, unreadable=0.5) if doubting else None
    metrics, predictions = evaluate(answerer, catalogue, "test", template, untrained=untrained)
    if doubting and "category3_code" in metrics["fields"]:  # the shop's categories are no paths, and all known
        whole = metrics["fields"]["category3_code"]
        metrics["levels"] = {"category3_code": [{"level": level, **whole} for level in (1, 2)]}
        metrics["unseen"] = {"category3_code": [{"category": "KILT", "rows": 2}]}
    write_evaluation(run, "test", metrics, predictions)
    return run


@pytest.fixture(scope="session")
def shop(tmp_path_factory) -> Catalogue:
    return draw_shop(tmp_path_factory.mktemp("shop") / "catalogue", rows=200)


@pytest.fixture(scope="session")
def run(tmp_path_factory, shop) -> Path:
    """A run evaluated on the shop's test split."""
    return make_run(tmp_path_factory.mktemp("runs") / "demo", shop, unreadable=0.07)


@pytest.fixture
def builders():
    """Functions that make other shops and runs."""
    return draw_shop, make_run
