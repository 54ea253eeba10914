"""Runs compared on the same rows: differences by hand, and what is said where runs do not fit together."""

import json
from pathlib import Path

import numpy as np
import pytest

from hangtag.errors import DataError, RunError
from hangtag.evaluation.bootstrap import difference, percentiles, replicates
from hangtag.evaluation.comparison import Evaluated, align, compare, comparison_json
from hangtag.evaluation.metrics import METRICS, field_rows, macro_f1, mean, score_field
from hangtag.evaluation.written import read_evaluation
from hangtag.files import Run, write_json, write_jsonl

FIELDS = {"title": "text", "kind": "category", "price": "number"}
NOTHING = {"value": 0, "low": 0, "high": 0}


def evaluated(name, rows=60, seed=0, noise=0.1, wrong=0.2, silent=0, estimates=False, fields=FIELDS):
    generator = np.random.default_rng(seed)
    predictions = []
    for place in range(rows):
        kind = ["COAT", "HAT", "BAG"][place % 3]
        truth = {"title": f"Plain {kind.lower()} {place}", "kind": kind, "price": 100.0 + place}
        truth = {field: truth[field] for field in fields}
        answer = dict(truth)
        if "price" in truth:
            answer["price"] = round(truth["price"] * generator.lognormal(0, noise), 2)
        if "kind" in truth and generator.random() < wrong:
            answer["kind"] = "HAT"
        if place < silent:
            answer = None
        row = {"file_name": f"images/{place:03}.jpg", "truth": truth, "raw": "x", "answer": answer}
        row["readable"] = answer is not None
        if estimates:
            row["numbers"] = {"price": {"estimate": truth["price"] * 1.01, "low": 1.0, "high": 999.0}}
            row["numbers"] = row["numbers"] if answer else None
        predictions.append(row)
    scores = {
        field: {metric.name: NOTHING for metric in METRICS.values() if metric.kind == kind}
        for field, kind in fields.items()
    }
    metrics = {"split": "test", "rows": rows, "answers": {"readable": NOTHING}, "fields": scores}
    metrics["constant"] = {"price": 120.0}
    return Evaluated(name, Path("runs") / name, metrics, predictions)


def test_scores_and_differences_are_those_of_the_rows():
    runs = align([evaluated("a"), evaluated("b", seed=1, noise=0.3, silent=5), evaluated("c", seed=2)])
    compared = compare(runs, seed=4)
    assert [each.metric.name for each in compared if each.field == "kind"] == ["accuracy", "macro_f1"]
    assert len(compared) == 1 + len(METRICS)
    columns = []
    for run in runs:
        answers = [row["answer"] for row in run.predictions]
        columns.append(
            {
                name: field_rows(
                    kind,
                    [row["truth"][name] for row in run.predictions],
                    [None if each is None else each[name] for each in answers],
                    120.0,
                )
                for name, kind in FIELDS.items()
            }
        )
    for each in compared[1:]:
        whole = [score_field(each.metric.kind, of[each.field], seed=4)[each.metric.name] for of in columns]
        assert each.scores == whole
        assert each.differences[0] is None
        for place in (1, 2):
            assert each.differences[place]["value"] == pytest.approx(whole[place]["value"] - whole[0]["value"])
            paired = [each.metric.replicates(of[each.field], seed=4) for of in (columns[place], columns[0])]
            low, high = percentiles(paired[0] - paired[1])
            if each.differences[place]["value"]:
                assert (each.differences[place]["low"], each.differences[place]["high"]) == (low, high)
    readable = compared[0]
    assert [found["value"] for found in readable.scores] == [1, 55 / 60, 1]
    error = next(each for each in compared if each.metric.name == "mae")
    assert [error.verdict(place, 60) for place in (1, 2)] == ["worse", ""]
    assert [readable.verdict(place, 60) for place in (0, 1, 2)] == ["", "worse", ""]
    assert [error.verdict(place, 9) for place in (1, 2)] == ["", ""]
    json.dumps(comparison_json("test", runs, compared), allow_nan=False)


def test_turning_the_runs_round_turns_the_differences_round():
    one, other = evaluated("a"), evaluated("b", seed=3, noise=0.4)
    for there, back in zip(compare([one, other]), compare([other, one]), strict=True):
        assert there.differences[1]["value"] == -back.differences[1]["value"]
        assert there.differences[1]["low"] == pytest.approx(-back.differences[1]["high"])


def test_a_share_without_any_difference_keeps_a_doubt():
    right = np.arange(50) > 10
    bound = 1 - 0.025 ** (1 / 50)
    found = difference(mean, [right], [right], seed=0)
    assert found == {"value": 0, "low": pytest.approx(-bound), "high": pytest.approx(bound)}
    found = difference(mean, [np.ones(50, bool)], [np.zeros(50, bool)], seed=0)
    assert found == {"value": 1, "low": pytest.approx(1 - bound), "high": 1}
    numbers = np.linspace(0, 1, 50)
    assert difference(mean, [numbers], [numbers], seed=0) == {"value": 0, "low": 0, "high": 0}


def test_a_difference_is_paired():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 4, 200)
    first = np.where(generator.random(200) < 0.8, truth, 0)
    second = np.where(generator.random(200) < 0.1, truth, first)
    found = difference(macro_f1, [truth, second], [truth, first], seed=2)
    pairs = [replicates(macro_f1, truth, each, seed=2) for each in (second, first)]
    assert (found["low"], found["high"]) == percentiles(pairs[0] - pairs[1])
    alone = percentiles(pairs[0])
    assert found["high"] - found["low"] < alone[1] - alone[0]


def test_estimates_are_compared_where_the_first_and_another_have_them():
    with_them, without = evaluated("a", estimates=True, silent=2), evaluated("b")
    assert {each.part for each in compare([with_them, without])} == {"answers", "fields"}
    assert {each.part for each in compare([without, with_them])} == {"answers", "fields"}
    runs = [with_them, evaluated("c", seed=1, estimates=True), without]
    compared = [each for each in compare(runs) if each.part == "estimates"]
    assert [each.metric.kind for each in compared] == ["number"] * 6
    error = next(each for each in compared if each.metric.name == "median_ape")
    assert error.scores[1]["value"] == pytest.approx(0.01)
    assert error.scores[2] is error.differences[2] is None
    near = next(each for each in compared if each.metric.name == "within_10")
    assert near.scores[0]["value"] == pytest.approx(58 / 60)
    found = comparison_json("test", runs, compare(runs))
    assert "estimates" not in found["scores"]["b"]
    assert found["differences"]["c"]["estimates"]["price"]["mae"]["excludes_zero"] in (True, False)


def test_rows_are_aligned_whatever_their_order():
    first, other = evaluated("a"), evaluated("b", seed=1)
    other.predictions[3]["file_name"] = first.predictions[3]["file_name"] = first.predictions[4]["file_name"]
    before = compare([first, other])
    turned = Evaluated("b", other.folder, other.metrics, other.predictions[::-1])
    assert align([first, turned])[1].predictions == other.predictions
    assert compare(align([first, turned])) == before


def changed(run, change):
    rows = json.loads(json.dumps(run.predictions))
    change(rows)
    return Evaluated("b", run.folder, run.metrics, rows)


def refused(first, other):
    with pytest.raises(DataError) as caught:
        align([first, other])
    return str(caught.value)


def test_runs_of_other_rows_truths_or_fields_are_refused():
    first = evaluated("a")
    said = refused(first, changed(first, lambda rows: rows.__delitem__(slice(0, 5))))
    assert "5 of a's 60 rows are not in b (images/000.jpg, images/001.jpg, images/002.jpg and 2 more); " in said
    assert "`hangtag evaluate runs/a --data DATA --split test` and `hangtag" in said
    said = refused(first, changed(first, lambda rows: rows[0].update(file_name="new.jpg")))
    assert "1 of a's 60 rows are not in b (images/000.jpg)" in said
    assert "1 of b's 60 rows are not in a (new.jpg)" in said
    said = refused(first, changed(first, lambda rows: rows[7]["truth"].update(price=9.5, kind="SHOE")))
    assert "1 of 60 rows have another truth in a than in b" in said
    assert "images/007.jpg: kind HAT and SHOE, price 107 and 9.5" in said
    said = refused(first, evaluated("b", fields={"title": "text"}))
    assert "a writes title (text), kind (category), price (number); b writes title (text); compare runs of one" in said


def test_without_the_constant_an_unreadable_number_cannot_be_scored():
    run = evaluated("a", silent=1)
    run.metrics.pop("constant")
    with pytest.raises(DataError, match=r"unreadable answers.*price.*run `hangtag evaluate runs/a --split test` again"):
        compare([run, evaluated("b")])
    assert compare([evaluated("a", silent=60), evaluated("b")])
    assert compare([evaluated("a", rows=1), evaluated("b", rows=1)])


def test_a_damaged_evaluation_is_one_clear_line(tmp_path):
    run = evaluated("a", rows=4)
    folder = tmp_path / "evaluation/test"

    def said(error=DataError):
        with pytest.raises(error) as caught:
            read_evaluation(Run(tmp_path), "test")
        assert "\n" not in str(caught.value)
        assert f"run `hangtag evaluate {tmp_path} --split test`" in str(caught.value)
        return str(caught.value)

    assert "has no evaluation of split 'test'" in said(RunError)
    write_json(folder / "metrics.json", run.metrics)
    assert "predictions.jsonl cannot be read: No such file" in said()
    write_jsonl(folder / "predictions.jsonl", run.predictions)
    assert read_evaluation(Run(tmp_path), "test") == (run.metrics, run.predictions)
    text = (folder / "predictions.jsonl").read_text()
    (folder / "predictions.jsonl").write_text(text[: len(text) // 2 - 10])
    assert "line 2 is not JSON" in said()
    (folder / "predictions.jsonl").write_text("".join(text.splitlines(keepends=True)[:3]))
    assert "metrics.json is about 4 rows, predictions.jsonl holds 3" in said()
    (folder / "predictions.jsonl").write_text('{"a": 1}\n' * 4)
    assert "row 1 is no prediction" in said()
    (folder / "metrics.json").write_text("[]")
    assert "is no evaluation's" in said()
    (folder / "metrics.json").write_text('{"rows": 4')
    assert "cannot be read as JSON" in said()
