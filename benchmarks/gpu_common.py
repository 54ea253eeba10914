"""What the benchmarks of a GPU share: the device, its measured limits, a base of random weights, rows of real shapes.

They run on a CPU too, with a tiny base and the same code: so they are tested where there is no GPU.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from shaped import read_table, shaped_catalogue, write_table

from hangtag.examples.chat import Chat
from hangtag.files import read_json
from hangtag.memory import Sizes
from hangtag.phi3v import Phi3VConfig, Phi3VForCausalLM, Phi3VImageProcessor, Phi3VProcessor
from hangtag.recipe import Recipe, load_recipe
from hangtag.training.nano import nano_tokenizer

GOLDEN = Path(__file__).parents[1] / "tests" / "phi3v" / "golden"
ANSWER_TOKENS = 45
SHAPES = ((3, 4), (1, 1), (4, 3), (2, 3), (1, 1), (3, 2), (4, 5), (16, 9))
"""Width to height of usual product photos."""
TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 4096,
    "original_max_position_embeddings": 4096,
    "rope_scaling": None,
    "sliding_window": None,
}
TINY_CROP = 56
TINY_CLIP = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": TINY_CROP,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
}


@dataclass(frozen=True)
class Machine:
    """The device that is measured: a GPU in bfloat16 with the full model, or a CPU in float32 with a tiny one."""

    device: torch.device

    @classmethod
    def found(cls, name: str = "auto") -> Machine:
        gpu = torch.cuda.is_available() if name == "auto" else name == "cuda"
        if gpu and not torch.cuda.is_available():
            raise SystemExit("torch finds no GPU here; with --device cpu the same runs with a tiny base")
        return cls(torch.device("cuda" if gpu else "cpu"))

    @property
    def gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.gpu else torch.float32

    @property
    def tolerance(self) -> float:
        """Relative difference of logits that rounding explains."""
        return 2e-2 if self.gpu else 1e-4

    @property
    def memory(self) -> int | None:
        """Bytes of the device; None for a CPU."""
        return torch.cuda.get_device_properties(self.device).total_memory if self.gpu else None

    def wait(self) -> None:
        """Until all that was asked for has been computed."""
        if self.gpu:
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], Any]) -> float:
        """Of `work`, from an idle device to an idle device."""
        self.wait()
        started = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - started

    def forget_peak(self) -> None:
        if self.gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int | None:
        """Most bytes that tensors took since `forget_peak`, the allocator's rounding included; None on a CPU."""
        return torch.cuda.max_memory_reserved() if self.gpu else None


def measured_peak(machine: Machine, side: int | None = None) -> float:
    """Operations a second of a large matrix product on random data, in the format computed in: the best of five."""
    side = side or (8192 if machine.gpu else 1024)
    one, other = (torch.randn(side, side, device=machine.device, dtype=machine.dtype) for _ in range(2))
    times = [machine.seconds(lambda: one @ other) for _ in range(7)][2:]
    return 2 * side**3 / min(times)


def measured_copy(machine: Machine) -> float:
    """Bytes a second read and written by a copy on the device: the best of five."""
    source = torch.empty(1 << (30 if machine.gpu else 26), dtype=torch.uint8, device=machine.device)
    target = torch.empty_like(source)
    times = [machine.seconds(lambda: target.copy_(source)) for _ in range(7)][2:]
    return 2 * source.numel() / min(times)


def make_base(folder: Path, machine: Machine, texts: list[str]) -> None:
    """A base folder of random weights: of Phi-3.5-vision's numbers on a GPU, of tiny ones on a CPU.

    The head's weights are larger than a first training's, so that a loss depends on what was seen and not on the
    vocabulary's size alone.

    Args:
        texts: a tokenizer is learned from them; the published one need not be at hand.
    """
    side, grid = (336, 12) if machine.gpu else (TINY_CROP, TINY_CROP // 28)
    tokenizer = nano_tokenizer(texts, 1024)
    processor = Phi3VProcessor(Phi3VImageProcessor(num_crops=4, crop_size=side, num_img_tokens=grid**2), tokenizer)
    own = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": [tokenizer.convert_tokens_to_ids("<|end|>"), tokenizer.eos_token_id],
        "pad_token_id": tokenizer.pad_token_id,
        "image_token_id": tokenizer.convert_tokens_to_ids("<|image|>"),
    }
    if machine.gpu:
        published = read_json(GOLDEN / "real_configs.json")["microsoft/Phi-3.5-vision-instruct"]["config.json"]
        config = Phi3VConfig(**published | own | {"_attn_implementation": "sdpa"})
    else:
        config = Phi3VConfig(vocab_size=2048, vision_config=TINY_CLIP, **TINY, **own)
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(machine.dtype)
    try:
        with machine.device:
            model = Phi3VForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    with torch.no_grad():
        torch.nn.init.normal_(model.lm_head.weight, std=3 / config.hidden_size**0.5)
    model.generation_config.max_new_tokens = ANSWER_TOKENS
    model.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    processor.save_pretrained(folder)


def make_catalogue(folder: Path, rows: int, side: int) -> list[str]:
    """An invented catalogue of training rows with pictures of usual shapes; returns their texts.

    Args:
        side: of the longer side, in pixels.
    """
    return [row["title"] + " " + row["category3_code"] for row in shaped_catalogue(folder, rows, SHAPES, side)]


def even_answers(folder: Path, processor: Phi3VProcessor, recipe: Recipe) -> None:
    """Make every answer, with its end, `ANSWER_TOKENS` long: words of the title go, digits come, a token each."""
    template, chat = recipe.task.template, Chat.of(recipe.task)
    table = read_table(folder)

    def length(row: dict[str, str]) -> int:
        answer = chat.answer(template.write(template.clean(row)))
        return len(processor.tokenizer(answer, add_special_tokens=False)["input_ids"])

    for row in table:
        words = row["title"].split()
        while length(row) > ANSWER_TOKENS - 1:
            words.pop()
            row["title"] = " ".join(words)
        row["title"] += " "
        while length(row) < ANSWER_TOKENS:
            row["title"] += "7"
    write_table(folder, table)


def recipe_of(name: str, base: Path, data: Path, changes: list[str]) -> Recipe:
    """A recipe that comes with the package, on this base and catalogue."""
    return load_recipe(name, [f"model.base={base}", f"data.path={data}", *changes])


def sizes_of(config: Phi3VConfig) -> Sizes:
    """The numbers that operations are counted from."""
    vision = config.vision_config
    return Sizes(
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        vocabulary=config.vocab_size,
        clip_hidden=vision.hidden_size,
        clip_intermediate=vision.intermediate_size,
        clip_layers=vision.num_hidden_layers,
        clip_heads=vision.num_attention_heads,
        crop_side=config.crop_size,
    )


def unlike(one: torch.Tensor, other: torch.Tensor) -> float:
    """Norm of the difference, in norms of `other`; in double precision."""
    return float((one.double() - other.double()).norm() / other.double().norm())


def median(values: Any) -> float:
    return float(statistics.median(values))


@dataclass
class Deadline:
    """When a program has to have ended; what there is no time for is said, not left out in silence."""

    end: float

    @classmethod
    def within(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    @property
    def left(self) -> float:
        return self.end - time.monotonic()
