"""A run put to use: pictures in, tags out, by batched greedy generation with a cache.

The model sees the picture and the question, never an answer. A generation that does not end by itself
within the length limit is no answer: half a price is not a price.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedModel

from hangtag.answer import Value
from hangtag.catalogue.pictures import read_picture
from hangtag.errors import ImageError, RunError, first_line
from hangtag.examples.examples import chat_prompt
from hangtag.files import Run
from hangtag.phi3v import Phi3VProcessor
from hangtag.progress import Progress
from hangtag.recipe import Recipe, load_recipe

Picture = str | Path | Image.Image


@dataclass(frozen=True)
class Tag:
    """One picture's tag: the fields (None where the answer is unreadable), the raw text, or why there is none."""

    fields: dict[str, Value] | None
    raw: str | None
    error: str | None = None


class Tagger:
    """Turns pictures into tags. Make one with `load(run)`."""

    def __init__(self, model: PreTrainedModel, processor: Phi3VProcessor, recipe: Recipe, batch_size: int = 64) -> None:
        self.model = model.eval()
        self.processor = processor
        self.recipe = recipe
        self.batch_size = batch_size
        self.prompt = chat_prompt(recipe.task.prompt)

    def tags(self, pictures: Sequence[Picture], progress: Progress | None = None) -> list[Tag]:
        """A tag for each picture; one that cannot be read has an `error` and ends nothing."""
        tags: list[Tag] = []
        for batch in self._batches(pictures):
            readable = [each for each in batch if isinstance(each, Image.Image)]
            answers = iter(self._generate(readable) if readable else [])
            for each in batch:
                tags.append(Tag(None, None, str(each)) if isinstance(each, ImageError) else self._tag(next(answers)))
            if progress:
                progress(len(tags), len(pictures))
        return tags

    def answers(self, images: Sequence[Picture], progress: Progress | None = None) -> list[str | None]:
        """The raw text written for each picture, None where it did not end.

        Raises:
            ImageError: a picture cannot be read.
        """
        texts: list[str | None] = []
        for batch in self._batches(images):
            for each in batch:
                if isinstance(each, ImageError):
                    raise each
            texts += self._generate([each for each in batch if isinstance(each, Image.Image)])
            if progress:
                progress(len(texts), len(images))
        return texts

    def features(self, images: Sequence[Picture]) -> NDArray[np.float32]:
        """The mean of each picture's projected vision features: float32 [pictures, hidden]."""
        rows = []
        for batch in self._batches(images):
            for each in batch:
                if isinstance(each, ImageError):
                    raise each
            inputs = self.processor.image_processor(list(batch), return_tensors="pt")
            with torch.inference_mode():
                vision = self.model.model.vision_embed_tokens
                grids = vision.grids(inputs["image_sizes"])
                pixels = inputs["pixel_values"].to(self.model.device, self.model.dtype)
                features = vision(grids, vision.gather_crops(pixels, grids))
            counts = [vision.num_tokens(*grid) for grid in grids]
            rows += [each.float().mean(0).cpu().numpy() for each in features.split(counts)]
        return np.stack(rows)

    def _batches(self, pictures: Sequence[Picture]) -> Iterator[list[Image.Image | ImageError]]:
        """Pictures decoded ahead of the model, batch by batch; an unreadable one comes as its error."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(pictures), self.batch_size):
                yield list(pool.map(_read, pictures[start : start + self.batch_size]))

    def _generate(self, images: list[Image.Image]) -> list[str | None]:
        tokenizer = self.processor.tokenizer
        tokenizer.padding_side = "left"
        inputs = self.processor(
            text=[self.prompt] * len(images), images=[[each] for each in images], padding=True, return_tensors="pt"
        ).to(self.model.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        with torch.inference_mode():
            ids_BT = self.model.generate(**inputs, do_sample=False)
        new_BT = ids_BT[:, inputs["input_ids"].shape[1] :].tolist()
        ends = set(_as_list(self.model.generation_config.eos_token_id))
        return [self._text(row, ends) for row in new_BT]

    def _text(self, row: list[int], ends: set[int]) -> str | None:
        length = next((index for index, token in enumerate(row) if token in ends), None)
        if length is None:
            return None
        return str(self.processor.tokenizer.decode(row[:length], skip_special_tokens=False)).strip()

    def _tag(self, raw: str | None) -> Tag:
        fields = None if raw is None else self.recipe.task.template.read(raw)
        if fields is None:
            return Tag(None, raw, "the model's answer is unreadable" if raw else "the model's answer did not end")
        return Tag(fields, raw)


def _as_list(value: int | list[int] | None) -> list[int]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _read(picture: Picture) -> Image.Image | ImageError:
    if isinstance(picture, Image.Image):
        return picture
    try:
        return read_picture(Path(picture))
    except ImageError as error:
        return error


def load(run: str | Path, batch_size: int = 64) -> Tagger:
    """The tagger of a run folder, on the accelerator where there is one.

    Raises:
        RunError: no run folder, no model in it, or one that cannot be loaded.
    """
    folder = Run(Path(run)).require_model()
    recipe = load_recipe(folder.recipe)
    cuda = torch.cuda.is_available()
    try:
        model = AutoModelForImageTextToText.from_pretrained(
            folder.model, dtype=torch.bfloat16 if cuda else torch.float32
        )
        processor = AutoProcessor.from_pretrained(folder.model)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise RunError(f"{folder.model} cannot be loaded: {first_line(error)}; train the run again") from None
    return Tagger(model.to("cuda") if cuda else model, processor, recipe, batch_size)
