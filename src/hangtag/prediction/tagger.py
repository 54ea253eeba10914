"""A run put to use: pictures in, tags out, each answer held to its schema while it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import Any

import torch
from peft import PeftModel
from PIL import Image
from transformers import PreTrainedModel

from hangtag.answer import Value
from hangtag.calibration import Calibration
from hangtag.errors import ImageError, ModelError
from hangtag.examples.chat import Chat
from hangtag.machine import cores
from hangtag.memory.generation import MOST_ROWS, TEXT_TOKENS
from hangtag.phi3v import Phi3VProcessor
from hangtag.prediction.batching import BATCHES, ahead, in_batches, windows
from hangtag.prediction.beginning import Before, begin, rows_of
from hangtag.prediction.decoder import Decoder
from hangtag.prediction.grammar import Grammar
from hangtag.prediction.nodes import Program, Task, together
from hangtag.prediction.reader import MOST_TOKENS, Reader, Shown
from hangtag.prediction.tag import Ask, Tag
from hangtag.prediction.writing import Cancelled, OnText, Row, write
from hangtag.progress import Progress
from hangtag.reading import Reading
from hangtag.recipe import Recipe
from hangtag.schema import OTHER


class Tagger(Reader):
    """Turns pictures into tags. Make one with `load(run)`.

    What is shown for one tag is a picture, or a sequence of them where the recipe's rows have several, or none.

    Args:
        known: the values of each category field that training showed; a field without an entry may hold any.
        calibration: what an evaluation found out; None before there was one.
        most_tokens: of a batch, padding and what is written included; None where there is room for any.
    """

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        processor: Phi3VProcessor,
        recipe: Recipe,
        batch_size: int = MOST_ROWS,
        known: Mapping[str, Sequence[str]] | None = None,
        calibration: Calibration | None = None,
        most_tokens: int | None = None,
    ) -> None:
        super().__init__(model, processor, recipe, batch_size)
        self.known = dict(known or {})
        self.calibration = calibration
        self.most_tokens = most_tokens
        self.static = self.model.device.type == "cuda"  # generate then compiles the model for a cache of fixed size
        self._grammars: dict[bool, Grammar] = {}

    def tags(self, pictures: Sequence[Shown], progress: Progress | None = None) -> list[Tag]:
        """A tag for each picture, held to the schema; one that cannot be read has an `error` and ends nothing."""
        tags: list[Tag] = []
        with ThreadPoolExecutor(cores()) as pool:

            def read(bounds: tuple[int, int]) -> list[list[Image.Image] | ImageError]:
                return list(pool.map(self._seen, pictures[slice(*bounds)]))

            for window in ahead(read, windows(len(pictures), BATCHES * self.batch_size)):
                tags += self.tags_of(window)
                if progress:
                    progress(len(tags), len(pictures))
        return tags

    def tags_of(self, rows: Sequence[list[Image.Image] | ImageError]) -> list[Tag]:
        """Tags of rows whose pictures have been read, sorted into batches; an error in their place is the tag's."""
        asks = [Ask(each) for each in rows if not isinstance(each, ImageError)]
        tokens = [self.prompt_tokens(each) + TEXT_TOKENS for each in asks]
        found = iter(in_batches(asks, tokens, self.answer, self.batch_size, self.most_tokens))
        return [Tag(None, None, str(each)) if isinstance(each, ImageError) else next(found) for each in rows]

    def answer(
        self, asks: Sequence[Ask], on_text: OnText | None = None, cancelled: Cancelled | None = None
    ) -> list[Tag]:
        """One batch of answers, written at once: see `answering`."""
        return self._run(lambda decoder: self.answering(decoder, asks, on_text, cancelled))

    def answering(
        self,
        decoder: Decoder,
        asks: Sequence[Ask],
        on_text: OnText | None = None,
        cancelled: Cancelled | None = None,
    ) -> list[Task[Tag]]:
        """Begin one batch of answers.

        Args:
            on_text: told each row's new text as it is written; all of it together is the tag's `raw`.
            cancelled: asked at each step whether a row is of no use any more; such an answer is cut.

        Raises:
            ModelError: a prompt holds special tokens or is too long, or pictures and model do not fit together.
        """
        limit = self.model.generation_config.max_new_tokens or MOST_TOKENS
        held = [
            (self._grammar(ask.known_only) if ask.held else None, ask.most_tokens or limit, bool(ask.most_tokens))
            for ask in asks
        ]
        inputs = self._inputs([ask.pictures for ask in asks], [self._prompt(ask) for ask in asks])
        rows = rows_of(self.model, inputs, held, self._ends, traced=True)
        writing = [
            write(
                row,
                self._free_tokens,
                self._pieces,
                partial(on_text, number) if on_text else None,
                partial(cancelled, number) if cancelled else None,
            )
            for number, row in enumerate(rows)
        ]
        programs = [partial(self._tagged, row) for row in rows]
        return begin(self.model, decoder, inputs, rows, writing, programs, self.static)

    def _tagged(self, row: Row, before: Before) -> Program[Tag]:
        """A tag, or for a row that is held to nothing its text."""
        prefixes = yield from together([*before, *(self.judge.prefixes(row) if row.grammar else [])])
        raw = self._decode(row.tokens)
        told: dict[str, Any] = {"tokens": (row.prompt, len(row.log_probs)), "finished": row.ended and not row.hurried}
        values = self.recipe.task.template.read(raw) if row.grammar and row.ended else None
        if values is None:
            return Tag(None, raw, "the answer was cut before its end" if row.grammar else None, **told)
        reading = yield from self.judge.reading(row, raw, prefixes[len(before) :])
        return self._tag(raw, values, reading, told)

    def prompt_tokens(self, ask: Ask) -> int:
        """How many tokens its prompt has, those of its pictures included; only their sizes are looked at.

        Raises:
            ModelError: the prompt holds special tokens.
            ImageError: a picture is too flat.
        """
        images = self.processor.image_processor
        tokens = [images.num_image_tokens(*images.size_after(*each.size)) for each in ask.pictures]
        return len(self.processor.prompt_ids(self._prompt(ask), tokens))

    def _seen(self, shown: Shown) -> list[Image.Image] | ImageError:
        read = self._read(shown)
        return read if isinstance(read, ImageError) else list(map(self.processor.image_processor.reduced, read))

    def _prompt(self, ask: Ask) -> str:
        if ask.prompt is None:
            return self.chat.prompt(len(ask.pictures))
        if "<|" in ask.prompt:
            raise ModelError("the prompt holds <|, which special tokens begin with; leave it out")
        task = self.recipe.task.model_copy(update={"prompt": ask.prompt})
        return Chat.of(task).prompt(len(ask.pictures))

    @cached_property
    def _free_tokens(self) -> torch.Tensor:
        """Whether each token may stand in a text that is held to nothing: all but special ones, and the ends."""
        _, lengths = self._pieces.matrix(self.model.config.vocab_size)
        free = torch.from_numpy(lengths > 0)
        free[sorted(self._ends)] = True
        return free.to(self.model.device)

    def _grammar(self, known_only: bool) -> Grammar:
        if known_only not in self._grammars:
            self._grammars[known_only] = Grammar(
                self._pieces,
                self.recipe.task.template,
                self.known if known_only else {},
                self.model.config.vocab_size,
                sorted(self._ends),
                self.model.device,
            )
        return self._grammars[known_only]

    def _tag(self, raw: str, values: Mapping[str, Value], reading: Reading, told: Mapping[str, Any]) -> Tag:
        calibration = self.calibration or Calibration()
        fields: dict[str, Value] = {}
        confidence: dict[str, float | None] = {}
        numbers: dict[str, dict[str, float | None]] = {}
        for name, value in values.items():
            known = self.known.get(name)
            fields[name] = OTHER if known and value not in known else value
            likely = reading.confidence_in(name, value)
            confidence[name] = None if likely is None else calibration.confident(name, likely)
            if name in reading.numbers:
                numbers[name] = calibration.number(name, reading.numbers[name])
        return Tag(fields, raw, None, confidence, numbers, self.calibration is not None, **told)
