"""Making the features that are missing: pictures decoded ahead by threads, crops encoded together, files written.

Shapes: H W canvas size in pixels, T tiles of all pictures of a batch, C crops (a global view more a picture), S crop
side, N pictures, G token rows of a crop, V CLIP's width.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch

from hangtag.catalogue.pictures import read_picture
from hangtag.examples.features import FeatureCache, crop_count
from hangtag.machine import cores
from hangtag.phi3v import Phi3VImageProcessor
from hangtag.progress import Progress

Source = Path | torch.Tensor
"""A picture file, or a canvas uint8 [H, W, 3] as `Phi3VImageProcessor.hd_transform` makes it."""
Encode = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""`crop_features` [C, G * G, 4 V] of pixel_values and image_sizes, as `Phi3VModel.encode_pictures` takes them."""
Batch = tuple[list[str], list[torch.Tensor]]
Item = TypeVar("Item")
Result = TypeVar("Result")


def fill(
    cache: FeatureCache,
    pictures: Mapping[str, Source],
    processor: Phi3VImageProcessor,
    encode: Encode,
    crops_at_once: int,
    progress: Progress,
    rank: int = 0,
    world: int = 1,
) -> int:
    """Encode and store every picture that the cache does not hold yet.

    What is stored stays stored if this ends early. Several processes each take every `world`-th picture, stored ones
    counted too, so that none is left out by two that begin at different moments; all wait for each other afterwards.

    Args:
        pictures: by content hash; the same in every process.
        encode: the tower, in evaluation mode; it gets bytes where mean and deviation are CLIP's own, to be normalised
            on the model's device.
        crops_at_once: the most crops in one call of `encode`; a picture with more goes alone.
        progress: of the pictures that this process encodes.

    Returns:
        how many pictures this process encoded.

    Raises:
        ImageError: a picture cannot be used.
        CacheError: a file cannot be written.
    """
    missing = cache.missing(list(pictures)[rank::world])
    threads, done = cores(), 0
    progress(done, len(missing))

    def canvas(picture: str) -> torch.Tensor:
        source = pictures[picture]
        if isinstance(source, torch.Tensor):
            return source
        return torch.from_numpy(processor.hd_transform(read_picture(source)))

    with ThreadPoolExecutor(threads) as readers, ThreadPoolExecutor(threads) as writers:
        writing: list[Future[None]] = []
        canvases = _ahead(readers, canvas, missing, most=threads + crops_at_once)
        for names, batch in _batches(missing, canvases, processor.crop_size, crops_at_once):
            with torch.no_grad():
                features = _encoded(batch, processor, encode).to("cpu", cache.dtype)
            for each in writing:
                each.result()
            counts = [crop_count(each.shape[0], each.shape[1], processor.crop_size) for each in batch]
            writing = [writers.submit(cache.put, *each) for each in zip(names, features.split(counts), strict=True)]
            done += len(names)
            progress(done, len(missing))
        for each in writing:
            each.result()
    return done


def _encoded(canvases: Sequence[torch.Tensor], processor: Phi3VImageProcessor, encode: Encode) -> torch.Tensor:
    made = processor.canvases_to_bytes if processor.model_normalises else processor.canvases_to_pixel_values
    return encode(made(canvases), torch.tensor([each.shape[:2] for each in canvases]))


def _batches(names: Sequence[str], canvases: Iterator[torch.Tensor], side: int, most: int) -> Iterator[Batch]:
    """Names and canvases of as many pictures as have at most `most` crops together, or of one."""
    batch: Batch = ([], [])
    held = 0
    for name, canvas_HW3 in zip(names, canvases, strict=True):
        crops = crop_count(canvas_HW3.shape[0], canvas_HW3.shape[1], side)
        if batch[0] and held + crops > most:
            yield batch
            batch, held = ([], []), 0
        batch[0].append(name)
        batch[1].append(canvas_HW3)
        held += crops
    if batch[0]:
        yield batch


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Sequence[Item], most: int
) -> Iterator[Result]:
    """`work` done for each item, in order, with at most `most` results waiting or under way."""
    under_way: deque[Future[Result]] = deque()
    rest = iter(items)
    try:
        for item in rest:
            under_way.append(pool.submit(work, item))
            if len(under_way) >= most:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        for each in under_way:
            each.cancel()
