"""Published folders in, standard folders out; a checkpoint that does not fit is refused with every reason."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from hangtag.errors import ModelError
from hangtag.phi3v import Phi3VForCausalLM, Phi3VImageProcessor, Phi3VModel, Phi3VProcessor

from .reference import GOLDEN, image1, text, tiny_config
from .test_processing_phi3_v import small_tokenizer

PUBLISHED = json.loads((GOLDEN / "real_configs.json").read_text())
Weights = dict[str, torch.Tensor]
# Runs when somebody follows auto_map; nobody must.
TRAP = """
from pathlib import Path
(Path({folder!r}) / "was_run").touch()
Phi3VConfig = Phi3VForCausalLM = Phi3VProcessor = Phi3VImageProcessor = object
"""


@pytest.fixture
def folder(tiny: Phi3VForCausalLM, tmp_path: Path) -> Path:
    tiny.save_pretrained(tmp_path)
    return tmp_path


def published_folder(folder: Path, revision: str) -> Path:
    """The published JSON files unmodified, but for sizes of the tiny model, its weights in two shards, and a trap."""
    published = PUBLISHED[revision]
    tiny = json.loads((GOLDEN / "tiny_config.json").read_text())
    sizes = {key: tiny[key] for key in tiny if key in published["config.json"] and key not in ("auto_map",)}
    config = {**published["config.json"], **sizes, "vision_config": tiny["clip"], "vocab_size": 32064}
    config["img_processor"] = {**config["img_processor"], "image_dim_out": 32}
    weights = load_file(GOLDEN / "tiny.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        weights[name] = torch.nn.functional.pad(weights[name], (0, 0, 0, 32064 - len(weights[name])))
    names = sorted(weights)
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: weights[name] for name in part}, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(part, file))
    small_tokenizer().save_pretrained(folder)
    files = {
        **{name: fields for name, fields in published.items() if name.endswith(".json")},
        "config.json": config,
        "model.safetensors.index.json": {"metadata": {}, "weight_map": weight_map},
    }
    for name, fields in files.items():
        if fields:
            (folder / name).write_text(json.dumps(fields))
    for module in ("configuration_phi3_v", "modeling_phi3_v", "processing_phi3_v", "image_processing_phi3_v"):
        (folder / f"{module}.py").write_text(TRAP.format(folder=str(folder)))
    return folder


@torch.no_grad()
@pytest.mark.parametrize("revision", PUBLISHED)
@pytest.mark.parametrize("trust", [None, False, True])
def test_a_published_folder_loads_and_its_code_is_never_run(
    tiny: Phi3VForCausalLM, tmp_path: Path, revision: str, trust: bool | None
) -> None:
    folder = published_folder(tmp_path, revision)
    options = {"attn_implementation": "eager", "dtype": torch.float32, "trust_remote_code": trust}
    for auto in (AutoModelForImageTextToText, AutoModelForCausalLM):
        model = auto.from_pretrained(folder, **options)
        assert isinstance(model, Phi3VForCausalLM)
        assert torch.equal(model(**image1()).logits[..., :320], tiny(**image1()).logits)
        assert model.generation_config.eos_token_id == [32007, 32000]
    assert AutoModelForImageTextToText.from_pretrained(folder).dtype == torch.bfloat16
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=trust)
    assert type(processor) is Phi3VProcessor
    assert type(AutoImageProcessor.from_pretrained(folder, trust_remote_code=trust)) is Phi3VImageProcessor
    assert processor.tokenizer("a b") == small_tokenizer()("a b")
    assert not (folder / "was_run").exists()


@torch.no_grad()
@pytest.mark.parametrize("offloaded", ["model.layers.0", "model.vision_embed_tokens", None])
def test_a_device_map_may_leave_parts_on_the_disk(folder: Path, tiny: Phi3VForCausalLM, offloaded: str | None) -> None:
    parts = ["model.embed_tokens", "model.vision_embed_tokens", "model.layers.0", "model.layers.1", "model.norm"]
    places = {part: "disk" if part == offloaded else "cpu" for part in [*parts, "model.rotary_emb", "lm_head"]}
    model = AutoModelForImageTextToText.from_pretrained(
        folder, device_map=places if offloaded else "auto", offload_folder=folder / "away", attn_implementation="eager"
    )
    assert torch.equal(model(**image1()).logits, tiny(**image1()).logits)
    options = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None, "pad_token_id": 300}
    assert torch.equal(model.generate(**image1(), **options), tiny.generate(**image1(), **options))


@torch.no_grad()
def test_whole_models_give_base_models(folder: Path, tiny: Phi3VForCausalLM) -> None:
    base = AutoModel.from_pretrained(folder, attn_implementation="eager")
    assert isinstance(base, Phi3VModel)
    assert torch.equal(base(**text(9, 1)).last_hidden_state, tiny.model(**text(9, 1)).last_hidden_state)


def changed(folder: Path, change: Callable[[Weights], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    weights = {name: tensor.clone() for name, tensor in weights.items()}
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("lm_head.weight"), r"1 tensors missing: lm_head\.weight$"),
        (
            lambda weights: [weights.pop(name) for name in list(weights) if "vision_embed" in name],
            r"61 tensors missing: model\.vision_embed_tokens\.glb_GN, .* and 57 more",
        ),
        (lambda weights: weights.update(stray=torch.zeros(2)), "1 tensors unknown: stray"),
        (
            lambda weights: weights.update({"model.norm.weight": torch.ones(3)}),
            r"1 tensors of another shape: model\.norm\.weight is \[3\], not \[64\]",
        ),
        (
            lambda weights: (weights.pop("lm_head.weight"), weights.update({"model.norm.weight": torch.ones(3)})),
            r"1 tensors missing: lm_head\.weight; 1 tensors of another shape",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    folder: Path, caplog: pytest.LogCaptureFixture, change: Callable[[Weights], object], message: str
) -> None:
    changed(folder, change)
    with pytest.raises(ModelError, match=rf"{folder} is no checkpoint of this model: {message}"):
        AutoModelForImageTextToText.from_pretrained(folder)
    assert "LOAD REPORT" not in caplog.text


def test_another_shape_can_be_asked_for(folder: Path) -> None:
    changed(folder, lambda weights: weights.update({"lm_head.weight": torch.ones(7, 64)}))
    model, info = Phi3VForCausalLM.from_pretrained(folder, ignore_mismatched_sizes=True, output_loading_info=True)
    assert model.lm_head.weight.shape == (320, 64)
    assert [name for name, *_ in info["mismatched_keys"]] == ["lm_head.weight"]


def test_the_shared_tensor_of_a_live_reference_model_is_no_stranger(folder: Path) -> None:
    changed(folder, lambda weights: weights.update({"model.vision_embed_tokens.wte.weight": torch.zeros(320, 64)}))
    assert isinstance(Phi3VForCausalLM.from_pretrained(folder), Phi3VForCausalLM)


def test_a_damaged_file_is_named(folder: Path, tiny: Phi3VForCausalLM) -> None:
    tiny.save_pretrained(folder, max_shard_size="300KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 2
    whole = shards[1].read_bytes()
    shards[1].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=rf"{shards[1].name} cannot be read .*get it again"):
        Phi3VForCausalLM.from_pretrained(folder)
    shards[1].unlink()
    with pytest.raises(OSError, match=shards[1].name):
        Phi3VForCausalLM.from_pretrained(folder)


def test_no_pickle_is_read(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError, match=r"no file named model\.safetensors"):
        Phi3VForCausalLM.from_pretrained(folder)


@torch.no_grad()
def test_a_folder_can_be_saved_into_again_and_again(folder: Path) -> None:
    """Weights in memory may be the file's own pages; and no weights of an earlier save may be left to be read."""
    model = Phi3VForCausalLM.from_pretrained(folder)
    for number, size in enumerate(("5GB", "300KB", "100KB", "5GB"), 1):
        model.lm_head.weight.fill_(number)
        expected = model(**text(9, 1)).logits
        model.save_pretrained(folder, max_shard_size=size)
        assert torch.equal(model(**text(9, 1)).logits, expected)
        again = Phi3VForCausalLM.from_pretrained(folder)
        assert torch.equal(again(**text(9, 1)).logits, expected)
        whole = (folder / "model.safetensors").exists()
        assert whole == (size == "5GB")
        assert whole != bool(list(folder.glob("model-*")))
        model = again


@pytest.mark.parametrize("revision", PUBLISHED)
def test_what_is_saved_differs_from_the_published_configuration_only_where_it_must(
    revision: str, tmp_path: Path
) -> None:
    published = PUBLISHED[revision]["config.json"]
    (tmp_path / "config.json").write_text(json.dumps(published))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path))
    model.config.save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    differing = {name for name in {*published, *saved} if published.get(name) != saved.get(name)}
    ours = {"image_token_id", "auto_map", "transformers_version", "_attn_implementation", "_name_or_path"}
    defaults = {"pad_token_id", "embd_pdrop", "resid_pdrop"}  # phi3 leaves them to its class
    assert differing <= ours | defaults
    assert saved["auto_map"]["AutoConfig"] == "microsoft/Phi-3.5-vision-instruct--configuration_phi3_v.Phi3VConfig"


def test_the_live_names_are_the_published_ones() -> None:
    """So plain `load_state_dict` takes a published file, with no table of conversions in between."""
    model = Phi3VForCausalLM(tiny_config())
    assert model.load_state_dict(load_file(GOLDEN / "tiny.safetensors")) == torch.nn.modules.module._IncompatibleKeys(
        [], []
    )


def test_a_saved_folder_is_read_without_asking_anybody(tmp_path: Path) -> None:
    """The saved auto_map names the published code; with hangtag imported nothing is fetched, offline or not."""
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED["microsoft/Phi-3.5-vision-instruct"]["config.json"]))
    AutoConfig.from_pretrained(tmp_path).save_pretrained(tmp_path / "saved")
    program = f"""
import socket
def refuse(*arguments, **options):
    raise AssertionError("something asked the network")
socket.socket.connect = refuse
import hangtag
from transformers import AutoConfig
for trust in (None, False, True):
    config = AutoConfig.from_pretrained({str(tmp_path / "saved")!r}, trust_remote_code=trust)
    assert type(config).__module__ == "hangtag.phi3v.configuration_phi3_v"
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
