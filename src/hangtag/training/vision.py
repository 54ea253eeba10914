"""How pictures reach the model in a run: through the vision cache where CLIP is frozen, else as crops."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from transformers import PreTrainedModel

from hangtag.errors import CacheError
from hangtag.examples.examples import Examples
from hangtag.examples.features import FeatureCache, cache_root, content_hash, crop_count, tower_key
from hangtag.examples.features_room import gigabytes, make_room
from hangtag.examples.filling import fill
from hangtag.examples.loading import Vision
from hangtag.phi3v import Phi3VProcessor
from hangtag.progress import Stages
from hangtag.recipe import Recipe
from hangtag.training.environment import precision
from hangtag.training.processes import Processes

CROPS_AT_ONCE = 64


def make_vision(
    recipe: Recipe,
    model: PreTrainedModel,
    processor: Phi3VProcessor,
    splits: list[Examples],
    processes: Processes,
    stages: Stages,
    say: Callable[[str], None],
) -> Vision:
    """The features of every picture of the splits, made where they are missing, or crops if there can be no cache.

    Crops are cut and normalised by the loader on a CPU, and normalised on the device elsewhere.
    """
    crops = Vision(as_bytes=processes.state.device.type != "cpu")
    pictures = {picture: size for each in splits for picture, size in each.sizes.items()}
    settings = recipe.train
    if settings.part_rates()["clip"] or not pictures or not settings.vision_cache:
        return crops
    if settings.augments:
        say("vision cache: not used, since pictures are changed anew in each epoch")
        return crops
    dtype = precision(settings.precision)
    with ThreadPoolExecutor() as pool:
        keys = dict(zip(pictures, pool.map(content_hash, pictures), strict=True))
    side = processor.image_processor.crop_size
    counts = {keys[picture]: crop_count(*size, side) for picture, size in pictures.items()}
    cache, refusal = None, None
    if processes.main:
        cache, refusal = _open(recipe, model, processor, dtype, counts, say)
    refusal = processes.told(refusal)
    if refusal is not None:
        say(f"vision cache: not used, so CLIP runs in every epoch: {refusal}")
        return crops
    if cache is None:
        cache = _cache(recipe, model, processor, dtype)
    with stages("encoding pictures") as progress:
        encode = _encoder(model, processes.state.device, dtype)
        sources = {key: picture for picture, key in keys.items()}
        fill(
            cache,
            sources,
            processor.image_processor,
            encode,
            CROPS_AT_ONCE,
            progress,
            processes.index,
            processes.number,
        )
    processes.wait()
    return Vision(cache, keys)


def _open(
    recipe: Recipe,
    model: PreTrainedModel,
    processor: Phi3VProcessor,
    dtype: torch.dtype,
    counts: dict[str, int],
    say: Callable[[str], None],
) -> tuple[FeatureCache | None, str | None]:
    """The cache with room for what is needed, whose size is told first; or why there is none."""
    try:
        cache = _cache(recipe, model, processor, dtype)
        needed = sum(map(cache.entry_bytes, counts.values()))
        missing = len(cache.missing(counts))
        say(f"vision cache: {len(counts):,} pictures take {gigabytes(needed)} in {cache.root}; {missing:,} are missing")
        refusal = make_room(cache, counts)
    except CacheError as error:
        return None, str(error)
    return (cache, None) if refusal is None else (None, str(refusal))


def _cache(recipe: Recipe, model: PreTrainedModel, processor: Phi3VProcessor, dtype: torch.dtype) -> FeatureCache:
    config, mixed = model.config, dtype if dtype != model.dtype else None
    key = tower_key(model, processor.image_processor, dtype, mixed)
    shape = (config.crop_grid**2, 4 * config.vision_config.hidden_size)
    return FeatureCache(cache_root(), key, round(recipe.train.vision_cache_gb * 1e9), shape, dtype)


def _encoder(
    model: PreTrainedModel, device: torch.device, dtype: torch.dtype
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The tower as training runs it, on its device."""
    model.eval()
    if not getattr(model, "is_quantized", False):
        model.to(device)

    def encode(pixel_values: torch.Tensor, image_sizes: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            features: torch.Tensor = model.model.encode_pictures(pixel_values.to(device), image_sizes)
        return features

    return encode
