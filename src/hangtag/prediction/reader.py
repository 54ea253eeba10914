"""A model asked about pictures and held to nothing: what it writes, what it holds likely, what it sees.

The model sees the picture and the question, never an answer. A generation that does not end by itself within the
length limit is no answer: half a price is not a price.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from PIL import Image
from transformers import PreTrainedModel

from hangtag.answer import Value
from hangtag.catalogue.pictures import read_picture
from hangtag.errors import ImageError
from hangtag.examples.chat import Chat
from hangtag.machine import cores
from hangtag.memory.generation import MOST_ROWS
from hangtag.phi3v import Phi3VProcessor
from hangtag.phi3v.adapters_phi3_v import without_wrapper
from hangtag.prediction.beginning import Before, begin, rows_of
from hangtag.prediction.decoder import Decoder, run
from hangtag.prediction.given import give_answers, given_reading
from hangtag.prediction.hypotheses import BEAMS
from hangtag.prediction.nodes import Program, Task, together
from hangtag.prediction.numbers import CLOSE, NODES
from hangtag.prediction.pieces import Pieces
from hangtag.prediction.readings import Judge
from hangtag.prediction.writing import Row, end_of, ends_of, write
from hangtag.progress import Progress
from hangtag.reading import Reading
from hangtag.recipe import Recipe
from hangtag.recipe.sections import END

T = TypeVar("T")
MOST_TOKENS = 256
"""Of an answer, where the model's folder does not say."""

Picture = str | Path | Image.Image
Shown = Picture | Sequence[Picture]


class Reader:
    """Greedy answers, in batches, with a cache.

    What is shown for one row is a picture, or a sequence of them where the recipe's rows have several, or none.
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

    def answers(self, images: Sequence[Shown], progress: Progress | None = None) -> list[str | None]:
        """The raw text written for each picture, None where it did not end.

        Raises:
            ImageError: a picture cannot be read.
        """
        texts: list[str | None] = []
        for batch in self._batches(images):
            texts += self._run(partial(self._free, _readable(batch), self._written))
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
        found: list[Reading] = []
        for batch in self._batches(images):
            mine = None if truths is None else truths[len(found) : len(found) + len(batch)]
            found += self._run(partial(self._free, _readable(batch), partial(self._reading, mine), traced=True))
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
        found: list[Reading] = []
        for batch in self._batches(images):
            texts = [self.recipe.task.template.write(each) for each in values[len(found) : len(found) + len(batch)]]
            found += self._run(partial(self._given, _readable(batch), texts))
            if progress:
                progress(len(found), len(images))
        return found

    def log_probs_of(self, images: Sequence[Shown], values: Sequence[Mapping[str, Value]]) -> list[dict[str, float]]:
        """How likely the model finds given values of each picture's fields, behind what it writes before them itself.

        Log probabilities by field. One that could not be judged, because the value reads as another form, is absent.

        Raises:
            ImageError: a picture cannot be read.
        """
        found: list[dict[str, float]] = []
        for batch in self._batches(images):
            mine = values[len(found) : len(found) + len(batch)]
            found += self._run(partial(self.judging, _readable(batch), mine))
        return found

    def judging(
        self, pictures: Sequence[Sequence[Image.Image]], values: Sequence[Mapping[str, Value]], decoder: Decoder
    ) -> list[Task[dict[str, float]]]:
        """Begin one batch of `log_probs_of`."""
        return self._free(pictures, partial(self._judged, values), decoder)

    def features(self, images: Sequence[Shown]) -> NDArray[np.float32]:
        """The mean of the projected vision features of the global views shown: float32 [rows, hidden]; zeros for none.

        The view of the whole picture finds nearer neighbours than all crops together do (docs/log.md).
        """
        base = without_wrapper(self.model)
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
                yield list(pool.map(self._read, shown[start : start + self.batch_size]))

    def _read(self, shown: Shown) -> list[Image.Image] | ImageError:
        """What is shown for one tag, decoded; or why a picture of it cannot be used."""
        pictures = [shown] if isinstance(shown, str | Path | Image.Image) else shown
        try:
            read = [each if isinstance(each, Image.Image) else read_picture(Path(each)) for each in pictures]
            for each in read:
                self.processor.image_processor.size_after(*each.size)
        except ImageError as error:
            return error
        return read

    def _inputs(
        self, images: Sequence[Sequence[Image.Image]], prompts: list[str] | None = None
    ) -> dict[str, torch.Tensor]:
        tokenizer = self.processor.tokenizer
        tokenizer.padding_side = "left"
        images = [list(each) for each in images]
        prompts = prompts or [self.chat.prompt(len(each)) for each in images]
        pictures = images if any(images) else None
        inputs = self.processor(text=prompts, images=pictures, padding=True, return_tensors="pt").to(self.model.device)
        if pictures:
            inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        return dict(inputs)

    def write(self, inputs: Mapping[str, torch.Tensor]) -> list[str | None]:
        """The raw text written after each of some prompts, padded on the left; None where it did not end.

        It is written by `generate`, for models that are being trained, of which a process may hold a share only.

        Args:
            inputs: of `generate`, on the model's device.
        """
        with torch.inference_mode():
            ids_BT = self.model.generate(**inputs, do_sample=False)
        found: list[str | None] = []
        for row in ids_BT[:, inputs["input_ids"].shape[1] :].tolist():
            end = end_of(row, self._ends)
            found.append(None if end is None else self._decode(row[:end]))
        return found

    def decoder(self) -> Decoder:
        """A decoder without rows."""
        return Decoder(self.model, list(self.judge.signs.values()), self.judge.beams)

    def _run(self, begin: Callable[[Decoder], list[Task[T]]]) -> list[T]:
        """What some rows come to."""
        decoder = self.decoder()
        tasks = begin(decoder)
        run(decoder, tasks)
        return [task.value for task in tasks]

    def _written(self, number: int, row: Row, before: Before) -> Program[str | None]:
        yield from together(before)
        return self._text(row)

    def _reading(
        self, truths: Sequence[Mapping[str, Value]] | None, number: int, row: Row, before: Before
    ) -> Program[Reading]:
        found = yield from together([*before, *self.judge.prefixes(row)])
        reading = yield from self.judge.reading(row, self._text(row), found[len(before) :])
        judged = {} if truths is None else (yield from self.judge.truths(row, truths[number]))
        return replace(reading, truth=judged)

    def _judged(
        self, values: Sequence[Mapping[str, Value]], number: int, row: Row, before: Before
    ) -> Program[dict[str, float]]:
        yield from together(before)
        return (yield from self.judge.truths(row, values[number]))

    def _given(
        self, pictures: Sequence[Sequence[Image.Image]], texts: Sequence[str], decoder: Decoder
    ) -> list[Task[Reading]]:
        inputs = self._inputs(pictures)
        rows = rows_of(self.model, inputs, [(None, MOST_TOKENS, False)] * len(texts), self._ends)
        ids = self.processor.tokenizer([text + END for text in texts], add_special_tokens=False)["input_ids"]
        numbers, log_probs_BNV = give_answers(self.model, decoder, inputs, rows, ids)
        return [
            Task(number, given_reading(self.judge, row, log_probs_NV, text))
            for number, row, log_probs_NV, text in zip(numbers, rows, log_probs_BNV, texts, strict=True)
        ]

    def _free(
        self,
        pictures: Sequence[Sequence[Image.Image]],
        program: Callable[[int, Row, Before], Program[T]],
        decoder: Decoder,
        traced: bool = False,
    ) -> list[Task[T]]:
        """Begin answers that are held to nothing; only a picture's place is never written.

        Args:
            program: what becomes of a row, by its number.
            traced: whether numbers are read out of the answers.
        """
        may = torch.ones(self.model.config.vocab_size, dtype=torch.bool, device=self.model.device)
        may[self.model.config.image_token_id : self.model.config.image_token_id + 1] = False
        most = self.model.generation_config.max_new_tokens or MOST_TOKENS
        inputs = self._inputs(pictures)
        rows = rows_of(self.model, inputs, [(None, most, False)] * len(pictures), self._ends, traced)
        writing = [write(row, may, self._pieces) for row in rows]
        programs = [partial(program, number, row) for number, row in enumerate(rows)]
        return begin(self.model, decoder, inputs, rows, writing, programs)

    @cached_property
    def judge(self) -> Judge:
        """Reads confidences and distributions; another one, with more nodes or prefixes, may take its place."""
        return self.judge_with()

    def judge_with(self, nodes: int = NODES, beams: int = BEAMS, close: float = CLOSE) -> Judge:
        """A judge of this model with so many nodes and prefixes, and numbers so close together as one."""
        return Judge(self._pieces, self.recipe.task.template, sorted(self._ends), nodes, beams, close)

    @property
    def _ends(self) -> set[int]:
        return set(ends_of(self.model))

    def _text(self, row: Row) -> str | None:
        return self._decode(row.tokens) if row.ended else None

    def _decode(self, tokens: list[int]) -> str:
        return str(self.processor.tokenizer.decode(tokens, skip_special_tokens=False)).strip()


def _readable(batch: Sequence[list[Image.Image] | ImageError]) -> list[list[Image.Image]]:
    """Raises the first ImageError of a batch."""
    for each in batch:
        if isinstance(each, ImageError):
            raise each
    return [each for each in batch if not isinstance(each, ImageError)]
