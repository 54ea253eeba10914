"""A catalogue's row and picture as one training example: ids and label mask born together, piece by piece.

    <s><|user|>\\n <image places> <s>\\n{prompt}<|end|>\\n<|assistant|>   {answer}<|end|>
    └──────────────── labels -100 ─────────────────────────────────┘   └── labels ──┘

The prompt is the published chat format, a BOS after each picture included. The label mask is never
found by searching in the ids.

Shapes: canvas HW3 uint8, the resized and padded picture before it is cut into crops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from hangtag.answer import Template, Value
from hangtag.catalogue.pictures import read_picture
from hangtag.catalogue.store import Catalogue, Row
from hangtag.catalogue.table import rejection
from hangtag.errors import TableError, ValueUnreadable

if TYPE_CHECKING:
    from hangtag.phi3v import Phi3VImageProcessor, Phi3VProcessor

IGNORED = -100
END = "<|end|>"


def chat_prompt(question: str) -> str:
    """The published prompt for one picture and a question."""
    return f"<|user|>\n<|image_1|>\n{question}{END}\n<|assistant|>\n"


@dataclass(frozen=True)
class UsableRow:
    """A row whose every field can be written: the fields' clean values and where the picture lies."""

    values: dict[str, Value]
    picture: Path


def usable_rows(catalogue: Catalogue, split: str, template: Template) -> tuple[list[UsableRow], list[dict[str, str]]]:
    """The rows of a split that can be learned from, and the others as `rejected.csv` lines with their reason.

    Raises:
        TableError: a field has no column, or no row is usable.
    """
    catalogue.require_columns(template.names)
    usable, rejected = [], []
    numbered = [(number, row) for number, row in enumerate(catalogue.rows, 1) if row["split"] == split]
    for number, row in numbered:
        try:
            usable.append(UsableRow(template.clean(row), catalogue.image_path(row)))
        except ValueUnreadable as error:
            rejected.append(_rejected(number, row, str(error)))
    if not usable:
        why = f"; row {rejected[0]['row']}: {rejected[0]['detail']}" if rejected else ""
        raise TableError(f"{catalogue.path} has no usable row in its split {split} ({len(numbered)} rows){why}")
    return usable, rejected


def _rejected(number: int, row: Row, detail: str) -> dict[str, str]:
    return rejection(number, row["file_name"], "value-unreadable", detail)


@dataclass(frozen=True)
class Example:
    """One row ready for a batch: `input_ids` and `labels` of equal length (-100 outside the answer), and the canvas."""

    input_ids: list[int]
    labels: list[int]
    canvas_HW3: torch.Tensor


class Examples(torch.utils.data.Dataset[Example]):
    """A split's examples. Pictures are decoded once and kept as canvases while they fit `cache_bytes`."""

    def __init__(
        self,
        rows: Sequence[UsableRow],
        processor: Phi3VProcessor,
        template: Template,
        question: str,
        cache_bytes: int = 2 << 30,
    ) -> None:
        self.rows = rows
        self.processor = processor
        self.template = template
        self.prompt = chat_prompt(question)
        self.cache_bytes = cache_bytes
        self.canvases: dict[Path, torch.Tensor] = {}
        self._cached = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        row = self.rows[index]
        canvas_HW3 = self.canvas(row.picture)
        height, width = canvas_HW3.shape[:2]
        places = self.processor.image_processor.num_image_tokens(height, width)
        prompt_ids = self.processor.prompt_ids(self.prompt, [places])
        answer_ids = answer_tokens(self.processor, self.template.write(row.values))
        return Example(prompt_ids + answer_ids, [IGNORED] * len(prompt_ids) + answer_ids, canvas_HW3)

    def canvas(self, picture: Path) -> torch.Tensor:
        """A picture's canvas, from memory where it has been read before."""
        if picture in self.canvases:
            return self.canvases[picture]
        canvas_HW3 = torch.as_tensor(self.processor.image_processor.hd_transform(read_picture(picture)))
        if self._cached + canvas_HW3.nbytes <= self.cache_bytes:
            self.canvases[picture] = canvas_HW3
            self._cached += canvas_HW3.nbytes
        return canvas_HW3

    def read_ahead(self, workers: int, progress: Callable[[int, int], None] | None = None) -> None:
        """Decode pictures into memory with several threads until all are there or `cache_bytes` is full."""
        pictures = list(dict.fromkeys(row.picture for row in self.rows))
        with ThreadPoolExecutor(workers) as pool:
            for done, _ in enumerate(pool.map(self._read_while_room, pictures), 1):
                if progress:
                    progress(done, len(pictures))

    def _read_while_room(self, picture: Path) -> None:
        if self._cached < self.cache_bytes:
            self.canvas(picture)

    def longest_answer(self) -> int:
        """Tokens of the longest answer, its end included."""
        return max(len(answer_tokens(self.processor, self.template.write(row.values))) for row in self.rows)


def answer_tokens(processor: Phi3VProcessor, answer: str) -> list[int]:
    """The ids that follow the prompt: the answer and its end. No BOS: the prompt has it."""
    return processor.tokenizer(answer + END, add_special_tokens=False)["input_ids"]


@dataclass(frozen=True)
class Augmentation:
    """A canvas as the same product might have been photographed another time; edges are repeated outwards.

    Args:
        flip: mirror with probability one half.
        shift: largest move in either direction, as a share of the side.
        zoom: largest change of size, as a share.
        light: largest change of brightness, as a share; half as much for each colour.
    """

    flip: bool = False
    shift: float = 0.0
    zoom: float = 0.0
    light: float = 0.0

    def __call__(self, canvas_HW3: torch.Tensor) -> torch.Tensor:
        mirror = -1.0 if self.flip and torch.rand(()) < 0.5 else 1.0
        right, down, size, brightness, *tint = (2 * torch.rand(7) - 1).tolist()
        scale = 1 + self.zoom * size
        theta = [[mirror * scale, 0.0, 2 * self.shift * right], [0.0, scale, 2 * self.shift * down]]
        pixels_13HW = canvas_HW3.permute(2, 0, 1)[None].float()
        grid = functional.affine_grid(torch.tensor([theta]), list(pixels_13HW.shape), align_corners=False)
        pixels_13HW = functional.grid_sample(pixels_13HW, grid, padding_mode="border", align_corners=False)
        gains = torch.tensor([1 + self.light * (brightness + each / 2) for each in tint])
        return (pixels_13HW[0].permute(1, 2, 0) * gains).round_().clamp_(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class Collator:
    """Examples to one batch, padded on the right: input_ids, attention_mask, labels BT; pixel_values C3SS, the crops
    of all pictures one after another; image_sizes N2.

    `augmentation` is for training alone and draws from torch's global generator.
    """

    image_processor: Phi3VImageProcessor
    pad_token_id: int
    augmentation: Augmentation | None = None

    def __call__(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        length = max(len(each.input_ids) for each in examples)
        ids = [each.input_ids + [self.pad_token_id] * (length - len(each.input_ids)) for each in examples]
        mask = [[1] * len(each.input_ids) + [0] * (length - len(each.input_ids)) for each in examples]
        labels = [each.labels + [IGNORED] * (length - len(each.labels)) for each in examples]
        canvases = [each.canvas_HW3 for each in examples]
        if self.augmentation:
            canvases = [self.augmentation(each) for each in canvases]
        return {
            "input_ids": torch.tensor(ids),
            "attention_mask": torch.tensor(mask),
            "labels": torch.tensor(labels),
            "pixel_values": self.image_processor.canvases_to_pixel_values(canvases),
            "image_sizes": torch.tensor([each.canvas_HW3.shape[:2] for each in examples]),
        }
