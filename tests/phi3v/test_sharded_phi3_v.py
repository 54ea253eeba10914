"""FSDP2 in two real processes: generation and gradients as of the model in one piece."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from hangtag.phi3v import Phi3VForCausalLM

from .reference import IMAGE, assert_near, batch_image, fpix, image1, text, tids

Build = Callable[..., Phi3VForCausalLM]
GREEDY = {"do_sample": False, "eos_token_id": None, "pad_token_id": 300}
LIMIT = {"original_max_position_embeddings": 500, "max_position_embeddings": 10240}
TIMEOUT = 300  # seconds; without an end, a process that waits for the other would be noticed by nobody


def asked(inputs: dict[str, torch.Tensor], count: int, **options: Any) -> dict[str, Any]:
    return {
        "attention_mask": torch.ones_like(inputs["input_ids"]),
        **inputs,
        **GREEDY,
        **options,
        "max_new_tokens": count,
    }


def two_pictures() -> dict[str, torch.Tensor]:
    ids = [1, *tids(3, 0), *[IMAGE] * 313, 1, *tids(2, 2), *[IMAGE] * 469, 1, *tids(6, 3)]
    sizes = torch.tensor([[336, 336], [672, 336]])
    return {"input_ids": torch.tensor([ids]), "pixel_values": fpix(2, 3, [2, 3]), "image_sizes": sizes}


def work(rank: int) -> dict[str, Any]:
    """The processes differ in pictures, lengths and in how long they write."""
    if rank == 0:
        generate = [
            asked(image1(), 2),
            asked(text(12, 0), 6),
            asked(two_pictures(), 3, num_beams=2),
            asked(image1(), 3, use_cache=False),
            asked(image1(), 30),
        ]
        return {"generate": generate, "learn": {**image1((7, 8)), "labels": image1((7, 8))["input_ids"]}}
    generate = [
        asked(text(12, 0), 6),
        asked(text(30, 1), 2),
        asked(batch_image(), 3, num_beams=2),
        asked(text(9, 2), 3, use_cache=False),
        asked(text(490, 2), 30),
    ]
    return {"generate": generate, "learn": {**text(20, 3), "labels": text(20, 3)["input_ids"]}}


@pytest.fixture(scope="module")
def sharded(build: Build, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("sharded")
    build(**LIMIT).save_pretrained(folder)
    torch.save([work(0), work(1)], folder / "work.pt")
    script = Path(__file__).with_name("sharded.py")
    command = [sys.executable, script, folder, "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        errors = process.communicate(timeout=TIMEOUT)[1]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # where one has failed, the other waits for it
    assert process.returncode == 0, errors
    return [torch.load(folder / f"answers-{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("rank", [0, 1])
def test_answers_equal_those_of_the_model_in_one_piece(build: Build, sharded: Any, rank: int) -> None:
    """One process with pictures and one without, one ready before the other, beams, and no cache."""
    whole = build(**LIMIT)
    expected = [whole.generate(**inputs).tolist() for inputs in work(rank)["generate"][:4]]
    assert sharded[rank]["answers"][:4] == expected


def test_crossing_the_limit_is_refused(sharded: Any) -> None:
    for rank, length in ((0, 482), (1, 490)):
        refused = f"on sharded weights from {length} to {length + 30} tokens would cross the original context of 500"
        assert refused in sharded[rank]["answers"][4]
        assert "load the weights whole, or end before" in sharded[rank]["answers"][4]


def test_a_process_without_pictures_learns_along(build: Build, sharded: Any) -> None:
    """Gradients are the mean over the processes, in CLIP too, where one of the two has none."""
    whole = build(**LIMIT)
    for rank in range(2):
        (whole(**work(rank)["learn"]).loss / 2).backward()
    expected = {name: each.grad for name, each in whole.named_parameters() if each.grad is not None}
    for rank in range(2):
        own = sharded[rank]["gradients"]
        assert own.keys() == expected.keys()
        for name, gradient in own.items():
            assert_near(gradient, expected[name], 1e-5)
