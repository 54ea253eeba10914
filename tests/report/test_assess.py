"""`hangtag evaluate` on a real run: killed and run again, its bytes, and the base before it was trained."""

import json
import shutil

import pytest
from conftest import TINY
from forked import Command, forkable

from hangtag.recipe import load_recipe
from hangtag.report.assess import assess
from hangtag.training.train import train

FILES = ("metrics.json", "predictions.jsonl")


def content(run):
    return [(run / "evaluation/test" / name).read_bytes() for name in FILES]


def evaluated(run, tmp_path, code=0, split="test", **moment):
    said = tmp_path / "said"
    assert Command(forkable(), said, "evaluate", run, "--split", split, **moment).wait() == code, said.read_text()
    return said.read_text()


def test_killed_anywhere_and_run_again_it_writes_the_bytes_of_an_unbroken_one(small_run, tmp_path):
    whole, broken = (shutil.copytree(small_run, tmp_path / name) for name in ("whole", "broken"))
    evaluated(whole, tmp_path)
    expected = content(whole)
    evaluated(whole, tmp_path)
    assert content(whole) == expected, "the same run and rows gave other bytes"
    journal = broken / "evaluation/test/asked.jsonl"
    for nth in (1, 3, 4):  # before the head is written, and twice in the middle
        evaluated(broken, tmp_path, -9, dies_at="hangtag.journal:Lines.append", nth=nth)
        assert journal.exists()
        assert not (broken / "evaluation/test/metrics.json").exists()
    known = journal.read_text().count("\n") - 1
    assert known == 1 + 3, "what had been asked was asked again"
    evaluated(broken, tmp_path, -9, dies_at="hangtag.report.assess:write_evaluation")
    evaluated(broken, tmp_path)
    assert content(broken) == expected
    assert not journal.exists()


def test_a_changed_model_is_asked_anew(small_run, tmp_path):
    run = shutil.copytree(small_run, tmp_path / "run")
    evaluated(run, tmp_path, -9, dies_at="hangtag.journal:Lines.append", nth=5)
    weights = run / "model/model.safetensors"
    weights.write_bytes(weights.read_bytes())  # the same bytes, written again
    evaluated(run, tmp_path, -9, dies_at="hangtag.journal:Lines.append", nth=2)
    assert (run / "evaluation/test/asked.jsonl").read_text().count("\n") == 1


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_untrained_baseline_is_what_the_base_itself_writes(small_catalogue, small_run, tmp_path, method):
    base = shutil.copytree(small_run, tmp_path / "base")
    changes = [f"data.path={small_catalogue}", f"model.base={base / 'model'}", f"train.method={method}",
               "train.learning_rate=2e-2" if method == "lora" else "train.learning_rate=1e-3"]  # fmt: skip
    run = train(
        load_recipe("demo", [*TINY[-1:], "train.optimizer=adamw", "train.epochs=2", *changes]), tmp_path / "run"
    )
    assess(base, small_catalogue, "test")
    assess(run.path, small_catalogue, "test")
    of_base, of_run = (
        json.loads((path / "evaluation/test/metrics.json").read_text()) for path in (base, tmp_path / "run")
    )
    assert of_run["baselines"]["untrained"]["fields"] == of_base["fields"]
    assert of_run["fields"] != of_base["fields"], "training changed nothing"
    if method == "full":
        shutil.rmtree(base)
        assess(run.path, small_catalogue, "test")
        metrics = json.loads((run.path / "evaluation/test/metrics.json").read_text())
        assert "untrained" not in metrics["baselines"]
        assert any("The untrained base is not among the baselines: model.base" in each for each in metrics["warnings"])


def test_an_unknown_split_is_named_before_anything_is_loaded(small_run, tmp_path):
    run = shutil.copytree(small_run, tmp_path / "run")
    said = evaluated(run, tmp_path, 2, split="tets")
    assert "no split 'tets'; did you mean 'test'?" in said
    assert not (run / "evaluation/tets").exists()
