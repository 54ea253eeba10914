"""What a model writes for some rows, with every logit on the way; and that of two models held against each other.

Shapes: B rows of a batch, T prompt tokens, N tokens of an answer with its end, V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hangtag.catalogue.pictures import read_picture
from hangtag.examples.chat import Chat
from hangtag.examples.rows import UsableRow
from hangtag.phi3v import Phi3VProcessor
from hangtag.prediction.loading import Model
from hangtag.prediction.writing import end_of, ends_of
from hangtag.progress import Progress

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Written:
    """An answer: its ids, the end included if it came; its text; the logits [N, V] from which each id was taken."""

    ids: list[int]
    text: str
    logits_NV: Logits


def write(
    model: Model, processor: Phi3VProcessor, chat: Chat, rows: Sequence[UsableRow], at_once: int, progress: Progress
) -> Iterator[Written]:
    """Each row's answer by plain greedy generation, as any program writes it.

    Raises:
        ImageError: a picture cannot be read.
    """
    ends = set(ends_of(model))
    for start in range(0, len(rows), at_once):
        batch = rows[start : start + at_once]
        inputs = _inputs(model, processor, chat, batch)
        with torch.inference_mode():
            done = model.generate(**inputs, do_sample=False, return_dict_in_generate=True, output_logits=True)
        new_BN = done.sequences[:, inputs["input_ids"].shape[1] :].tolist()
        for place, ids in enumerate(new_BN):
            end = end_of(ids, ends)
            ids = ids if end is None else ids[: end + 1]
            logits_NV = torch.stack([step_BV[place] for step_BV in done.logits[: len(ids)]])
            text = processor.tokenizer.decode(ids[:end], skip_special_tokens=False).strip()
            yield Written(ids, text, logits_NV.float().cpu().numpy())
        progress(start + len(batch), len(rows))


def _inputs(model: Model, processor: Phi3VProcessor, chat: Chat, rows: Sequence[UsableRow]) -> dict[str, Any]:
    pictures = [[read_picture(each) for each in row.pictures] for row in rows]
    inputs = processor(
        text=[chat.prompt(len(each)) for each in pictures],
        images=pictures if any(pictures) else None,
        padding=True,
        padding_side="left",
        return_tensors="pt",
    ).to(model.device)
    if "pixel_values" in inputs:
        inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
    return dict(inputs)


class Testimony:
    """A model's answers kept on the disk, so that the model itself can go before the next one comes.

    Args:
        folder: for a file a row; made anew.
    """

    def __init__(self, folder: Path, answers: Iterator[Written]) -> None:
        folder.mkdir()
        self.answers: list[tuple[list[int], str, Path]] = []
        for number, each in enumerate(answers):
            file = folder / f"{number}.npy"
            np.save(file, each.logits_NV)
            self.answers.append((each.ids, each.text, file))

    def __getitem__(self, row: int) -> Written:
        ids, text, file = self.answers[row]
        return Written(ids, text, np.load(file))


@dataclass(frozen=True)
class Difference:
    """One row as two models wrote it.

    Args:
        places: how many tokens were compared: up to the first that differs, since the words before it are the same.
        largest, mean: of the absolute differences of logits.
        spread: the standard deviation of the first model's logits over the vocabulary, averaged over the places.
        texts: both answers.
        margin: by how much the first model preferred its own token where the answers part; None where they do not.
    """

    places: int
    largest: float
    mean: float
    spread: float
    texts: tuple[str, str]
    margin: float | None


def difference(first: Written, second: Written) -> Difference:
    """How far two models are apart on one row; NaN where one of them is lost."""
    same = next((n for n, pair in enumerate(zip(first.ids, second.ids, strict=False)) if pair[0] != pair[1]), None)
    places = min(len(first.ids), len(second.ids)) if same is None else same + 1
    one_NV, other_NV = first.logits_NV[:places], second.logits_NV[:places]
    apart_NV = np.abs(one_NV - other_NV)
    margin = None if same is None else float(one_NV[same, first.ids[same]] - one_NV[same, second.ids[same]])
    return Difference(
        places,
        float(apart_NV.max()),
        float(apart_NV.mean()),
        float(one_NV.std(-1).mean()),
        (first.text, second.text),
        margin,
    )


__all__ = ["Difference", "Testimony", "Written", "difference", "write"]
