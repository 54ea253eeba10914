"""What stops a run: each is provoked, named in one line with the way out, and leaves nothing half-done."""

import csv
import json
import os
import re
import shutil
import signal
import time
from contextlib import contextmanager

import pytest
import torch
from conftest import TINY, tiny_model, tiny_processor
from safetensors.torch import load_file, save_file
from transformers import LlavaConfig, LlavaForConditionalGeneration

from hangtag.errors import DataError, HangtagError, ModelError, RunError, TableError
from hangtag.examples.examples import Examples
from hangtag.examples.loading import packed
from hangtag.files import Run
from hangtag.phi3v import adapters_phi3_v
from hangtag.recipe import load_recipe
from hangtag.training.checkpoints import checkpoints, damage
from hangtag.training.train import train as train_here

PROJECTOR = "model.vision_embed_tokens.img_projection.2"
QUICK = ["train.epochs=1.5", "train.validation_answers=0", "train.checkpoint_epochs=0.5", "train.warmup=0"]


@pytest.fixture(autouse=True)
def one_thread():
    """Models this small are fastest so, whatever else the machine does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A tiny model's folder, every weight of it at work."""
    folder = tmp_path_factory.mktemp("base") / "model"
    processor = tiny_processor(num_crops=4)
    model = tiny_model(processor)
    torch.manual_seed(1)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def altered(base, tmp_path):
    """The base with its tensors changed by a function of name and tensor, which may rename them."""

    def make(change):
        folder = shutil.copytree(base, tmp_path / "altered")
        tensors = load_file(folder / "model.safetensors")
        changed = dict(change(name, tensor) for name, tensor in tensors.items())
        save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return make


def recipe(catalogue, *changes):
    return load_recipe("demo", [f"data.path={catalogue}", *TINY, *QUICK, "train.optimizer=adamw", *changes])


def refused(catalogue, out, *changes, kept=(), error=HangtagError):
    """The one line that a run ends with; no model is left, and just the checkpoints named, whole."""
    with pytest.raises(error) as raised:
        train_here(recipe(catalogue, *changes), out)
    run = Run(out)
    assert not run.model.exists()
    assert [each.name for each in checkpoints(run)] == list(kept)
    assert [damage(each) for each in checkpoints(run)] == [None] * len(kept)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@contextmanager
def stages(do, at):
    """Calls `do` once so many steps of training are done."""
    done = []

    @contextmanager
    def watched(title):
        def progress(now, total, note=""):
            if title == "training" and now >= at and not done:
                done.append(now)
                do()

        yield progress

    yield watched


# -- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_base_with_broken_weights(value, small_catalogue, altered, tmp_path):
    folder = altered(lambda name, each: (name, each.fill_(value) if name == "lm_head.weight" else each))
    said = refused(small_catalogue, tmp_path / "run", f"model.base={folder}", error=RunError)
    assert re.match("the (loss|gradient's norm) is nan at the first step: model.base's weights are damaged", said)


def test_a_rate_that_is_too_high(small_catalogue, base, tmp_path):
    """The gradient's norm overflows before the loss does; a step of it would already spoil the weights."""
    changes = [
        "train.learning_rate=0.99",
        "train.weight_decay=20",
        "train.clip_norm=1e30",
        "train.epochs=9",
        "train.schedule=constant",
    ]
    out = tmp_path / "run"
    with pytest.raises(RunError) as raised:
        train_here(recipe(small_catalogue, f"model.base={base}", *changes), out)
    said = re.match(
        r"the (loss|gradient's norm) is (nan|inf) at step (\d+); lower train.learning_rate", str(raised.value)
    )
    assert said, raised.value
    left = checkpoints(Run(out))
    assert left
    for each in left:
        assert damage(each) is None
        assert all(tensor.isfinite().all() for tensor in load_file(each / "model.safetensors").values())
    assert not Run(out).model.exists()


def test_a_loss_of_nothing(small_catalogue, base, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "hangtag.training.trainer.answer_loss", lambda model, inputs, smoothing=0.0: nothing(model, inputs)
    )
    said = refused(small_catalogue, tmp_path / "run", f"model.base={base}", error=RunError)
    assert said.startswith("the loss is exactly 0 at step 1: there is nothing to learn")


def nothing(model, inputs):
    """A loss that is zero, whatever the answer."""
    total = sum(parameter.sum() for parameter in model.parameters() if parameter.requires_grad)
    return total - total.detach(), int((inputs["labels"] != -100).sum())


def test_answers_that_are_no_labels(small_catalogue, tmp_path, monkeypatch):
    def forgetful(examples):
        inputs = packed(examples)
        inputs["labels"][0, -1] = -100
        return inputs

    monkeypatch.setattr("hangtag.examples.loading.packed", forgetful)
    said = refused(small_catalogue, tmp_path / "run", "train.workers=0", error=RunError)
    assert re.match(r"a step learned \d+ answer tokens, but its rows hold \d+", said)


# -- gradients ------------------------------------------------------------------------------------------------------


def test_a_base_of_zeros(small_catalogue, altered, tmp_path):
    folder = altered(lambda name, each: (name, each.zero_()))
    said = refused(small_catalogue, tmp_path / "run", f"model.base={folder}", "train.checkpoint_epochs=1")
    assert said.startswith("clip and decoder and projector should learn, but every gradient of it was zero in 4 steps")


def test_a_part_behind_a_wall_gets_no_gradient_and_a_new_start_does_not_forgive_it(small_catalogue, altered, tmp_path):
    wall = altered(lambda name, each: (name, each.zero_() if name.startswith(PROJECTOR) else each))
    changes = [f"model.base={wall}", "train.rates.projector=0", "train.checkpoint_epochs=0.5"]
    for _ in range(2):
        said = refused(small_catalogue, tmp_path / "run", *changes, kept=["step-3"], error=RunError)
        assert said.startswith("clip should learn, but every gradient of it was zero in 4 steps")


def test_a_tensor_that_is_never_reached(small_catalogue, tmp_path, monkeypatch):
    """CLIP's last layer is never computed; here it is not frozen either."""
    monkeypatch.setattr("hangtag.training.models.freeze", lambda model, config, rates: None)
    said = refused(small_catalogue, tmp_path / "run", error=RunError)
    assert re.match(r"\d+ of \d+ trained tensors got no gradient: .*post_layernorm|.*encoder.layers.1", said)


def test_rows_without_pictures_cannot_teach_the_projector(small_catalogue, tmp_path):
    copy = catalogue(small_catalogue, tmp_path, lambda row: row | {"second": ""}, ["second"])
    said = refused(copy, tmp_path / "run", 'data.pictures=["second"]', error=RunError)
    assert said.startswith("no training row has a picture, so clip and projector cannot learn")


# -- adapters and bases ---------------------------------------------------------------------------------------------


def test_adapters_that_match_no_layer_of_the_decoder(small_catalogue, base, tmp_path, monkeypatch):
    """Names as target lists for other models have them, which Phi-3's fused layers do not."""
    monkeypatch.setitem(adapters_phi3_v.PARTS, "decoder", ("self_attn.q_proj", "self_attn.v_proj"))
    said = refused(small_catalogue, tmp_path / "run", f"model.base={base}", "train.method=lora", error=ModelError)
    assert "decoder: 8 of 8 layers carry no adapter" in said


def test_a_base_whose_layers_have_other_names(small_catalogue, altered, tmp_path):
    folder = altered(lambda name, each: (name.replace(".qkv_proj.", ".query_key_value."), each))
    said = refused(small_catalogue, tmp_path / "run", f"model.base={folder}", "train.method=lora", error=ModelError)
    assert "qkv_proj" in said
    assert "query_key_value" in said


def test_a_base_of_another_kind(small_catalogue, base, tmp_path):
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = LlavaConfig(
        vision_config={"model_type": "clip_vision_model", "image_size": 28, "patch_size": 14, **small},
        text_config={"model_type": "llama", "vocab_size": 400, "num_key_value_heads": 1, **small},
    )
    folder = shutil.copytree(base, tmp_path / "llava", ignore=shutil.ignore_patterns("*config.json", "*.safetensors"))
    for name in ("preprocessor_config.json", "processor_config.json", "tokenizer_config.json"):
        if (base / name).exists():
            shutil.copy(base / name, folder)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    said = refused(small_catalogue, tmp_path / "run", f"model.base={folder}", error=ModelError)
    assert "LlavaForConditionalGeneration" in said
    assert "only Phi-3-vision and its kin" in said


# -- rows -----------------------------------------------------------------------------------------------------------


def catalogue(source, tmp_path, change, columns=()):
    """A copy of a catalogue with its rows changed; None takes one out."""
    copy = shutil.copytree(source, tmp_path / "catalogue")
    with open(copy / "metadata.csv", encoding="utf-8", newline="") as file:
        rows = [changed for row in csv.DictReader(file) if (changed := change(row)) is not None]
    with open(copy / "metadata.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return copy


def without(split):
    return lambda row: None if row["split"] == split else row


def test_an_empty_split(small_catalogue, tmp_path):
    no_train = catalogue(small_catalogue, tmp_path, without("train"))
    assert "no usable row in its split train (0 rows)" in refused(no_train, tmp_path / "run", error=TableError)
    shutil.rmtree(no_train)
    no_validation = catalogue(small_catalogue, tmp_path, without("validation"))
    said = refused(no_validation, tmp_path / "run", "train.best=loss", error=TableError)
    assert said.startswith('train.best = "loss" needs validation rows: ')
    assert not (tmp_path / "run").exists()


def test_a_validation_split_that_is_too_long(small_catalogue, tmp_path):
    long = {"validation": "A very long name " * 60}
    copy = catalogue(small_catalogue, tmp_path, lambda row: row | {"title": long.get(row["split"], row["title"])})
    changes = ["train.best=loss", "train.token_budget=300", 'train.overlong="drop"']
    said = refused(copy, tmp_path / "run", *changes, error=DataError)
    assert said.startswith('train.best = "loss" needs validation rows, but each is longer than 300 tokens')


@pytest.fixture
def halted(train, tmp_path):
    """A run on a copy of the catalogue, killed after its first checkpoint."""

    def make(copy):
        run = train(tmp_path / "run", f"data.path={copy}", *QUICK, dies_at=STEP, nth=6)
        assert run.wait() == -signal.SIGKILL, run.said.read_text()
        return tmp_path / "run"

    return make


STEP = "hangtag.training.trainer:answer_loss"


def again(train, out, copy, *changes):
    """The last line of the run, started again, and all that it said."""
    run = train(out, f"data.path={copy}", *QUICK, *changes)
    code = run.wait()
    return code, run.said.read_text().strip().splitlines()[-1], run.said.read_text()


def test_a_catalogue_or_recipe_that_changed_under_a_run(small_catalogue, train, halted, tmp_path):
    copy = catalogue(small_catalogue, tmp_path, lambda row: row)
    out, before = halted(copy), (copy / "metadata.csv").read_text()
    lines = before.splitlines(keepends=True)
    place = next(n for n, line in enumerate(lines) if line.endswith(",train\n"))
    (copy / "metadata.csv").write_text("".join(lines[:place] + lines[place + 1 :]))
    code, last, _ = again(train, out, copy)
    assert code == 1
    assert re.search(r"catalogue has changed since .*run was begun \(train: rows were 48, are 47, tokens were", last)
    assert last.endswith("put it back as it was, or choose another --out")
    (copy / "metadata.csv").write_text(before)
    picture = next((copy / "images").iterdir())
    content = picture.read_bytes()
    picture.write_bytes(content + b"\0")
    assert "other answers or pictures" in again(train, out, copy)[1]
    picture.write_bytes(content)
    code, last, _ = again(train, out, copy, "train.learning_rate=0.5", "train.seed=3")
    assert code == 1
    assert "begun with another recipe (train.learning_rate was 0.004, is 0.5; train.seed was 0, is 3)" in last
    found = json.loads((out / "environment.json").read_text())
    found["packages"]["torch"] = "1.0"
    (out / "environment.json").write_text(json.dumps(found))
    code, _, said = again(train, out, copy)
    assert code == 0
    assert "since the run was begun, packages.torch was '1.0', is '" in said


# -- processes that load pictures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_gone_in_the_middle(workers, small_catalogue, tmp_path, monkeypatch):
    copy = catalogue(small_catalogue, tmp_path, lambda row: row)
    monkeypatch.setattr(Examples, "read_ahead", lambda *_: None)
    gone = tmp_path / "gone"
    wanted = recipe(copy, f"train.workers={workers}", "train.flip=true")
    with (
        stages(lambda: os.rename(copy / "images", gone), at=3) as watched,
        pytest.raises(DataError, match=r"images/\w+\.jpg") as raised,
    ):
        train_here(wanted, tmp_path / "run", watched)
    assert "\n" not in str(raised.value)
    os.rename(gone, copy / "images")
    assert train_here(wanted, tmp_path / "run").has_model()


def test_a_worker_that_is_killed(small_catalogue, train, tmp_path):
    """As the system does for want of memory."""
    out = tmp_path / "run"
    run = train(out, *QUICK, "train.workers=1", "train.epochs=60")
    while not checkpoints(Run(out)) or not run.workers():
        assert run.running(), run.said.read_text()
        time.sleep(0.01)
    for worker in run.workers():
        os.kill(worker, signal.SIGKILL)
    assert run.wait() == 1
    last = run.said.read_text().strip().splitlines()[-1]
    assert "a process that prepares pictures was killed, probably for lack of memory" in last
    assert re.search(r"with fewer train.workers or with 0; step-\d+ is whole, and it goes on from there$", last)
