"""Real photos at a small size: fetch, train a few steps, evaluate, with the shipped recipe."""

import csv
from pathlib import Path

import pytest
from conftest import TINY, hangtag, settings

from hangtag.catalogue.store import open_catalogue
from hangtag.files import read_json

LUMA = Path(__file__).parents[2] / "shared" / "data" / "luma"


@pytest.mark.skipif(not LUMA.is_dir(), reason="the photos of the Luma sample shop are not here")
def test_real_photos_go_the_whole_way(tmp_path):
    with open(LUMA / "table_color_variants.csv", newline="") as file:
        rows = list(csv.DictReader(file))[::5]
    (tmp_path / "images").symlink_to(LUMA / "images")
    with open(tmp_path / "table.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    done = hangtag("fetch", tmp_path / "table.csv", tmp_path / "luma", "--image-column", "image", "--allow-outside")
    assert f"{len(rows)} products" in done.stdout
    catalogue = open_catalogue(tmp_path / "luma")
    where = {}
    for row in catalogue.rows:
        where.setdefault(row["title"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in where.values())
    changes = settings(f"data.path={tmp_path / 'luma'}", "train.epochs=2", "train.checkpoint_epochs=2", *TINY)
    hangtag("train", "luma", "--out", tmp_path / "run", *changes)
    hangtag("evaluate", tmp_path / "run")
    metrics = read_json(tmp_path / "run" / "evaluation" / "test" / "metrics.json")
    assert set(metrics["fields"]) == {"title", "category", "price"}
    assert metrics["rows"] == len(catalogue.split("test"))
