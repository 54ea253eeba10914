"""What an export of Phi-3.5-vision's real widths takes, and how far rounding moves its logits. Random weights.

    python benchmarks/export.py --work FOLDER [--layers 32] [--rows 1] [--tokens 8]
                                  [--dtypes bfloat16 float32] [--tokenizer FOLDER]

A base of random bfloat16 weights is made (benchmarks/full_size.py; with fewer --layers by transformers), a LoRA run on
it with a random adapter, and an invented catalogue; `hangtag export` then runs as a process of its own, once a format,
and its memory is read from the kernel. Prints the command's own table, times and peaks and, last, one JSON line. What
is in --work already is used again. With 32 layers the exported files are also held against the published ones.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from full_size import GOLDEN, PUBLISHED, make, small_tokenizer
from peft import get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoConfig, AutoProcessor, GenerationConfig

from hangtag.catalogue.synth import synthesise
from hangtag.files import write_json, write_whole
from hangtag.phi3v import Phi3VForCausalLM
from hangtag.phi3v.adapters_phi3_v import add_lora
from hangtag.recipe import check_recipe
from hangtag.training.environment import environment

ALL_LAYERS = 32


def make_base(folder: Path, layers: int, tokenizer: Path | None) -> None:
    """As published, or with fewer layers."""
    if layers == ALL_LAYERS:
        make(folder, tokenizer)
        return
    fields = json.loads((GOLDEN / "real_configs.json").read_text())[PUBLISHED]
    whole = folder.with_name("published")
    whole.mkdir(exist_ok=True)
    for name, content in fields.items():
        if name.endswith(".json"):
            write_json(whole / name, content)
    if tokenizer:
        for file in tokenizer.glob("*.json"):
            shutil.copy(file, whole)
    else:
        small_tokenizer().save_pretrained(whole)
    config = AutoConfig.from_pretrained(whole)
    config.num_hidden_layers = layers
    torch.manual_seed(0)
    Phi3VForCausalLM._from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    AutoProcessor.from_pretrained(whole).save_pretrained(folder)


def make_run(run: Path, base: Path, catalogue: Path, tokens: int) -> None:
    """A finished LoRA run of a random adapter, without a training."""
    config = AutoConfig.from_pretrained(base)
    with torch.device("meta"):
        adapted = add_lora(Phi3VForCausalLM(config), quiet=True)
    generator = torch.Generator().manual_seed(1)
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    adapted.peft_config["default"].inference_mode = True
    adapted.peft_config["default"].save_pretrained(run / "model")
    shapes = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    weights = {name: 0.02 * torch.randn(each.shape, generator=generator) for name, each in shapes.items()}
    save_file(weights, run / "model" / "adapter_model.safetensors", metadata={"format": "pt"})
    AutoProcessor.from_pretrained(base, num_crops=1).save_pretrained(run / "model")
    stops = {"eos_token_id": [32007, 32000], "pad_token_id": 32000, "max_new_tokens": tokens}
    GenerationConfig(bos_token_id=1, **stops).save_pretrained(run / "model")
    recipe = {
        "model": {"base": str(base), "num_crops": 1},
        "data": {"path": str(catalogue)},
        "train": {"method": "lora"},
    }
    write_whole(run / "recipe.toml", check_recipe(recipe).dump())


def measured(command: list[str]) -> dict[str, Any]:
    """Run a command; its seconds, and its largest own memory and own and mapped memory together, in bytes."""
    start = time.perf_counter()
    process = subprocess.Popen(command)
    peaks = {"own": 0, "together": 0}
    while process.poll() is None:
        try:
            fields = dict(
                line.split(":", 1)
                for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
                if ":" in line
            )
            own, mapped = (1024 * int(fields[name].split()[0]) for name in ("RssAnon", "RssFile"))
        except (OSError, KeyError):
            break
        peaks = {"own": max(peaks["own"], own), "together": max(peaks["together"], own + mapped)}
        time.sleep(0.05)
    if process.wait():
        raise SystemExit(f"the command failed: {' '.join(command)}")
    return {"seconds": round(time.perf_counter() - start, 1), **{f"peak_{k}_bytes": v for k, v in peaks.items()}}


def beside_published(out: Path, base: Path) -> dict[str, Any]:
    """How the exported files differ from those of the base, which are the published ones."""
    shapes = json.loads((GOLDEN / "real_state_dict_shapes.json").read_text())
    found = {}
    for file in out.glob("*.safetensors"):
        with safe_open(file, framework="pt") as held:
            found |= {name: held.get_slice(name).get_shape() for name in held.keys()}  # noqa: SIM118
    told: dict[str, Any] = {"tensors_as_published": found == shapes}
    for name in ("config.json", "preprocessor_config.json", "processor_config.json", "generation_config.json"):
        if not (base / name).exists():
            continue
        mine, theirs = (json.loads((folder / name).read_text()) for folder in (out, base))
        keys = sorted(key for key in {*mine, *theirs} if mine.get(key, "absent") != theirs.get(key, "absent"))
        told[name] = {key: [theirs.get(key, "absent"), mine.get(key, "absent")] for key in keys}
    return told


def export(run: Path, out: Path, published: Path | None, options: list[str]) -> dict[str, Any]:
    """Export anew: time and memory, and how far the export's logits lie from the run's; prints a table."""
    shutil.rmtree(out, ignore_errors=True)
    found = measured([sys.executable, "-m", "hangtag", "export", str(run), str(out), *options])
    record = json.loads((out / "export.json").read_text())
    result = {
        "parameters": record["parameters"],
        **found,
        "exported_bytes": sum(each.stat().st_size for each in out.iterdir()),
        "compared": record["compared"],
        "roundoffs": roundoffs(record["compared"]),
        **(beside_published(out, published) if published else {}),
    }
    for name, value in result.items():
        print(f"{name:24} {value}")
    return result


def roundoffs(compared: dict[str, Any]) -> float:
    """The logits' mean difference in unit roundoffs of the coarser format, as a share of their spread."""
    formats = [torch.finfo(getattr(torch, compared[name])) for name in ("weights", "arithmetic")]
    logits = compared["logits"]
    return float(logits["mean"]["value"] / logits["spread"] / (max(each.eps for each in formats) / 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--layers", type=int, default=ALL_LAYERS)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--tokenizer", type=Path, help="a folder with the published tokenizer")
    given = parser.parse_args()
    base, run, catalogue, out = (given.work / name for name in ("base", "run", "catalogue", "out"))
    given.work.mkdir(parents=True, exist_ok=True)
    if not catalogue.exists():
        synthesise(catalogue, rows=60, size=336, seed=0)
    if not (base / "config.json").exists():
        make_base(base, given.layers, given.tokenizer)
    if not run.exists():
        make_run(run, base, catalogue, given.tokens)
    exported = {}
    for dtype in given.dtypes:
        options = ["--rows", str(given.rows), "--dtype", dtype]
        exported[dtype] = export(run, out, base if given.layers == ALL_LAYERS else None, options)
    print(json.dumps({"benchmark": "export", "environment": environment(), "layers": given.layers, **exported}))


if __name__ == "__main__":
    main()
