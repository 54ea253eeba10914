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
    on_device = processes.state.device.type != "cpu" and processor.image_processor.model_normalises
    crops = Vision(as_bytes=on_device)
    pictures = {picture: size for each in splits for picture, size in each.sizes.items()}
    settings = recipe.train
    if settings.part_rates()["clip"] or not pictures or not settings.vision_cache:
        return crops
    if settings.augments:
        say("vision cache: not used, since pictures are changed anew in each epoch")
        return crops
    with ThreadPoolExecutor() as pool:
        keys = dict(zip(pictures, pool.map(content_hash, pictures), strict=True))
    side = processor.image_processor.crop_size
    counts = {keys[picture]: crop_count(*size, side) for picture, size in pictures.items()}
    cache = _open(recipe, model, processor, counts, processes, say)
    if cache is None:
        return crops
    with stages("encoding pictures") as progress:
        encode = _encoder(model, processes.state.device, cache.dtype)
        sources = {key: picture for picture, key in keys.items()}
        share = processes.index, processes.number
        fill(cache, sources, processor.image_processor, encode, CROPS_AT_ONCE, progress, *share)
    processes.wait()
    return Vision(cache, keys)


def _open(
    recipe: Recipe,
    model: PreTrainedModel,
    processor: Phi3VProcessor,
    counts: dict[str, int],
    processes: Processes,
    say: Callable[[str], None],
) -> FeatureCache | None:
    """The cache with room for what is needed, whose size is told first; None where there is no room or no folder.

    The first process makes room before the others open the cache.

    Args:
        counts: crops of every picture, by content hash.
    """
    cache, refusal = None, None
    if processes.main:
        try:
            cache = _cache(recipe, model, processor)
            needed, missing = sum(map(cache.entry_bytes, counts.values())), len(cache.missing(counts))
            counted = f"{len(counts):,} pictures take {gigabytes(needed)}, {missing:,} of them to be made"
            say(f"vision cache in {cache.root}: {counted}")
            no_room = make_room(cache, counts)
            refusal = None if no_room is None else str(no_room)
        except CacheError as error:
            refusal = str(error)
    refusal = processes.told(refusal)
    if refusal is not None:
        say(f"vision cache: not used, so CLIP runs in every epoch: {refusal}")
        return None
    return cache or _cache(recipe, model, processor)


def _cache(recipe: Recipe, model: PreTrainedModel, processor: Phi3VProcessor) -> FeatureCache:
    config, dtype = model.config, precision(recipe.train.precision)
    key = tower_key(model, processor.image_processor, dtype, None if dtype == model.dtype else dtype)
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
