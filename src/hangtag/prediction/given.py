"""Given answers in place of written ones: what a model holds likely behind words that are not its own.

Shapes: B rows, T prompt tokens, N tokens of the longest given answer with its end, V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from hangtag.prediction.branches import Answers
from hangtag.prediction.hypotheses import Prefix
from hangtag.prediction.numbers import Alphabet, distributions
from hangtag.prediction.readings import Judge
from hangtag.prediction.tree import Tree
from hangtag.reading import Distribution, Reading


def given_answers(
    model: PreTrainedModel, inputs: Mapping[str, torch.Tensor], ids: Sequence[list[int]]
) -> tuple[Answers, torch.Tensor]:
    """As if the model had written these answers, in one pass; and the log probabilities of what follows [B, N, V].

    Args:
        inputs: of `generate`: prompts padded on the left, and their pictures, on the model's device.
        ids: each row's answer, its end included.
    """
    prompt_BT, mask_BT = inputs["input_ids"], inputs["attention_mask"]
    longest = max(len(each) for each in ids)
    given_BN, there_BN = (mask_BT.new_zeros(len(ids), longest) for _ in range(2))
    for row, each in enumerate(ids):
        given_BN[row, : len(each)] = torch.tensor(each)
        there_BN[row, : len(each)] = 1
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
    answers = Answers(
        model,
        done.past_key_values,
        prompt_BT,
        mask_BT,
        [each[:-1] for each in ids],
        [log_probs_BN[row, : len(each)].tolist() for row, each in enumerate(ids)],
    )
    return answers, log_probs_BNV


def given_readings(
    judge: Judge, answers: Answers, log_probs_BNV: torch.Tensor, texts: Sequence[str | None]
) -> list[Reading]:
    """As `Judge.readings`, but numbers stand on the given words alone, not on all that are likely in their place."""
    spans = [None if new is None else judge.pieces.spans(judge.template, new) for new in answers.new]
    numbers = {}
    for name, alphabet in judge.alphabets.items():
        firsts: list[int | None] = []
        for new, held in zip(answers.new, spans, strict=True):
            first = held[name][0] if held else None
            apart = new is not None and first is not None and judge.pieces.starts_with(new, first, b"0123456789.-+")
            firsts.append(first if apart else None)
        numbers[name] = _numbers(answers, log_probs_BNV, alphabet, firsts, judge.nodes)
    return [
        Reading(
            text,
            judge.confidence(answers.log_probs[row], spans[row]),
            {name: found for name in numbers if (found := numbers[name][row]) is not None},
        )
        for row, text in enumerate(texts)
    ]


def _numbers(
    answers: Answers, log_probs_BNV: torch.Tensor, alphabet: Alphabet, firsts: Sequence[int | None], nodes: int
) -> list[Distribution | None]:
    """Each row's number behind the words before its first token; None where that token holds other letters too."""
    tree, signs = Tree(answers), list(alphabet.signs.values())
    tree.stand_behind([first or 0 for first in firsts])
    nothing_grown = torch.zeros(0, dtype=torch.bool)
    prefixes = [
        [] if first is None else [Prefix("", 0.0, _likely(log_probs_BNV[row, first, signs]), nothing_grown, 0)]
        for row, first in enumerate(firsts)
    ]
    found = distributions(tree, prefixes, alphabet, nodes)
    answers.growth.forget()
    return found


def _likely(log_probs_S: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(log_probs_S.double().cpu().numpy())
