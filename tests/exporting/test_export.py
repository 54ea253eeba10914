"""Exports of whole small runs: what is written, that it is the run, and what happens when it is not."""

import json
import re
import shutil
import stat
from pathlib import Path

import pytest
import torch
from conftest import hangtag
from disks import small_disk
from forked import Command, forkable
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

from hangtag.errors import DataError, ModelError, OutputNotEmpty, RunError, UsageError
from hangtag.exporting import models
from hangtag.exporting.export import export
from hangtag.files import read_json
from hangtag.phi3v import Phi3VForCausalLM, Phi3VProcessor
from hangtag.prediction.tagger import Tagger
from hangtag.recipe import load_recipe

GOLDEN = Path(__file__).parents[1] / "phi3v" / "golden"
ROWS = 4


def leftovers(out):
    return [each for each in out.parent.iterdir() if out.name in each.name]


def tensors(folder):
    return load_file(folder / "model.safetensors")


def patterns(names):
    return {re.sub(r"\d+", "N", name.removeprefix("model.vision_embed_tokens.")) for name in names}


@pytest.fixture(scope="module")
def exported(small_run, tmp_path_factory):
    """The small run in the default format."""
    out = tmp_path_factory.mktemp("exported") / "tags"
    return export(small_run, out, rows=ROWS)


def test_a_full_run_in_float32_is_the_run_bit_by_bit(small_run, tmp_path):
    done = export(small_run, tmp_path / "out", dtype="float32", rows=ROWS)
    compared = done.compared
    assert compared.exact
    assert compared.largest == compared.mean == compared.largest_tolerance == 0
    assert not compared.parted
    assert len(compared.rows) == ROWS
    before, after = tensors(small_run / "model"), tensors(tmp_path / "out")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_folder_is_a_standard_one_in_the_published_layout(exported, small_run):
    out = exported.path
    assert {each.name for each in out.iterdir()} >= {
        "README.md", "chat_template.jinja", "config.json", "export.json", "generation_config.json",
        "model.safetensors", "preprocessor_config.json", "processor_config.json", "recipe.toml", "schema.json",
        "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert all(each.dtype == torch.bfloat16 for each in tensors(out).values())
    shapes = json.loads((GOLDEN / "real_state_dict_shapes.json").read_text())
    assert patterns(tensors(out)) == patterns(shapes)
    config = read_json(out / "config.json")
    assert config["architectures"] == ["Phi3VForCausalLM"]
    assert (config["model_type"], config["torch_dtype"]) == ("phi3_v", "bfloat16")
    assert "auto_map" not in config  # the published code has its tower built in, which is not this model's
    published = json.loads((GOLDEN / "real_configs.json").read_text())["microsoft/Phi-3.5-vision-instruct"]
    shared = set(published["config.json"]) - {"_name_or_path", "auto_map", "_attn_implementation"}
    assert shared <= set(config)
    stops = read_json(out / "generation_config.json")["eos_token_id"]
    tokenizer = AutoProcessor.from_pretrained(out).tokenizer
    assert tokenizer.convert_ids_to_tokens(stops) == ["<|end|>", "<|endoftext|>"]
    assert str(small_run) not in "".join(each.read_text() for each in out.glob("*.json"))
    assert (out / "schema.json").read_bytes() == (small_run / "schema.json").read_bytes()
    readable = stat.S_IMODE((out / "config.json").stat().st_mode)
    assert {stat.S_IMODE(each.stat().st_mode) for each in out.iterdir()} == {readable}


@pytest.mark.parametrize("auto", [AutoModelForImageTextToText, AutoModelForCausalLM])
def test_the_auto_classes_load_it_and_it_writes_tags(exported, small_catalogue, auto):
    model = auto.from_pretrained(exported.path, dtype="auto")
    assert isinstance(model, Phi3VForCausalLM)
    assert model.dtype == torch.bfloat16
    processor = AutoProcessor.from_pretrained(exported.path)
    assert isinstance(processor, Phi3VProcessor)
    tagger = Tagger(model, processor, load_recipe(exported.path / "recipe.toml"))
    pictures = sorted((small_catalogue / "images").iterdir())[:2]
    assert [tag.fields is not None for tag in tagger.tags(pictures)] == [True, True]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_an_adapter_is_merged_in_float32_and_rounded_once(lora_run, small_run, tmp_path, dtype):
    compared = export(lora_run, tmp_path / "out", dtype=dtype, rows=ROWS).compared
    assert 0 < compared.mean < compared.mean_tolerance
    assert 0 < compared.largest < compared.largest_tolerance
    base, adapter = tensors(small_run / "model"), load_file(lora_run / "model" / "adapter_model.safetensors")
    settings = read_json(lora_run / "model" / "adapter_config.json")
    name = "model.layers.1.mlp.down_proj"
    a, b = (adapter[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
    expected = base[f"{name}.weight"] + settings["lora_alpha"] / settings["r"] * (b @ a)
    merged = tensors(tmp_path / "out")
    assert merged[f"{name}.weight"].dtype == getattr(torch, dtype)
    apart = (merged[f"{name}.weight"].float() - expected).abs()
    assert bool((apart <= 0.51 * torch.finfo(getattr(torch, dtype)).eps * expected.abs() + 1e-7).all())
    assert not any("lora" in each for each in merged)
    assert not (tmp_path / "out" / "adapter_config.json").exists()


def test_a_base_stored_in_bfloat16_is_not_rounded_on_the_way_to_float32(lora_run, small_run, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(small_run / "model", base)
    model = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.bfloat16)
    model.save_pretrained(base)
    run = tmp_path / "run"
    shutil.copytree(lora_run, run)
    recipe = (run / "recipe.toml").read_text()
    (run / "recipe.toml").write_text(recipe.replace(str(small_run / "model"), str(base)))
    export(run, tmp_path / "out", dtype="float32", rows=ROWS)
    name = "model.layers.1.mlp.down_proj.weight"
    merged = tensors(tmp_path / "out")[name]
    assert not torch.equal(merged, merged.bfloat16().float())


def test_after_qlora_the_base_is_what_its_four_bits_said(qlora_run, small_run, tmp_path):
    compared = export(qlora_run, tmp_path / "out", rows=ROWS).compared
    assert 0 < compared.mean < compared.mean_tolerance
    assert not compared.parted
    assert "the weights here are what those 4 bits say" in (tmp_path / "out" / "README.md").read_text()
    assert not any("quant" in key for key in read_json(tmp_path / "out" / "config.json"))
    base, merged = tensors(small_run / "model"), tensors(tmp_path / "out")
    assert torch.equal(merged["lm_head.weight"], base["lm_head.weight"].bfloat16())


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_the_adapter_alone_names_its_base_and_is_the_run_bit_by_bit(request, small_run, tmp_path, method):
    run = request.getfixturevalue(f"{method}_run")
    compared = export(run, tmp_path / "out", adapter_only=True, rows=ROWS).compared
    assert compared.exact
    assert compared.largest == 0
    config = read_json(tmp_path / "out" / "adapter_config.json")
    assert config["base_model_name_or_path"] == str(small_run / "model")
    plain = AutoModelForImageTextToText.from_pretrained(small_run / "model")
    PeftModel.from_pretrained(plain, tmp_path / "out")
    assert not (tmp_path / "out" / "model.safetensors").exists()
    assert "adapter" in (tmp_path / "out" / "README.md").read_text()


def change_weights(change):
    def tamper(folder):
        held = tensors(folder)
        change(held)
        save_file(held, folder / "model.safetensors", metadata={"format": "pt"})

    return tamper


def forget_the_adapter(held):
    held["model.layers.0.self_attn.qkv_proj.weight"][:64] = 0


def change_one_layer(held):
    held["model.layers.1.mlp.down_proj.weight"] *= 1.3


def lose_a_number(held):
    held["model.norm.weight"][3] = torch.nan


def exchange_two_words(held):
    weight = held["lm_head.weight"]
    first, second = weight.float().norm(dim=1).topk(2).indices.tolist()
    weight[[first, second]] = weight[[second, first]]


def turn_pictures(folder):
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps({**read_json(file), "image_mean": [0.2, 0.4578275, 0.40821073]}))


@pytest.mark.parametrize(
    "tamper",
    [
        *map(change_weights, (forget_the_adapter, change_one_layer, lose_a_number, exchange_two_words)),
        turn_pictures,
    ],
    ids=["adapter", "layer", "nan", "words", "processor"],
)
def test_an_export_that_is_not_the_run_fails_with_row_and_numbers(lora_run, tmp_path, monkeypatch, tamper):
    true = models.saved

    def tampered(folder, *arguments):
        tamper(folder)
        return true(folder, *arguments)

    monkeypatch.setattr(models, "saved", tampered)
    with pytest.raises(ModelError, match=r"the export is not the run: .*row \d+ \(\w+\.jpg\)") as raised:
        export(lora_run, tmp_path / "out", rows=ROWS)
    assert re.search(r"by (up to )?(nan|[\d.]+)", str(raised.value))
    assert not leftovers(tmp_path / "out")


def test_one_changed_bit_of_a_full_run_in_float32_fails(small_run, tmp_path, monkeypatch):
    true = models.saved

    def tampered(folder, *arguments):
        change_weights(lambda held: held["model.layers.0.mlp.down_proj.weight"].view(torch.int32)[0].bitwise_xor_(1))(
            folder
        )
        return true(folder, *arguments)

    monkeypatch.setattr(models, "saved", tampered)
    with pytest.raises(ModelError, match="0 is allowed"):
        export(small_run, tmp_path / "out", dtype="float32", rows=ROWS)


def test_weights_too_large_for_float16_are_refused(lora_run, small_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    held = tensors(run / "model")
    held["model.norm.weight"][0] = 1e6
    save_file(held, run / "model" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 tensors do not fit in float16, such as model\.norm\.weight"):
        export(run, tmp_path / "out", dtype="float16", rows=0)


def test_what_is_wrong_is_told_before_any_weight_is_read(small_run, lora_run, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "own", None)
    monkeypatch.setattr(models, "merged", None)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(small_run / "recipe.toml", unfinished)
    with pytest.raises(OutputNotEmpty, match="not empty"):
        export(small_run, tmp_path / "full")
    with pytest.raises(RunError, match="no trained model yet"):
        export(unfinished, tmp_path / "out")
    with pytest.raises(UsageError, match="no adapter"):
        export(small_run, tmp_path / "out", adapter_only=True)
    with pytest.raises(UsageError, match="no dtype 'int8'"):
        export(small_run, tmp_path / "out", dtype="int8")
    with pytest.raises(DataError, match=r"--data, or --rows 0"):
        export(small_run, tmp_path / "out", data=tmp_path / "gone")
    shutil.copytree(lora_run, tmp_path / "run")
    recipe = tmp_path / "run" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace(str(small_run / "model"), "gone/base"))
    with pytest.raises(RunError, match=r"gone/base cannot be loaded"):
        export(tmp_path / "run", tmp_path / "out")
    assert not leftovers(tmp_path / "out")


def test_a_disk_too_small_is_told_beforehand(small_run, tmp_path):
    with small_disk(tmp_path / "disk", 300) as disk:
        with pytest.raises(RunError, match=r"GB free, the export needs 0\.0 GB"):
            export(small_run, disk / "out")
        assert not list(disk.iterdir())


def test_the_command_shows_the_proof_and_without_rows_says_there_is_none(small_run, tmp_path):
    done = hangtag("export", small_run, tmp_path / "out", "--rows", 3, "--dtype", "float16")
    assert re.search(r"equal answers +3 of 3", done.stdout)
    assert f"exported to {tmp_path / 'out'}" in done.stdout
    assert "asking the export: 3/3" in done.stderr
    done = hangtag("export", small_run, tmp_path / "out", code=2)
    assert "not empty" in done.stderr
    done = hangtag("export", small_run, tmp_path / "blind", "--rows", 0, "--data", tmp_path / "gone")
    assert "nothing was compared" in done.stdout
    assert "Nothing was compared" in (tmp_path / "blind" / "README.md").read_text()
    assert read_json(tmp_path / "blind" / "export.json")["compared"] is None
    done = hangtag("export", small_run, tmp_path / "sent", "--rows", 0, "--push", "me/tags", code=2)
    assert "--push sends only what was compared" in done.stderr


@pytest.mark.parametrize("moment", ["hangtag.exporting.models:saved", "hangtag.exporting.export:write_card"])
def test_killed_at_any_time_it_leaves_nothing_at_its_place(small_run, tmp_path, moment):
    out = tmp_path / "out"
    command = Command(forkable(), tmp_path / "said", "export", small_run, out, "--rows", 2, dies_at=moment)
    assert command.wait() == -9
    assert not out.exists()
    assert len(leftovers(out)) == 1
    hangtag("export", small_run, out, "--rows", 0)
    assert leftovers(out) == [out]
