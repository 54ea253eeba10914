"""A batch of prompts; its rows' programs, begun.

Shapes: B rows, T prompt tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from transformers import LogitsProcessorList, StoppingCriteriaList
from transformers.cache_utils import Cache

from hangtag.prediction.decoder import Decoder
from hangtag.prediction.grammar import Grammar
from hangtag.prediction.nodes import Program, Task
from hangtag.prediction.writing import ByGenerate, Row

T = TypeVar("T")
Before = list[Program[None]]
"""What has to run before a row is read, beside whatever can: its writing, or nothing where it is written."""


def rows_of(
    model: Any,
    inputs: Mapping[str, torch.Tensor],
    held: Sequence[tuple[Grammar | None, int, bool]],
    ends: set[int],
    traced: bool = False,
) -> list[Row]:
    """Rows of some prompts, padded on the left: each with its grammar, where it is cut, and whether it really is."""
    lengths, last = inputs["attention_mask"].sum(1).tolist(), inputs["input_ids"][:, -1].tolist()
    return [
        Row(*each, token, prompt, longest_sequence(model.config, prompt), ends, traced)
        for each, token, prompt in zip(held, last, lengths, strict=True)
    ]


def longest_sequence(config: Any, length: int) -> int:
    """Tokens that can stand together where so many do.

    Beyond the original context the rotary factors would be other ones than those of the tokens before.
    """
    short = length <= config.original_max_position_embeddings
    longrope = config.rope_parameters["rope_type"] == "longrope"
    return int(config.original_max_position_embeddings if short and longrope else config.max_position_embeddings)


def begin(
    model: Any,
    decoder: Decoder,
    inputs: Mapping[str, torch.Tensor],
    rows: Sequence[Row],
    writing: Sequence[Program[None]],
    programs: Sequence[Callable[[Before], Program[T]]],
    static: bool = False,
) -> list[Task[T]]:
    """Begin to answer some prompts.

    On a CPU each row is computed and written step by step beside what else is found out of it; elsewhere, and where an
    answer may lead beyond the original context, all are by `generate` before that.

    Args:
        inputs: of `generate`, padded on the left, on the model's device.
        rows, writing: of each prompt, and its `write`.
        programs: of each row, made with what has to run before.
        static: whether `generate` has a cache of fixed size, for which transformers compiles the model.
    """
    width = inputs["input_ids"].shape[1]
    if static or decoder.device.type != "cpu" or any(row.longest > row.room for row in rows):
        by_generate = ByGenerate([Task(0, each) for each in writing], decoder.found)
        cache = _generated(model, inputs, max(row.longest for row in rows), by_generate, static)
        ends = [width + max(len(row.log_probs) - 1, 0) for row in rows]
        for row in rows:
            row.longest_sequence = longest_sequence(model.config, int(cache.get_seq_length()))
        numbers = decoder.put(cache, [range(width - row.prompt, end) for row, end in zip(rows, ends, strict=True)])
        return [Task(row, program([])) for row, program in zip(numbers, programs, strict=True)]
    with torch.inference_mode():
        hidden_BTE = decoder.model.model.embed(
            inputs["input_ids"], inputs.get("pixel_values"), inputs.get("image_sizes")
        )
    numbers = decoder.open([each[width - row.prompt :] for each, row in zip(hidden_BTE, rows, strict=True)])
    return [Task(row, program([own])) for row, program, own in zip(numbers, programs, writing, strict=True)]


def _generated(
    model: Any, inputs: Mapping[str, torch.Tensor], longest: int, writing: ByGenerate, static: bool
) -> Cache:
    """Let `generate` write; its cache."""
    with torch.inference_mode():
        done = model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=longest,
            return_dict_in_generate=True,
            logits_processor=LogitsProcessorList([writing.held]),
            stopping_criteria=StoppingCriteriaList([writing.watched]),
            cache_implementation="static" if static else None,
        )
    cache: Cache = done.past_key_values
    return cache
