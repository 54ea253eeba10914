"""CLIP beside its features read back from disk, for nano and for the published CLIP-L with random weights, on the CPU.

    python benchmarks/vision_cache.py [--root FOLDER] [--nano 256] [--clip-l 1] [--rounds 5] [--num-crops 4]

Every picture is encoded and stored once (`fill`, decoding included), and then read in a batch as a training step would
(`get` and one copy), beside CLIP on the same pictures' bytes in the same round; "from disk" is after the kernel was
told to forget the files. Prints a table and a JSON line; a ratio is the median over rounds of one round's times.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from hangtag.examples.features import FeatureCache, content_hash, tower_key
from hangtag.examples.filling import fill
from hangtag.phi3v import Phi3VConfig, Phi3VForCausalLM, Phi3VImageProcessor
from hangtag.recipe import NanoSizes
from hangtag.training.environment import environment

CROPS_AT_ONCE = 16


def photo_files(folder: Path, count: int, side: int) -> list[Path]:
    """Invented JPEGs, all different; the time does not depend on what a picture shows."""
    paths = []
    for index in range(count):
        paths.append(folder / f"{index}.jpg")
        Image.effect_noise((side, side), 10 + index / count).convert("RGB").save(paths[-1], quality=92)
    return paths


def small_decoder(vision: dict[str, Any] | None) -> Phi3VForCausalLM:
    """A model with a tiny decoder; `vision` absent is CLIP-L/14-336."""
    torch.manual_seed(0)
    config = Phi3VConfig(
        vocab_size=400,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        rope_scaling=None,
        image_token_id=399,
        pad_token_id=0,
        vision_config=vision,
    )
    return Phi3VForCausalLM(config).eval()


def nano_vision() -> dict[str, Any]:
    """Nano's tower; its last layer is never computed."""
    sizes = NanoSizes()
    return {
        "hidden_size": sizes.vision_hidden,
        "intermediate_size": 4 * sizes.vision_hidden,
        "num_hidden_layers": sizes.vision_layers + 1,
        "num_attention_heads": sizes.vision_hidden // sizes.head_size,
        "image_size": sizes.crop_size,
        "patch_size": 14,
        "hidden_act": "quick_gelu",
    }


def forget(cache: FeatureCache, pictures: list[str]) -> None:
    """Tell the kernel to drop the files' pages, so that the next reading comes from the disk."""
    for picture in pictures:
        descriptor = os.open(cache.path(picture), os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@torch.no_grad()
def measure(name: str, root: Path, vision: dict[str, Any] | None, count: int, arguments: Any) -> dict[str, Any]:
    """One tower's figures."""
    model = small_decoder(vision)
    side, grid = model.config.crop_size, model.config.crop_grid
    width = 4 * model.config.vision_config.hidden_size
    processor = Phi3VImageProcessor(num_crops=arguments.num_crops, crop_size=side, num_img_tokens=grid**2)
    photos = root / f"{name} photos"
    photos.mkdir()
    pictures = {content_hash(path): path for path in photo_files(photos, count, 2 * side)}
    hashes = list(pictures)
    keys: list[str] = []
    key_seconds = seconds(lambda: keys.append(tower_key(model, processor, torch.bfloat16, None)))
    cache = FeatureCache(root, keys[0], 10**12, (grid**2, width), torch.bfloat16)

    def encode(pixel_values: torch.Tensor, image_sizes: torch.Tensor) -> torch.Tensor:
        return model.model.encode_pictures(pixel_values, image_sizes)

    batch = processor([Image.open(path) for path in pictures.values()], do_normalize=False)

    def clip() -> None:
        for start in range(0, count, 4):
            encode(batch["pixel_values"][start : start + 4], batch["image_sizes"][start : start + 4])

    def read() -> None:
        for start in range(0, count, 4):
            torch.cat([cache.get(each) for each in hashes[start : start + 4]])

    encode(batch["pixel_values"][:1], batch["image_sizes"][:1])  # warm
    filling = seconds(
        lambda: fill(cache, pictures, processor, encode, CROPS_AT_ONCE, lambda done, total, note="": None)
    )
    features = cache.get(hashes[0]).clone()
    times: dict[str, list[float]] = {"clip": [], "cold": [], "warm": [], "missing": [], "put": []}
    for _ in range(arguments.rounds):
        times["clip"].append(seconds(clip))
        forget(cache, hashes)
        times["cold"].append(seconds(read))
        times["warm"].append(seconds(read))
        times["missing"].append(seconds(lambda: cache.missing(hashes)))
        times["put"].append(seconds(lambda: [cache.put(each, features) for each in hashes]))
    median = {what: statistics.median(own) / count for what, own in times.items()}
    ratio = {
        what: statistics.median(plain / own for plain, own in zip(times["clip"], times[what], strict=True))
        for what in ("cold", "warm")
    }
    return {
        "pictures": count,
        "crops": len(features),
        "bytes_per_picture": cache.entry_bytes(len(features)),
        "key_seconds": round(key_seconds, 3),
        "fill_pictures_per_second": round(count / filling, 2),
        "clip_pictures_per_second": round(1 / median["clip"], 2),
        "ms_per_picture": {what: round(1000 * own, 4) for what, own in median.items()},
        "faster": {what: round(own, 1) for what, own in ratio.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="a folder on the disk to be measured; absent, the system's temporary")
    parser.add_argument("--nano", type=int, default=256, help="pictures")
    parser.add_argument("--clip-l", type=int, default=1, help="pictures")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--num-crops", type=int, default=4)
    arguments = parser.parse_args()
    towers: list[tuple[str, dict[str, Any] | None, int]] = [
        ("nano", nano_vision(), arguments.nano),
        ("CLIP-L", None, arguments.clip_l),
    ]
    found = {}
    with tempfile.TemporaryDirectory(dir=arguments.root) as folder:
        for name, vision, count in towers:
            found[name] = measure(name, Path(folder), vision, count, arguments)
    print(f"{'ms a picture':34} " + " ".join(f"{name:>10}" for name in found))
    lines = {
        "CLIP": "clip",
        "features from disk": "cold",
        "features from the page cache": "warm",
        "is it there? (missing)": "missing",
        "stored, flushed to disk (put)": "put",
    }
    print(f"{'CLIP / features from disk':34} " + " ".join(f"{own['faster']['cold']:9.0f}x" for own in found.values()))
    for line, what in lines.items():
        print(f"{line:34} " + " ".join(f"{own['ms_per_picture'][what]:10.3f}" for own in found.values()))
    for what in ("fill_pictures_per_second", "clip_pictures_per_second", "bytes_per_picture", "key_seconds"):
        print(f"{what.replace('_', ' '):34} " + " ".join(f"{own[what]:10}" for own in found.values()))
    print(json.dumps({"benchmark": "vision_cache", "environment": environment(), **found}))


if __name__ == "__main__":
    main()
