import json
import math

import pytest
import torch
from conftest import TINY, tiny_model, tiny_processor
from PIL import Image
from torch.nn import functional

from hangtag.answer import Template
from hangtag.errors import HangtagError, OutputNotEmpty, RunError
from hangtag.examples.examples import Collator, Examples, UsableRow
from hangtag.files import Run, read_jsonl
from hangtag.progress import silent
from hangtag.recipe import load_recipe
from hangtag.training.environment import environment, precision
from hangtag.training.log import Log
from hangtag.training.sft import answer_loss, checkpoints
from hangtag.training.train import train

TAG = Template("Tag: {title}, {price}", {"title": "text", "price": "number"})


@pytest.fixture
def model_and_batch(tmp_path):
    rows = []
    for index, title in enumerate(["Red Bag", "Long Blue Coat"]):
        Image.new("RGB", (56, 56), (200 * index, 90, 40)).save(tmp_path / f"{index}.png")
        rows.append(UsableRow({"title": title, "price": 10.0 + index}, tmp_path / f"{index}.png"))
    processor = tiny_processor()
    examples = Examples(rows, processor, TAG, "What is it?")
    batch = Collator(processor.image_processor, processor.tokenizer.pad_token_id)(list(examples))
    model = tiny_model(processor)
    for parameter in model.parameters():  # some begin at zero, where no gradient would get past them
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return model, batch


def test_the_loss_equals_the_slow_one_over_full_logits_and_so_do_the_gradients(model_and_batch):
    model, batch = model_and_batch
    loss, count = answer_loss(model, batch)
    loss.backward()
    gradients = {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}
    model.zero_grad()
    logits = model(**{name: each for name, each in batch.items() if name != "labels"}).logits
    slow = functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), reduction="sum")
    slow.backward()
    assert count == (batch["labels"] != -100).sum()
    assert loss.item() == pytest.approx(slow.item(), rel=1e-5)
    for name, each in model.named_parameters():
        if each.grad is not None:
            assert torch.allclose(gradients[name], each.grad, atol=1e-5), name


def test_the_picture_gets_a_gradient_and_changes_the_loss(model_and_batch):
    model, batch = model_and_batch
    loss, _ = answer_loss(model, batch)
    loss.backward()
    clip = model.model.vision_embed_tokens.img_processor.vision_model
    assert clip.embeddings.patch_embedding.weight.grad.abs().sum() > 0
    inverted, _ = answer_loss(model, batch | {"pixel_values": -batch["pixel_values"]})
    assert abs(inverted.item() - loss.item()) > 1e-6


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


class Stop(Exception):
    pass


def test_a_run_interrupted_after_a_checkpoint_ends_as_an_unbroken_one(small_catalogue, tmp_path, monkeypatch):
    wanted = recipe(small_catalogue, "train.epochs=4", "train.checkpoint_epochs=2")
    whole = train(wanted, tmp_path / "whole")

    from contextlib import contextmanager

    @contextmanager
    def interrupting(title):
        def progress(done, total, note=""):
            if title == "training" and done > total // 2 + 2:
                raise Stop

        yield progress

    with pytest.raises(Stop):
        train(wanted, tmp_path / "broken", interrupting)
    broken = Run(tmp_path / "broken")
    assert checkpoints(broken)
    assert not broken.model.exists()
    train(wanted, broken.path)
    assert (broken.model / "model.safetensors").read_bytes() == (whole.model / "model.safetensors").read_bytes()
    losses = [
        [{k: v for k, v in record.items() if k != "seconds"} for record in read_jsonl(run.log)]
        for run in (whole, broken)
    ]
    assert losses[0] == losses[1]


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


def test_the_log_forgets_what_comes_after_the_checkpoint(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    for step in (10, 20, 30):
        log.add(step=step, loss=1.0)
    resumed = Log(tmp_path / "log.jsonl", 20)
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
