"""Whole small runs by each method, from the base to the tags that are written."""

import csv
import shutil

import pytest
import torch
from conftest import TINY
from safetensors.torch import load_file
from torch._dynamo.utils import counters

import hangtag
from hangtag.catalogue import open_catalogue
from hangtag.errors import DataError, UsageError
from hangtag.files import Run, read_jsonl
from hangtag.recipe import Train, load_recipe
from hangtag.report.assess import assess
from hangtag.training.data import make_examples, read_rows
from hangtag.training.models import load_base
from hangtag.training.optimizers import make_optimizer
from hangtag.training.parts import part_of
from hangtag.training.train import train

PLAIN = ["train.flip=false", "train.shift=0", "train.zoom=0", "train.light=0", "train.optimizer=adamw"]


def recipe(catalogue, *changes):
    settings = [
        f"data.path={catalogue}",
        *TINY,
        *PLAIN,
        "train.epochs=2",
        "train.workers=0",
        "train.learning_rate=1e-3",
    ]
    return load_recipe("demo", [*settings, *changes])


def losses(run):
    return [each["loss"] for each in read_jsonl(run.log) if "loss" in each]


@pytest.mark.parametrize("method", [["train.method=lora"], ["train.method=qlora", "train.optimizer=adamw_8bit"]])
def test_adapters_are_trained_saved_and_used_on_their_base(small_catalogue, small_run, tmp_path, method):
    told = []
    changes = [f"model.base={small_run / 'model'}", "train.epochs=5", "train.learning_rate=5e-3", *method]
    settings = recipe(small_catalogue, *changes)
    run = train(settings, tmp_path / "run", say=told.append)
    assert any(line.startswith("clip: frozen") for line in told)
    assert any("decoder: 16 tensors" in line for line in told)
    assert any("projector: 4 tensors" in line for line in told)
    assert run.has_adapter()
    assert not (run.model / "model.safetensors").exists()
    adapter = load_file(run.model / "adapter_model.safetensors")
    assert all("lora_" in name for name in adapter)
    assert any(each.any() for name, each in adapter.items() if "lora_B" in name)
    epoch = len(losses(run)) // 5
    assert sum(losses(run)[-epoch:]) < sum(losses(run)[:epoch])
    tagger = hangtag.load(run.path)
    pictures = sorted((small_catalogue / "images").iterdir())[:3]
    assert len(tagger.tags(pictures)) == 3
    quantised = any(getattr(each, "quant_state", None) is not None for each in tagger.model.parameters())
    assert quantised == ("qlora" in method[0])


def test_checkpointed_and_eight_bit_training_is_plain_training_but_for_rounding(small_catalogue, tmp_path):
    plain = train(recipe(small_catalogue), tmp_path / "plain")
    saved = train(recipe(small_catalogue, "train.checkpointing=true"), tmp_path / "saved")
    small = train(recipe(small_catalogue, "train.optimizer=adamw_8bit"), tmp_path / "small")
    assert losses(saved) == pytest.approx(losses(plain), rel=1e-5)
    assert losses(small) == pytest.approx(losses(plain), rel=0.02)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, g++")
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning", "ignore::DeprecationWarning")
def test_compiled_layers_learn_the_same_from_passes_of_any_length(small_catalogue, small_run, tmp_path):
    """A few graphs serve all layers and passes, whole layers' and checkpointed ones'; validation compiles none."""
    base = [f"model.base={small_run / 'model'}", "train.method=lora", "train.lora.dropout=0", "train.precision=float32"]
    plain = train(recipe(small_catalogue, *base), tmp_path / "plain")
    for changes, most in ((["train.compile=true"], 6), (["train.compile=true", "train.checkpointing=true"], 9)):
        torch._dynamo.reset()
        counters.clear()
        run = train(recipe(small_catalogue, *base, *changes), tmp_path / f"run-{most}")
        assert losses(run) == pytest.approx(losses(plain), rel=1e-4)
        assert 0 < counters["stats"]["unique_graphs"] <= most
        assert len(losses(run)) > 2
        names = [set(load_file(each.model / "adapter_model.safetensors")) for each in (plain, run)]
        assert names[0] == names[1]


def test_compiling_without_a_compiler_is_refused_before_anything_starts(small_catalogue, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UsageError, match=r"train\.compile = true needs a C\+\+ compiler"):
        train(recipe(small_catalogue, "train.compile=true"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("frozen", ["clip", "projector", "decoder"])
def test_a_frozen_part_keeps_its_bits_and_the_others_learn(small_catalogue, small_run, tmp_path, frozen):
    changes = [f"model.base={small_run / 'model'}", f"train.rates.{frozen}=0", "train.epochs=1"]
    run = train(recipe(small_catalogue, *changes), tmp_path / "run")
    before, after = (load_file(each / "model.safetensors") for each in (small_run / "model", run.model))
    changed = {part_of(name) for name, each in before.items() if not torch.equal(each, after[name])}
    assert changed == {"clip", "projector", "decoder"} - {frozen}


@pytest.mark.parametrize("optimizer", ["adamw", "adamw_8bit", "muon"])
def test_each_part_has_its_rate(model, optimizer):
    rates = {"clip": 1e-3, "projector": 2e-3, "decoder": 3e-3}
    groups = make_optimizer(model, Train(optimizer=optimizer, rates=rates)).param_groups
    rate_of = {id(each): group["lr"] for group in groups for each in group["params"]}
    assert {part_of(name): rate_of[id(each)] for name, each in model.named_parameters()} == rates
    assert len(rate_of) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("schedule", "ends"), [("cosine", [0.0, 1.0, 0.0]), ("linear", [0.0, 1.0, 0.0]), ("constant", [0.0, 1.0, 1.0])]
)
def test_the_rate_rises_and_falls_as_the_schedule_says(small_catalogue, tmp_path, schedule, ends):
    changes = [f"train.schedule={schedule}", "train.warmup=0.3", "train.epochs=3", "train.validation_answers=0"]
    run = train(recipe(small_catalogue, *changes), tmp_path / "run")
    rates = [each["learning_rate"] / 1e-3 for each in read_jsonl(run.log) if "loss" in each]
    assert [rates[0], max(rates), rates[-1]] == pytest.approx(ends, abs=0.12)
    assert rates[:6] == sorted(rates[:6])


def test_the_best_model_by_its_answers_is_the_one_kept(small_catalogue, tmp_path):
    changes = ['train.best="answers"', "train.keep_checkpoints=1", "train.epochs=6", "train.learning_rate=4e-3"]
    run = train(recipe(small_catalogue, *changes), tmp_path / "run")
    scores = {each["step"]: each["answer_score"] for each in read_jsonl(run.log) if "answer_score" in each}
    best = max(scores, key=lambda step: (scores[step], -step))
    assert len(scores) == 2
    kept = load_file(run.checkpoints / f"step-{best}" / "model.safetensors")
    assert all(torch.equal(each, kept[name]) for name, each in load_file(run.model / "model.safetensors").items())


def test_a_row_too_long_is_an_error_with_its_number_or_dropped_and_listed(small_catalogue, tmp_path):
    asked = 'task.prompt="What is it that is shown in this image of a product in a shop, and for what price?"'
    plain = recipe(small_catalogue, asked)
    rows = read_rows(plain)
    processor, _ = load_base(plain, rows.train)
    lengths = [length for each in make_examples(plain, rows, processor, 4096)[:2] for length in each.lengths()]
    budget = sorted(lengths)[len(lengths) * 3 // 4]
    over = sum(length > budget for length in lengths)
    assert over
    tight = [asked, f"train.token_budget={budget}"]
    expected = rf"{over} rows are longer than {budget} tokens; the longest, row \d+ of .*has {max(lengths)}: .*overlong"
    with pytest.raises(DataError, match=expected):
        train(recipe(small_catalogue, *tight), tmp_path / "error")
    assert not (tmp_path / "error").exists()
    run = train(recipe(small_catalogue, *tight, "train.overlong=drop"), tmp_path / "dropped")
    with open(run.rejected, newline="") as file:
        rejected = list(csv.DictReader(file))
    assert [each["reason"] for each in rejected] == ["too-long"] * over
    table = open_catalogue(small_catalogue).rows
    assert all(table[int(each["row"]) - 1]["file_name"] == each["url"] for each in rejected)
    seen = sum(each["tokens"] for each in read_jsonl(run.log) if "tokens" in each)
    train_lengths = make_examples(plain, rows, processor, 4096)[0].lengths()
    assert seen == 2 * sum(length for length in train_lengths if length <= budget)


def test_rows_of_two_pictures_and_of_none_are_trained_on_and_evaluated(small_catalogue, tmp_path):
    folder = tmp_path / "catalogue"
    shutil.copytree(small_catalogue, folder)
    with open(folder / "metadata.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for index, row in enumerate(rows):
        row["front"] = row["file_name"] if index % 3 else ""
        row["back"] = rows[index - 1]["file_name"] if index % 2 and index % 3 else ""
    with open(folder / "metadata.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    run = train(recipe(folder, 'data.pictures=["front", "back"]'), tmp_path / "run")
    assess(run.path, None, "test")
    predictions = read_jsonl(Run(run.path).evaluation("test") / "predictions.jsonl")
    assert len(predictions) == sum(row["split"] == "test" for row in rows)
