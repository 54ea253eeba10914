"""A catalogue's rows as training examples: ids and label mask born together, piece by piece (see `chat`).

The label mask is never found by searching in the ids. Lengths are known from the pictures' sizes alone, before
anything is decoded.

Shapes: canvas HW3 uint8, the resized and padded picture before it is cut into crops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from hangtag.answer import Template
from hangtag.catalogue.pictures import picture_size, read_picture
from hangtag.errors import ImageError, first_names
from hangtag.examples.chat import Chat
from hangtag.examples.rows import UsableRow

if TYPE_CHECKING:
    from hangtag.phi3v import Phi3VProcessor

IGNORED = -100
CANVAS_BYTES = 2 << 30


@dataclass(frozen=True)
class Example:
    """One row's tokens and pictures: `input_ids` and `labels` of equal length, labels -100 outside the answer."""

    input_ids: list[int]
    labels: list[int]
    pictures: tuple[Path, ...]
    sizes: tuple[tuple[int, int], ...]


class Examples:
    """A split's rows as examples.

    Args:
        rows: in the catalogue's order.
        processor: of the model that will learn them.
        template, chat: the answer's form, and what stands around it.
        canvas_bytes: memory for decoded pictures; see `canvas`.

    Raises:
        ImageError: pictures cannot be read; all of them in one message.
    """

    def __init__(
        self,
        rows: Sequence[UsableRow],
        processor: Phi3VProcessor,
        template: Template,
        chat: Chat,
        canvas_bytes: int = CANVAS_BYTES,
    ) -> None:
        self.rows = list(rows)
        self.processor = processor
        self.chat = chat
        self.sizes = _canvas_sizes(self.pictures(), processor)
        answers = [chat.answer(template.write(row.values)) for row in rows]
        # No BOS: the prompt has it. A tokenizer takes no empty list.
        self.answers: list[list[int]] = (
            processor.tokenizer(answers, add_special_tokens=False)["input_ids"] if answers else []
        )
        self.canvas_bytes = canvas_bytes
        self.canvases: dict[Path, torch.Tensor] = {}
        self._prompts: dict[tuple[int, ...], list[int]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        pictures = self.rows[index].pictures
        prompt = self._prompt(index)
        answer = self.answers[index]
        sizes = tuple(self.sizes[picture] for picture in pictures)
        return Example(prompt + answer, [IGNORED] * len(prompt) + answer, pictures, sizes)

    def pictures(self) -> list[Path]:
        """Every picture that a row shows, once."""
        return list(dict.fromkeys(picture for row in self.rows for picture in row.pictures))

    def lengths(self) -> list[int]:
        """Tokens of each example."""
        return [len(self._prompt(index)) + len(answer) for index, answer in enumerate(self.answers)]

    def labels(self) -> list[int]:
        """Tokens of each answer, its end included: what the loss is taken over."""
        return [len(answer) for answer in self.answers]

    def only(self, kept: Sequence[int]) -> None:
        """Keep just these rows."""
        self.rows = [self.rows[index] for index in kept]
        self.answers = [self.answers[index] for index in kept]
        self.sizes = {picture: self.sizes[picture] for picture in self.pictures()}

    def canvas(self, picture: Path) -> torch.Tensor:
        """A picture's canvas, from memory where `read_ahead` has put it."""
        if picture in self.canvases:
            return self.canvases[picture]
        return torch.as_tensor(self.processor.image_processor.hd_transform(read_picture(picture)))

    def read_ahead(self, workers: int, progress: Callable[[int, int], None] | None = None) -> None:
        """Decode all pictures into memory with several threads, if there is room for all of them."""
        if sum(3 * height * width for height, width in self.sizes.values()) > self.canvas_bytes:
            return
        pictures = self.pictures()
        with ThreadPoolExecutor(workers) as pool:
            for done, canvas in enumerate(pool.map(self.canvas, pictures), 1):
                self.canvases[pictures[done - 1]] = canvas
                if progress:
                    progress(done, len(pictures))

    def _prompt(self, index: int) -> list[int]:
        """The prompt's ids; they depend only on how many tokens each picture takes."""
        places = self.processor.image_processor.num_image_tokens
        tokens = tuple(places(*self.sizes[picture]) for picture in self.rows[index].pictures)
        if tokens not in self._prompts:
            self._prompts[tokens] = self.processor.prompt_ids(self.chat.prompt(len(tokens)), list(tokens))
        return self._prompts[tokens]


def _canvas_sizes(pictures: Sequence[Path], processor: Phi3VProcessor) -> dict[Path, tuple[int, int]]:
    """Height and width of each picture's canvas, from the files' heads."""

    def canvas_size(picture: Path) -> tuple[int, int] | ImageError:
        try:
            return processor.image_processor.size_after(*picture_size(picture))
        except ImageError as error:
            return error

    with ThreadPoolExecutor() as pool:
        found = dict(zip(pictures, pool.map(canvas_size, pictures), strict=True))
    problems = [str(each) for each in found.values() if isinstance(each, ImageError)]
    if problems:
        raise ImageError(f"{len(problems)} pictures cannot be used: {first_names(problems)}")
    return {picture: size for picture, size in found.items() if not isinstance(size, ImageError)}
