"""Optimizer steps as the model takes them: examples decoded, cut and packed by worker processes, ahead of the device.

Shapes: T tokens of a pass, N its pictures, C their crops, S crop side.
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from hangtag.errors import DataError, HangtagError, first_line
from hangtag.examples.augmentation import Augmentation
from hangtag.examples.examples import IGNORED, Example, Examples
from hangtag.examples.features import FeatureCache
from hangtag.examples.packing import Pass, Plan


@dataclass(frozen=True)
class Vision:
    """How pictures reach the model: as features from the cache, or as crops.

    Args:
        cache, keys: the features of a frozen tower, and each picture's key in it; without, crops.
        as_bytes: crops as bytes, to be normalised on the device, rather than as float32.
    """

    cache: FeatureCache | None = None
    keys: Mapping[Path, str] = field(default_factory=dict)
    as_bytes: bool = False


class Steps(Dataset[dict[str, Any]]):
    """Step n of a run, counted over all epochs, as what one process computes.

    An item has `passes`, a list of model inputs with labels (see `packed`), and of the whole step, over all processes:
    `labels`, the answer tokens that its loss is divided by, `tokens`, and `pictures`, whether there are any.

    Args:
        augmentation: of training pictures; decided by seed, epoch and row, whoever loads them.
        process: this one, of `plan.processes`.
    """

    def __init__(
        self,
        examples: Examples,
        plan: Plan,
        vision: Vision,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        process: int = 0,
    ) -> None:
        self.examples = examples
        self.plan = plan
        self.vision = vision
        self.augmentation = augmentation
        self.seed = seed
        self.process = process
        self.lengths = examples.lengths()
        self.labels = examples.labels()

    def __getitem__(self, step: int) -> dict[str, Any]:
        rows = self.plan.rows(step)
        return {
            "passes": [self._pass(each, step // self.plan.steps) for each in self.plan.passes(step)[self.process]],
            "labels": sum(self.labels[row] for row in rows),
            "tokens": sum(self.lengths[row] for row in rows),
            "pictures": any(self.plan.pictured[row] for row in rows),
        }

    @property
    def at_hand(self) -> bool:
        """Whether a step is only put together: pictures' features or canvases are there, and nothing is changed."""
        decoded = self.examples.sizes.keys() <= self.examples.canvases.keys()
        return self.augmentation is None and (self.vision.cache is not None or decoded)

    def _pass(self, each: Pass, epoch: int) -> dict[str, torch.Tensor]:
        examples = [self.examples[row] for row in each.rows]
        for row in each.fillers:
            filler = self.examples[row]
            examples.append(Example(filler.input_ids, [IGNORED] * len(filler.labels), filler.pictures, filler.sizes))
        return packed(examples) | self._vision((*each.rows, *each.fillers), epoch)

    def _vision(self, rows: Sequence[int], epoch: int) -> dict[str, torch.Tensor]:
        """The rows' pictures, one after another, as the model takes them; nothing where there are none."""
        numbered = [(row, picture) for row in rows for picture in self.examples.rows[row].pictures]
        if not numbered:
            return {}
        if self.vision.cache is not None:
            get, keys = self.vision.cache.get, self.vision.keys
            return {"crop_features": torch.cat([get(keys[picture]) for _, picture in numbered])}
        canvases = [self._canvas(picture, epoch, row) for row, picture in numbered]
        image_processor = self.examples.processor.image_processor
        made = image_processor.canvases_to_bytes if self.vision.as_bytes else image_processor.canvases_to_pixel_values
        return {"pixel_values": made(canvases)}

    def prompts(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """What `generate` takes to write the rows' answers: prompts padded on the left, and their pictures."""
        examples = [self.examples[row] for row in rows]
        prompts = [each.input_ids[: each.labels.count(IGNORED)] for each in examples]
        length, padding = max(map(len, prompts)), self.examples.processor.tokenizer.pad_token_id
        sizes = [size for each in examples for size in each.sizes]
        return {
            "input_ids": torch.tensor([[padding] * (length - len(each)) + each for each in prompts]),
            "attention_mask": torch.tensor([[0] * (length - len(each)) + [1] * len(each) for each in prompts]),
            **({"image_sizes": torch.tensor(sizes)} if sizes else {}),
            **self._vision(rows, 0),
        }

    def _canvas(self, picture: Path, epoch: int, row: int) -> torch.Tensor:
        canvas_HW3 = self.examples.canvas(picture)
        if self.augmentation is None:
            return canvas_HW3
        key = f"{self.seed} {epoch} {row} {self.examples.rows[row].pictures.index(picture)}"
        chance = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1)
        return self.augmentation(canvas_HW3, chance)


def packed(examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """Examples laid end to end in one row: input_ids, position_ids, labels int64 [1, T]; image_sizes [N, 2].

    Positions begin anew with each example, which is what keeps them apart; there is no attention mask.
    """
    inputs = {
        "input_ids": torch.tensor([[token for each in examples for token in each.input_ids]]),
        "position_ids": torch.cat([torch.arange(len(each.input_ids)) for each in examples])[None],
        "labels": torch.tensor([[label for each in examples for label in each.labels]]),
    }
    sizes = [size for each in examples for size in each.sizes]
    return inputs | ({"image_sizes": torch.tensor(sizes)} if sizes else {})


@dataclass(frozen=True)
class Failed:
    """An error for the user that arose in a worker process, to be raised where it can be told."""

    message: str


class _Told(Dataset[Any]):
    """Items of `steps`, or the error for the user that one met: a worker would wrap it in its own traceback."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def __getitem__(self, step: int) -> dict[str, Any] | Failed:
        try:
            return _shared(self.steps[step])
        except HangtagError as error:
            return Failed(str(error))


def _shared(item: dict[str, Any]) -> dict[str, Any]:
    """The item with its tensors in shared memory, where this is a worker process.

    The queue would put them there too, but from a thread of its own, whose errors nobody hears: without room for a
    step, the run would wait for it for ever.

    Raises:
        DataError: there is no room.
    """
    if get_worker_info() is not None:
        try:
            for each in item["passes"]:
                for tensor in each.values():
                    tensor.share_memory_()
        except RuntimeError as error:
            raise DataError(
                f"no room in shared memory for a step's pictures ({first_line(error)}); give /dev/shm more, as with "
                "`docker run --shm-size=8g`, or run with fewer train.workers, or with 0"
            ) from None
    return item


def step_loader(steps: Steps, count: int, workers: int, pin_memory: bool = False) -> DataLoader[Any]:
    """Loads steps 0 to `count` - 1, each as one item, with so many processes working ahead."""
    return DataLoader(
        _Told(steps),
        batch_sampler=[[step] for step in range(count)],
        collate_fn=_only,
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        worker_init_fn=_leave_interrupts,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # a loader draws a number at its start; not from the run's own generator
    )


def _only(items: Sequence[Any]) -> Any:
    return items[0]


def _leave_interrupts(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; the main one decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
