"""Runs at the edge of what can be: the page parses, says no NaN, stays narrow, and its script does not complain."""

import base64
import io
import json
import re
import shutil

import numpy as np
import pytest
from pages import Page
from PIL import Image

from hangtag.files import Run, read_json, read_jsonl, write_json, write_jsonl
from hangtag.markup import script_json
from hangtag.recipe import load_recipe
from hangtag.report import page as report
from hangtag.report import write_report

HOSTILE = "</script><!--<script>alert(1)</script>\u2028\u202egnp.exe <b>&amp;{{ 7 * 7 }}"
NEW_KEYS = ["levels", "by_category", "unseen", "unreadable", "estimates", "intervals", "confidence", "warnings"]


def rewritten(run, change):
    """The run's page after `change` was applied to its metrics and predictions."""
    folder = run / "evaluation/test"
    metrics, predictions = read_json(folder / "metrics.json"), read_jsonl(folder / "predictions.jsonl")
    change(metrics, predictions)
    metrics["rows"] = len(predictions)
    write_json(folder / "metrics.json", metrics)
    write_jsonl(folder / "predictions.jsonl", predictions)
    return write_report(run)


def one_row(metrics, predictions):
    del predictions[1:]


def equal_prices(metrics, predictions):
    for each in predictions:
        each["truth"]["full_price"] = 100.0


def zero_prices(metrics, predictions):
    for each in predictions:
        each["truth"]["full_price"] = 0.0
        if each["answer"]:
            each["answer"]["full_price"] = 0.0
            each["numbers"]["full_price"] = {"estimate": 0.0, "low": 0.0, "high": 0.0}


def huge_numbers(metrics, predictions):
    for place, each in enumerate(predictions):
        each["truth"]["full_price"] = (1e-300, 1e300, -1e300)[place % 3]
        if each["answer"]:
            each["answer"]["full_price"] = 1.7e308
            each["numbers"]["full_price"] = {"estimate": 1e308, "low": -1e308, "high": 1.7e308}


def no_intervals(metrics, predictions):
    del metrics["intervals"]
    for each in predictions:
        if each["numbers"]:
            each["numbers"]["full_price"] |= {"low": None, "high": None}


def one_category(metrics, predictions):
    for each in predictions:
        each["truth"]["category3_code"] = "ONLY"


def many_categories(metrics, predictions):
    for place, each in enumerate(predictions):
        each["truth"]["category3_code"] = f"SECTION {place % 7} > SHELF {'x' * (place % 90)} {place}"
    predictions += [json.loads(json.dumps(each)) for each in predictions for _ in range(5)]
    for place, each in enumerate(predictions):
        each["truth"]["category3_code"] += f"/{place}"
    metrics["by_category"]["category3_code"][-1]["category"] = "(all others)"


def long_and_hostile(metrics, predictions):
    for place, each in enumerate(predictions):
        each["truth"] |= {"title": HOSTILE + "مرحبا " * (2_000 if place % 8 == 0 else 20), "category3_code": HOSTILE}
        if each["answer"]:
            each["answer"] |= {"title": "x" * 10_000, "category3_code": HOSTILE}
        else:
            each["raw"] = HOSTILE * 500
    metrics["warnings"] = [HOSTILE]
    metrics["unseen"]["category3_code"] = [{"category": HOSTILE * 300, "rows": 2}] * 200
    metrics["unreadable"] = [{"file_name": HOSTILE, "raw": HOSTILE * 500}] * 20
    for each in metrics["by_category"]["category3_code"]:
        each["category"] = HOSTILE


def all_unreadable(metrics, predictions):
    for each in predictions:
        each |= {"raw": None, "answer": None, "readable": False, "confidence": None, "numbers": None}


def as_before(metrics, predictions):
    for key in NEW_KEYS:
        del metrics[key]
    for key in ("limit", "k"):
        metrics.pop(key, None)
    del metrics["baselines"]["untrained"]
    for each in predictions:
        del each["confidence"], each["numbers"]


EDGES = [one_row, equal_prices, zero_prices, huge_numbers, no_intervals, one_category, many_categories,
         long_and_hostile, all_unreadable, as_before]  # fmt: skip


@pytest.mark.parametrize("change", EDGES, ids=lambda each: each.__name__)
def test_any_run_has_a_page(browser, run, tmp_path, change):
    path = rewritten(shutil.copytree(run, tmp_path / "run"), change)
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert not re.search(r"(?i:\bnan\b|\binf(inity)?\b|\bundefined\b)|\bNone\b", page.text)
    assert page.tags["script"] == 2
    browser.open(path, 390)
    assert browser.troubles == []
    assert browser.run("document.documentElement.scrollWidth") <= 390
    for value in ("estimate", "written"):
        browser.run(f"document.querySelector('figure.dots input[value={value}]')?.click()")
        assert not browser.run("/NaN|Infinity/.test(document.body.innerHTML.replace(/<script[^]*/, ''))")
    browser.run("document.querySelectorAll('.sortable button').forEach((each) => each.click())")
    assert browser.run("[...document.querySelectorAll('tr.rest')].every((row) => !row.nextElementSibling)")
    assert browser.run("document.querySelectorAll('tr.rest').length") == (change is many_categories)
    rows = len(read_jsonl(path.parent / "evaluation/test/predictions.jsonl"))
    assert browser.run("document.querySelector('#count').textContent").split(" of ")[1].split()[0] == str(rows)
    assert browser.troubles == []
    assert browser.run("document.scripts.length") == 2


def test_json_in_a_script_holds_nothing_that_ends_it():
    written = script_json({HOSTILE: [HOSTILE]})
    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written) == {HOSTILE: [HOSTILE]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json([float("nan")])


def test_three_thousand_rows_fit_into_fifteen_megabytes(run, shop, monkeypatch):
    """Every row has a thumbnail as large as the largest that a photo gives at the side that was chosen."""
    generator = np.random.default_rng(0)
    sides = []

    def photo(path, side):
        """As many bytes as a product photo of this side takes, and never the same."""
        sides.append(side)
        return "data:image/webp;base64," + base64.b64encode(generator.bytes(int(0.13 * side**2))).decode()

    monkeypatch.setattr("hangtag.report.thumbnails.thumbnail", photo)
    monkeypatch.setattr("hangtag.report.gallery.goodness", lambda fields, rows: np.arange(len(rows)))
    metrics = read_json(run / "evaluation/test/metrics.json")
    known = read_jsonl(run / "evaluation/test/predictions.jsonl")
    predictions = [known[place % len(known)] | {"file_name": f"images/{place:032x}.jpg"} for place in range(3_000)]
    metrics["rows"] = len(predictions)
    html = report.render(Run(run), load_recipe(run / "recipe.toml"), metrics, predictions, shop)
    assert len(html.encode()) < 15_000_000
    assert "left out" not in Page(html).text
    assert html.count("<circle") > 2_500
    assert 112 <= sides[-1] < 160


def test_more_rows_than_fit_are_drawn_at_random_and_that_is_said(run, shop, monkeypatch):
    monkeypatch.setattr("hangtag.report.gallery.MOST_ROWS", 30)
    text = Page(write_report(run, catalogue=shop).read_text(encoding="utf-8")).text
    assert "10 further rows, drawn at random, are left out of this page." in text


def test_a_thumbnail_is_the_same_picture_however_far_it_was_decoded(tmp_path):
    from hangtag.report.thumbnails import thumbnail

    generator = np.random.default_rng(0)
    photo = Image.fromarray(generator.integers(0, 255, (12, 9, 3), np.uint8)).resize((900, 1200))
    photo.save(tmp_path / "photo.jpg", quality=90)
    made = Image.open(io.BytesIO(base64.b64decode(thumbnail(tmp_path / "photo.jpg").split(",")[1])))
    assert made.size == (120, 160)
    whole = photo.resize((120, 160), Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(made, float) - np.asarray(whole, float)).mean() < 4
