"""A run put to use: pictures in, tags out, by batched greedy generation with a cache.

The model sees the picture and the question, never an answer. A generation that does not end by itself
within the length limit is no answer: half a price is not a price.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from PIL import Image
from safetensors import SafetensorError
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedModel,
)

from hangtag.answer import Value
from hangtag.catalogue.pictures import read_picture
from hangtag.errors import ImageError, RunError, first_line
from hangtag.examples.chat import Chat
from hangtag.files import Run
from hangtag.machine import cores
from hangtag.memory.generation import MOST_ROWS, rows_at_once
from hangtag.phi3v import Phi3VProcessor
from hangtag.phi3v.adapters_phi3_v import four_bits, load_adapter
from hangtag.prediction.batching import BATCHES, ahead, in_batches, windows
from hangtag.prediction.branches import Answers, TokenLogProbs, end_of
from hangtag.prediction.given import given_answers, given_readings
from hangtag.prediction.pieces import Pieces
from hangtag.prediction.readings import Judge
from hangtag.progress import Progress
from hangtag.reading import Reading
from hangtag.recipe import Recipe, load_recipe
from hangtag.recipe.sections import END

Picture = str | Path | Image.Image
Shown = Picture | Sequence[Picture]


@dataclass(frozen=True)
class Tag:
    """One picture's tag: the fields (None where the answer is unreadable), the raw text, or why there is none."""

    fields: dict[str, Value] | None
    raw: str | None
    error: str | None = None
    confidence: dict[str, float] | None = None
    numbers: dict[str, dict[str, float | None]] | None = None
    calibrated: bool = False

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "fields": self.fields,
            "confidence": self.confidence,
            "numbers": self.numbers,
            "raw": self.raw,
            "error": self.error,
            "calibrated": self.calibrated,
        }


class Tagger:
    """Turns pictures into tags. Make one with `load(run)`.

    What is shown for one tag is a picture, or a sequence of them where the recipe's rows have several, or none.
    """

    def __init__(
        self, model: PreTrainedModel | PeftModel, processor: Phi3VProcessor, recipe: Recipe, batch_size: int = MOST_ROWS
    ) -> None:
        self.model = model.eval()
        self.processor = processor
        self.recipe = recipe
        self.batch_size = batch_size
        self.chat = Chat.of(recipe.task)
        self._pieces = Pieces(processor.tokenizer)

    def tags(self, pictures: Sequence[Shown], progress: Progress | None = None) -> list[Tag]:
        """A tag for each picture; one that cannot be read has an `error` and ends nothing."""
        tags: list[Tag] = []
        with ThreadPoolExecutor(cores()) as pool:

            def read(bounds: tuple[int, int]) -> list[list[Image.Image] | ImageError]:
                return list(pool.map(self._read, pictures[slice(*bounds)]))

            for window in ahead(read, windows(len(pictures), self.window)):
                tags += self.tags_of(window)
                if progress:
                    progress(len(tags), len(pictures))
        return tags

    @property
    def window(self) -> int:
        """Rows that are read ahead and sorted together."""
        return BATCHES * self.batch_size

    def tags_of(self, rows: Sequence[list[Image.Image] | ImageError]) -> list[Tag]:
        """The tags of one window's rows; where there is an error in place of its pictures, the tag has it too."""
        readable = [each for each in rows if not isinstance(each, ImageError)]
        tokens = [sum(map(self._tokens, each)) for each in readable]
        answers = iter(in_batches(readable, tokens, self._generate, self.batch_size))
        return [Tag(None, None, str(each)) if isinstance(each, ImageError) else self._tag(next(answers)) for each in rows]

    def made_small(self, picture: Image.Image) -> Image.Image:
        """What the model sees of a picture, no larger than that: the processor gives the same pixels for both.

        Raises:
            ImageError: it is too flat.
        """
        return Image.fromarray(self.processor.image_processor.hd_transform(picture))

    def _tokens(self, picture: Image.Image) -> int:
        images = self.processor.image_processor
        return int(images.num_image_tokens(*images.size_after(*picture.size)))

    def _read(self, shown: Shown) -> list[Image.Image] | ImageError:
        try:
            read = _read(shown)
            return read if isinstance(read, ImageError) else [self.made_small(each) for each in read]
        except ImageError as error:
            return error

    def answers(self, images: Sequence[Shown], progress: Progress | None = None) -> list[str | None]:
        """The raw text written for each picture, None where it did not end.

        Raises:
            ImageError: a picture cannot be read.
        """
        texts: list[str | None] = []
        for batch in self._batches(images):
            texts += self._generate(_readable(batch))
            if progress:
                progress(len(texts), len(images))
        return texts

    def readings(
        self,
        images: Sequence[Shown],
        progress: Progress | None = None,
        truths: Sequence[Mapping[str, Value]] | None = None,
    ) -> list[Reading]:
        """The text written for each picture, with what the model holds likely: see `Reading`.

        Args:
            truths: each row's true values, whose probabilities are then told too.

        Raises:
            ImageError: a picture cannot be read.
        """
        judge = Judge(self._pieces, self.recipe.task.template, sorted(self._ends))
        found: list[Reading] = []
        for batch in self._batches(images):
            answers, texts = self._answers(self._inputs(_readable(batch)))
            mine = None if truths is None else truths[len(found) : len(found) + len(texts)]
            found += judge.readings(answers, texts, mine)
            if progress:
                progress(len(found), len(images))
        return found

    def readings_of(
        self, images: Sequence[Shown], values: Sequence[Mapping[str, Value]], progress: Progress | None = None
    ) -> list[Reading]:
        """Readings as if the model had written an answer of these values for each picture.

        Confidence is the probability of a given value behind the given ones before it, whatever it is; numbers, too,
        stand on the given values alone.

        Raises:
            ImageError: a picture cannot be read.
        """
        template = self.recipe.task.template
        judge = Judge(self._pieces, template, sorted(self._ends))
        found: list[Reading] = []
        for batch in self._batches(images):
            texts = [template.write(each) for each in values[len(found) : len(found) + len(batch)]]
            ids = self.processor.tokenizer([text + END for text in texts], add_special_tokens=False)["input_ids"]
            found += given_readings(judge, *given_answers(self.model, self._inputs(_readable(batch)), ids), texts)
            if progress:
                progress(len(found), len(images))
        return found

    def features(self, images: Sequence[Shown]) -> NDArray[np.float32]:
        """The mean of the projected vision features of the global views shown: float32 [rows, hidden]; zeros for none.

        The view of the whole picture finds nearer neighbours than all crops together do (docs/log.md).
        """
        base: Any = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        vision, rows = base.model.vision_embed_tokens, []
        for batch in self._batches(images):
            readable = _readable(batch)
            pictures = [each for row in readable for each in row]
            means: Iterator[NDArray[np.float32]] = iter(self._picture_means(vision, pictures) if pictures else ())
            for row in readable:
                mine = [next(means) for _ in row]
                rows.append(np.mean(mine, 0) if mine else np.zeros(base.config.hidden_size, np.float32))
        return np.stack(rows)

    def _picture_means(self, vision: Any, pictures: list[Image.Image]) -> NDArray[np.float32]:
        inputs = self.processor.image_processor(pictures, num_crops=1, return_tensors="pt")
        with torch.inference_mode():
            views_N3SS = inputs["pixel_values"][:, 0].to(self.model.device, self.model.dtype)
            features_NGD = vision.img_projection(vision.encode_crops(views_N3SS))
        return np.asarray(features_NGD.float().mean(1).cpu().numpy())

    def _batches(self, shown: Sequence[Shown]) -> Iterator[list[list[Image.Image] | ImageError]]:
        """Pictures decoded ahead of the model, batch by batch; what cannot be read comes as its error."""
        with ThreadPoolExecutor(cores()) as pool:
            for start in range(0, len(shown), self.batch_size):
                yield list(pool.map(_read, shown[start : start + self.batch_size]))

    def _generate(self, images: list[list[Image.Image]]) -> list[str | None]:
        return self.write(self._inputs(images))

    def _inputs(self, images: list[list[Image.Image]]) -> dict[str, torch.Tensor]:
        tokenizer = self.processor.tokenizer
        tokenizer.padding_side = "left"
        prompts = [self.chat.prompt(len(each)) for each in images]
        pictures = images if any(images) else None
        inputs = self.processor(text=prompts, images=pictures, padding=True, return_tensors="pt").to(self.model.device)
        if pictures:
            inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        return dict(inputs)

    def write(self, inputs: Mapping[str, torch.Tensor]) -> list[str | None]:
        """The raw text written after each of some prompts, padded on the left; None where it did not end.

        Args:
            inputs: of `generate`, on the model's device.
        """
        with torch.inference_mode():
            ids_BT = self.model.generate(**inputs, do_sample=False)
        new_BT = ids_BT[:, inputs["input_ids"].shape[1] :].tolist()
        return [self._text(row, end_of(row, self._ends)) for row in new_BT]

    def _answers(self, inputs: Mapping[str, torch.Tensor]) -> tuple[Answers, list[str | None]]:
        """As `write`, with all that was computed on the way."""
        sure = TokenLogProbs(self.model.config.image_token_id)
        with torch.inference_mode():
            done = self.model.generate(
                **inputs, do_sample=False, return_dict_in_generate=True, logits_processor=LogitsProcessorList([sure])
            )
        prompt_BT = inputs["input_ids"]
        rows = done.sequences[:, prompt_BT.shape[1] :].tolist()
        ends = [end_of(row, self._ends) for row in rows]
        log_probs = sure.of_rows()
        answers = Answers(
            self.model,
            done.past_key_values,
            prompt_BT,
            inputs["attention_mask"],
            [None if end is None else row[:end] for row, end in zip(rows, ends, strict=True)],
            [[] if end is None else log_probs[row][: end + 1] for row, end in enumerate(ends)],
        )
        return answers, [self._text(row, end) for row, end in zip(rows, ends, strict=True)]

    @property
    def _ends(self) -> set[int]:
        return set(_as_list(self.model.generation_config.eos_token_id))

    def _text(self, row: list[int], end: int | None) -> str | None:
        if end is None:
            return None
        return str(self.processor.tokenizer.decode(row[:end], skip_special_tokens=False)).strip()

    def _tag(self, raw: str | None) -> Tag:
        fields = None if raw is None else self.recipe.task.template.read(raw)
        if fields is None:
            return Tag(None, raw, "the model's answer is unreadable" if raw else "the model's answer did not end")
        return Tag(fields, raw)


def _as_list(value: int | list[int] | None) -> list[int]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _read(shown: Shown) -> list[Image.Image] | ImageError:
    pictures = [shown] if isinstance(shown, str | Path | Image.Image) else shown
    try:
        return [each if isinstance(each, Image.Image) else read_picture(Path(each)) for each in pictures]
    except ImageError as error:
        return error


def _readable(batch: Sequence[list[Image.Image] | ImageError]) -> list[list[Image.Image]]:
    """Raises the first ImageError of a batch."""
    for each in batch:
        if isinstance(each, ImageError):
            raise each
    return [each for each in batch if not isinstance(each, ImageError)]


def _rows_beside(model: torch.nn.Module, recipe: Recipe) -> int:
    weights = sum(each.numel() * each.element_size() for each in model.parameters())
    return rows_at_once(recipe, torch.cuda.get_device_properties(0).total_memory - weights)


def load(run: str | Path, batch_size: int | None = None) -> Tagger:
    """The tagger of a run folder, on the accelerator where there is one.

    Args:
        batch_size: rows whose answers are written at once; by default as many as the accelerator has room for, at
            most 64.

    Raises:
        RunError: no run folder, no model in it, or one that cannot be loaded.
    """
    folder = Run(Path(run)).require_model()
    recipe = load_recipe(folder.recipe)
    cuda = torch.cuda.is_available()
    options: dict[str, Any] = {"dtype": torch.bfloat16 if cuda else torch.float32}
    if recipe.train.method == "qlora":
        options["quantization_config"] = four_bits(options["dtype"])
    try:
        if folder.has_adapter():
            model = load_adapter(folder.model, recipe.model.base, **options)
            model.generation_config = model.get_base_model().generation_config = GenerationConfig.from_pretrained(
                folder.model
            )
        else:
            model = AutoModelForImageTextToText.from_pretrained(folder.model, **options)
        processor = AutoProcessor.from_pretrained(folder.model)
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        raise RunError(f"{folder.model} cannot be loaded: {first_line(error)}; train the run again") from None
    if batch_size is None:
        batch_size = _rows_beside(model, recipe) if cuda else MOST_ROWS
    on_device = cuda and recipe.train.method != "qlora"  # a quantised base is put there as it is loaded
    return Tagger(model.to("cuda") if on_device else model, processor, recipe, batch_size)
