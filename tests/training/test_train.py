import json
import math

import pytest
import torch
from conftest import TINY

from hangtag.errors import HangtagError, OutputNotEmpty, RunError
from hangtag.files import Run, read_jsonl
from hangtag.progress import silent
from hangtag.recipe import load_recipe
from hangtag.training.checkpoints import checkpoints
from hangtag.training.environment import environment, precision
from hangtag.training.log import Log
from hangtag.training.train import train


def recipe(catalogue, *changes):
    return load_recipe("demo", [f"data.path={catalogue}", *TINY, *changes])


def test_a_run_holds_what_others_rely_on(small_run):
    run = Run(small_run)
    assert json.loads(run.environment.read_text())["packages"]["torch"] in torch.__version__
    assert load_recipe(run.recipe).model.base == "nano"
    log = read_jsonl(run.log)
    assert {"step", "epoch", "loss", "learning_rate", "seconds"} <= set(log[0])
    assert [record["step"] for record in log] == sorted(record["step"] for record in log)
    evaluated = [record["step"] for record in log if "validation_loss" in record]
    assert evaluated == sorted(set(evaluated)), "a step was evaluated twice"
    found = checkpoints(run)
    assert len(found) == load_recipe(run.recipe).train.keep_checkpoints
    assert not list(run.checkpoints.glob(".*"))
    assert {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json"} <= {
        each.name for each in run.model.iterdir()
    }


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(small_catalogue, tmp_path):
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        made = train(recipe(small_catalogue, "train.epochs=1", f"train.seed={seed}"), tmp_path / name)
        weights.append((made.model / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_only_a_run_of_the_same_recipe_is_taken_up(small_catalogue, small_run, tmp_path):
    with pytest.raises(RunError, match="train.learning_rate was"):
        train(recipe(small_catalogue, "train.epochs=25", "train.learning_rate=1.0"), small_run)
    (tmp_path / "recipe.toml").write_text("nonsense = 3")
    with pytest.raises(OutputNotEmpty, match="no readable recipe"):
        train(recipe(small_catalogue), tmp_path)


def test_a_tracker_that_is_not_installed_is_said_before_anything_starts(small_catalogue, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(HangtagError, match="pip install wandb"):
        train(recipe(small_catalogue, "track.wandb=offline"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_base_that_is_not_there_is_one_clear_error(small_catalogue, tmp_path):
    with pytest.raises(HangtagError, match="cannot be loaded"):
        train(recipe(small_catalogue, f"model.base={tmp_path}/none"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_log_goes_on_from_a_checkpoints_records(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    for step in (10, 20, 30):
        log.add(step=step, loss=1.0)
    resumed = Log(tmp_path / "log.jsonl", log.records[:2])
    resumed.add(step=30, loss=0.5)
    assert [(each["step"], each["loss"]) for each in read_jsonl(tmp_path / "log.jsonl")] == [
        (10, 1.0),
        (20, 1.0),
        (30, 0.5),
    ]


def test_precision_and_environment_are_told():
    assert precision("float32") is torch.float32
    assert precision("bfloat16") is torch.bfloat16
    assert precision("auto") in (torch.float32, torch.bfloat16)
    assert environment()["packages"]["torch"]
    with silent("x") as progress:
        progress(1, 2)
    assert math.isfinite(environment()["cores"])


def test_out_of_memory_in_a_pass_says_what_to_lower(small_catalogue, tmp_path, monkeypatch):
    """A real failure of the CPU's allocator, in the middle of a pass."""
    from hangtag.training import trainer

    def starved(*_):
        torch.empty(2**50, dtype=torch.uint8)

    monkeypatch.setattr(trainer, "answer_loss", starved)
    with pytest.raises(RunError, match=r"out of memory in a pass of \d+ tokens.*train\.token_budget=\d+ \(about -"):
        train(recipe(small_catalogue, "train.workers=0"), tmp_path / "run")
    assert not (tmp_path / "run/model").exists()
