"""A full-size Phi-3.5-vision folder of random bf16 shards: made, loaded, and asked about a picture.

    python benchmarks/full_size.py make FOLDER [--tokenizer FOLDER]   8.3 GB, as published: two shards, JSON files
    python benchmarks/full_size.py load FOLDER [--num-crops 1]        prints a table and, last, one JSON line
    python benchmarks/full_size.py both FOLDER                        made where it is not there, and then removed;
                                                                      loaded from the disk in bfloat16 and in float32

Memory is read from the kernel while the model loads, in a process of its own: what the process itself holds
(anonymous pages), what it has mapped of the files (pages the kernel may drop at any time), and both together.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parents[1] / "tests" / "phi3v" / "golden"
PUBLISHED = "microsoft/Phi-3.5-vision-instruct"
SHARD_BYTES = 5_000_000_000
PROMPT = "<|user|>\n<|image_1|>\nWhat is shown in this image?<|end|>\n<|assistant|>\n"


def make(folder: Path, tokenizer: Path | None) -> None:
    """Write the folder: the published JSON files, a tokenizer, and random weights of the published names and shapes."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    for name, fields in json.loads((GOLDEN / "real_configs.json").read_text())[PUBLISHED].items():
        if name.endswith(".json"):
            (folder / name).write_text(json.dumps(fields, indent=2))
    if tokenizer:
        for file in tokenizer.glob("*.json"):
            shutil.copy(file, folder)
    else:
        small_tokenizer().save_pretrained(folder)

    shapes = json.loads((GOLDEN / "real_state_dict_shapes.json").read_text())
    shards: list[list[str]] = [[]]
    room = SHARD_BYTES
    for name, shape in shapes.items():
        size = 2 * torch.Size(shape).numel()
        if size > room:
            shards.append([])
            room = SHARD_BYTES
        shards[-1].append(name)
        room -= size
    generator = torch.Generator().manual_seed(0)
    weight_map = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        tensors = {}
        for name in names:
            scale, shift = (0.02, 1.0) if "norm" in name and name.endswith("weight") else (0.02, 0.0)
            random = torch.randn(shapes[name], generator=generator)
            tensors[name] = random.mul_(scale).add_(shift).to(torch.bfloat16)
        save_file(tensors, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(names, file))
    total = sum(2 * torch.Size(shape).numel() for shape in shapes.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))


def small_tokenizer() -> Any:
    """Words, with Phi-3's special tokens at their published ids, where the published tokenizer is not at hand."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<s>", "</s>", "What", "is", "shown", "in", "this", "image?"]
    words += [f"word{number}" for number in range(len(words), 32000)]
    special = {0: "<|endoftext|>", 1: "<|assistant|>", 6: "<|system|>", 7: "<|end|>", 10: "<|user|>", 44: "<|image|>"}
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([special.get(number, f"<|placeholder{number}|>") for number in range(45)])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )


class Memory:
    """The most this process has held since `start`, in bytes; read every 10 ms from /proc."""

    def __init__(self) -> None:
        self.peaks: dict[str, int] = {}
        self.before = self.now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @staticmethod
    def now() -> dict[str, int]:
        fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        own, mapped = (int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile"))
        return {"own": own, "mapped": mapped, "together": own + mapped}

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            for name, value in self.now().items():
                self.peaks[name] = max(self.peaks.get(name, 0), value - self.before[name])

    def stop(self) -> dict[str, int]:
        self._stop.set()
        self._thread.join()
        return self.peaks


def forget(folder: Path) -> None:
    """Ask the kernel to drop the weight files from its cache, so that they are read from the disk."""
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(folder: Path, num_crops: int, tokens: int, dtype: str) -> dict[str, Any]:
    """Load the folder, read every weight once, and answer one prompt with a picture.

    On a CPU, weights that need no other dtype stay where they are in the file and are read when first used; so loading
    is timed up to the point where every one has been read.
    """
    import numpy as np
    import torch
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from hangtag.training.environment import environment

    device = "cuda" if torch.cuda.is_available() else "cpu"
    memory = Memory()
    start = time.perf_counter()
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype).to(device)
    returned = time.perf_counter() - start
    for parameter in model.parameters():
        parameter.detach().view(-1)[:: 4096 // parameter.itemsize].sum()
    ready = time.perf_counter() - start
    loading = memory.stop()
    weights = sum(parameter.nbytes for parameter in model.parameters())

    processor = AutoProcessor.from_pretrained(folder, num_crops=num_crops)
    noise = np.random.default_rng(0).integers(0, 256, (960, 1280, 3), np.uint8)
    inputs = processor(text=PROMPT, images=Image.fromarray(noise), return_tensors="pt").to(device)
    memory = Memory()
    start = time.perf_counter()
    ids = model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
    answering = time.perf_counter() - start
    return {
        "benchmark": "full_size",
        "environment": environment(),
        "dtype": str(model.dtype),
        "weights_bytes": weights,
        "returned_seconds": round(returned, 2),
        "ready_seconds": round(ready, 2),
        **{f"load_peak_{name}_bytes": value for name, value in loading.items()},
        **{f"load_peak_{name}_ratio": round(value / weights, 3) for name, value in loading.items()},
        "prompt_tokens": inputs["input_ids"].shape[1],
        "new_tokens": ids.shape[1] - inputs["input_ids"].shape[1],
        "answer_ids": ids[0, inputs["input_ids"].shape[1] :].tolist(),
        "answer_seconds": round(answering, 1),
        "answer_peak_own_bytes": memory.stop()["own"],
    }


def load(folder: Path, arguments: argparse.Namespace, dtype: str) -> dict[str, Any]:
    """`measure` in a process of its own; prints a table."""
    if arguments.cold:
        forget(folder)
    options = ["--num-crops", str(arguments.num_crops), "--tokens", str(arguments.tokens), "--dtype", dtype]
    command = [sys.executable, __file__, "measure", str(folder), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    for name, value in found.items():
        print(f"{name:28} {value}")
    return found


def load_both(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """In bfloat16, as in the files, and in float32."""
    there = folder.exists()
    if not there:
        make(folder, arguments.tokenizer)
    try:
        found = {dtype: load(folder, arguments, dtype) for dtype in ("bfloat16", "float32")}
        environments = [each.pop("environment") for each in found.values()]
        return {"environment": environments[0], **found}
    finally:
        if not there:
            shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["make", "load", "both", "measure"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokenizer", type=Path, help="a folder with the published tokenizer (make)")
    parser.add_argument("--num-crops", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=8, help="how many tokens to write")
    parser.add_argument("--dtype", default="auto", help="auto, as in the files, or float32, bfloat16, float16")
    parser.add_argument("--cold", action="store_true", help="read the files from the disk, not from the kernel's cache")
    arguments = parser.parse_args()
    if arguments.action == "make":
        make(arguments.folder, arguments.tokenizer)
    elif arguments.action == "measure":
        print(json.dumps(measure(arguments.folder, arguments.num_crops, arguments.tokens, arguments.dtype)))
    elif arguments.action == "load":
        print(json.dumps(load(arguments.folder, arguments, arguments.dtype)))
    else:
        print(json.dumps(load_both(arguments.folder, arguments)))


if __name__ == "__main__":
    main()
