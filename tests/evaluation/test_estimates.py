"""Estimates, intervals and confidence of a reader that knows how unsure it is; what the journal keeps; bad input."""

import json
import multiprocessing
import os

import numpy as np
import pytest
from colour_shop import TEMPLATE, ColourReader, write_shop

from hangtag.answer import Template
from hangtag.errors import RunError, TableError
from hangtag.evaluation import evaluate
from hangtag.evaluation.asking import AT_ONCE
from hangtag.evaluation.journal import open_journal
from hangtag.reading import Distribution, Reading

SPREAD = 0.3


class Unsure(ColourReader):
    """Tells the price with a log-normal error, and states a distribution of half that width around what it writes."""

    asked = 0

    def readings(self, images, progress=None, truths=None):
        self.asked += len(images)
        return [self.reading(image) for image in images]

    def reading(self, image):
        text = self.answer(image)
        generator = np.random.default_rng(list(self.pixel(image)))
        sure = generator.random()
        answer = TEMPLATE.read(text)
        if generator.random() > sure:
            answer["title"] = "Something else"
        answer["price"] = max(round(answer["price"] * generator.lognormal(0, SPREAD)), 1)
        values = np.unique(np.round(answer["price"] * np.exp(np.linspace(-3, 3, 61) * SPREAD / 2), 2))
        weights = np.exp(-0.5 * (np.log(values / answer["price"]) / (SPREAD / 2)) ** 2)
        numbers = {"price": Distribution(values, weights / weights.sum(), 0.98)}
        return Reading(TEMPLATE.write(answer), {"title": sure, "kind": 0.99}, numbers)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("unsure") / "shop", rows=1000)


@pytest.fixture(scope="module")
def found(shop):
    return evaluate(Unsure(), shop, "test", TEMPLATE)


def test_intervals_cover_what_they_promise_where_the_model_itself_is_too_sure(found):
    metrics, predictions = found
    told = metrics["intervals"]["price"]
    assert (told["level"], told["calibration_rows"]) == (0.9, 200)
    truth = np.array([each["truth"]["price"] for each in predictions])
    low, high = (np.array([each["numbers"]["price"][end] for each in predictions]) for end in ("low", "high"))
    inside = (low - 0.01 <= truth) & (truth <= high + 0.01)
    assert told["coverage"]["value"] == pytest.approx(inside.mean(), abs=0.006)
    assert 0.84 < told["coverage"]["value"] < 0.96
    assert 0.89 < told["divisions"]["coverage"]["mean"] < 0.92
    assert told["median_width"]["value"] == pytest.approx(np.median(high - low), rel=1e-3)
    assert [each["level"] for each in told["by_level"]] == [0.5, 0.8, 0.9, 0.95]
    covered = [each["coverage"]["value"] for each in told["by_level"]]
    assert covered == sorted(covered)


def test_every_estimate_is_scored_beside_the_number_that_was_written(found):
    metrics, predictions = found
    told = metrics["estimates"]["price"]
    assert told["minimises"] == "mae"
    assert told["covered"] == pytest.approx(0.98)
    assert set(told["errors"]) == {"greedy", "mae", "mape", "rmsle", "smape", "within_20"}
    assert told["errors"]["greedy"] == metrics["fields"]["price"]
    errors = [abs(each["numbers"]["price"]["estimate"] - each["truth"]["price"]) for each in predictions]
    assert told["errors"]["mae"]["mae"]["value"] == pytest.approx(np.mean(errors))


def test_the_chosen_error_chooses_the_estimate(shop, found):
    metrics, predictions = evaluate(Unsure(), shop, "test", TEMPLATE, minimise="mape")
    assert metrics["estimates"]["price"]["minimises"] == "mape"
    chosen = [each["numbers"]["price"]["estimate"] for each in predictions]
    assert np.mean(chosen) < np.mean([each["numbers"]["price"]["estimate"] for each in found[1]])
    truth = np.array([each["truth"]["price"] for each in predictions])
    relative = np.abs(np.array(chosen) - truth) / truth
    assert metrics["estimates"]["price"]["errors"]["mape"]["median_ape"]["value"] == pytest.approx(np.median(relative))


def test_confidence_is_calibrated_and_parts_right_from_wrong(found):
    metrics, predictions = found
    told = metrics["confidence"]["title"]
    assert told["calibration_rows"] == 200
    assert told["ece"] < 0.1
    kept = [each["right"]["value"] for each in told["kept"]]
    assert kept[0] > kept[-1] + 0.2
    right = [each["answer"]["title"] == each["truth"]["title"] for each in predictions]
    assert kept[-1] == pytest.approx(np.mean(right))
    stated = np.array([each["confidence"]["title"] for each in predictions])
    assert stated[right].mean() > stated[~np.array(right)].mean() + 0.1


def test_on_the_validation_split_itself_nothing_is_calibrated_and_that_is_said(shop):
    metrics, predictions = evaluate(Unsure(), shop, "validation", TEMPLATE)
    assert "intervals" not in metrics
    assert "estimates" in metrics
    assert predictions[0]["numbers"]["price"]["low"] is None
    assert any("the evaluated split itself" in each for each in metrics["warnings"])


@pytest.mark.parametrize(("validation", "warned"), [(0, "no usable row"), (5, "5 validation rows are too few")])
def test_few_validation_rows_are_said_to_be_too_few(tmp_path, validation, warned):
    splits = ["validation"] * validation + ["test"] * 40 + ["train"] * (60 - validation)
    metrics, predictions = evaluate(Unsure(), write_shop(tmp_path / "shop", 100, splits=splits), "test", TEMPLATE)
    assert any(warned in each for each in metrics["warnings"])
    assert "coverage" not in metrics.get("intervals", {}).get("price", {})
    assert predictions[0]["numbers"]["price"]["low"] is None
    json.dumps(metrics, allow_nan=False)


def test_one_row_equal_and_zero_prices_and_silence(tmp_path):
    for number, prices in enumerate((["0"] * 40, ["70"] * 40, ["0", "5", "900000000"] * 14)):
        splits = ["test"] + ["validation"] * 15 + ["train"] * 24
        shop = write_shop(tmp_path / str(number), 40, prices[:40], splits=splits)
        metrics, predictions = evaluate(Unsure(), shop, "test", TEMPLATE)
        json.dumps([metrics, predictions], allow_nan=False)
        assert any("Only 1 row was evaluated" in each for each in metrics["warnings"])
        assert any("a price of 0" in each for each in metrics["warnings"]) == (prices[0] == "0")

    class Silent(Unsure):
        def reading(self, image):
            return Reading(None)

    shop = write_shop(tmp_path / "silent", 60)
    metrics, predictions = evaluate(Silent(), shop, "test", TEMPLATE)
    json.dumps([metrics, predictions], allow_nan=False)
    assert metrics["warnings"][0].startswith("No answer is readable")
    assert len(metrics["unreadable"]) == metrics["rows"] == 12
    assert not {"estimates", "intervals", "confidence"} & set(metrics)


def test_equal_prices_are_said_to_prove_little(tmp_path):
    metrics, _ = evaluate(ColourReader(), write_shop(tmp_path / "shop", 200, ["70"] * 200), "test", TEMPLATE)
    assert "Every true price is 70: a constant is right, and the errors say little." in metrics["warnings"]


def test_categories_that_training_never_showed_are_named(tmp_path):
    shop = write_shop(tmp_path / "shop", 200)
    for row in shop.rows:
        if row["split"] == "test" and row["kind"] == "HAT":
            row["kind"] = "KILT"
    metrics, _ = evaluate(ColourReader(), shop, "test", TEMPLATE)
    assert [each["category"] for each in metrics["unseen"]["kind"]] == ["KILT"]
    assert any("that training never showed (KILT)" in each for each in metrics["warnings"])
    by_category = {each["category"]: each for each in metrics["by_category"]["kind"]}
    assert by_category["KILT"]["fields"]["kind"]["accuracy"]["value"] == 0
    assert sum(each["rows"] for each in by_category.values()) == metrics["rows"]


def test_the_untrained_base_joins_the_baselines_or_it_is_said_why_not(shop):
    class Blank:
        def answers(self, images, progress=None):
            return ["a photo of a product"] * len(images)

    metrics, _ = evaluate(ColourReader(), shop, "test", TEMPLATE, untrained=Blank)
    assert metrics["baselines"]["untrained"]["fields"]["kind"]["accuracy"]["value"] == 0
    assert metrics["baselines"]["untrained"]["fields"]["price"] == metrics["baselines"]["constant"]["fields"]["price"]

    def missing():
        raise RunError("model.base 'gone' cannot be loaded: no such folder")

    metrics, _ = evaluate(ColourReader(), shop, "test", TEMPLATE, untrained=missing)
    assert "untrained" not in metrics["baselines"]
    assert metrics["warnings"][-1].endswith("'gone' cannot be loaded: no such folder.")


class Stopped(Exception):
    pass


class StopsAt(Unsure):
    def __init__(self, most):
        self.most = most

    def readings(self, images, progress=None, truths=None):
        if self.asked >= self.most:
            raise Stopped
        return super().readings(images)


@pytest.mark.parametrize("damage", ["", '["true", 64, ["cut in h', "no json at all\n"])
def test_what_was_interrupted_goes_on_and_ends_the_same(shop, found, tmp_path, damage):
    path = tmp_path / "run" / "asked.jsonl"
    with pytest.raises(Stopped), open_journal(path, {"model": 1}) as journal:
        evaluate(StopsAt(2 * AT_ONCE), shop, "test", TEMPLATE, journal=journal)
    with open(path, "a", encoding="utf-8") as file:
        file.write(damage)
    again = Unsure()
    with open_journal(path, {"model": 1}) as journal:
        assert evaluate(again, shop, "test", TEMPLATE, journal=journal) == found
    assert again.asked == 400 - 2 * AT_ONCE
    assert not path.exists()


def test_a_journal_about_something_else_is_begun_anew(shop, tmp_path):
    path = tmp_path / "asked.jsonl"
    with pytest.raises(Stopped), open_journal(path, {"model": 1}) as journal:
        evaluate(StopsAt(AT_ONCE), shop, "test", TEMPLATE, journal=journal)
    again = Unsure()
    with open_journal(path, {"model": 2}) as journal:
        evaluate(again, shop, "test", TEMPLATE, journal=journal)
    assert again.asked == 400


def _hold(path, held, done):
    with open_journal(path, {}):
        held.set()
        done.wait(30)


def test_two_processes_do_not_write_one_journal(tmp_path):
    context = multiprocessing.get_context("fork")
    held, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "asked.jsonl", held, done))
    other.start()
    assert held.wait(30)
    with pytest.raises(RunError, match="another hangtag is evaluating"), open_journal(tmp_path / "asked.jsonl", {}):
        os.abort()
    done.set()
    other.join()
    assert other.exitcode == 0


def test_an_evaluation_that_cannot_begin_leaves_nothing(shop, tmp_path):
    path = tmp_path / "evaluation" / "test" / "asked.jsonl"
    with pytest.raises(TableError), open_journal(path, {}) as journal:
        evaluate(Unsure(), shop, "test", Template("{Price}", {"Price": "number"}), journal=journal)
    assert not path.parent.exists()
