"""Given answers in place of written ones: what a model holds likely behind words that are not its own.

Shapes: B rows, T prompt tokens, N tokens of the longest given answer with its end, V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from hangtag.prediction.beginning import longest_sequence
from hangtag.prediction.decoder import Decoder
from hangtag.prediction.hypotheses import Prefix
from hangtag.prediction.nodes import Program
from hangtag.prediction.readings import Judge
from hangtag.prediction.writing import Row
from hangtag.reading import Reading


def give_answers(
    model: Any, decoder: Decoder, inputs: Mapping[str, torch.Tensor], rows: Sequence[Row], ids: Sequence[list[int]]
) -> tuple[list[int], torch.Tensor]:
    """As if the model had written these answers, in one pass; their numbers, and what follows each token [B, N, V].

    Args:
        inputs: of `generate`: prompts padded on the left, and their pictures, on the model's device.
        rows: they get the answers.
        ids: each row's answer, its end included.
    """
    prompt_BT, mask_BT = inputs["input_ids"], inputs["attention_mask"]
    longest = max(len(each) for each in ids)
    given_BN, there_BN = (mask_BT.new_zeros(len(ids), longest) for _ in range(2))
    for number, each in enumerate(ids):
        given_BN[number, : len(each)] = torch.tensor(each)
        there_BN[number, : len(each)] = 1
    # The last given token predicts nothing that is asked for.
    whole = torch.cat([mask_BT, there_BN[:, :-1]], 1)
    with torch.inference_mode():
        done = model(
            **{name: each for name, each in inputs.items() if name not in ("input_ids", "attention_mask")},
            input_ids=torch.cat([prompt_BT, given_BN[:, :-1].to(prompt_BT.dtype)], 1),
            attention_mask=whole,
            position_ids=(whole.cumsum(1) - 1).clamp(min=0),
            use_cache=True,
            logits_to_keep=longest,
        )
    log_probs_BNV = done.logits.float().log_softmax(-1)
    log_probs_BN = log_probs_BNV.gather(-1, given_BN[..., None].long())[..., 0].double()
    width = prompt_BT.shape[1]
    numbers = decoder.put(
        done.past_key_values,
        [range(width - row.prompt, width + len(each) - 1) for row, each in zip(rows, ids, strict=True)],
    )
    for number, (row, each) in enumerate(zip(rows, ids, strict=True)):
        row.longest_sequence = longest_sequence(model.config, whole.shape[1])
        row.tokens, row.log_probs = each[:-1], log_probs_BN[number, : len(each)].tolist()
        for _ in each[:-1]:
            row.sights.append(row.sights[-1] | row.new_place())
        row.over = row.ended = True
    return numbers, log_probs_BNV


def given_reading(judge: Judge, row: Row, log_probs_NV: torch.Tensor, text: str) -> Program[Reading]:
    """As `Judge.reading`, but numbers stand on the given words alone, not on all that are likely in their place."""
    spans = judge.spans(row)
    prefixes: list[list[Prefix]] = []
    for name, numbers in judge.numbers.items():
        first = spans[name][0] if spans else None
        if first is None or not judge.pieces.starts_with(row.tokens, first, b"0123456789.-+"):
            prefixes.append([])  # the number's first token holds other letters too
            continue
        likely = log_probs_NV[first, list(numbers.alphabet.signs.values())]
        prefixes.append([Prefix("", 0.0, np.asarray(likely.double().cpu().numpy()), row.sights[first])])
    return (yield from judge.reading(row, text, prefixes))
