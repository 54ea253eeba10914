"""Whole evaluations with an answerer that really reads the pictures: their colour tells kind and price."""

import json

import numpy as np
import pytest
from colour_shop import KINDS, TEMPLATE, ColourReader, write_shop

from hangtag.answer import Template
from hangtag.catalogue import open_catalogue
from hangtag.errors import DataError, ImageError, TableError
from hangtag.evaluation import evaluate, write_evaluation


class Blind(ColourReader):
    def answer(self, image):
        return "Product: Plain bag number 1, Category: BAG, Price: 100"


class Mumbling(ColourReader):
    """Never finishes where the blue is even, and writes no number where it is a multiple of seven."""

    def answer(self, image):
        blue = self.pixel(image)[2]
        if blue % 2 == 0:
            return None
        return super().answer(image) if blue % 7 else "Product: x, Category: BAG, Price: many"


class WithFeatures(ColourReader):
    def features(self, images):
        return np.array([self.pixel(image)[:2] for image in images], np.float32) - 125


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("shop") / "catalogue")


@pytest.fixture(scope="module")
def seen(shop):
    return evaluate(ColourReader(), shop, "test", TEMPLATE)


def value(metrics, field, name, *way):
    for step in way:
        metrics = metrics[step]
    return metrics["fields"][field][name]["value"]


def test_a_reader_of_pictures_is_right_until_the_pictures_are_taken_away(seen, shop):
    metrics, predictions = seen
    assert metrics["rows"] == len(predictions) == len(shop.split("test")) == 48
    assert value(metrics, "kind", "accuracy") == value(metrics, "title", "exact") == 1
    assert value(metrics, "price", "mae") == 0
    for control in ("shuffled", "blank"):
        assert value(metrics, "kind", "accuracy", "controls", control) < 0.5
        assert value(metrics, "title", "exact", "controls", control) < 0.2
        error = value(metrics, "price", "median_ape", "controls", control)
        assert error > 0.8 * value(metrics, "price", "median_ape", "baselines", "constant")
    assert metrics["picture_used"].startswith("The picture is used for title (chrF 1.000 with the true picture")
    assert "not shown" not in metrics["picture_used"]


def test_an_answerer_that_ignores_pictures_is_found_out(shop):
    metrics, _ = evaluate(Blind(), shop, "test", TEMPLATE)
    assert metrics["picture_used"].startswith("The picture is not shown to be used:")
    assert metrics["fields"] == metrics["controls"]["shuffled"]["fields"] == metrics["controls"]["blank"]["fields"]


def test_the_constant_comes_from_the_training_split(seen, shop):
    metrics, _ = seen
    train, test = ([float(row["price"]) for row in shop.split(split)] for split in ("train", "test"))
    expected = np.abs(np.array(test) - np.median(train)).mean()
    assert value(metrics, "price", "mae", "baselines", "constant") == pytest.approx(expected)
    kinds = [row["kind"] for row in shop.split("train")]
    most = max(sorted(set(kinds)), key=kinds.count)
    share = np.mean([row["kind"] == most for row in shop.split("test")])
    assert value(metrics, "kind", "accuracy", "baselines", "constant") == share
    largest = max(np.mean([row["kind"] == kind for row in shop.split("test")]) for kind in KINDS)
    assert metrics["largest_class"] == {"kind": largest}


def test_predictions_hold_truth_text_and_fields(seen, shop):
    _, predictions = seen
    row, prediction = shop.split("test")[3], predictions[3]
    truth = {"title": row["title"], "kind": row["kind"], "price": float(row["price"])}
    raw = f"Product: {row['title']}, Category: {row['kind']}, Price: {row['price']}"
    assert prediction == {
        "file_name": row["file_name"], "truth": truth, "raw": raw, "answer": truth, "readable": True,
        "confidence": None, "numbers": None,
    }  # fmt: skip


def test_unreadable_answers_count_as_wrong(shop):
    metrics, predictions = evaluate(Mumbling(), shop, "test", TEMPLATE)
    readable = np.array([each["readable"] for each in predictions])
    assert 0 < readable.mean() < 0.6
    assert {each["answer"] is None for each in predictions if not each["readable"]} == {True}
    assert {each["raw"] for each in predictions if not each["readable"]} == {
        None,
        "Product: x, Category: BAG, Price: many",
    }
    assert metrics["answers"]["readable"]["value"] == readable.mean()
    assert value(metrics, "kind", "accuracy") == value(metrics, "title", "exact") == readable.mean()
    median = np.median([float(row["price"]) for row in shop.split("train")])
    errors = [0 if each["readable"] else abs(median - each["truth"]["price"]) for each in predictions]
    assert value(metrics, "price", "mae") == pytest.approx(np.mean(errors))


def test_no_answer_readable_is_no_crash(shop):
    class Silent(ColourReader):
        def answer(self, image):
            return None

    metrics, _ = evaluate(Silent(), shop, "test", TEMPLATE)
    assert metrics["answers"]["readable"] == {"value": 0, "low": 0, "high": pytest.approx(1 - 0.025 ** (1 / 48))}
    assert metrics["fields"]["price"] == metrics["baselines"]["constant"]["fields"]["price"]
    assert value(metrics, "kind", "macro_f1") == 0
    json.dumps(metrics, allow_nan=False)


def test_neighbours_are_nearest_in_the_answerers_own_features(shop):
    metrics, _ = evaluate(WithFeatures(), shop, "test", TEMPLATE)
    assert metrics["k"] in (1, 3, 5, 9)
    nearest = value(metrics, "kind", "accuracy", "baselines", "nearest")
    assert value(metrics, "kind", "accuracy", "baselines", "constant") + 0.2 < nearest < 1
    on_train, _ = evaluate(WithFeatures(), shop, "train", TEMPLATE)
    assert value(on_train, "title", "exact", "baselines", "nearest") < 1, "a training row was its own neighbour"


def test_a_picture_is_asked_about_once_each_way(tmp_path):
    shop = write_shop(tmp_path / "shop", 50, sizes=((24, 24), (32, 24), (16, 40)))
    asked = []

    class Counting(ColourReader):
        def answers(self, images, progress=None):
            asked.append(list(images))
            return super().answers(images, progress)

    evaluate(Counting(), shop, "test", TEMPLATE)
    true, shuffled, blank = asked
    assert true == [shop.image_path(row) for row in shop.split("test")]
    assert sorted(shuffled) == sorted(true)
    assert not any(one == other for one, other in zip(true, shuffled, strict=True))
    assert {each.size for each in blank} == {(24, 24), (32, 24), (16, 40)}
    assert len(blank) == 3


def test_progress_counts_every_picture_once(shop):
    calls = []
    evaluate(WithFeatures(), shop, "test", TEMPLATE, lambda done, total, note="": calls.append((done, total)))
    done, total = zip(*calls, strict=True)
    assert set(total) == {48 + 48 + 2 + 240}
    assert list(done) == sorted(done)
    assert done[-1] == total[0]


def test_two_evaluations_write_the_same_bytes(seen, shop, tmp_path):
    write_evaluation(tmp_path / "one", "test", *seen)
    write_evaluation(tmp_path / "two", "test", *evaluate(ColourReader(), shop, "test", TEMPLATE))
    for name in ("metrics.json", "predictions.jsonl"):
        one, two = (tmp_path / run / "evaluation" / "test" / name for run in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    assert json.loads((tmp_path / "one/evaluation/test/metrics.json").read_text()) == seen[0]


def test_the_limit_of_the_split_comes_first(tmp_path):
    shop = write_shop(tmp_path / "shop", rows=20)
    limits = {"limit": {"price": {"mae": 1.0}}, "limit_by_split": {"test": {"price": {"mae": 2.0}, "width": {}}}}
    (shop.path / "catalogue.json").write_text(json.dumps(limits))
    metrics = [evaluate(ColourReader(), open_catalogue(shop.path), split, TEMPLATE)[0] for split in ("test", "train")]
    assert [each["limit"] for each in metrics] == [{"price": {"mae": 2.0}}, {"price": {"mae": 1.0}}]


def test_rows_without_a_usable_truth_are_left_out_and_counted(tmp_path):
    prices = ["N.A." if row % 10 == 0 else "1.299,00" if row == 5 else "20" for row in range(100)]
    metrics, predictions = evaluate(ColourReader(), write_shop(tmp_path / "shop", 100, prices), "test", TEMPLATE)
    assert (metrics["rows"], metrics["skipped"], len(predictions)) == (9, 11, 9)
    assert len(metrics["skipped_reasons"]) == 5
    assert (
        metrics["skipped_reasons"][1]
        == "images/5.png: price: '1.299,00' is not a plain number; write 1299.00 if that is meant"
    )
    json.dumps(metrics, allow_nan=False)


def test_one_row_and_zero_prices(tmp_path):
    splits = ["test"] + ["train"] * 9
    metrics, _ = evaluate(
        WithFeatures(), write_shop(tmp_path / "shop", 10, ["0"] * 10, splits=splits), "test", TEMPLATE
    )
    assert "shuffled" not in metrics["controls"]
    assert metrics["picture_used"].startswith("Whether the picture is used cannot be told")
    assert value(metrics, "price", "median_ape", "baselines", "constant") == 0
    json.dumps(metrics, allow_nan=False)


def test_what_is_wrong_with_the_data_is_said(shop, tmp_path):
    with pytest.raises(DataError, match=r"no rows of split 'dev'; there is: test \(48 rows\), validation \(48 rows\)"):
        evaluate(ColourReader(), shop, "dev", TEMPLATE)
    with pytest.raises(TableError, match="'Price'; did you mean 'price'"):
        evaluate(ColourReader(), shop, "test", Template("{Price}", {"Price": "number"}))
    with pytest.raises(DataError, match=r"no row of split 'test' has a usable truth.*images/0\.png: title"):
        evaluate(ColourReader(), shop, "test", Template("{title}", {"title": "number"}))
    untrained = write_shop(tmp_path / "untrained", 10, splits=["test"] * 10)
    with pytest.raises(DataError, match=r"no rows of split 'train'; there is: test \(10 rows\)"):
        evaluate(ColourReader(), untrained, "test", TEMPLATE)
    broken = write_shop(tmp_path / "broken", 10)
    (broken.path / "images" / "0.png").write_text("no picture")
    with pytest.raises(ImageError, match=r"0\.png"):
        evaluate(ColourReader(), broken, "test", TEMPLATE)
